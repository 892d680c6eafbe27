// What a user sees of requests that wait for another model to finish, one model at a time: the stream's
// comments, the deadline, the queue's numbers, and the command line.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { root, startHub, tempDir, until } from './support/hearth.mjs';

let hub;

before(async () => {
  const dir = tempDir();
  mkdirSync(join(dir, 'models'), { recursive: true });
  copyFileSync(join(root, 'models', 'hearth-tiny.gguf'), join(dir, 'models', 'other.gguf'));
  hub = await startHub({
    dir, env: { HEARTH_EXCLUSIVE: 'true', HEARTH_SWITCH_WAIT: '10m', HEARTH_QUEUE_CAPACITY: '2' },
  });
  await until(async () => (await get('/health')).model_state === 'ready', 30000, 'the model');
});
after(() => hub?.stop());

const get = async (path) => (await fetch(`${hub.url}${path}`)).json();

function chat(model, more = {}, id = undefined, signal = undefined) {
  return fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST',
    signal,
    headers: { 'Content-Type': 'application/json', ...(id && { 'X-Request-Id': id }) },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Count' }], max_tokens: 2, ...more }),
  });
}

test('who waits for a model to finish is told, counted, and ended by its deadline', async () => {
  const long = new AbortController();
  const endless = { stream: true, ignore_eos: true, max_tokens: -1, context_overflow: 'shift' };
  const running = (await chat('hearth-tiny', endless, 'long', long.signal)).text().catch(() => 'left');
  const late = await chat('other', { deadline_ms: 300 });
  assert.equal(late.status, 408);
  assert.match((await late.json()).error.message, /for its model other, which is not in memory yet/);

  const stream = await chat('other', { stream: true }, 'waits'); // its status comes while it waits
  assert.equal(stream.status, 200);
  const plain = chat('other');
  await until(async () => (await get('/v1/queue')).depth === 2, 10000, 'two that wait');
  const refused = await chat('other');
  assert.equal(refused.status, 429);
  const queue = await get('/v1/queue');
  assert.equal(queue.waiting, 2);
  assert.deepEqual(queue.by_priority, [{ priority: 50, waiting: 2 }]);
  await until(async () => (await get('/v1/queue')).oldest_wait_ms > 0, 10000, 'the oldest wait');
  assert.match(await (await fetch(`${hub.url}/metrics`)).text(), /^hearth_requests_waiting 2$/m);

  assert.match((await hub.run(['explain', 'waits'])).stdout, /^it waits until hearth-tiny has finished/m);
  assert.match((await hub.run(['ps'])).stdout, /^other +chat +waiting .* 2 +when hearth-tiny has finished$/m);
  const top = (await hub.run(['top', '--once'])).stdout;
  assert.match(top, /^other +waiting +.* 0 +2 /m);
  assert.doesNotMatch(top, /the first for 0\.0 ms/);

  const unload = fetch(`${hub.url}/v1/models/hearth-tiny/unload`, { method: 'POST' });
  await until(async () => /^hearth-tiny .* leaving /m.test((await hub.run(['ps'])).stdout), 10000, 'leaving');
  long.abort();
  await running;
  assert.equal((await (await unload).json()).state, 'unloaded');
  assert.equal((await plain).status, 200);
  assert.match(await stream.text(), /^: loading 0\.00\n[^]*data: \[DONE\]/);
});
