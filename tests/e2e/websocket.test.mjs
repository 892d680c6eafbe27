// Chats over a WebSocket, /api/chat/ws, with a real client: what comes for each message, priorities, cancelling,
// what is refused, who may, and the hub's end.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import WebSocket from 'ws';

import { startHub, until } from './support/hearth.mjs';

const password = 'correct horse';
let hub;

before(async () => {
  hub = await startHub({ env: { HEARTH_PARALLEL: '1', ALLOWED_ORIGINS: 'https://app.example' } });
  await until(async () => (await get('/health')).model_state === 'ready', 30000, 'the model');
});
after(() => hub?.stop());

async function get(path) {
  const r = await fetch(`${hub.url}${path}`);
  assert.equal(r.status, 200, `${path}: ${await r.clone().text()}`);
  return r.json();
}

/** A client that keeps what comes: {say(object), next(), until(type), closed (a promise of the code)}. */
async function connect({ query = '', at = hub, ...options } = {}) {
  const socket = new WebSocket(`${at.url.replace('http', 'ws')}/api/chat/ws${query}`, options);
  const came = [];
  let waiting = null;
  socket.on('message', (data, binary) => {
    assert.equal(binary, false);
    came.push(JSON.parse(data.toString()));
    waiting?.();
  });
  const closed = new Promise((done) => { socket.on('close', (code) => { done(code); waiting?.(); }); });
  const opened = new Promise((done, fail) => { socket.on('open', done); socket.on('error', fail); });
  const client = {
    socket, closed,
    say: (message) => socket.send(typeof message === 'string' ? message : JSON.stringify(message)),
    async next() {
      while (!came.length) {
        assert.ok(socket.readyState === WebSocket.OPEN || socket.readyState === WebSocket.CONNECTING, 'it was closed');
        await new Promise((done) => { waiting = done; });
      }
      return came.shift();
    },
    /** All up to the one of this type. */
    async until(type) {
      const all = [];
      do all.push(await client.next()); while (all.at(-1).type !== type);
      return all;
    },
    async end() {
      socket.close();
      await closed;
    },
  };
  await opened;
  return client;
}

/** The status and text that a handshake is refused with. */
function refused(options = {}, at = hub, query = '') {
  return new Promise((done, fail) => {
    const socket = new WebSocket(`${at.url.replace('http', 'ws')}/api/chat/ws${query}`, options);
    socket.on('open', () => { socket.terminate(); fail(new Error('it was opened')); });
    socket.on('error', () => {});
    socket.on('unexpected-response', (request, response) => {
      let text = '';
      response.on('data', (d) => { text += d; });
      response.on('end', () => done({ status: response.statusCode, text }));
    });
  });
}

const chat = (text, more = {}) => ({ type: 'chat', messages: [{ role: 'user', content: text }], ...more });
const endless = { ignore_eos: true, max_tokens: -1, context_overflow: 'shift' };
const overHttp = async (question, max) => (await (await fetch(`${hub.url}/api/chat/completions`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(chat(question, { temperature: 0, max_tokens: max })),
})).json()).message.content;
const text = (messages) => messages.filter((m) => m.type === 'token').map((m) => m.content ?? '').join('');

test('a chat is answered piece by piece', async () => {
  const c = await connect();
  c.say(chat('What is the capital of France?', { temperature: 0, max_tokens: 12 }));
  const all = await c.until('done');
  const done = all.at(-1);
  assert.ok(all.filter((m) => m.type === 'token').length > 1);
  assert.ok(all.every((m) => ['queued', 'loading', 'token', 'done'].includes(m.type)));
  assert.equal(done.message.role, 'assistant');
  assert.equal(done.message.content, text(all));
  assert.equal(done.usage.completion_tokens + done.usage.prompt_tokens, done.usage.total_tokens);
  assert.match(done.finish_reason, /^(stop|length)$/);
  assert.equal(done.message.content, await overHttp('What is the capital of France?', 12));
  await c.end();
});

test('several are answered in their order, over one connection', async () => {
  const c = await connect();
  const questions = ['What is 2 + 2?', 'Name a colour.', 'Say hello.'];
  for (const q of questions) c.say(chat(q, { temperature: 0, max_tokens: 8 }));
  for (const q of questions) assert.equal(text(await c.until('done')), await overHttp(q, 8));
  await c.end();
});

// ---- priority ---------------------------------------------------------------------------------

test('the priority of a message, else that of the handshake, else the default', async () => {
  const c = await connect({ headers: { 'X-Priority': '23' } });
  const priorities = [];
  for (const more of [{ priority: 7 }, {}]) {
    c.say(chat('Hi', { max_tokens: 2, ...more }));
    const done = (await c.until('done')).at(-1);
    priorities.push((await get(`/v1/requests/${done.request_id}`)).priority);
  }
  await c.end();
  const plain = await connect();
  plain.say(chat('Hi', { max_tokens: 2 }));
  const done = (await plain.until('done')).at(-1);
  priorities.push((await get(`/v1/requests/${done.request_id}`)).priority);
  await plain.end();
  assert.deepEqual(priorities, [7, 23, 50]);
});

test('who waits is told so, and a lower number goes first', async () => {
  const busy = await connect();
  const low = await connect();
  const high = await connect();
  const order = [];
  busy.say(chat('Count', { ...endless, priority: 0 }));
  await busy.until('token');
  low.say(chat('I can wait', { max_tokens: 3, priority: 90 }));
  const queued = (await low.until('queued')).at(-1);
  assert.equal(typeof queued.position, 'number');
  assert.equal((await get(`/v1/requests/${queued.request_id}`)).state, 'waiting');
  high.say(chat('I can not', { max_tokens: 3, priority: 10 }));
  await high.until('queued');
  const ends = [low.until('done').then(() => order.push('low')), high.until('done').then(() => order.push('high'))];
  busy.say({ type: 'cancel' });
  await Promise.all(ends);
  assert.deepEqual(order, ['high', 'low']);
  await busy.until('cancelled');
  for (const c of [busy, low, high]) await c.end();
});

// ---- ending it --------------------------------------------------------------------------------

test('an answer is cancelled, what waits behind it is dropped, and it goes on', async () => {
  const c = await connect();
  c.say(chat('Count', endless));
  await c.until('token');
  c.say(chat('never said'));
  c.say({ type: 'cancel' });
  await c.until('cancelled');
  await until(async () => (await get('/health')).running === 0, 20000, 'an idle hub');
  const { data } = await get('/v1/requests?limit=1');
  assert.equal(data[0].cancelled_by, 'client');
  c.say(chat('Hi', { max_tokens: 2 }));
  const all = await c.until('done');
  assert.ok(all.every((m) => m.type !== 'error'));
  await c.end();
});

test('who leaves ends the generation', async () => {
  for (const leave of [(c) => c.socket.close(), (c) => c.socket.terminate()]) {
    const c = await connect();
    c.say(chat('Count', endless));
    await c.until('token');
    assert.equal((await get('/health')).running, 1);
    leave(c);
    await until(async () => (await get('/health')).running === 0, 20000, 'an idle hub');
  }
  await until(async () => /^hearth_http_sockets 0$/m.test(await (await fetch(`${hub.url}/metrics`)).text()), 10000, 'no socket');
});

// ---- what is refused --------------------------------------------------------------------------

test('a wrong message is answered with what is wrong, and the connection stays', async () => {
  const c = await connect();
  const wrong = [
    ['{"type": "chat", ', 'invalid_json', null],
    ['[1]', 'invalid_request', null],
    [{ messages: [] }, 'invalid_request', '/type'],
    [{ type: 'sing' }, 'invalid_request', '/type'],
    [{ type: 'chat' }, 'invalid_request', '/messages'],
    [chat('Hi', { priority: 101 }), 'invalid_request', '/priority'],
    [chat('Hi', { n: 2 }), 'invalid_request', '/n'],
    [chat('Hi', { model: 'nobody-has-it' }), 'model_not_found', null],
  ];
  for (const [message, code, param] of wrong) {
    c.say(message);
    const answer = await c.next();
    assert.equal(answer.type, 'error', JSON.stringify(answer));
    assert.equal(answer.error.code, code, JSON.stringify(answer));
    if (param) assert.equal(answer.error.param, param);
    assert.equal(answer.detail, answer.error.message);
    assert.match(answer.error.request_id, /^req-/);
  }
  c.say(chat('Hi', { max_tokens: 2 }));
  await c.until('done');
  await c.end();
});

test('bytes and messages that are too large close it, with the reason', async () => {
  const bytes = await connect();
  bytes.socket.send(Buffer.from([1, 2, 3]), { binary: true });
  assert.equal(await bytes.closed, 1003);
  const large = await connect();
  large.say(chat('x'.repeat(33 << 20)));
  assert.equal(await large.closed, 1009);
});

test('a request that is none for a WebSocket is told so', async () => {
  const r = await fetch(`${hub.url}/api/chat/ws`);
  assert.equal(r.status, 426);
  assert.equal(r.headers.get('upgrade'), 'websocket');
  assert.match((await r.json()).detail, /ws:\/\//);
});

test('pages of other origins may not, those that are allowed may', async () => {
  const r = await refused({ origin: 'https://evil.example' });
  assert.equal(r.status, 403);
  assert.match(r.text, /ALLOWED_ORIGINS/);
  await (await connect({ origin: 'https://app.example' })).end();
  await (await connect({ origin: hub.url })).end();
});

// ---- users ------------------------------------------------------------------------------------

test('where users are asked for, each message is asked for anew', async (t) => {
  const guarded = await startHub({ env: { HEARTH_AUTH: 'on', HEARTH_USER_REQUESTS_PER_DAY: '2' } });
  t.after(() => guarded.stop());
  const post = (path, body, token) => fetch(`${guarded.url}/api/v1${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  await post('/auth/register', { username: 'ada', password });
  const { access_token: token } = await (await post('/auth/login', { username: 'ada', password })).json();
  assert.equal((await refused({}, guarded)).status, 401);
  assert.equal((await refused({ headers: { Authorization: 'Bearer wrong' } }, guarded)).status, 401);
  assert.equal((await refused({}, guarded, '?access_token=wrong')).status, 401);
  const c = await connect({ at: guarded, headers: { Authorization: `Bearer ${token}` } });
  c.say(chat('Hi', { max_tokens: 2 }));
  await c.until('done');
  const page = await connect({ at: guarded, query: `?access_token=${token}` });
  page.say(chat('Hi', { max_tokens: 2 }));
  await page.until('done');
  page.say(chat('Hi', { max_tokens: 2 }));
  const refusal = await page.next();
  assert.equal(refusal.error.code, 'quota_exceeded');
  assert.ok(refusal.retry_after > 0);
  assert.equal((await post('/auth/logout', {}, token)).status, 204);
  c.say(chat('Hi', { max_tokens: 2 }));
  const last = await c.next();
  assert.equal(last.type, 'error');
  assert.equal(last.error.code, 'unauthorized');
  await c.end();
  await page.end();
});

// ---- the hub's end ----------------------------------------------------------------------------

test('a hub that stops ends what is said and says goodbye', async () => {
  const other = await startHub();
  await until(async () => (await (await fetch(`${other.url}/health`)).json()).model_state === 'ready', 30000, 'the model');
  const idle = await connect({ at: other });
  const busy = await connect({ at: other });
  busy.say(chat('Hi', { max_tokens: 40, ignore_eos: true }));
  await busy.until('token');
  const stopped = other.stop();
  assert.equal(await idle.closed, 1001);
  const done = (await busy.until('done')).at(-1);
  assert.equal(done.usage.completion_tokens, 40);
  assert.equal(await busy.closed, 1001);
  await stopped;
});
