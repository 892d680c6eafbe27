// What Hearth adds to every body is used on every surface that makes text or vectors: the priority, the
// deadline, the adapter, `deterministic`, `keep_alive`, who answers. The record of the request says what came of it.
// How each is read, and what is refused with which words, is tests/unit/api/test_call_terms.c's.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startHub, until } from './support/hearth.mjs';

const messages = [{ role: 'user', content: 'Who are you?' }];
const prompt = 'Who are you?';
const options = { num_predict: 16, temperature: 0 };
const sampled = { temperature: 0, seed: 1 };

const generating = {
  '/v1/chat/completions': { messages, max_tokens: 16, ...sampled },
  '/v1/completions': { prompt, max_tokens: 16, ...sampled },
  '/v1/messages': { model: '', messages, max_tokens: 16, temperature: 0 },
  '/v1/responses': { input: prompt, max_output_tokens: 16, ...sampled },
  '/api/chat': { model: 'hearth-tiny', messages, stream: false, options },
  '/api/generate': { model: 'hearth-tiny', prompt, stream: false, options },
  '/completion': { prompt, n_predict: 16, ...sampled },
  '/api/chat/completions': { messages, max_tokens: 16, ...sampled },
  '/api/v1/chat': { message: prompt, max_tokens: 16, ...sampled },
};
const computing = {
  '/v1/embeddings': ['hearth-tiny-embed', { input: 'x' }],
  '/api/embed': ['hearth-tiny-embed', { model: 'hearth-tiny-embed', input: 'x' }],
  '/api/embeddings': ['hearth-tiny-embed', { model: 'hearth-tiny-embed', prompt: 'x' }],
  '/v1/rerank': ['hearth-tiny-rerank', { query: 'x', documents: ['a', 'b'] }],
};

let hub;
let token;
let asked = 0;

async function send(path, body, headers = {}) {
  const auth = path.startsWith('/api/v1/') ? { Authorization: `Bearer ${token}` } : {};
  const r = await fetch(`${hub.url}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...auth, ...headers },
    body: JSON.stringify(body),
  });
  return { status: r.status, text: await r.text() };
}

/** Sends it, expects an answer; the record of the request. */
async function ask(path, body, headers = {}) {
  const id = `terms-${asked++}`;
  const r = await send(path, body, { ...headers, 'X-Request-Id': id });
  assert.equal(r.status, 200, `${path} ${JSON.stringify(body)}: ${r.text}`);
  return record(id);
}

async function record(id) {
  const r = await fetch(`${hub.url}/v1/requests/${id}`);
  assert.equal(r.status, 200, `${id}: ${await r.clone().text()}`);
  return r.json();
}

/** A request's keep_alive is its model's when it is over, which is a moment after its answer. */
const stays = (model, ms) => until(async () => {
  const list = await (await fetch(`${hub.url}/v1/models`)).json();
  return list.data.find((m) => m.id === model).meta.keep_alive_ms === ms;
}, 10000, `${model} staying for ${ms} ms`);

before(async () => {
  hub = await startHub({ env: { HEARTH_PARALLEL: '1' } });
  await until(async () => (await (await fetch(`${hub.url}/health`)).json()).model_state === 'ready', 30000, 'the model');
  const who = { username: 'ada', password: 'Correct-horse-battery-9' };
  await send('/api/v1/auth/register', who);
  token = JSON.parse((await send('/api/v1/auth/login', who)).text).access_token;
  assert.ok(token);
});
after(() => hub?.stop());

for (const [path, body] of Object.entries(generating)) {
  test(`POST ${path}`, async () => {
    assert.equal((await ask(path, { ...body, priority: 7 })).priority, 7);
    assert.equal((await ask(path, body, { 'X-Priority': '8' })).priority, 8);
    assert.equal((await ask(path, body)).priority, 50);

    assert.equal((await ask(path, { ...body, adapter: 'pirate' })).adapter, 'pirate');
    assert.equal((await ask(path, { ...body, adapter: 'pirate', adapter_scale: 0 })).adapter, null);
    assert.equal((await ask(path, body)).adapter, null);

    // What repeats comes from the cache, but for a deterministic request, which uses none.
    assert.ok((await ask(path, body)).cache.cached_tokens > 0);
    assert.equal((await ask(path, { ...body, deterministic: true })).cache.cached_tokens, 0);

    await ask(path, { ...body, keep_alive: '7m' });
    await stays('hearth-tiny', 420000);
    await ask(path, { ...body, keep_alive: -1 });
    await stays('hearth-tiny', -1);

    const refused = await send(path, { ...body, context_overflow: 'wrap' });
    assert.ok([400, 422].includes(refused.status), refused.text);
    assert.match(refused.text, /\/context_overflow: must be \\"stop\\" or \\"shift\\", got \\"wrap\\"/);
  });
}

test('deadlines: nothing waits longer than it says', async () => {
  const abort = new AbortController();
  const busy = await fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST',
    signal: abort.signal,
    headers: { 'X-Request-Id': 'busy' },
    body: JSON.stringify({ messages, stream: true, priority: 0, ignore_eos: true, max_tokens: -1, context_overflow: 'shift' }),
  });
  const over = busy.text().catch(() => null);
  await until(async () => (await record('busy')).state === 'decoding', 10000, 'decoding');
  await Promise.all(Object.entries(generating).map(async ([path, body]) => {
    const r = await send(path, { ...body, priority: 90, deadline_ms: 300 });
    assert.ok(r.status >= 400, `${path}: ${r.status} ${r.text}`);
    assert.match(r.text, /could not start by its deadline|must start within 0\.3 s/, path);
  }));
  assert.equal((await record('busy')).state, 'decoding');
  abort.abort();
  await over;
});

for (const [path, [model, body]] of Object.entries(computing)) {
  test(`POST ${path}`, async () => {
    assert.equal((await ask(path, { ...body, priority: 7 })).priority, 7);
    assert.equal((await ask(path, body, { 'X-Priority': '8' })).priority, 8);
    await ask(path, { ...body, keep_alive: '7m', deadline_ms: 60000 });
    await stays(model, 420000);
    const refused = await send(path, { ...body, deadline_ms: 0 });
    assert.equal(refused.status, 400);
    assert.match(refused.text, /\/deadline_ms: must be from 1 to 86400000, got 0/);
  });
}

test('who may answer is read of every body', async () => {
  const all = [...Object.entries(generating), ...Object.entries(computing).map(([path, [, body]]) => [path, body])];
  for (const [path, body] of all) {
    const r = await send(path, { ...body, model_source: 'nowhere' });
    assert.ok(r.status >= 400, `${path}: ${r.status} ${r.text}`);
    assert.match(r.text, /nowhere/, path);
  }
});
