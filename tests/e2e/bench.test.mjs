// The benchmark of the scheduler itself works: quick runs of some scenarios, this hub beside itself.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';

import { binary, root, tempDir } from './support/hearth.mjs';

function bench(args) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(root, 'tests/bench/sched/run.mjs'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '', err = '';
    child.stdout.on('data', (d) => (out += d));
    child.stderr.on('data', (d) => (err += d));
    child.on('close', (code) => resolve({ code, out, err }));
  });
}

test('scenarios run, print a table and keep their numbers', async () => {
  const json = join(tempDir(), 'sched.json');
  const run = await bench(['--quick', '--threads', '1', '--build', join(binary, '..'), '--peer', binary,
    '--model', join(root, 'models/hearth-tiny.gguf'), '--json', json, 's1', 'S2', 'S6', 'S11']);
  assert.equal(run.code, 0, run.err);
  assert.match(run.out, /^S1 +decode +tok\/s +[\d.]+ +[\d.]+ +[\d.]+ +>= 0\.98x +(reached|MISSED)$/m);
  assert.match(run.out, /^S2 +16 together, TTFT p50 /m);
  const { scenarios } = JSON.parse(readFileSync(json, 'utf8'));
  assert.deepEqual(Object.keys(scenarios), ['S1', 'S2', 'S6', 'S11']);
  assert.equal(scenarios.S1.measured.streams.hearth[0].predicted, 32);
});

test('a scenario that does not exist is refused', async () => {
  const run = await bench(['--peer', binary, 'S99']);
  assert.notEqual(run.code, 0);
  assert.match(run.err, /S99/);
});
