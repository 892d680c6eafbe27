// Who answers: the hub's own models first, others over HTTP when those can't, and what clients are
// told about it. The others are scripted servers (support/upstream.mjs).
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startHub, tempDir } from './support/hearth.mjs';
import { startUpstream } from './support/upstream.mjs';

let hub;
let box;
let cloud;

before(async () => {
  const dir = tempDir();
  box = await startUpstream();
  cloud = await startUpstream();
  box.answer = { text: 'Answer of the box.' };
  cloud.answer = { text: 'Answer of the cloud.' };
  const file = join(dir, 'providers.json');
  writeFileSync(file, JSON.stringify({
    providers: {
      box: { kind: 'openai', base_url: `${box.url}/v1`, model: 'big-model', retries: 0 },
      cloud: { kind: 'openai', base_url: `${cloud.url}/v1`, model: 'huge-model', retries: 0 },
    },
    routes: {
      default: { chain: ['local', 'box', 'cloud'], goal: 'cost' },
      away: { chain: ['box', 'cloud'] },
      home: { chain: ['local', 'box'], local_only: true },
    },
  }));
  hub = await startHub({ dir, env: { HEARTH_PROVIDERS: file } });
});

after(async () => {
  await hub?.stop();
  await box?.close();
  await cloud?.close();
});

function chat(body, options = {}) {
  return fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...options.headers },
    body: JSON.stringify({
      messages: [{ role: 'user', content: 'Say something.' }], max_tokens: 8, ...body,
    }),
  });
}

test("the hub's own model answers when it can, and says so", async () => {
  const r = await chat({});
  assert.equal(r.status, 200);
  assert.equal(r.headers.get('x-hearth-provider'), 'local');
  assert.equal(r.headers.get('x-hearth-model'), 'hearth-tiny');
  assert.match(r.headers.get('x-hearth-route-reason'), /^local: /);
  await r.json();
  assert.equal(box.requests.length, 0);
});

test('a model that is not here is answered elsewhere, streaming or not', async () => {
  for (const stream of [false, true]) {
    const r = await chat({ model: 'no-such-model', stream });
    assert.equal(r.status, 200);
    assert.equal(r.headers.get('x-hearth-provider'), 'box');
    assert.equal(r.headers.get('x-hearth-model'), 'no-such-model');
    assert.match(r.headers.get('x-hearth-route-reason'), /local: model_not_found after \d+ ms/);
    const text = await r.text();
    assert.match(text, stream ? /"content":"Answer/ : /Answer of the box\./);
  }
});

test('a provider that fails is passed over, and the record says it', async () => {
  box.faults.push({ kind: 'status', status: 500 });
  const r = await chat({ model: 'no-such-model' });
  assert.equal(r.status, 200);
  assert.equal(r.headers.get('x-hearth-provider'), 'cloud');
  assert.match(r.headers.get('x-hearth-route-reason'), /box: upstream_error after/);
  const id = r.headers.get('x-request-id');
  await r.json();
  const record = await (await fetch(`${hub.url}/v1/requests/${id}`)).json();
  assert.equal(record.provider, 'cloud');
  assert.equal(record.remote, false); // its address is this machine's
  assert.equal(record.attempts, 3);
  assert.match(record.route_reason, /local: model_not_found/);
  assert.equal(record.usage.completion_tokens, 7);
});

test('a stream that breaks after its first token ends with an error, not with another answer', async () => {
  const before = cloud.requests.length;
  box.faults.push({ kind: 'cut', after: 3 });
  const r = await chat({ model: 'no-such-model', stream: true });
  const text = await r.text();
  assert.match(text, /"error"/);
  assert.equal(cloud.requests.length, before);
});

test('the name of a provider before the model asks that one alone', async () => {
  const r = await chat({ model: 'cloud/huge-model' });
  assert.equal(r.headers.get('x-hearth-provider'), 'cloud');
  assert.equal((await r.json()).choices[0].message.content, 'Answer of the cloud.');
  assert.equal(cloud.requests.at(-1).body.model, 'huge-model');
});

test('what a client calls a model can not become a header of the answer', async () => {
  const r = await chat({ model: 'x\r\nSet-Cookie: a=b\u001b[2Jü' });
  assert.equal(r.status, 200);
  assert.equal(r.headers.get('set-cookie'), null);
  assert.match(r.headers.get('x-hearth-model'), /^x\?\?Set-Cookie: a=b\?\[2J\?\?$/);
  await r.json();
});

test('POST /v1/route tells it without asking anybody', async () => {
  const before = box.requests.length + cloud.requests.length;
  const route = async (body) => (await fetch(`${hub.url}/v1/route`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], ...body }),
  })).json();
  const here = await route({});
  assert.equal(here.provider, 'local');
  assert.equal(here.model, 'hearth-tiny');
  assert.equal(here.goal, 'cost');
  assert.equal(here.local.fits, true);
  assert.deepEqual(here.steps.map((s) => [s.provider, s.verdict]),
    [['local', 'answers'], ['box', 'in reserve'], ['cloud', 'in reserve']]);
  const absent = await route({ model: 'no-such-model' });
  assert.equal(absent.provider, 'box');
  assert.equal(absent.steps[0].verdict, 'passed over');
  assert.match(absent.steps[0].because, /^model_not_found/);
  const long = await route({ messages: [{ role: 'user', content: 'word '.repeat(20000) }] });
  assert.match(long.steps[0].because, /context/);
  assert.equal(long.provider, 'box');
  const pinned = await route({ model: 'no-such-model', local_only: true });
  assert.equal(pinned.local_only, true);
  assert.equal(pinned.provider, null);
  assert.ok(pinned.skipped.some((s) => s.provider === 'box' && /must stay/.test(s.why)));
  assert.ok((await route({ source: 'nobody' })).error.message.includes('nobody'));
  assert.equal(box.requests.length + cloud.requests.length, before);
});

test('a prompt longer than the context here goes to who can take it', async () => {
  const r = await chat({ messages: [{ role: 'user', content: 'many words '.repeat(3000) }] });
  assert.equal(r.status, 200);
  assert.equal(r.headers.get('x-hearth-provider'), 'box');
  assert.match(r.headers.get('x-hearth-route-reason'), /context_length_exceeded/);
  await r.json();
});

test('what must stay here fails with the reason', async () => {
  const before = box.requests.length;
  const r = await chat({ model: 'no-such-model', local_only: true });
  assert.equal(r.status, 404);
  assert.match((await r.json()).error.message, /must stay on this machine/);
  const named = await chat({ route: 'home', source: 'box' });
  assert.equal(named.status, 403);
  assert.equal((await named.json()).error.code, 'local_only');
  assert.equal(box.requests.length, before);
});

test('the log has a row for each, with what it took', async () => {
  const r = await chat({ route: 'away' });
  const id = r.headers.get('x-request-id');
  await r.json();
  const { data } = await (await fetch(`${hub.url}/v1/route/log?limit=20`)).json();
  const row = data.find((d) => d.id === id);
  assert.equal(row.provider, 'box');
  assert.equal(row.route, 'away');
  assert.equal(row.kind, 'chat');
  assert.equal(row.error, null);
  assert.equal(row.attempts, 1);
  assert.equal(row.completion_tokens, 7);
  assert.ok(row.total_ms >= 0 && row.first_token_ms >= 0);
  assert.equal(row.left, null); // 127.0.0.1 is this machine
  assert.ok(data.some((d) => d.provider === 'local' && d.cost === 0));
  assert.ok(!JSON.stringify(data).includes('Say something'));
});

test('the log comes in pages, each row on one of them', async () => {
  const page = async (query) => (await fetch(`${hub.url}/v1/route/log?${query}`)).json();
  const all = await page('limit=1000');
  assert.equal(all.next_cursor, null);
  assert.ok(all.data.length > 4);
  const ids = [];
  for (let cursor = ''; cursor !== null;) {
    const { data, next_cursor } = await page(`limit=2${cursor && `&cursor=${cursor}`}`);
    ids.push(...data.map((d) => d.id));
    cursor = next_cursor;
  }
  assert.deepEqual(ids, all.data.map((d) => d.id));
  assert.match((await page('cursor=yesterday')).error.message, /cursor/);
});

test('hearth chat --provider, and hearth explain', async () => {
  const answer = await hub.run(['chat', '--provider', 'cloud', 'Hello?']);
  assert.equal(answer.code, 0, answer.stderr);
  assert.match(answer.stdout, /Answer of the cloud\./);
  const told = await hub.run(['explain']);
  assert.match(told.stdout, /provider {2}cloud/);
  assert.match(told.stdout, /because {3}cloud: the request names it/);
  const wrong = await hub.run(['chat', '--provider', 'nobody', 'Hello?']);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /no provider "nobody"/);
  const pinned = await hub.run(['chat', '--provider', 'cloud', '--local', 'Hello?']);
  assert.equal(pinned.code, 1);
  assert.match(pinned.stderr, /must stay on this machine/);
});

test('LOCAL_DIRECT_LOADING=false asks Ollama first, and this hub when Ollama is away', async () => {
  const ollama = await startUpstream();
  ollama.answer = { text: 'Answer of Ollama.' };
  const other = await startHub({
    env: { LOCAL_DIRECT_LOADING: 'false', EMBEDDINGS_BASEURL: ollama.url, OLLAMA_CHAT_MODEL: 'phi-3' },
  });
  const ask = () => fetch(`${other.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], max_tokens: 4 }),
  });
  const first = await ask();
  assert.equal(first.headers.get('x-hearth-provider'), 'ollama');
  assert.equal((await first.json()).choices[0].message.content, 'Answer of Ollama.');
  assert.equal(ollama.requests.at(-1).body.model, 'phi-3');
  await ollama.close();
  const second = await ask();
  assert.equal(second.status, 200);
  assert.equal(second.headers.get('x-hearth-provider'), 'local');
  assert.match(second.headers.get('x-hearth-route-reason'), /ollama: network_error after/);
  await second.json();
  await other.stop();
});

/** A proxy through which a name that is nowhere leads to the upstream: for what leaves the machine. */
async function startProxy(up) {
  const to = new URL(up.url);
  const server = createServer((req, res) => {
    const { pathname } = new URL(req.url);
    const onward = request({
      host: to.hostname, port: to.port, path: pathname, method: req.method, headers: req.headers,
    }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    });
    onward.on('error', () => res.destroy());
    req.pipe(onward);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

test('what leaves is written down and paid for, and a budget that is used up leaves it out', async () => {
  const openai = await startUpstream();
  const proxy = await startProxy(openai);
  const dir = tempDir();
  openai.answer = { text: 'Costly.', usage: { prompt: 100000, completion: 1000 } };
  const file = join(dir, 'providers.json');
  writeFileSync(file, JSON.stringify({
    providers: { openai: { base_url: 'http://api.openai.invalid/v1', proxy: proxy.url, retries: 0 } },
  }));
  const other = await startHub({
    dir, env: { HEARTH_PROVIDERS: file, OPENAI_API_KEY: 'sk-x-0123456789', HEARTH_USER_BUDGET: '1' },
  });
  const ask = (body) => fetch(`${other.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], max_tokens: 4, ...body }),
  });
  const hard = { messages: [{ role: 'user', content: 'Prove the theorem and explain why; write python code, a class.' }] };
  const r = await ask(hard);
  assert.equal(r.headers.get('x-hearth-provider'), 'openai');
  assert.equal(r.headers.get('x-hearth-model'), 'gpt-4');
  assert.match(r.headers.get('x-hearth-route-reason'), /^openai: complexity 0\.\d\d asks for a large model/);
  await r.json();
  const { data: [row] } = await (await fetch(`${other.url}/v1/route/log?left=true`)).json();
  assert.equal(row.left.to, 'openai');
  assert.equal(row.left.bytes, hard.messages[0].content.length);
  assert.equal(row.left.messages, 1);
  assert.ok(Math.abs(row.cost - (100000 * 30 + 1000 * 60) / 1e6) < 1e-9, `cost ${row.cost}`);
  assert.ok(row.complexity > 0.7);
  const next = await ask(hard); // the cent is spent: who costs nothing goes on
  assert.equal(next.headers.get('x-hearth-provider'), 'local');
  await next.json();
  const named = await ask({ source: 'openai' });
  assert.equal(named.status, 429);
  assert.match((await named.json()).error.message, /budget of this month/);
  await other.stop();
  const again = await startHub({ // what was spent is known after a restart
    dir, env: { HEARTH_PROVIDERS: file, OPENAI_API_KEY: 'sk-x-0123456789', HEARTH_USER_BUDGET: '1' },
  });
  for (let status = 0, tries = 0; status !== 429; tries++) {
    assert.ok(tries < 200, 'the month begins anew with the hub');
    const later = await fetch(`${again.url}/v1/route`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], source: 'openai' }),
    });
    status = later.status;
    await later.text();
    await new Promise((done) => setTimeout(done, 50));
  }
  await again.stop();
  proxy.close();
  await openai.close();
});

test('the model in memory is asked how hard a request is, where that decides', async () => {
  const dir = tempDir();
  const file = join(dir, 'providers.json');
  writeFileSync(file, JSON.stringify({
    providers: {
      box: { base_url: `${box.url}/v1`, middle: 'mid-model', retries: 0 },
      cloud: { base_url: `${cloud.url}/v1`, large: 'huge-model', retries: 0 },
    },
    routes: { default: { chain: ['local', 'box', 'cloud'] }, mine: { chain: ['local', 'box'] } },
    complexity: { classify: true, classify_timeout: '60s' },
  }));
  const other = await startHub({ dir, env: { HEARTH_PROVIDERS: file, HEARTH_PRELOAD: 'false' } });
  const post = (path, body) => fetch(`${other.url}${path}`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  });
  const ask = async (body) => {
    const r = await post('/v1/chat/completions', { max_tokens: 4, ...body });
    assert.equal(r.status, 200);
    await r.text();
    return { by: r.headers.get('x-hearth-provider'), why: r.headers.get('x-hearth-route-reason') };
  };
  const loaded = async () => (await (await fetch(`${other.url}/v1/models`)).json()).data
    .filter((m) => m.meta.state === 'ready');
  const hard = [{ role: 'user', content: 'Prove the theorem and explain why; write python code, a class.' }];
  const easy = [{ role: 'user', content: 'Good morning!' }];

  // Nothing is loaded for it: the features decide, and the answer says why.
  const without = await ask({ messages: hard });
  assert.equal(without.by, 'cloud');
  assert.match(without.why, /^cloud: complexity 0\.\d\d asks for a large model \(not classified: no model is in memory\)/);
  assert.equal((await loaded()).length, 0);
  const blind = (await (await post('/v1/route', { messages: hard })).json()).complexity;
  assert.equal(blind.by, 'features');
  assert.deepEqual(blind.classification.error, 'no model is in memory');
  assert.equal(blind.score, blind.features_score);

  // With one in memory its word counts; the others would have another one.
  const load = await post('/v1/models/hearth-tiny/load', { wait: true });
  assert.equal(load.status, 200, await load.text());
  const sizes = { small: ['local', 0.15], middle: ['box', 0.5], large: ['cloud', 0.85] };
  for (const messages of [easy, hard]) {
    const { complexity, provider } = await (await post('/v1/route', { messages })).json();
    assert.equal(complexity.by, 'model');
    assert.equal(complexity.classification.model, 'hearth-tiny');
    assert.equal(complexity.tier, complexity.classification.tier);
    const [who, score] = sizes[complexity.tier];
    assert.equal(provider, who);
    assert.equal(complexity.score, score);
    assert.equal(complexity.classification.score, score);
    assert.equal(complexity.features_tier, messages === easy ? 'small' : 'large');
    assert.ok(complexity.classification.took_ms >= 0);
    const r = await ask({ messages });
    assert.equal(r.by, who);
    assert.match(r.why, new RegExp(`^${who}: hearth-tiny says that it asks for a ${complexity.tier} model`));
  }
  const { data: [row] } = await (await fetch(`${other.url}/v1/route/log`)).json();
  assert.ok(Object.values(sizes).some(([, score]) => score === row.complexity));

  // Who says himself who is to answer is not asked about.
  for (const body of [{ model: 'hearth-tiny' }, { source: 'box' }, { route: 'mine' }, { local_only: true }]) {
    const { why } = await ask({ messages: easy, ...body });
    assert.doesNotMatch(why, /classified|says/);
  }
  await other.stop();
});

test('a request that names no model is one, also where the default model is a derived one', async () => {
  const dir = tempDir();
  const file = join(dir, 'providers.json');
  const derived = join(dir, 'models', 'derived');
  mkdirSync(derived, { recursive: true });
  writeFileSync(join(derived, 'mario.json'), JSON.stringify({
    name: 'mario', from: 'hearth-tiny', system: 'You are Mario.', adapter: 'pirate', parameters: { top_k: 7 },
  }));
  writeFileSync(file, JSON.stringify({
    providers: { cloud: { base_url: `${cloud.url}/v1`, middle: 'mid-model', large: 'huge-model', retries: 0 } },
    routes: { default: { chain: ['local', 'cloud'] } },
    complexity: { classify: true, classify_timeout: '60s' },
  }));
  const other = await startHub({ dir, env: { HEARTH_PROVIDERS: file, HEARTH_PRELOAD: 'false', DEFAULT_MODEL: 'mario' } });
  const ask = async (content, body) => {
    const r = await fetch(`${other.url}/v1/chat/completions`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content }], max_tokens: 4, ...body }),
    });
    const answer = await r.json();
    assert.equal(r.status, 200, JSON.stringify(answer));
    return { by: r.headers.get('x-hearth-provider'), why: r.headers.get('x-hearth-route-reason'), answer };
  };
  const hard = 'Prove the theorem and explain why; write python code, a class.';

  // By its size it goes elsewhere, with what any model understands of the default one.
  const away = await ask(hard);
  assert.equal(away.by, 'cloud');
  assert.match(away.why, /^cloud: complexity 0\.\d\d asks for a large model \(not classified: no model is in memory\)/);
  const sent = cloud.requests.at(-1).body;
  assert.equal(sent.model, 'huge-model');
  assert.deepEqual(sent.messages, [{ role: 'system', content: 'You are Mario.' }, { role: 'user', content: hard }]);

  // Here it is the default one, with all that belongs to it.
  const here = await ask('Good morning!');
  assert.equal(here.by, 'local');
  assert.equal(here.answer.model, 'mario');
  const named = await ask('Good morning!', { model: 'mario' });
  assert.equal(named.by, 'local');
  assert.equal(here.answer.usage.prompt_tokens, named.answer.usage.prompt_tokens);
  const [first, second] = (await (await fetch(`${other.url}/v1/requests`)).json()).data;
  assert.deepEqual([first.adapter, second.adapter], ['pirate', 'pirate']);

  // Who is in memory is asked about the one without a name, and not about the other.
  assert.match((await ask(hard)).why, /: hearth-tiny says that it asks for a (small|middle|large) model/);
  assert.doesNotMatch(named.why, /classified|says/);

  // Beforehand it is said of the request that would be made, not of the one that came.
  const plan = async (body) => {
    const r = await fetch(`${other.url}/v1/route`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'Good morning!' }], ...body }),
    });
    return r.json();
  };
  const all = await plan({});
  assert.deepEqual(all.steps.map((s) => s.provider).sort(), ['cloud', 'local']);
  assert.ok(all.prompt_tokens > (await plan({ model: 'hearth-tiny' })).prompt_tokens);
  for (const model of ['mario', 'mario:terse', 'hearth-tiny:terse']) {
    const one = await plan({ model });
    assert.equal(one.provider, 'local', `${model}: ${JSON.stringify(one)}`);
    assert.equal(one.model, 'hearth-tiny');
    assert.deepEqual([...new Set(one.skipped.map((s) => s.provider))], ['cloud']);
  }
  await other.stop();
});

test('keys are told to nobody', async () => {
  const key = 'sk-this-is-secret-0123456789';
  const openai = await startUpstream();
  const other = await startHub({
    env: { OPENAI_API_KEY: key, OPENAI_BASE_URL: `${openai.url}/v1`, LOG_LEVEL: 'DEBUG' },
  });
  const texts = [];
  const ask = async (body) => {
    const r = await fetch(`${other.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], max_tokens: 4, ...body }),
    });
    texts.push(JSON.stringify([...r.headers]), await r.text());
    return r;
  };
  assert.equal((await ask({ source: 'openai' })).status, 200);
  openai.faults.push({ kind: 'status', status: 401, body: JSON.stringify({ error: { message: `bad key ${key}` } }) });
  assert.ok((await ask({ source: 'openai' })).status >= 400);
  texts.push(await (await fetch(`${other.url}/v1/route/log`)).text());
  texts.push(JSON.stringify(await other.run(['config'])), JSON.stringify(await other.run(['explain'])));
  assert.equal(openai.requests[0].headers.authorization, `Bearer ${key}`);
  await other.stop();
  texts.push(readFileSync(join(other.dir, 'hub.log'), 'utf8'));
  for (const text of texts) assert.ok(!text.includes(key), text);
  await openai.close();
});
