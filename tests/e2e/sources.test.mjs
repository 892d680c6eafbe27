// Which sources of answers there are: what they have, how they are, and what happens when one of
// them says nothing.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runHearth, startHub, tempDir } from './support/hearth.mjs';
import { startUpstream } from './support/upstream.mjs';

const password = 'correct horse';
const key = 'sk-secret-of-the-box';
let hub;
let box;
let silent;
const tokens = {};

const get = async (who, path) => {
  const r = await fetch(`${hub.url}/api/v1${path}`, { headers: { authorization: `Bearer ${tokens[who]}` } });
  const text = await r.text();
  assert.ok(!text.includes(key), 'a key in an answer');
  return { status: r.status, json: JSON.parse(text) };
};

before(async () => {
  const dir = tempDir();
  box = await startUpstream();
  box.key = key;
  silent = await startUpstream();
  silent.faults.push({ kind: 'silent', always: true });
  const closed = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => closed.on('listening', done));
  const { port } = closed.address();
  await new Promise((done) => closed.close(done));
  const file = join(dir, 'providers.json');
  writeFileSync(file, JSON.stringify({
    providers: {
      box: { kind: 'openai', base_url: `${box.url}/v1`, key, model: 'up-large', retries: 0 },
      silent: { kind: 'openai', base_url: `${silent.url}/v1`, retries: 0 },
      gone: { kind: 'openai', base_url: `http://127.0.0.1:${port}/v1`, retries: 0 },
    },
    routes: { default: { chain: ['local', 'box'] } },
  }), { mode: 0o600 });
  hub = await startHub({ dir, env: { HEARTH_PROVIDERS: file, JWT_SECRET_KEY: 'a key of this test', EMBEDDINGS_BASEURL: `http://127.0.0.1:${port}` } });
  for (const name of ['ada', 'root']) {
    const made = await runHearth(['users', 'create', name, ...(name === 'root' ? ['--admin'] : [])], { dir, env: hub.env, input: `${password}\n` });
    assert.equal(made.code, 0, made.stderr);
    const r = await fetch(`${hub.url}/api/v1/auth/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: name, password }) });
    tokens[name] = (await r.json()).access_token;
  }
});
after(async () => {
  await hub?.stop();
  await box?.close();
  await silent?.close();
});

test('the models of one source', async () => {
  const local = await get('ada', '/models/list?mode=local');
  assert.equal(local.status, 200);
  assert.equal(local.json.mode, 'local');
  const tiny = local.json.models.find((m) => m.id === 'hearth-tiny');
  assert.equal(tiny.source, 'local');
  assert.equal(tiny.kind, 'chat');
  assert.ok(tiny.size > 0);
  assert.equal(local.json.default, 'hearth-tiny');
  const other = await get('ada', '/models/list?mode=box');
  assert.deepEqual(other.json.models.map((m) => [m.id, m.source]), [['up-small', 'box'], ['up-large', 'box']]);
  assert.equal(other.json.default, 'up-large');
  const nowhere = await get('ada', '/models/list?mode=nowhere');
  assert.equal(nowhere.status, 404);
  assert.match(nowhere.json.error.message, /no provider "nowhere" here; there are: local, /);
  const unset = await get('ada', '/models/list?mode=openai');
  assert.equal(unset.status, 404);
  assert.equal(unset.json.error.message, 'openai is not configured: set OPENAI_API_KEY');
  const gone = await get('ada', '/models/list?mode=gone');
  assert.equal(gone.status, 502);
  assert.equal(gone.json.error.code, 'network_error');
});

test('the models of all sources in the chain', async () => {
  const { status, json } = await get('ada', '/models/list');
  assert.equal(status, 200);
  assert.equal(json.mode, null);
  const sources = new Set(json.models.map((m) => m.source));
  assert.ok(sources.has('local') && sources.has('box'));
});

test('how they are, with the four names that apps look for', async () => {
  const { status, json } = await get('ada', '/models/status');
  assert.equal(status, 200);
  for (const name of ['local', 'ollama', 'aihub', 'openai', 'box', 'silent', 'gone']) {
    assert.equal(typeof json[name]?.status, 'string', name);
    assert.equal(json[name].available, json[name].status === 'available', name);
    assert.equal(json[name].address, undefined, 'addresses are for admins');
  }
  assert.equal(json.local.status, 'available');
  assert.ok(json.local.models >= 3);
  assert.equal(json.aihub.status, 'not_configured');
  assert.equal(json.openai.status, 'not_configured');
  assert.equal(json.box.status, 'available');
  assert.equal(json.box.model, 'up-large');
  assert.equal(json.gone.status, 'unavailable');
  assert.equal(json.gone.code, 'network_error');
  assert.equal(json.silent.status, 'slow');
  assert.match(json.silent.error, /said nothing/);
});

test('a wrong key shows in the state, and admins see where it goes', async () => {
  box.key = 'another one';
  const { json } = await get('root', '/models/status');
  box.key = key;
  assert.equal(json.box.status, 'unavailable');
  assert.ok(json.box.address.startsWith('http://127.0.0.1:'), json.box.address);
});

test('a chat says who answers, and an unknown source is refused', async () => {
  const chat = (body) => fetch(`${hub.url}/api/v1/chat`, {
    method: 'POST', headers: { authorization: `Bearer ${tokens.ada}`, 'content-type': 'application/json' }, body: JSON.stringify({ message: 'Hello.', max_tokens: 4, ...body }),
  });
  const r = await chat({ model_source: 'box' });
  const body = await r.json();
  assert.equal(r.status, 200, JSON.stringify(body));
  assert.equal(body.provider, 'box');
  assert.equal(r.headers.get('x-hearth-provider'), 'box');
  assert.match(r.headers.get('x-hearth-route-reason'), /^box: /);
  assert.equal((await (await chat({ model_source: 'local' })).json()).provider, 'local');
  assert.equal((await (await chat({ model_source: 'auto' })).json()).provider, 'local');
  for (const [wrong, param] of [[{ model_source: 'nowhere' }, '/model_source'], [{ route: 'nowhere' }, '/route'], [{ optimization_goal: 'fun' }, '/optimization_goal']]) {
    const no = await chat(wrong);
    assert.equal(no.status, 422);
    assert.equal((await no.json()).error.details[0].param, param);
  }
});
