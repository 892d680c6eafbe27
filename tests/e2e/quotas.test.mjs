// What users may use: limits and their exceptions, API keys with a rate of their own, statistics, what an admin
// and the command line do to accounts, and the audit log of all of it.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runHearth, startHub, tempDir, until } from './support/hearth.mjs';
import { startUpstream } from './support/upstream.mjs';

const password = 'correct horse';
const env = {
  JWT_SECRET_KEY: 'a key that stays the same over restarts',
  HEARTH_USER_REQUESTS_PER_DAY: '4',
  HEARTH_USER_STREAMS: '2',
  HEARTH_AUTH: 'on',
};
let hub;
let dir;
let admin;

const run = (args, input) => runHearth(args, { dir, input: input ?? null });

async function call(method, path, { token, key, body } = {}) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (key) headers['x-api-key'] = key;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const r = await fetch(`${hub.url}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await r.text();
  let json = null;
  try { json = JSON.parse(text); } catch { /* a stream */ }
  return { status: r.status, text, json, headers: r.headers };
}

async function account(username) {
  await call('POST', '/auth/register', { body: { username, password } });
  const { json } = await call('POST', '/auth/login', { body: { username, password } });
  const me = await call('GET', '/auth/me', { token: json.access_token });
  return { token: json.access_token, id: me.json.id };
}

const say = (token, extra = {}) => call('POST', '/chat', { token, body: { message: 'hi', max_tokens: 2, ...extra } });

before(async () => {
  dir = tempDir();
  hub = await startHub({ dir, env });
  assert.equal((await run(['users', 'create', 'boss', '--admin'], `${password}\n`)).code, 0);
  admin = await account('boss');
});
after(() => hub?.stop());

function refused(r, quota) {
  assert.equal(r.status, 429, r.text);
  assert.equal(r.json.error.code, 'quota_exceeded');
  assert.equal(r.json.error.details[0].param, quota);
  assert.ok(Number(r.headers.get('retry-after')) >= 1);
}

test('a day\'s requests, and an exception', async () => {
  const { token, id } = await account('ada');
  for (let i = 0; i < 4; i++) assert.equal((await say(token)).status, 200);
  refused(await say(token), 'requests_per_day');
  assert.equal((await call('GET', '/conversations', { token })).status, 200); // looking costs nothing
  const other = await account('bob');
  assert.equal((await say(other.token)).status, 200); // is bob's own
  const changed = await call('PATCH', `/users/${id}`, { token: admin.token, body: { quotas: { requests_per_day: 6 } } });
  assert.equal(changed.status, 200, changed.text);
  assert.equal(changed.json.quotas.requests_per_day, 6);
  assert.equal(changed.json.quotas.streams, null);
  assert.equal((await say(token)).status, 200);
  const stats = (await call('GET', '/stats/user', { token })).json;
  assert.deepEqual(stats.quotas.requests_per_day, { limit: 6, used: 5 });
  assert.equal(stats.usage.today.requests, 5);
  assert.ok(stats.usage.today.completion_tokens >= 5, JSON.stringify(stats.usage));
  assert.equal(stats.usage.days.length, 1);
  assert.equal(stats.conversations, 5);
});

test('a restart remembers, also one without a goodbye', async () => {
  const { token } = await account('ada');
  assert.equal((await say(token)).status, 200); // the sixth
  await until(async () => /requests_per_day/.test((await run(['users', 'quota', 'ada'])).stdout), 5000, 'the command line');
  await new Promise((done) => setTimeout(done, 2500)); // it is written within two seconds
  hub.child.kill('SIGKILL');
  hub = await startHub({ dir, env });
  refused(await say(token), 'requests_per_day');
  assert.equal((await run(['users', 'quota', 'ada', 'requests_per_day=0', 'tokens_per_day=1'])).code, 0);
  await until(async () => (await say(token)).json?.error?.details?.[0]?.param === 'tokens_per_day', 15000, 'a hub that runs hears of it');
  const reset = await run(['users', 'quota', 'ada', 'tokens_per_day=default']);
  assert.match(reset.stdout, /tokens_per_day +default/);
  assert.match(reset.stdout, /requests_per_day +no limit/);
  assert.equal((await run(['users', 'quota', 'ada', 'nonsense=1'])).code, 1);
});

test('streams at once', async () => {
  const { token, id } = await account('carl');
  await call('PATCH', `/users/${id}`, { token: admin.token, body: { quotas: { requests_per_day: 0 } } });
  // Through the other surface: what counts is the user, not the way.
  const long = { messages: [{ role: 'user', content: 'Count.' }], ignore_eos: true, max_tokens: 900, stream: true };
  const started = [];
  for (let i = 0; i < 2; i++) {
    const leave = new AbortController();
    const r = await fetch(`${hub.url}/v1/chat/completions`, {
      method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: JSON.stringify(long), signal: leave.signal,
    });
    assert.equal(r.status, 200);
    await r.body.getReader().read();
    started.push(leave);
  }
  refused(await say(token), 'streams');
  for (const leave of started) leave.abort();
  await until(async () => (await say(token)).status === 200, 10000, 'their end');
});

test('a key with a rate of its own', async () => {
  const { token } = await account('dora');
  const { key } = (await call('POST', '/auth/keys', { token, body: { name: 'slow', requests_per_minute: 3 } })).json;
  const answers = [];
  for (let i = 0; i < 10; i++) answers.push(await call('GET', '/conversations', { key }));
  const busy = answers.filter((r) => r.status === 429);
  assert.ok(busy.length >= 4 && busy.length <= 7, answers.map((r) => r.status).join()); // a minute may end here
  refused(busy[0], 'requests_per_minute');
  assert.match(busy[0].json.error.message, /API key/);
  assert.equal((await call('GET', '/conversations', { token })).status, 200);
});

test('what admins do', async () => {
  const { token } = admin;
  const made = await call('POST', '/users', { token, body: { username: 'eve', password, role: 'user' } });
  assert.equal(made.status, 201, made.text);
  const { id } = made.json;
  assert.equal((await call('POST', '/users', { token, body: { username: 'EVE', password } })).status, 409);
  for (const body of [{ role: 'king' }, { disabled: 'yes' }, { quotas: { nonsense: 1 } }, { quotas: { streams: -1 } }, { quotas: { streams: 'x' } }, { password: 'x' }]) {
    assert.equal((await call('PATCH', `/users/${id}`, { token, body })).status, 422, JSON.stringify(body));
  }
  const eve = await account('eve');
  assert.equal((await call('PATCH', `/users/${id}`, { token, body: { password: 'battery staple' } })).status, 200);
  assert.equal((await call('GET', '/auth/me', { token: eve.token })).status, 401); // every login has ended
  assert.equal((await call('PATCH', `/users/${id}`, { token, body: { disabled: true } })).json.disabled, true);
  assert.equal((await call('POST', '/auth/login', { body: { username: 'eve', password: 'battery staple' } })).status, 401);
  assert.equal((await call('PATCH', `/users/${id}`, { token, body: { disabled: false, role: 'admin' } })).json.role, 'admin');
  assert.equal((await call('PATCH', `/users/${admin.id}`, { token, body: { role: 'user' } })).status, 200);
  assert.equal((await call('GET', '/users', { token })).status, 403); // at once
  assert.equal((await run(['users', 'role', 'boss', 'admin'])).code, 0);
  assert.equal((await call('DELETE', `/users/${id}`, { token })).status, 204);
  assert.equal((await call('GET', `/users/${id}`, { token })).status, 404);
  assert.equal((await call('PATCH', `/users/${admin.id}`, { token, body: { role: 'user' } })).status, 409); // the last one
  const system = (await call('GET', '/stats/system', { token })).json;
  assert.ok(system.users.total >= 4 && system.conversations >= 5 && system.storage.database_bytes > 0);
  assert.ok(Array.isArray(system.models.models) && system.queue.capacity > 0 && system.uptime_s >= 0);
});

test('the command line makes keys and invitations', async () => {
  const key = (await run(['users', 'key', 'dora', 'laptop', '--scopes', 'account,jobs'])).stdout.trim();
  assert.equal((await call('GET', '/jobs', { key })).status, 200);
  assert.equal((await call('GET', '/conversations', { key })).status, 403);
  assert.equal((await run(['users', 'key', 'dora', 'x', '--scopes', 'root'])).code, 1);
  assert.match((await run(['users', 'invite'])).stdout, /^hi_\w{40}\n$/);
});

test('everything is in the audit log', async () => {
  await call('POST', '/auth/login', { body: { username: 'dora', password: 'wrong' } });
  for (let i = 0; i < 8; i++) await call('POST', '/auth/login', { body: { username: 'nobody-such', password: 'wrong' } });
  const { json } = await call('GET', '/audit?limit=1000', { token: admin.token });
  const events = new Set(json.events.map((e) => e.event));
  for (const event of ['registered', 'user_created', 'login', 'login_failed', 'login_throttled', 'password_changed', 'key_created',
    'invitation_created', 'role_changed', 'quota_changed', 'user_disabled', 'user_enabled', 'user_deleted']) {
    assert.ok(events.has(event), `no ${event} in ${[...events]}`);
  }
  const quota = json.events.filter((e) => e.event === 'quota_changed');
  assert.ok(quota.some((e) => e.details.by === admin.id && e.address === '127.0.0.1'));
  assert.ok(quota.some((e) => e.details.by === 'command line' && e.address === null));
  assert.ok(!JSON.stringify(json).includes(password) && !JSON.stringify(json).includes('hk_'));
  const shown = (await run(['users', 'audit'])).stdout;
  assert.match(shown, /login_failed/);
});

test('asking the local model how hard a request is counts to who asks, and fails nothing that has begun', async (t) => {
  const box = await startUpstream();
  t.after(() => box.close());
  box.answer = { text: 'Answer of the box.' };
  const home = tempDir();
  const file = join(home, 'providers.json');
  writeFileSync(file, JSON.stringify({
    providers: { box: { base_url: `${box.url}/v1`, middle: 'mid-model', large: 'huge-model', retries: 0 } },
    routes: { default: { chain: ['local', 'box'] } },
    complexity: { classify: true, classify_timeout: '60s' },
  }));
  const other = await startHub({ dir: home, env: { HEARTH_AUTH: 'on', HEARTH_PROVIDERS: file } });
  const send = async (method, path, token, body) => {
    const r = await fetch(other.url + path, {
      method, headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) }, body: body && JSON.stringify(body),
    });
    return { status: r.status, headers: r.headers, json: await r.json() };
  };
  const made = await send('POST', '/api/v1/auth/register', null, { username: 'ada', password });
  assert.equal(made.status, 201, JSON.stringify(made.json));
  const token = (await send('POST', '/api/v1/auth/login', null, { username: 'ada', password })).json.access_token;
  await until(async () => (await send('GET', '/v1/models', token)).json.data.some((m) => m.meta.state === 'ready'), 60000, 'a model in memory');
  const used = async () => (await send('GET', '/api/v1/stats/user', token)).json.quotas.tokens_per_day.used;
  const body = { messages: [{ role: 'user', content: 'Prove the theorem and explain why.' }], max_tokens: 4 };

  const plan = await send('POST', '/v1/route', token, body);
  assert.equal(plan.json.complexity.by, 'model', JSON.stringify(plan.json));
  const question = await used();
  assert.ok(question > 20, `${question} tokens`);

  // One token is left at its start; the question alone needs more.
  const quota = await runHearth(['users', 'quota', 'ada', `tokens_per_day=${question + 1}`], { dir: home });
  assert.equal(quota.code, 0, quota.stderr);
  await until(async () => (await send('GET', '/api/v1/stats/user', token)).json.quotas.tokens_per_day.limit === question + 1, 15000, 'the limit');
  const said = await send('POST', '/v1/chat/completions', token, body);
  assert.equal(said.status, 200, JSON.stringify(said.json));
  assert.match(said.headers.get('x-hearth-route-reason'), /hearth-tiny says that it asks for a/);
  assert.equal(await used(), 2 * question + said.json.usage.total_tokens);
  const next = await send('POST', '/v1/chat/completions', token, body);
  assert.equal(next.status, 429, JSON.stringify(next.json));
  assert.equal(next.json.error.param, 'tokens_per_day');

  // It is a question, not a request, and costs nothing.
  const stats = (await send('GET', '/api/v1/stats/user', token)).json;
  assert.equal(stats.usage.today.prompt_tokens + stats.usage.today.completion_tokens, await used());
  assert.equal(stats.usage.today.requests, 1);
  await other.stop();
});
