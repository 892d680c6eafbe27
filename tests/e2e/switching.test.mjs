// Two models that do not fit beside each other: an answer that runs is paused for a request to the
// other one, and goes on when its model is back.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { root, startHub, tempDir, until } from './support/hearth.mjs';
import { killWorker, post, stream, workers } from './support/worker.mjs';

let hub;

before(async () => {
  const dir = tempDir();
  mkdirSync(join(dir, 'models'), { recursive: true });
  copyFileSync(join(root, 'models', 'hearth-tiny.gguf'), join(dir, 'models', 'other.gguf'));
  hub = await startHub({
    dir,
    env: { DEFAULT_MODEL: 'hearth-tiny', HEARTH_EXCLUSIVE: 'true', HEARTH_SWITCH_WAIT: '500ms' },
  });
});
after(() => hub?.stop());

const long = {
  model: 'hearth-tiny',
  messages: [{ role: 'user', content: 'Count' }],
  ignore_eos: true,
  temperature: 0,
  priority: 100,
};
const ask = (more) => post(hub, '/v1/chat/completions', {
  model: 'other', messages: [{ role: 'user', content: 'hi' }], max_tokens: 2, ...more,
});

test('an endless answer is paused for the other model, and goes on', async () => {
  const abort = new AbortController();
  const r = await fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST',
    signal: abort.signal,
    headers: { 'X-Request-Id': 'endless' },
    body: JSON.stringify({ ...long, stream: true, max_tokens: -1, context_overflow: 'shift' }),
  });
  let text = '';
  const body = (async () => {
    for await (const bytes of r.body) text += Buffer.from(bytes).toString();
  })().catch((e) => assert.equal(e.name, 'AbortError'));
  for (let i = 0; i < 3; i++) {
    // At first more than its context holds: what is paused has forgotten its beginning.
    const before = text.length;
    await until(() => text.length > before + (i ? 30000 : 300000), 60000, 'the answer going on');
    const other = await ask({ priority: i ? 100 : 0 });
    assert.equal(other.status, 200, JSON.stringify(other.body));
  }
  abort.abort();
  await body;
  assert.doesNotMatch(text, /"error"/);
  const log = hub.log.match(/hearth-tiny makes way for other/g);
  assert.equal(log.length, 3);
});

test('nothing is lost or told twice, whoever dies meanwhile', async () => {
  let asked = 0;
  const others = [];
  const answer = await stream(hub, { ...long, max_tokens: 600 }, async (n) => {
    if (n % 150 !== 0) return;
    asked++;
    others.push(ask());
    await others.at(-1);
    if (n === 300) await killWorker(hub);
  });
  assert.equal(answer.error, undefined);
  assert.equal(answer.usage.completion_tokens, 600);
  assert.equal(answer.finish, 'length');
  assert.ok(asked >= 2);
  for (const o of await Promise.all(others)) assert.equal(o.status, 200, JSON.stringify(o.body));
  assert.equal(workers(hub).length, 2);
});
