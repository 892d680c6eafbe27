// `hearth bench`: measures a model, keeps the result, and the hub uses it.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';

import { runHearth, startHub, tempDir, until } from './support/hearth.mjs';

const quick = ['bench', '--seconds', '1', '--parallel', '6', '--threads', '1'];
const kept = (dir) => join(dir, 'data', 'tuning.json');

test('measures, prints a table and keeps it; the hub starts with it', async () => {
  const dir = tempDir();
  const run = await runHearth(quick, { dir });
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stdout, /^hearth-tiny on .+ cores?, llama\.cpp/);
  assert.match(run.stdout, /^ +1\* +[\d.]+ tok\/s/m);
  assert.match(run.stdout, /^ +6 +[\d.]+ ms +[\d.]+ tok\/s$/m);
  const [entry] = JSON.parse(readFileSync(kept(dir), 'utf8')).entries;
  assert.equal(entry.model, 'hearth-tiny');
  assert.equal(entry.threads, 1);
  for (const width of ['1', '2', '6']) assert.ok(entry.decode_ms[width] > 0, width);
  assert.ok(entry.parallel >= 1 && entry.parallel <= 6);

  const hub = await startHub({ dir });
  await until(() => /has measured it on this machine/.test(hub.log), 10000, 'the hub to use it');
  await hub.stop();
});

test('--no-save keeps nothing, --json is JSON', async () => {
  const dir = tempDir();
  const run = await runHearth([...quick, '--no-save', '--json'], { dir });
  assert.equal(run.code, 0, run.stderr);
  const json = JSON.parse(run.stdout);
  assert.equal(json.model, 'hearth-tiny');
  assert.deepEqual(json.together.map((w) => w.sequences), [1, 2, 3, 4, 5, 6]);
  assert.equal(json.best.threads, 1);
  assert.ok(!existsSync(kept(dir)));
});

test('a model that generates nothing, or is not there, is refused with the reason', async () => {
  const embed = await runHearth([...quick, 'hearth-tiny-embed']);
  assert.equal(embed.code, 1);
  assert.match(embed.stderr, /does not generate/);
  const none = await runHearth([...quick, 'no-such-model']);
  assert.equal(none.code, 1);
  assert.match(none.stderr, /no-such-model/);
  assert.equal((await runHearth(['bench', '--parallel', '0'])).code, 2);
});

test('a broken tuning.json is a warning, not the end', async () => {
  const dir = tempDir();
  mkdirSync(join(dir, 'data'));
  writeFileSync(kept(dir), '{"entries":');
  const hub = await startHub({ dir });
  assert.equal((await fetch(`${hub.url}/health`)).status, 200);
  await until(() => /measured before is not used/.test(hub.log), 10000, 'the warning');
  await hub.stop();
});
