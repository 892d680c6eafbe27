// Privacy pins: what is marked to stay on this machine never reaches a provider elsewhere, by
// whatever it was marked and through whichever surface it comes; without a pin it does.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runHearth, sleep, startHub, tempDir } from './support/hearth.mjs';
import { answered, call, refused } from './support/pinned.mjs';
import { startUpstream } from './support/upstream.mjs';

const password = 'correct horse';
let hub;
let cloud;
let dir;
let file;
const tokens = {};
const ids = {};

/** Runs it; nothing may have reached the cloud meanwhile. */
async function stays(what, run) {
  const { connections, requests } = { connections: cloud.connections, requests: cloud.requests.length };
  const result = await run();
  assert.equal(cloud.requests.length, requests, `${what}: ${JSON.stringify(cloud.requests.at(-1))}`);
  assert.equal(cloud.connections, connections, `${what} connected`);
  return result;
}

async function api(who, method, path, body, headers = {}) {
  const r = await fetch(`${hub.url}/api/v1${path}`, {
    method,
    headers: { ...(tokens[who] && { authorization: `Bearer ${tokens[who]}` }), ...(body && { 'content-type': 'application/json' }), ...headers },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await r.text();
  return { status: r.status, text, json: /^[{[]/.test(text) ? JSON.parse(text) : null, headers: r.headers };
}

async function signUp(name) {
  ids[name] = (await api('', 'POST', '/auth/register', { username: name, password })).json.id;
  tokens[name] = (await api('', 'POST', '/auth/login', { username: name, password })).json.access_token;
}

async function everything(url, headers, refusals = [403]) {
  for (const one of answered) {
    const r = await stays(one.name, () => call(url, one, headers));
    assert.equal(r.status, 200, `${one.name}: ${r.text}`);
    const by = r.headers.get('x-hearth-provider');
    assert.ok(by === null || by === 'local', `${one.name} by ${by}`);
  }
  for (const one of refused) {
    const r = await stays(one.name, () => call(url, one, headers));
    assert.ok(r.status >= 400 && r.status < 500, `${one.name}: ${r.status} ${r.text}`);
    if (one.body.source || one.body.model_source || one.body.provider) {
      assert.ok(refusals.includes(r.status), `${one.name}: ${r.status} ${r.text}`);
      assert.match(r.text, /must stay on this machine|local_only/, one.name);
    }
  }
}

before(async () => {
  dir = tempDir();
  cloud = await startUpstream();
  cloud.answer = { text: 'From the cloud.' };
  file = join(dir, 'providers.json');
  writeFileSync(file, JSON.stringify({
    providers: { cloud: { kind: 'openai', base_url: `${cloud.url}/v1`, model: 'large', retries: 0 } },
    routes: {
      default: { chain: ['local', 'cloud'] },
      away: { chain: ['cloud'] },
      home: { chain: ['local', 'cloud'], local_only: true },
    },
  }));
  hub = await startHub({ dir, env: { HEARTH_PROVIDERS: file, JWT_SECRET_KEY: 'a key of this test' } });
  for (const name of ['ada', 'bob']) await signUp(name);
});
after(async () => {
  await hub?.stop();
  await cloud?.close();
});

test('without a pin the same calls do go out', async () => {
  for (const one of refused.filter((o) => /^\/v1\/(chat\/)?completions/.test(o.path) && !/picture/.test(o.name))) {
    const n = cloud.requests.length;
    const r = await call(hub.url, one);
    assert.equal(r.status, 200, `${one.name}: ${r.text}`);
    assert.equal(r.headers.get('x-hearth-provider'), 'cloud', one.name);
    assert.equal(cloud.requests.length, n + 1, one.name);
    assert.match(JSON.stringify(cloud.requests.at(-1).body), /Brindlemoor/);
  }
});

test('a request that is pinned by a header', () => everything(hub.url, { 'x-hearth-local': 'true' }));

test('a request that is pinned by its body, its goal or its route', async () => {
  const messages = [{ role: 'user', content: 'Brindlemoor' }];
  for (const pin of [{ local_only: true }, { optimization_goal: 'privacy' }, { route: 'home' }]) {
    const r = await stays(JSON.stringify(pin), () => call(hub.url, { path: '/v1/chat/completions', body: { model: 'no-such-model', messages, ...pin } }));
    assert.ok(r.status === 403 || r.status === 404, r.text);
    const near = await stays(JSON.stringify(pin), () => call(hub.url, { path: '/v1/chat/completions', body: { messages, max_tokens: 2, ...pin } }));
    assert.equal(near.status, 200, near.text);
    assert.equal(near.headers.get('x-hearth-provider'), 'local');
  }
});

test('a pin that can not be read is refused, and false takes none away', async () => {
  const one = { path: '/v1/chat/completions', body: { model: 'cloud/large', messages: [{ role: 'user', content: 'x' }], local_only: false } };
  const wrong = await stays('a wrong header', () => call(hub.url, one, { 'x-hearth-local': 'maybe' }));
  assert.equal(wrong.status, 400);
  assert.match(wrong.text, /X-Hearth-Local/);
  const pinned = await stays('local_only: false', () => call(hub.url, one, { 'x-hearth-local': 'yes' }));
  assert.equal(pinned.status, 403, pinned.text);
  assert.equal((await call(hub.url, one)).status, 200);
});

test('an API key that is pinned', async () => {
  const { json } = await api('ada', 'POST', '/auth/keys', { name: 'private', local_only: true });
  assert.equal(json.local_only, true);
  const plain = (await api('ada', 'POST', '/auth/keys', { name: 'plain' })).json;
  const chat = (key) => fetch(`${hub.url}/api/v1/chat`, {
    method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ message: 'Brindlemoor', model: 'no-such-model', conversation_id: undefined }),
  });
  assert.equal((await chat(plain.key)).status, 200);
  const r = await stays('a pinned key', () => chat(json.key));
  assert.ok(r.status === 403 || r.status === 404, String(r.status));
  const { keys } = (await api('ada', 'GET', '/auth/keys')).json;
  assert.deepEqual(keys.map((k) => [k.name, k.local_only]), [['plain', false], ['private', true]]);
});

test('a user who is pinned: from the command line, and only by admins', async () => {
  const away = { message: 'Brindlemoor', model: 'no-such-model' };
  assert.equal((await api('bob', 'POST', '/chat', away)).json.provider, 'cloud');
  assert.equal((await api('bob', 'PATCH', '/auth/me', { local_only: true })).json.local_only, false);
  const set = await runHearth(['users', 'local', 'bob', 'on'], { dir, env: hub.env });
  assert.equal(set.code, 0, set.stderr);
  assert.match(set.stdout, /nothing of bob leaves this machine/);
  assert.match((await runHearth(['users'], { dir, env: hub.env })).stdout, /^bob .*\blocal\b/m);
  assert.equal((await api('bob', 'GET', '/auth/me')).json.local_only, true);
  const r = await stays('a pinned user', () => api('bob', 'POST', '/chat', away));
  assert.ok(r.status === 403 || r.status === 404, r.text);
  const source = await stays('a pinned user', () => api('bob', 'POST', '/chat', { message: 'x', model_source: 'cloud' }));
  assert.equal(source.status, 403, source.text);
  assert.equal(source.json.error.code, 'local_only');
  assert.match((await runHearth(['users', 'local', 'bob', 'off'], { dir, env: hub.env })).stdout, /may be answered/);
  assert.equal((await api('bob', 'POST', '/chat', away)).status, 200);
});

test('a conversation that is pinned, by itself or by one of its turns', async () => {
  const say = (extra) => api('ada', 'POST', '/chat', { message: 'Brindlemoor', conversation_id: 'c', max_tokens: 4, ...extra });
  assert.equal((await say({ model_source: 'cloud' })).json.provider, 'cloud');
  const first = await stays('a pinned turn', () => say({ local_only: true }));
  assert.equal(first.json.provider, 'local');
  assert.equal((await api('ada', 'GET', '/conversations/c')).json.conversation.local_only, true);
  const next = await stays('the turn after it', () => say({ model_source: 'cloud' }));
  assert.equal(next.status, 403, next.text);
  assert.equal(next.json.error.code, 'local_only');
  assert.equal((await api('ada', 'PATCH', '/conversations/c', { local_only: false })).json.local_only, false);
  assert.equal((await say({ model_source: 'cloud' })).json.provider, 'cloud');
  assert.match(JSON.stringify(cloud.requests.at(-1).body.messages), /Brindlemoor.*From the cloud/);
  const made = await api('ada', 'POST', '/conversations', { id: 'p', local_only: true });
  assert.equal(made.json.local_only, true);
  const r = await stays('a pinned conversation', () => api('ada', 'POST', '/chat', { message: 'x', conversation_id: 'p', model_source: 'cloud' }));
  assert.equal(r.status, 403, r.text);
  const stream = await stays('the same as a stream', () => api('ada', 'POST', '/chat/stream', { message: 'x', conversation_id: 'p', model_source: 'cloud' }));
  assert.match(stream.text, /event: error\ndata: \{"code":"local_only"/);
});

async function upload(who, name, text, fields = {}) {
  const form = new FormData();
  for (const [key, value] of Object.entries(fields)) form.append(key, value);
  form.append('file', new Blob([text]), name);
  const r = await fetch(`${hub.url}/api/v1/files/upload`, { method: 'POST', headers: { authorization: `Bearer ${tokens[who]}` }, body: form });
  const json = await r.json();
  assert.ok(r.ok, JSON.stringify(json));
  for (;;) {
    const { json: state } = await api(who, 'GET', `/files/status/${json.file_id}`);
    if (state.status === 'ready') return json;
    assert.notEqual(state.status, 'failed', state.error);
    await sleep(50);
  }
}

test('an answer from a file that is pinned', async () => {
  const text = '# Brindlemoor\n\nThe Brindlemoor observatory was built in 1874 by Ottoline Harrow.\n';
  const one = await stays('indexing', () => upload('ada', 'secret.md', text, { local_only: 'true' }));
  assert.equal(one.local_only, true);
  const ask = (conversation, extra = {}) => api('ada', 'POST', '/chat', {
    message: 'Who built the Brindlemoor observatory?', file_ids: [one.file_id], model_source: 'cloud', conversation_id: conversation, ...extra,
  });
  const r = await stays('an answer from it', () => ask('f1'));
  assert.equal(r.status, 403, r.text);
  assert.equal(r.json.error.code, 'local_only');
  assert.equal((await api('ada', 'GET', '/conversations/f1')).json.conversation.local_only, true); // what it said would be in the next prompt
  const near = await stays('an answer of our own', () => ask('f2', { model_source: 'local', max_tokens: 4 }));
  assert.equal(near.json.provider, 'local');
  assert.equal(near.json.sources[0].file_id, one.file_id);
  const after_ = await stays('the turn after it', () => api('ada', 'POST', '/chat', { message: 'And when?', model_source: 'cloud', conversation_id: 'f2' }));
  assert.equal(after_.status, 403, after_.text);
  const off = await api('ada', 'PATCH', `/files/${one.file_id}`, { local_only: false });
  assert.equal(off.json.local_only, false);
  assert.equal((await ask('f3')).json.provider, 'cloud');
  assert.match(JSON.stringify(cloud.requests.at(-1).body), /Ottoline Harrow/);
  assert.equal((await api('ada', 'PATCH', `/files/${one.file_id}`, { local_only: 'no' })).status, 422);
  assert.equal((await api('bob', 'PATCH', `/files/${one.file_id}`, { local_only: true })).status, 404);
  const wrong = await fetch(`${hub.url}/api/v1/files/upload`, {
    method: 'POST', headers: { authorization: `Bearer ${tokens.ada}` },
    body: (() => { const f = new FormData(); f.append('local_only', 'perhaps'); f.append('file', new Blob(['y']), 'y.txt'); return f; })(),
  });
  assert.equal(wrong.status, 422);
});

test('sources are not asked for a caller who is pinned', async () => {
  const open = await api('ada', 'GET', '/models/status');
  assert.equal(open.json.cloud.status, 'available');
  const r = await stays('states', () => api('ada', 'GET', '/models/status', undefined, { 'x-hearth-local': 'true' }));
  assert.equal(r.json.cloud.status, 'pinned');
  assert.equal(r.json.local.status, 'available');
  const list = await stays('a list', () => api('ada', 'GET', '/models/list?mode=cloud', undefined, { 'x-hearth-local': 'true' }));
  assert.equal(list.status, 403);
  assert.equal(list.json.error.code, 'local_only');
  const all = await stays('all lists', () => api('ada', 'GET', '/models/list', undefined, { 'x-hearth-local': 'true' }));
  assert.equal(all.json.errors.cloud.code, 'local_only');
  assert.ok(all.json.models.every((m) => m.source === 'local'));
});

test('HEARTH_PRIVACY=local pins everything, whatever a request says', async () => {
  const pinned = await startHub({ env: { HEARTH_PROVIDERS: file, HEARTH_PRIVACY: 'local' } });
  try {
    await everything(pinned.url, { 'x-hearth-local': 'false' });
  } finally {
    await pinned.stop();
  }
});
