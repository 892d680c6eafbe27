// examples/ollama/chat.py: Python's own library against Ollama's API.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

import { root, startHub } from './support/hearth.mjs';

test('the example talks and calls a tool', async () => {
  const hub = await startHub();
  const child = spawn('python3', [join(root, 'examples', 'ollama', 'chat.py')], { env: { ...process.env, OLLAMA_HOST: hub.url } });
  let out = '';
  let err = '';
  child.stdout.on('data', (d) => { out += d; });
  child.stderr.on('data', (d) => { err += d; });
  const code = await new Promise((done) => child.on('close', done));
  await hub.stop();
  assert.equal(code, 0, err);
  assert.match(out, /\[\d+ tokens, [\d.]+ s\]/);
  assert.match(out, /^called: get_weather \{"city": "Paris"\}$/m);
});
