// Stored chat completions with OpenAI's own client.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import OpenAI, { BadRequestError, NotFoundError } from 'openai';

import { startHub, until } from './support/hearth.mjs';

let hub;
let client;

const MODEL = 'hearth-tiny';
const ASK = { model: MODEL, messages: [{ role: 'system', content: 'Be short.' }, { role: 'user', content: [{ type: 'text', text: 'Hello' }, { type: 'text', text: 'you' }] }], max_tokens: 6, temperature: 0, store: true };

before(async () => {
  hub = await startHub();
  client = new OpenAI({ baseURL: `${hub.url}/v1`, apiKey: 'any', maxRetries: 0 });
});
after(() => hub?.stop());

test('kept, fetched, changed, deleted', async () => {
  const r = await client.chat.completions.create({ ...ASK, metadata: { app: 'a' }, seed: 5, user: 'u' });
  const kept = await client.chat.completions.retrieve(r.id);
  for (const key of ['id', 'object', 'created', 'model', 'choices', 'usage', 'system_fingerprint']) assert.deepEqual(kept[key], r[key], key);
  assert.deepEqual(kept.metadata, { app: 'a' });
  assert.equal(kept.temperature, 0);
  assert.equal(kept.seed, 5);
  assert.equal(kept.input_user, 'u');
  assert.equal(kept.tools, null);
  assert.equal(kept.response_format, null);
  assert.match(kept.request_id, /./);
  const changed = await client.chat.completions.update(r.id, { metadata: { app: 'b', more: 'x' } });
  assert.deepEqual(changed.metadata, { app: 'b', more: 'x' });
  assert.deepEqual((await client.chat.completions.retrieve(r.id)).metadata, { app: 'b', more: 'x' });
  await assert.rejects(client.chat.completions.update(r.id, { metadata: { app: 7 } }), BadRequestError);
  assert.deepEqual(await client.chat.completions.delete(r.id), { id: r.id, object: 'chat.completion.deleted', deleted: true });
  await assert.rejects(client.chat.completions.retrieve(r.id), NotFoundError);
  await assert.rejects(client.chat.completions.delete(r.id), NotFoundError);
  await assert.rejects(client.chat.completions.update(r.id, { metadata: {} }), NotFoundError);
});

test('a stream is kept as a whole, under the id that it told', async () => {
  let id;
  let text = '';
  for await (const c of await client.chat.completions.create({ ...ASK, stream: true })) {
    id = c.id;
    text += c.choices[0]?.delta.content ?? '';
  }
  const kept = await client.chat.completions.retrieve(id);
  assert.equal(kept.object, 'chat.completion');
  assert.equal(kept.choices[0].message.content, text);
  assert.equal(kept.usage.completion_tokens, 6);
  assert.deepEqual(kept.metadata, {});
});

test('its messages', async () => {
  const r = await client.chat.completions.create(ASK);
  const messages = [];
  for await (const m of client.chat.completions.messages.list(r.id, { limit: 1 })) messages.push(m);
  assert.deepEqual(messages, [
    { id: `${r.id}-0`, role: 'system', content: 'Be short.', name: null, content_parts: null },
    { id: `${r.id}-1`, role: 'user', content: 'Hello\nyou', name: null, content_parts: ASK.messages[1].content },
  ]);
  const newest = await client.chat.completions.messages.list(r.id, { order: 'desc' });
  assert.deepEqual(newest.data.map((m) => m.role), ['user', 'system']);
  await assert.rejects(client.chat.completions.messages.list('chatcmpl-none'), NotFoundError);
});

test('the list: pages, order, filters', async () => {
  const ids = [];
  for (let i = 0; i < 5; i++) {
    ids.push((await client.chat.completions.create({ ...ASK, max_tokens: 1, metadata: { list: 'yes', odd: String(i % 2) } })).id);
  }
  const some = [];
  for await (const c of client.chat.completions.list({ limit: 2, metadata: { list: 'yes' } })) some.push(c.id);
  assert.deepEqual(some, ids);
  const odd = [];
  for await (const c of client.chat.completions.list({ metadata: { list: 'yes', odd: '1' }, order: 'desc' })) odd.push(c.id);
  assert.deepEqual(odd, [ids[3], ids[1]]);
  assert.deepEqual((await client.chat.completions.list({ metadata: { none: 'x' } })).data, []);
  assert.equal((await client.chat.completions.list({ model: 'other' })).data.length, 0);
  assert.ok((await client.chat.completions.list({ model: MODEL, limit: 3 })).data.length === 3);
  const page = await client.chat.completions.list({ limit: 2, order: 'desc' });
  assert.deepEqual(page.data.map((c) => c.id), [ids[4], ids[3]]);
  assert.equal(page.has_more, true);
  const raw = await (await fetch(`${hub.url}/v1/chat/completions?limit=2&order=desc`)).json();
  assert.deepEqual([raw.object, raw.first_id, raw.last_id, raw.has_more], ['list', ids[4], ids[3], true]);
  await assert.rejects(client.chat.completions.list({ limit: 0 }), BadRequestError);
  await assert.rejects(client.chat.completions.list({ after: 'chatcmpl-none' }), NotFoundError);
});

test('nothing is kept that nobody asked to keep, or that was not answered', async () => {
  const all = async () => {
    const ids = [];
    for await (const c of client.chat.completions.list({ limit: 100 })) ids.push(c.id);
    return ids.length;
  };
  const n = await all();
  await client.chat.completions.create({ ...ASK, store: undefined });
  await client.chat.completions.create({ ...ASK, store: false, metadata: { a: 'b' } });
  await assert.rejects(client.chat.completions.create({ ...ASK, model: 'nobody' }), NotFoundError);
  await assert.rejects(client.chat.completions.create({ ...ASK, metadata: { a: 1 } }), BadRequestError);
  const stream = await client.chat.completions.create({ ...ASK, max_tokens: 100000, stream: true, context_overflow: 'shift', ignore_eos: true });
  for await (const c of stream) if (c.choices[0]?.delta.content) break;
  await until(async () => (await (await fetch(`${hub.url}/health`)).json()).running === 0, 60000);
  assert.equal(await all(), n);
});
