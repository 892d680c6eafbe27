// Accounts and conversations under /api/v1 as apps use them, with the command line beside the hub:
// from registration to a revoked token, API keys, and who may see what.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, test } from 'node:test';
import { runHearth, startHub, tempDir } from './support/hearth.mjs';

const secret = 'a key that only the hub and this test know';
const password = 'correct horse';
let hub;
let dir;

before(async () => {
  dir = tempDir();
  hub = await startHub({ dir, args: ['--no-preload'], env: { JWT_SECRET_KEY: secret } });
});
after(() => hub?.stop());

async function call(method, path, { token, body, key } = {}) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (key) headers['x-api-key'] = key;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const r = await fetch(`${hub.url}/api/v1${path}`, {
    method, headers, body: typeof body === 'string' ? body : body && JSON.stringify(body),
  });
  const text = await r.text();
  const type = r.headers.get('content-type') ?? '';
  return { status: r.status, text, json: type.includes('json') && text ? JSON.parse(text) : null, headers: r.headers };
}

async function login(username) {
  await call('POST', '/auth/register', { body: { username, password } });
  const r = await call('POST', '/auth/login', { body: { username, password } });
  assert.equal(r.status, 200, r.text);
  return r.json;
}

function jwt(claims, { alg = 'HS256', key = secret } = {}) {
  const part = (o) => Buffer.from(JSON.stringify(o)).toString('base64url');
  const head = `${part({ alg, typ: 'JWT' })}.${part(claims)}`;
  const hash = { HS256: 'sha256', HS512: 'sha512' }[alg];
  return `${head}.${hash ? createHmac(hash, key).update(head).digest('base64url') : ''}`;
}

test('from registration to a revoked token', async () => {
  const made = await call('POST', '/auth/register', { body: { username: 'ada', password, email: 'ada@example.org' } });
  assert.equal(made.status, 201);
  assert.equal(made.json.role, 'user');
  const { access_token: token, token_type: type, refresh_token: refresh } = await login('ada');
  assert.equal(type, 'bearer');
  const me = await call('GET', '/auth/me', { token });
  assert.equal(me.json.email, 'ada@example.org');
  const changed = await call('PATCH', '/auth/me', { token, body: { settings: { theme: 'dark' } } });
  assert.deepEqual(changed.json.settings, { theme: 'dark' });
  assert.equal(changed.json.email, 'ada@example.org');
  assert.equal((await call('POST', '/auth/refresh', { body: { refresh_token: refresh } })).status, 200);
  assert.equal((await call('POST', '/auth/refresh', { body: { refresh_token: refresh } })).status, 401);
  assert.equal((await call('POST', '/auth/logout', { token })).status, 204);
  assert.equal((await call('GET', '/auth/me', { token })).status, 401);
});

test('errors have one shape', async () => {
  const cases = [
    ['POST', '/auth/register', { body: { username: 'x' } }, 422, 'validation_error'],
    ['POST', '/auth/register', { body: '{"username":' }, 422, 'validation_error'],
    ['POST', '/auth/register', { body: { username: 'ok', password: 'short' } }, 422, 'validation_error'],
    ['GET', '/auth/me', {}, 401, 'unauthorized'],
    ['GET', '/nothing/here', {}, 404, 'not_found'],
    ['DELETE', '/auth/login', {}, 405, 'method_not_allowed'],
  ];
  for (const [method, path, options, status, code] of cases) {
    const r = await call(method, path, options);
    assert.equal(r.status, status, `${method} ${path}: ${r.text}`);
    assert.equal(r.json.error.code, code);
    assert.ok(r.json.error.message && Array.isArray(r.json.error.details));
    assert.equal(r.json.error.request_id, r.headers.get('x-request-id'));
  }
  assert.equal((await call('GET', '/auth/me')).json.error.message, 'Not authenticated');
});

test('tokens that are not ours', async () => {
  const { access_token: good } = await login('tom');
  const { sub } = JSON.parse(Buffer.from(good.split('.')[1], 'base64url'));
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub, iss: 'hearth', ver: 0, iat: now, exp: now + 600 };
  assert.equal((await call('GET', '/auth/me', { token: jwt(claims) })).status, 200); // the forger's tools work
  const forged = {
    'another key': jwt(claims, { key: 'another' }),
    'alg none': jwt(claims, { alg: 'none' }),
    'alg HS512': jwt(claims, { alg: 'HS512' }),
    expired: jwt({ ...claims, exp: now - 1 }),
    'never expires': jwt({ ...claims, exp: undefined }),
    'another issuer': jwt({ ...claims, iss: 'x' }),
    nobody: jwt({ ...claims, sub: '00000000-0000-4000-8000-000000000000' }),
    'an old version': jwt({ ...claims, ver: -1 }),
    'cut off': good.slice(0, -3),
    garbage: 'x.y.z',
  };
  for (const [name, token] of Object.entries(forged)) {
    assert.equal((await call('GET', '/auth/me', { token })).status, 401, name);
  }
});

test('API keys work until they are revoked', async () => {
  const { access_token: token } = await login('keys');
  const made = await call('POST', '/auth/keys', { token, body: { name: 'laptop', scopes: ['chat'] } });
  assert.equal(made.status, 201);
  assert.match(made.json.key, /^hk_/);
  assert.equal((await call('GET', '/auth/me', { key: made.json.key })).json.username, 'keys');
  assert.equal((await call('GET', '/auth/me', { token: made.json.key })).status, 200);
  const list = (await call('GET', '/auth/keys', { token })).text;
  assert.ok(!list.includes(made.json.key)); // shown once
  assert.equal((await call('DELETE', `/auth/keys/${made.json.id}`, { token })).status, 204);
  assert.equal((await call('GET', '/auth/me', { key: made.json.key })).status, 401);
});

test('conversations: pages, search, hostile words', async () => {
  const { access_token: token } = await login('writer');
  for (let i = 0; i < 7; i++) await call('POST', '/conversations', { token, body: { title: `number ${i}` } });
  const seen = new Set();
  let cursor = '';
  do {
    const r = await call('GET', `/conversations?limit=3${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, { token });
    assert.equal(r.status, 200, r.text);
    for (const c of r.json.conversations) seen.add(c.id);
    cursor = r.json.next_cursor;
  } while (cursor);
  assert.equal(seen.size, 7);
  assert.equal((await call('GET', '/conversations?search=number%203', { token })).json.conversations.length, 1);
  for (const words of ["' OR 1=1 --", '"', '*', 'a AND', 'NEAR(', '%', '\\', "'); DROP TABLE users; --"]) {
    const r = await call('GET', `/conversations?search=${encodeURIComponent(words)}`, { token });
    assert.ok(r.status === 200 || r.status === 422, `${words}: ${r.text}`);
    if (r.status === 200) assert.equal(r.json.conversations.length, 0, words);
  }
  for (const query of ['limit=0', 'limit=x', 'cursor=x', 'cursor=1', 'archived=maybe']) {
    assert.equal((await call('GET', `/conversations?${query}`, { token })).status, 422, query);
  }
});

test('guessing is slowed down', async () => {
  await login('victim');
  let r;
  for (let i = 0; i < 8; i++) {
    r = await call('POST', '/auth/login', { body: { username: 'victim', password: `wrong ${i}` } });
    if (r.status === 429) break;
    assert.equal(r.status, 401);
  }
  assert.equal(r.status, 429);
  assert.ok(Number(r.headers.get('retry-after')) >= 1);
});

test('the command line works beside the hub, and everything is there after a restart', async () => {
  const run = (args, input) => runHearth(args, { dir, input: input ?? null });
  const made = await run(['users', 'create', 'boss', '--admin'], `${password}\n`);
  assert.equal(made.code, 0, made.stderr);
  assert.match((await run(['users'])).stdout, /boss\s+admin/);
  assert.match((await run(['db', 'status'])).stdout, /sqlite, version \d+, up to date/);
  const backup = await run(['db', 'backup', `${dir}/backup.db`]);
  assert.equal(backup.code, 0, backup.stderr);
  await hub.stop();
  hub = await startHub({ dir, args: ['--no-preload'], env: { JWT_SECRET_KEY: secret, HEARTH_REGISTRATION: 'invited' } });
  const r = await call('POST', '/auth/login', { body: { username: 'boss', password } });
  assert.equal(r.status, 200, r.text);
  const token = r.json.access_token;
  assert.equal((await call('GET', '/audit', { token })).status, 200);
  assert.equal((await call('POST', '/auth/register', { body: { username: 'late', password } })).status, 403);
  const { invitation } = (await call('POST', '/auth/invitations', { token })).json;
  assert.equal((await call('POST', '/auth/register', { body: { username: 'late', password, invitation } })).status, 201);
  assert.equal((await call('POST', '/auth/register', { body: { username: 'later', password, invitation } })).status, 403);
  assert.equal((await run(['users', 'disable', 'late'])).code, 0);
  assert.equal((await call('POST', '/auth/login', { body: { username: 'late', password } })).status, 401);
  const last = await run(['users', 'disable', 'boss']);
  assert.equal(last.code, 1);
  assert.match(last.stderr, /last admin/);
});
