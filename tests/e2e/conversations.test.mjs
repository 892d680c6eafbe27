// Chats under /api/v1 with the built-in model: answers whole and as streams, branches, stopping, a client
// that loses its connection, and a hub that is killed in the middle of an answer.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sleep, startHub, tempDir } from './support/hearth.mjs';

const password = 'correct horse';
const env = { JWT_SECRET_KEY: 'a key that stays the same over restarts' };
let hub;
let dir;
let token;

const auth = () => ({ authorization: `Bearer ${token}` });
const post = (path, body, extra = {}) => fetch(`${hub.url}/api/v1${path}`, {
  method: 'POST', headers: { ...auth(), 'content-type': 'application/json', ...extra.headers },
  body: JSON.stringify(body), signal: extra.signal,
});
const get = async (path) => (await fetch(`${hub.url}/api/v1${path}`, { headers: auth() })).json();

/** Reads server-sent events; onEvent may return true to leave. */
async function events(response, onEvent = () => false) {
  const list = [];
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body) {
    text += decoder.decode(chunk, { stream: true });
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      const event = {};
      for (const line of text.slice(0, end).split('\n')) {
        const colon = line.indexOf(':');
        if (colon > 0) event[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
      }
      if (!event.event) continue;
      const one = { id: Number.parseInt(event.id, 10), at: event.id, type: event.event, data: JSON.parse(event.data) };
      list.push(one);
      if (onEvent(one)) return list;
    }
  }
  return list;
}

const textOf = (list) => list.filter((e) => e.type === 'delta').map((e) => e.data.text).join('');

async function login() {
  await post('/auth/register', { username: 'ada', password });
  token = (await (await post('/auth/login', { username: 'ada', password })).json()).access_token;
}

before(async () => {
  dir = tempDir();
  hub = await startHub({ dir, env });
  await login();
});
after(() => hub?.stop());

test('a conversation, whole and as a stream, remembers', async () => {
  const first = await (await post('/chat', { message: 'What is the capital of France?', conversation_id: 'c1', temperature: 0 })).json();
  assert.equal(first.conversation_id, 'c1');
  assert.match(first.message.content, /Paris/);
  assert.equal(first.response, first.message.content);
  const list = await events(await post('/chat/stream', { message: 'What is the capital of Japan?', conversation_id: 'c1', temperature: 0 }));
  assert.deepEqual(list.map((e) => e.id), list.map((_, i) => i + 1));
  assert.equal(list[0].type, 'meta');
  assert.equal(list.at(-1).type, 'done');
  const usage = list.find((e) => e.type === 'usage').data;
  assert.ok(usage.prompt_tokens > 20, 'the history is in the prompt');
  const shown = await get('/conversations/c1');
  assert.deepEqual(shown.messages.map((m) => m.role), ['user', 'assistant', 'user', 'assistant']);
  assert.equal(shown.messages[3].content, textOf(list));
  assert.equal(shown.messages[3].meta.usage.completion_tokens, usage.completion_tokens);
  assert.equal(shown.conversation.title, 'What is the capital of France?');
});

test('asking again and editing make branches', async () => {
  const first = await (await post('/chat', { message: 'Say hello.', conversation_id: 'c2', temperature: 0 })).json();
  const again = await (await post('/chat', { conversation_id: 'c2', regenerate: true, temperature: 0 })).json();
  assert.notEqual(again.message_id, first.message_id);
  const edited = await (await post('/chat', { message: 'What is the capital of Italy?', conversation_id: 'c2', parent_id: first.message_id, temperature: 0 })).json();
  const all = (await get('/conversations/c2/messages?all=true')).messages;
  assert.equal(all.length, 5); // one question, two answers, another question and its answer
  const parents = Object.fromEntries(all.map((m) => [m.id, m.parent_id]));
  assert.equal(parents[first.message_id], parents[again.message_id]);
  assert.equal(parents[parents[edited.message_id]], first.message_id);
  const branch = (await get(`/conversations/c2/messages?leaf_id=${again.message_id}`)).messages;
  assert.deepEqual(branch.map((m) => m.id).slice(-1), [again.message_id]);
});

test('what is refused', async () => {
  const cases = [
    [{}, 422, '/message'],
    [{ message: '' }, 422, '/message'],
    [{ regenerate: true }, 422, '/conversation_id'],
    [{ message: 'x', regenerate: true, conversation_id: 'c1' }, 422, '/regenerate'],
    [{ message: 'x', model_source: 'nowhere' }, 422, '/model_source'],
    [{ message: 'x', temperature: -1 }, 422, '/temperature'],
    [{ message: 'x', conversation_id: 'c1', parent_id: 'none' }, 422, '/parent_id'],
    [{ message: 'x', model: 'none-such' }, 404, '/model'],
    [{ regenerate: true, conversation_id: 'none' }, 404, undefined],
  ];
  for (const [body, status, param] of cases) {
    const r = await post('/chat', body);
    const json = await r.json();
    assert.equal(r.status, status, `${JSON.stringify(body)}: ${JSON.stringify(json)}`);
    assert.equal(json.error.details[0]?.param, param);
  }
});

const long = { message: 'Count from one to five hundred.', temperature: 1.5, seed: 7, max_tokens: 900 };

test('a stopped answer stays as far as it came', async () => {
  let id;
  const list = await events(await post('/chat/stream', { ...long, conversation_id: 'c3', model: 'hearth-tiny' }), (e) => {
    if (e.type === 'meta') id = e.data.message_id;
    if (e.id === 8) post(`/chat/${id}/stop`, {});
    return false;
  });
  const last = list.at(-1);
  assert.equal(last.type, 'done', JSON.stringify(last));
  const message = (await get('/conversations/c3')).messages[1];
  assert.equal(message.content, textOf(list));
  if (last.data.finish_reason === 'cancelled') assert.equal(message.status, 'stopped');
  assert.equal((await post(`/chat/${id}/stop`, {})).status, 404); // it is over
});

test('a client that lost its connection goes on where it was', async () => {
  const leave = new AbortController();
  let id;
  const seen = await events(await post('/chat/stream', { ...long, conversation_id: 'c4' }, { signal: leave.signal }), (e) => {
    if (e.type === 'meta') id = e.data.message_id;
    return e.type === 'delta';
  });
  leave.abort();
  const rest = await events(await fetch(`${hub.url}/api/v1/chat/stream/${id}`, { headers: { ...auth(), 'last-event-id': seen.at(-1).at } }));
  assert.equal(rest[0].id, seen.length + 1);
  assert.equal(rest.at(-1).type, 'done');
  const message = (await get('/conversations/c4')).messages[1];
  assert.equal(message.content, textOf(seen) + textOf(rest));
  const other = await fetch(`${hub.url}/api/v1/chat/stream/${id}`, { headers: { ...auth(), 'last-event-id': 'x' } });
  assert.equal(other.status, 422);
  assert.equal((await fetch(`${hub.url}/api/v1/chat/stream/none`, { headers: auth() })).status, 404);
});

test('many users at once get their own answers', async () => {
  const questions = ['France', 'Japan', 'Italy', 'Spain'];
  const answers = await Promise.all(Array.from({ length: 12 }, async (_, i) => {
    const r = await post('/chat', { message: `What is the capital of ${questions[i % 4]}?`, temperature: 0 });
    assert.equal(r.status, 200);
    return (await r.json()).message.content;
  }));
  for (let i = 4; i < 12; i++) assert.equal(answers[i], answers[i % 4]);
  assert.match(answers[0], /Paris/);
});

test('a hub that is killed keeps what was said', async () => {
  let id;
  const seen = [];
  const reading = post('/chat/stream', { ...long, conversation_id: 'c5' }).then((r) => events(r, (e) => {
    if (e.type === 'meta') id = e.data.message_id;
    seen.push(e);
    return false;
  })).catch(() => {});
  for (let i = 0; i < 200 && seen.length < 20; i++) await sleep(20);
  hub.child.kill('SIGKILL');
  await reading;
  hub = await startHub({ dir, env });
  const shown = (await get('/conversations/c5')).messages;
  assert.equal(shown[0].content, long.message); // acknowledged, so it is there
  assert.notEqual(shown[1].status, 'streaming');
  const list = await events(await fetch(`${hub.url}/api/v1/chat/stream/${id}`, { headers: auth() }));
  assert.equal(textOf(list), shown[1].content);
  assert.ok(['error', 'done'].includes(list.at(-1).type));
  const again = await (await post('/chat', { conversation_id: 'c5', regenerate: true, temperature: 0, max_tokens: 20 })).json();
  assert.ok(again.message.content);
});
