// `hearth models`, `hearth doctor`: what is on disk, and whether all is well.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import test from 'node:test';

import { root, runHearth, startHub, tempDir } from './support/hearth.mjs';

const tiny = join(root, 'models', 'hearth-tiny.gguf');

function folderWithModel() {
  const dir = tempDir();
  mkdirSync(join(dir, 'models'));
  copyFileSync(tiny, join(dir, 'models', 'my-model.gguf'));
  return dir;
}

test('list: built-in models and those of the folder, as table, names and JSON', async () => {
  const dir = folderWithModel();
  const table = await runHearth(['models'], { dir });
  assert.equal(table.code, 0);
  assert.match(table.stdout, /^NAME .* KIND$/m);
  assert.match(table.stdout, /^hearth-tiny .*chat \(built-in\)$/m);
  assert.match(table.stdout, /^hearth-tiny-embed .*embedding \(built-in\)$/m);
  assert.match(table.stdout, /^my-model .*chat$/m);
  assert.equal((await runHearth(['models', 'list'], { dir })).stdout, table.stdout);

  const names = await runHearth(['models', 'list', '--names'], { dir });
  assert.deepEqual(names.stdout.trim().split('\n'), ['hearth-tiny', 'hearth-tiny-embed', 'hearth-tiny-rerank', 'my-model']);

  const json = JSON.parse((await runHearth(['models', '--json'], { dir })).stdout);
  const mine = json.models.find((m) => m.id === 'my-model');
  assert.equal(mine.kind, 'chat');
  assert.equal(mine.builtin, false);
  assert.ok(mine.bytes > 1000000 && mine.parameters > 1000000 && mine.context > 0);
});

test('catalog: the names that pull knows', async () => {
  const table = await runHearth(['models', 'catalog']);
  assert.equal(table.code, 0, table.stderr);
  assert.match(table.stdout, /^llama3\.2:1b .*chat/m);
  const names = (await runHearth(['models', 'catalog', '--names'])).stdout.trim().split('\n');
  const json = JSON.parse((await runHearth(['models', 'catalog', '--json'])).stdout);
  assert.deepEqual(json.map((m) => m.name), names);
  for (const m of json) assert.ok(m.files.length > 0 && m.repository.includes('/'), m.name);
  const broken = await runHearth(['models', 'catalog', '--set', 'HEARTH_BUILTIN=/nonexistent']);
  assert.equal(broken.code, 1);
  assert.match(broken.stderr, /catalog\.json/);
});

test('show: facts and metadata, of a name and of a path', async () => {
  const dir = folderWithModel();
  const text = await runHearth(['models', 'show', 'my-model'], { dir });
  assert.equal(text.code, 0);
  assert.match(text.stdout, /general\.architecture/);
  assert.match(text.stdout, /parameters/);
  const json = JSON.parse((await runHearth(['models', 'show', tiny, '--json'], { dir })).stdout);
  assert.equal(json.metadata['general.architecture'], json.architecture);
});

test('rm: asks only a person, refuses built-in models, removes the file', async () => {
  const dir = folderWithModel();
  const path = join(dir, 'models', 'my-model.gguf');
  const unasked = await runHearth(['models', 'rm', 'my-model'], { dir });
  assert.equal(unasked.code, 1);
  assert.match(unasked.stderr, /--yes/);
  assert.ok(existsSync(path));

  const builtin = await runHearth(['models', 'rm', 'hearth-tiny', '--yes'], { dir });
  assert.equal(builtin.code, 1);
  assert.match(builtin.stderr, /built in/);

  assert.equal((await runHearth(['models', 'rm', 'my-model', '--yes'], { dir })).code, 0);
  assert.equal(existsSync(path), false);
  const again = await runHearth(['models', 'rm', 'my-model', '--yes'], { dir });
  assert.equal(again.code, 1);
  assert.match(again.stderr, /my-model/);
});

test('a file that is no model is left out of the list, and show says why', async () => {
  const dir = folderWithModel();
  const bad = join(dir, 'models', 'bad.gguf');
  writeFileSync(bad, Buffer.concat([Buffer.from('GGUF'), Buffer.alloc(64, 0xff)]));
  const names = (await runHearth(['models', 'list', '--names'], { dir })).stdout;
  assert.doesNotMatch(names, /bad/);
  const show = await runHearth(['models', 'show', bad], { dir });
  assert.equal(show.code, 1);
  assert.match(show.stderr, /bad\.gguf/);
});

test('doctor: everything that it looks at, as text and JSON', async () => {
  const dir = folderWithModel();
  const r = await runHearth(['doctor', '--set', 'PORT=0'], { dir });
  assert.equal(r.code, 0, r.stdout + r.stderr);
  for (const name of ['engine', 'cpu', 'data folder', 'models folder', 'models', 'memory',
    'default model', 'documents', 'hub', 'port']) {
    assert.match(r.stdout, new RegExp(`^(ok|warn) +${name} `, 'm'));
  }
  assert.match(r.stdout, /llama\.cpp v0\.5\.0/);
  const json = JSON.parse((await runHearth(['doctor', '--json', '--set', 'PORT=0'], { dir })).stdout);
  assert.equal(json.ok, true);
  assert.ok(json.checks.length > 8);
});

test('doctor: sees the running hub', async () => {
  const hub = await startHub({ args: ['--no-preload'] });
  const r = await hub.run(['doctor', '--set', `PORT=${hub.port}`]);
  assert.equal(r.code, 0, r.stdout);
  assert.match(r.stdout, new RegExp(`ok +hub +running at ${hub.url}`));
  assert.match(r.stdout, /is the running hub's/);
  await hub.stop();
});

test('doctor: fails with what to do', async () => {
  const dir = tempDir();
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => other.on('listening', done));
  const { port } = other.address();
  const busy = await runHearth(['doctor', '--set', `PORT=${port}`], { dir });
  other.close();
  assert.equal(busy.code, 1);
  assert.match(busy.stdout, /^fail +port /m);
  assert.match(busy.stdout, /-> another program has it/);

  const model = await runHearth(['doctor', '--set', 'PORT=0', '--set', 'DEFAULT_MODEL=nix'], { dir });
  assert.equal(model.code, 1);
  assert.match(model.stdout, /^fail +default model/m);

  const config = await runHearth(['doctor', '--set', 'PORT=x'], { dir });
  assert.equal(config.code, 1);
  assert.match(config.stdout, /^fail +configuration .*PORT/m);

  writeFileSync(join(dir, 'file'), '');
  const folder = await runHearth(['doctor', '--data-dir', join(dir, 'file'), '--set', 'PORT=0'], { dir });
  assert.equal(folder.code, 1);
  assert.match(folder.stdout, /^fail +data folder/m);
});
