// `hearth extract`: documents are read by the real binary in a process of its own, which has the
// settings' limits and never outlives the one that started it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { binary, cleanEnv, runHearth, tempDir, until } from './support/hearth.mjs';

const dir = tempDir();
const file = (name, content) => {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
};

/** A PDF that draws a form ten times, which draws a form ten times, which ...: 10^12 words. */
function bomb() {
  const objects = ['<</Type/Catalog/Pages 2 0 R>>', '<</Type/Pages/Count 1/Kids[3 0 R]>>',
    '<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 6 0 R>>>>>>'];
  const stream = (dict, text) => objects.push(`<<${dict}/Length ${text.length}>>\nstream\n${text}\nendstream`);
  stream('', '/X Do '.repeat(10));
  objects.push('<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>');
  const form = '/Type/XObject/Subtype/Form/BBox[0 0 9 9]';
  for (let i = 0; i < 11; i++) stream(`${form}/Resources<</XObject<</X ${7 + i} 0 R>>>>`, '/X Do '.repeat(10));
  stream(`${form}/Resources<</Font<</F 5 0 R>>>>`, 'BT /F 1 Tf (ha) Tj ET');
  let text = '%PDF-1.4\n';
  const offsets = objects.map((object, i) => {
    const at = text.length;
    text += `${i + 1} 0 obj\n${object}\nendobj\n`;
    return at;
  });
  const table = offsets.map((at) => `${String(at).padStart(10, '0')} 00000 n \n`).join('');
  return `${text}xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${table}` +
    `trailer\n<</Size ${objects.length + 1}/Root 1 0 R>>\nstartxref\n${text.length}\n%%EOF\n`;
}

/** Processes that have the file open, by /proc. */
function readers(path) {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((fd) => {
        try {
          return readlinkSync(`/proc/${pid}/fd/${fd}`) === path;
        } catch {
          return false;
        }
      });
    } catch {
      return false;
    }
  });
}

test('texts of several files, and what is wrong with the others', async () => {
  const page = file('page.txt', '<!doctype html><title>T</title><h1>Tides</h1><p>Twice a day.');
  const image = file('photo.pdf', Buffer.from('89504e470d0a1a0a00000000', 'hex'));
  const table = file('table.csv', 'port;depth\nAldern;7\n');
  const { code, stdout, stderr } = await runHearth(['extract', page, image, table]);
  assert.equal(code, 1);
  assert.equal(stdout, '# Tides\n\nTwice a day.\n| port | depth |\n| --- | --- |\n| Aldern | 7 |\n');
  assert.equal(stderr, `hearth: ${image}: it is an image (PNG), which can't be read as a document\n`);
});

test('JSON tells type, title and pages', async () => {
  const locked = new URL('../vectors/extract/locked.pdf', import.meta.url).pathname;
  const page = file('page.html', '<!doctype html><title>T</title><p>x');
  const one = await runHearth(['extract', '--json', page]);
  assert.deepEqual(JSON.parse(one.stdout), { file: page, type: 'text/html', title: 'T', pages: [], text: 'x' });
  const other = await runHearth(['extract', '--json', locked]);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /the PDF is protected by a password; save a copy without one/);
});

test('the settings are its limits', async () => {
  const path = file('bomb.pdf', bomb());
  const { code, stderr } = await runHearth(['extract', '--set', 'HEARTH_EXTRACT_TIME=1s', path]);
  assert.equal(code, 1);
  assert.match(stderr, /HEARTH_EXTRACT_TIME|HEARTH_EXTRACT_MEMORY/);
  await until(() => readers(path).length === 0, 30000, 'nobody reads it any more');
  const long = file('long.txt', 'word '.repeat(20000));
  const cut = await runHearth(['extract', '--set', 'HEARTH_EXTRACT_TEXT=64K', long]);
  assert.match(cut.stderr, /its text is longer than 64\.0 KiB/);
});

test('kill -9 leaves no process behind', async () => {
  const path = file('bomb2.pdf', bomb());
  const child = spawn(binary, ['extract', path], { env: cleanEnv(dir), stdio: 'ignore' });
  const comm = (pid) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
    } catch {
      return '';
    }
  };
  await until(() => readers(path).some((pid) => comm(pid) === 'pdftotext'), 30000, 'pdftotext reads it');
  child.kill('SIGKILL');
  await until(() => readers(path).length === 0, 30000, 'nobody reads it any more');
});
