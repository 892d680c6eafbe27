// Who may call what: every route of the hub, with authentication on, as nobody, with tokens that are expired,
// forged, unsigned or revoked, as a disabled user, with a key without the scope, as a stranger and as no admin.
// A route that has no row here fails the test.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, test } from 'node:test';
import { runHearth, startHub, tempDir } from './support/hearth.mjs';

// Each row: who may. `public`: anybody; `user`: whoever has an account; `owned`: whose it is, a stranger gets
// 404; `admin`. Then the scope that an API key needs, and the body of a call that is right.
const rows = {
  'GET /health': ['public'],
  'GET /': ['public'],
  'GET /openapi.json': ['public'],
  'GET /docs': ['public'],
  'GET /redoc': ['public'],
  'GET /assets/{file}': ['public'],
  'GET /metrics': ['admin', 'metrics'],
  'POST /v1/route': ['user', 'chat', { messages: [{ role: 'user', content: 'hi' }] }],
  'GET /v1/route/log': ['user', 'requests'],
  'POST /v1/chat/completions': ['user', 'chat', { messages: [{ role: 'user', content: 'hi' }], max_tokens: 1 }],
  'GET /v1/chat/completions': ['user', 'chat'],
  'GET /v1/chat/completions/{id}': ['owned', 'chat'],
  'POST /v1/chat/completions/{id}': ['owned', 'chat', { metadata: {} }],
  'DELETE /v1/chat/completions/{id}': ['owned', 'chat'],
  'GET /v1/chat/completions/{id}/messages': ['owned', 'chat'],
  'POST /v1/responses': ['user', 'chat', { input: 'hi', max_output_tokens: 1 }],
  'GET /v1/responses/{id}': ['owned', 'chat'],
  'DELETE /v1/responses/{id}': ['owned', 'chat'],
  'POST /v1/responses/{id}/cancel': ['owned', 'chat', {}],
  'GET /v1/responses/{id}/input_items': ['owned', 'chat'],
  'POST /v1/files': ['user', 'files', {}],
  'GET /v1/files': ['user', 'files'],
  'GET /v1/files/{id}': ['owned', 'files'],
  'DELETE /v1/files/{id}': ['owned', 'files'],
  'GET /v1/files/{id}/content': ['owned', 'files'],
  'POST /v1/batches': ['user', 'chat', {}],
  'GET /v1/batches': ['user', 'chat'],
  'GET /v1/batches/{id}': ['owned', 'chat'],
  'POST /v1/batches/{id}/cancel': ['owned', 'chat', {}],
  'POST /v1/completions': ['user', 'chat', { prompt: 'hi', max_tokens: 1 }],
  'POST /completion': ['user', 'chat', { prompt: 'hi', n_predict: 1 }],
  'POST /completions': ['user', 'chat', { prompt: 'hi', n_predict: 1 }],
  'POST /infill': ['user', 'chat', { input_prefix: 'a' }],
  'POST /tokenize': ['user', 'chat', { content: 'hi' }],
  'POST /detokenize': ['user', 'chat', { tokens: [1] }],
  'POST /apply-template': ['user', 'chat', { messages: [{ role: 'user', content: 'hi' }] }],
  'GET /props': ['user', 'models'],
  'GET /slots': ['user', 'requests'],
  'POST /v1/messages': ['user', 'chat', { model: '', max_tokens: 1, messages: [{ role: 'user', content: 'hi' }] }],
  'POST /v1/messages/count_tokens': ['user', 'chat', { model: '', messages: [{ role: 'user', content: 'hi' }] }],
  'POST /v1/embeddings': ['user', 'embed', { input: 'hi' }],
  'POST /v1/rerank': ['user', 'embed', { query: 'hi', documents: ['a'] }],
  'POST /v2/rerank': ['user', 'embed', { query: 'hi', documents: ['a'] }],
  'GET /v1/models': ['user', 'models'],
  'GET /v1/models/{id}': ['user', 'models'],
  'POST /v1/models/plan': ['user', 'models', { model: 'hearth-tiny' }],
  'POST /v1/models/{id}/load': ['admin', 'models', {}],
  'POST /v1/models/{id}/unload': ['admin', 'models', {}],
  'GET /api/health': ['public'],
  'GET /api/models': ['user', 'models'],
  'POST /api/models/{id}/load': ['admin', 'models', {}],
  'POST /api/models/{id}/unload': ['admin', 'models', {}],
  'GET /api/chat/ws': ['user', 'chat'],
  'POST /api/chat/completions': ['user', 'chat', { messages: [{ role: 'user', content: 'hi' }], max_tokens: 1 }],
  'POST /api/chat/completions/stream': ['user', 'chat', { messages: [{ role: 'user', content: 'hi' }], max_tokens: 1 }],
  'GET /adapters': ['user', 'models'],
  'POST /adapters/load': ['admin', 'models', { adapter_name: 'base' }],
  'GET /v1/queue': ['user', 'requests'],
  'GET /v1/cache': ['user', 'requests'],
  'GET /v1/requests': ['user', 'requests'],
  'GET /v1/requests/{id}': ['owned', 'requests'],
  'DELETE /v1/requests/{id}': ['owned', 'requests'],
  'POST /v1/requests/{id}/cancel': ['owned', 'requests', {}],
  'POST /api/chat': ['user', 'chat', { model: 'hearth-tiny', messages: [{ role: 'user', content: 'hi' }], options: { num_predict: 1 } }],
  'POST /api/generate': ['user', 'chat', { model: 'hearth-tiny', prompt: 'hi', options: { num_predict: 1 } }],
  'POST /api/embed': ['user', 'embed', { model: 'hearth-tiny-embed', input: 'hi' }],
  'POST /api/embeddings': ['user', 'embed', { model: 'hearth-tiny-embed', prompt: 'hi' }],
  'GET /api/tags': ['user', 'models'],
  'POST /api/show': ['user', 'models', { model: 'hearth-tiny' }],
  'GET /api/ps': ['user', 'models'],
  'GET /api/version': ['public'],
  'POST /api/pull': ['admin', 'models', { model: 'x' }],
  'POST /api/push': ['admin', 'models', { model: 'x' }],
  'POST /api/create': ['admin', 'models', { model: 'x', from: 'hearth-tiny' }],
  'POST /api/copy': ['admin', 'models', { source: 'hearth-tiny', destination: 'x' }],
  'DELETE /api/delete': ['admin', 'models', { model: 'x' }],
  'GET /api/blobs/{digest}': ['admin', 'models'],
  'POST /api/blobs/{digest}': ['admin', 'models', {}],
  'POST /api/v1/auth/register': ['public'],
  'POST /api/v1/auth/login': ['public'],
  'POST /api/v1/auth/refresh': ['public'],
  'POST /api/v1/auth/logout': ['user', 'account'],
  'GET /api/v1/auth/me': ['user', ''],
  'PATCH /api/v1/auth/me': ['user', 'account', {}],
  'POST /api/v1/auth/password': ['user', 'account', {}],
  'GET /api/v1/auth/keys': ['user', 'account'],
  'POST /api/v1/auth/keys': ['user', 'account', {}],
  'DELETE /api/v1/auth/keys/{id}': ['owned', 'account'],
  'POST /api/v1/auth/invitations': ['admin', 'admin', {}],
  'GET /api/v1/users': ['admin', 'admin'],
  'POST /api/v1/users': ['admin', 'admin', {}],
  'GET /api/v1/users/{id}': ['admin', 'admin'],
  'PATCH /api/v1/users/{id}': ['admin', 'admin', {}],
  'DELETE /api/v1/users/{id}': ['admin', 'admin'],
  'GET /api/v1/audit': ['admin', 'admin'],
  'GET /api/v1/stats/user': ['user', 'account'],
  'GET /api/v1/stats/system': ['admin', 'admin'],
  'GET /api/v1/conversations': ['user', 'conversations'],
  'POST /api/v1/conversations': ['user', 'conversations', { title: 'x' }],
  'POST /api/v1/conversations/import': ['user', 'conversations', []],
  'GET /api/v1/conversations/{id}': ['owned', 'conversations'],
  'PATCH /api/v1/conversations/{id}': ['owned', 'conversations', {}],
  'DELETE /api/v1/conversations/{id}': ['owned', 'conversations'],
  'GET /api/v1/conversations/{id}/messages': ['owned', 'conversations'],
  'GET /api/v1/conversations/{id}/export': ['owned', 'conversations'],
  'POST /api/v1/chat': ['user', 'chat', { message: 'hi', max_tokens: 1 }],
  'POST /api/v1/chat/stream': ['user', 'chat', { message: 'hi', max_tokens: 1 }],
  'GET /api/v1/chat/stream/{id}': ['owned', 'chat'],
  'POST /api/v1/chat/{id}/stop': ['owned', 'chat', {}],
  'POST /api/v1/search': ['user', 'files', { query: 'x' }],
  'GET /api/v1/models/list': ['user', 'models'],
  'GET /api/v1/models/status': ['user', 'models'],
  'GET /api/v1/jobs': ['user', 'jobs'],
  'GET /api/v1/jobs/{id}': ['owned', 'jobs'],
  'POST /api/v1/jobs/{id}/cancel': ['owned', 'jobs', {}],
  'POST /api/v1/jobs/{id}/retry': ['owned', 'jobs', {}],
  'POST /api/v1/files/upload': ['user', 'files', {}],
  'GET /api/v1/files': ['user', 'files'],
  'GET /api/v1/files/status/{id}': ['owned', 'files'],
  'GET /api/v1/files/{id}': ['owned', 'files'],
  'PATCH /api/v1/files/{id}': ['owned', 'files', { local_only: true }],
  'GET /api/v1/files/{id}/content': ['owned', 'files'],
  'POST /api/v1/files/{id}/reindex': ['owned', 'files', {}],
  'DELETE /api/v1/files/{id}': ['owned', 'files'],
  'GET /api/v1/collections': ['user', 'files'],
  'POST /api/v1/collections': ['user', 'files', {}],
  'GET /api/v1/collections/{id}': ['owned', 'files'],
  'DELETE /api/v1/collections/{id}': ['owned', 'files'],
};
const hidden = ['GET /docs', 'GET /redoc', 'GET /assets/{file}']; // not in the document
const openScopes = ['chat', 'embed', 'models', 'conversations', 'files', 'jobs', 'requests', 'account'];

const secret = 'a key that only the hub and this test know';
const password = 'correct horse';
const marker = 'plans that are nobody\'s business';
let hub;
let dir;
const who = {}; // name -> { token, id }
const objects = {}; // the start of a path -> an id of the owner's

async function call(method, path, { token, key, body, headers = {} } = {}) {
  const h = { ...headers };
  if (token) h.authorization = `Bearer ${token}`;
  if (key) h['x-api-key'] = key;
  if (body !== undefined) h['content-type'] = 'application/json';
  const r = await fetch(hub.url + path, { method, headers: h, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await r.text();
  let json = null;
  try { json = JSON.parse(text); } catch { /* a page, a stream */ }
  return { status: r.status, text, json, headers: r.headers };
}

async function account(username) {
  await call('POST', '/api/v1/auth/register', { body: { username, password } });
  const r = await call('POST', '/api/v1/auth/login', { body: { username, password } });
  assert.equal(r.status, 200, r.text);
  const token = r.json.access_token;
  const { json } = await call('GET', '/api/v1/auth/me', { token });
  return { token, id: json.id };
}

function jwt(claims, alg = 'HS256', key = secret) {
  const part = (o) => Buffer.from(JSON.stringify(o)).toString('base64url');
  const head = `${part({ alg, typ: 'JWT' })}.${part(claims)}`;
  return `${head}.${alg === 'none' ? '' : createHmac('sha256', key).update(head).digest('base64url')}`;
}

const newKey = async (token, body) => (await call('POST', '/api/v1/auth/keys', { token, body })).json;

before(async () => {
  dir = tempDir();
  hub = await startHub({ dir, args: ['--no-preload'], env: { JWT_SECRET_KEY: secret, HEARTH_AUTH: 'on' } });
  for (const name of ['owner', 'stranger', 'leaver', 'outcast']) who[name] = await account(name);
  who.outcast.key = (await newKey(who.outcast.token, { name: 'k' })).key;
  who.stranger.dead = await newKey(who.stranger.token, { name: 'dead' });
  await call('DELETE', `/api/v1/auth/keys/${who.stranger.dead.id}`, { token: who.stranger.token });
  await call('POST', '/api/v1/auth/logout', { token: who.leaver.token });
  assert.equal((await runHearth(['users', 'disable', 'outcast'], { dir })).code, 0);
  const { token } = who.owner;
  const made = await call('POST', '/api/v1/chat', { token, body: { message: marker, max_tokens: 4 }, headers: { 'x-request-id': 'req-private' } });
  assert.equal(made.status, 200, made.text);
  const kept = await newKey(token, { name: marker });
  const form = new FormData();
  form.append('file', new Blob([marker]), `${marker}.txt`);
  const file = await (await fetch(`${hub.url}/api/v1/files/upload`, {
    method: 'POST', headers: { authorization: `Bearer ${token}` }, body: form,
  })).json();
  const jobs = (await call('GET', '/api/v1/jobs', { token })).json.jobs;
  const ask = { messages: [{ role: 'user', content: marker }], max_tokens: 1, store: true };
  const stored = (await call('POST', '/v1/chat/completions', { token, body: ask })).json;
  const response = (await call('POST', '/v1/responses', { token, body: { input: marker, max_output_tokens: 1 } })).json;
  const lines = new FormData();
  const line = { custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body: { messages: ask.messages, max_tokens: 1 } };
  lines.append('purpose', 'batch');
  lines.append('file', new Blob([`${JSON.stringify(line)}\n`]), 'lines.jsonl');
  const input = await (await fetch(`${hub.url}/v1/files`, {
    method: 'POST', headers: { authorization: `Bearer ${token}` }, body: lines,
  })).json();
  const batch = (await call('POST', '/v1/batches', {
    token, body: { input_file_id: input.id, endpoint: '/v1/chat/completions', completion_window: '24h' },
  })).json;
  Object.assign(objects, {
    '/v1/requests': 'req-private',
    '/v1/models': 'hearth-tiny',
    '/v1/chat/completions': stored.id,
    '/v1/responses': response.id,
    '/v1/files': input.id,
    '/v1/batches': batch.id,
    '/api/blobs': `sha256:${'0'.repeat(64)}`,
    '/api/models': 'hearth-tiny',
    '/assets': 'index.html',
    '/api/v1/conversations': made.json.conversation_id,
    '/api/v1/chat': made.json.message_id,
    '/api/v1/auth/keys': kept.id,
    '/api/v1/users': who.owner.id,
    '/api/v1/jobs': jobs[0].id,
    '/api/v1/files': file.id,
    '/api/v1/collections': file.collection_id,
  });
});
after(() => hub?.stop());

const split = (route) => route.split(' ');
function pathOf(route) {
  const template = split(route)[1];
  if (!template.includes('{')) return template;
  const start = Object.keys(objects).filter((k) => template.startsWith(k)).sort((a, b) => b.length - a.length)[0];
  assert.ok(start, `which object for ${route}?`);
  return template.replace(/\{[^}]+\}/, encodeURIComponent(objects[start]));
}

function noLeak(r, what) {
  for (const word of [marker, who.owner.id, 'owner', objects['/api/v1/conversations']]) {
    assert.ok(!r.text.includes(word), `${what} tells "${word}": ${r.text}`);
  }
  if (/ \/api\/(?!v1\/|models|chat\/(completions|ws))/.test(what)) { // Ollama's: words, the id is in the header
    assert.ok(typeof r.json?.error === 'string' && r.headers.get('x-request-id'), `${what}: ${r.text}`);
    return;
  }
  const error = r.json?.error; // Anthropic's names the class, and has the id outside
  assert.ok((error?.code || error?.type) && (error.request_id || r.json.request_id), `${what}: ${r.text}`);
}

test('every route has a row, and says the same of itself', async () => {
  const { json: spec } = await call('GET', '/openapi.json');
  const seen = new Set(hidden);
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, op] of Object.entries(methods)) {
      const route = `${method.toUpperCase()} ${path}`;
      seen.add(route);
      const row = rows[route];
      assert.ok(row, `${route} has no row in this test: who may call it?`);
      assert.equal(op.security?.length === 0, row[0] === 'public', `${route}: public?`);
      assert.equal(op['x-admin'] === true, row[0] === 'admin', `${route}: admins only?`);
      if (row[0] !== 'public') assert.equal(op['x-scope'] ?? '', row[1], `${route}: scope`);
    }
  }
  assert.deepEqual(Object.keys(rows).filter((r) => !seen.has(r)), [], 'rows of routes that are gone');
});

test('nobody, and who is none: 401', async () => {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: who.owner.id, iss: 'hearth', ver: 0, iat: now, exp: now + 600 };
  const good = jwt(claims);
  assert.equal((await call('GET', '/api/v1/auth/me', { token: good })).status, 200); // the forger's tools work
  const callers = {
    nobody: {},
    expired: { token: jwt({ ...claims, exp: now - 1 }) },
    forged: { token: jwt(claims, 'HS256', 'another key') },
    'alg none': { token: jwt(claims, 'none') },
    'of another issuer': { token: jwt({ ...claims, iss: 'x' }) },
    'of a user who never was': { token: jwt({ ...claims, sub: '00000000-0000-4000-8000-000000000000' }) },
    'logged out': { token: who.leaver.token },
    'a disabled user': { token: who.outcast.token },
    'a disabled user\'s key': { key: who.outcast.key },
    'a revoked key': { key: who.stranger.dead.key },
    'a made-up key': { key: 'hk_0000000000000000000000000000000000000000' },
    'a password': { headers: { authorization: `Basic ${Buffer.from(`owner:${password}`).toString('base64')}` } },
    empty: { headers: { authorization: '' } },
  };
  for (const [route, [kind, , body]] of Object.entries(rows)) {
    const [method] = split(route);
    const path = pathOf(route);
    for (const [name, options] of Object.entries(callers)) {
      const r = await call(method, path, { ...options, body: method === 'GET' || method === 'DELETE' ? undefined : body ?? {} });
      const what = `${route} as ${name}`;
      if (kind === 'public') {
        assert.notEqual(r.status, 403, what);
        if (!path.includes('/auth/')) assert.equal(r.status, 200, what);
        continue;
      }
      assert.equal(r.status, 401, `${what}: ${r.text}`);
      assert.equal(r.headers.get('www-authenticate'), 'Bearer');
      noLeak(r, what);
    }
  }
});

test('a key without the scope: 403; with it, as its user', async () => {
  const { token } = who.stranger;
  const keys = {};
  for (const scope of openScopes) keys[scope] = (await newKey(token, { name: `only ${scope}`, scopes: [scope] })).key;
  for (const [route, [kind, scope, body]] of Object.entries(rows)) {
    if (kind === 'public') continue;
    const [method] = split(route);
    const options = { body: method === 'GET' || method === 'DELETE' ? undefined : body ?? {} };
    const path = pathOf(route);
    for (const other of openScopes) {
      if (other === scope && (kind === 'user' || route.includes('logout'))) continue;
      const r = await call(method, path, { ...options, key: keys[other] });
      const allowed = scope === '' || other === scope;
      const wanted = !allowed || kind === 'admin' ? 403 : kind === 'owned' && !route.includes('/auth/keys') ? 404 : undefined;
      if (scope === '') assert.equal(r.status, 200, `${route} with ${other}`);
      else if (wanted) assert.equal(r.status, wanted, `${route} with a key for ${other}: ${r.text}`);
      if (wanted) noLeak(r, `${route} with a key for ${other}`);
    }
    if (kind !== 'user' || !scope || route.includes('logout')) continue;
    const r = await call(method, path, { ...options, key: keys[scope] });
    assert.ok(![401, 404, 429].includes(r.status) && r.status < 500, `${route} with its scope: ${r.status} ${r.text}`);
  }
  // A key must not make itself another, larger one.
  assert.equal((await call('POST', '/api/v1/auth/keys', { key: keys.account, body: { name: 'larger' } })).status, 403);
  assert.equal((await call('POST', '/api/v1/auth/keys', { token, body: { name: 'x', scopes: ['root'] } })).status, 422);
});

test('strangers find nothing: 404; users are no admins: 403', async () => {
  const { token } = who.stranger;
  for (const [route, [kind, , body]] of Object.entries(rows)) {
    const [method] = split(route);
    const r = kind === 'owned' || kind === 'admin'
      ? await call(method, pathOf(route), { token, body: method === 'GET' || method === 'DELETE' ? undefined : body ?? {} }) : null;
    if (!r) continue;
    assert.equal(r.status, kind === 'owned' ? 404 : 403, `${route}: ${r.text}`);
    noLeak(r, `${route} as ${kind === 'owned' ? 'a stranger' : 'no admin'}`);
  }
  for (const path of ['/api/v1/conversations', '/api/v1/conversations?search=plans', '/api/v1/auth/keys', '/v1/requests', '/api/v1/jobs', '/api/v1/files', '/api/v1/collections', '/api/v1/stats/user']) {
    const r = await call('GET', path, { token });
    assert.equal(r.status, 200, path);
    for (const word of [marker, 'req-private', who.owner.id, objects['/api/v1/conversations']]) assert.ok(!r.text.includes(word), `${path} tells ${word}`);
  }
  const taken = await call('POST', '/api/v1/chat', { token, body: { message: 'x', conversation_id: objects['/api/v1/conversations'] } });
  assert.equal(taken.status, 409);
  noLeak({ ...taken, text: taken.text.replaceAll(objects['/api/v1/conversations'], '') }, 'an id that is taken');
});

test('whose it is, and admins, may', async () => {
  const { token } = who.owner;
  for (const path of [`/v1/requests/${objects['/v1/requests']}`, `/api/v1/conversations/${objects['/api/v1/conversations']}`, `/api/v1/chat/stream/${objects['/api/v1/chat']}`,
    `/api/v1/files/${objects['/api/v1/files']}`, `/api/v1/jobs/${objects['/api/v1/jobs']}`, `/api/v1/collections/${objects['/api/v1/collections']}`,
    ...['/v1/chat/completions', '/v1/responses', '/v1/files', '/v1/batches'].map((at) => `${at}/${objects[at]}`)]) {
    assert.equal((await call('GET', path, { token })).status, 200, path);
  }
  const list = (await call('GET', '/v1/requests', { token })).json.data;
  assert.deepEqual([...new Set(list.map((r) => r.tenant))], [who.owner.id]);
  assert.equal((await runHearth(['users', 'role', 'stranger', 'admin'], { dir })).code, 0);
  const admin = { token: who.stranger.token };
  assert.equal((await call('GET', '/v1/requests/req-private', admin)).status, 200);
  for (const path of ['/api/v1/users', `/api/v1/users/${who.owner.id}`, '/api/v1/audit', '/api/v1/stats/system', '/metrics']) {
    assert.equal((await call('GET', path, admin)).status, 200, path);
  }
  assert.equal((await call('GET', `/api/v1/conversations/${objects['/api/v1/conversations']}`, admin)).status, 404); // not even they
});
