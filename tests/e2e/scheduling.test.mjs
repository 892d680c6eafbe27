// What a user sees of the scheduler: requests and where their time went, the queue, models in and out
// of memory, adapters, reranking; over HTTP, with OpenAI's own client, and on the command line.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import OpenAI from 'openai';

import { startHub, until } from './support/hearth.mjs';
import { Session } from './support/terminal.mjs';

let hub;

before(async () => {
  hub = await startHub({ env: { HEARTH_PARALLEL: '1' } });
  await until(async () => (await get('/health')).model_state === 'ready', 30000, 'the model');
});
after(() => hub?.stop());

async function get(path) {
  const r = await fetch(`${hub.url}${path}`);
  assert.equal(r.status, 200, `${path}: ${await r.clone().text()}`);
  return r.json();
}

async function post(path, body = {}, headers = {}) {
  const r = await fetch(`${hub.url}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  return { status: r.status, headers: r.headers, body: await r.json() };
}

const say = (text, more = {}) => ({ messages: [{ role: 'user', content: text }], ...more });
const chat = (text, more = {}, id = undefined) =>
  post('/v1/chat/completions', say(text, more), id ? { 'X-Request-Id': id } : {});

/** A stream that decodes until it is stopped: {abort, body (a promise of all its text)}. */
async function longStream(id, more = {}) {
  const abort = new AbortController();
  const r = await fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST',
    signal: abort.signal,
    headers: { 'Content-Type': 'application/json', 'X-Request-Id': id },
    body: JSON.stringify(say('Count', {
      stream: true, ignore_eos: true, max_tokens: -1, context_overflow: 'shift', ...more,
    })),
  });
  assert.equal(r.status, 200);
  return { abort, body: r.text().catch((e) => `aborted: ${e.name}`) };
}

const state = async (id) => (await get(`/v1/requests/${id}`)).state;
const idle = () => until(async () => {
  const h = await get('/health');
  return h.running === 0 && h.waiting === 0;
}, 20000, 'an idle hub');

// ---- requests ---------------------------------------------------------------------------------

test('a finished request tells where its time went', async () => {
  const r = await chat('Hello!', { max_tokens: 8, seed: 1 }, 'told');
  assert.equal(r.status, 200);
  const rec = await get('/v1/requests/told');
  assert.equal(rec.state, 'done');
  assert.equal(rec.kind, 'chat');
  assert.equal(rec.model, 'hearth-tiny');
  assert.deepEqual(
    [rec.usage.prompt_tokens, rec.usage.completion_tokens],
    [r.body.usage.prompt_tokens, r.body.usage.completion_tokens],
  );
  assert.equal(rec.finish_reason, r.body.choices[0].finish_reason);
  assert.ok(rec.bytes_written > 100);
  const t = rec.timings;
  assert.ok(t.total_ms >= t.first_token_ms && t.first_token_ms > 0, JSON.stringify(t));
  assert.ok(t.decode_per_second > 0);
  const again = await chat('Hello!', { max_tokens: 8, seed: 1 }, 'told-again');
  const cached = (await get('/v1/requests/told-again')).usage.cached_tokens;
  assert.equal(cached, again.body.usage.prompt_tokens_details.cached_tokens);
  assert.ok(cached > 0);
  const list = await get('/v1/requests?limit=2');
  assert.deepEqual(list.data.map((x) => x.id), ['told-again', 'told']);
});

test('hearth explain tells it in words', async () => {
  await chat('Hello, who are you?', { max_tokens: 8 }, 'explained');
  const r = await hub.run(['explain', 'explained']);
  assert.equal(r.code, 0, r.stderr);
  assert.match(r.stdout, /^explained: chat, done$/m);
  assert.match(r.stdout, /^where the time went$/m);
  assert.match(r.stdout, /^ {2}in all +\d/m);
  assert.match(r.stdout, /^the prefix cache$/m);
  const newest = await hub.run(['explain', '--json']);
  assert.equal(JSON.parse(newest.stdout).id, 'explained');
  const none = await hub.run(['explain', 'nix']);
  assert.equal(none.code, 1);
  assert.match(none.stderr, /no request nix/);
});

test('a request is cancelled by a call, and by its client leaving', async () => {
  const stream = await longStream('by-call');
  await until(async () => (await state('by-call')) === 'decoding', 10000, 'decoding');
  const r = await post('/v1/requests/by-call/cancel');
  assert.equal(r.status, 200);
  assert.match(await stream.body, /"code":"cancelled"[\s\S]*\[DONE\]/);
  const rec = await get('/v1/requests/by-call');
  assert.equal(rec.state, 'cancelled');
  assert.equal(rec.cancelled_by, 'call');
  assert.equal((await post('/v1/requests/by-call/cancel')).status, 409);
  assert.equal((await post('/v1/requests/nix/cancel')).status, 404);

  const other = await longStream('by-client');
  await until(async () => (await state('by-client')) === 'decoding', 10000, 'decoding');
  other.abort.abort();
  await until(async () => (await state('by-client')) === 'cancelled', 10000, 'the end');
  assert.equal((await get('/v1/requests/by-client')).cancelled_by, 'client');
  await idle();
});

// ---- waiting ----------------------------------------------------------------------------------

test('a stream that waits gets comments, which OpenAI’s client skips', async () => {
  const first = await longStream('in-front', { priority: 1 });
  await until(async () => (await state('in-front')) === 'decoding', 10000, 'decoding');
  const raw = await longStream('behind', { priority: 90, ignore_eos: false, max_tokens: 5 });
  const client = new OpenAI({ baseURL: `${hub.url}/v1`, apiKey: 'any', maxRetries: 0 });
  const chunks = (async () => {
    let text = '';
    const answer = await client.chat.completions.create({
      model: 'hearth-tiny', messages: [{ role: 'user', content: 'Hello!' }], stream: true,
      max_tokens: 5, priority: 95,
    });
    for await (const c of answer) text += c.choices[0]?.delta.content ?? '';
    return text;
  })();
  await until(async () => (await get('/v1/queue')).waiting >= 2, 10000, 'a queue');
  const rec = await get('/v1/requests/behind');
  assert.equal(rec.state, 'waiting');
  assert.equal(typeof rec.position, 'number');
  const explained = await hub.run(['explain', 'behind']);
  assert.match(explained.stdout, /it waits in the queue: \d+ requests? (is|are) before it/);
  first.abort.abort();
  const text = await raw.body;
  assert.match(text, /^: queued position=\d+( wait_ms=\d+)?\n\n/);
  assert.match(text, /data: \[DONE\]/);
  assert.match(await chunks, /\S/);
  await idle();
});

test('one that can’t start in time is told so', async () => {
  const first = await longStream('slow', { priority: 1 });
  await until(async () => (await state('slow')) === 'decoding', 10000, 'decoding');
  const r = await chat('Hi', { deadline_ms: 300, priority: 90 }, 'late');
  assert.ok([408, 429].includes(r.status), JSON.stringify(r.body));
  if (r.status === 429) assert.ok(Number(r.headers.get('retry-after')) > 0);
  assert.equal((await get('/v1/requests/late')).state, 'failed');
  first.abort.abort();
  await idle();
});

// ---- the queue, the cache, metrics ------------------------------------------------------------

test('queue and cache', async () => {
  const q = await get('/v1/queue');
  for (const name of ['depth', 'capacity', 'running', 'waiting', 'oldest_wait_ms', 'rejected']) {
    assert.equal(typeof q[name], 'number', name);
  }
  const c = await get('/v1/cache');
  for (const tier of ['memory', 'disk']) assert.equal(typeof c[tier].bytes, 'number', tier);
});

test('times are counted by model and class of priorities', async () => {
  await chat('Hi', { max_tokens: 4, priority: 3 });
  await chat('Hi', { max_tokens: 4, priority: 90 });
  const text = await (await fetch(`${hub.url}/metrics`)).text();
  for (const name of ['queue_wait', 'first_token', 'token']) {
    for (const priority of ['interactive', 'background']) {
      const line = new RegExp(
        `^hearth_${name}_seconds_count\\{model="hearth-tiny",priority="${priority}"\\} [1-9]`, 'm');
      assert.match(text, line);
    }
  }
});

test('hearth top and hearth ps', async () => {
  const top = await hub.run(['top', '--once']);
  assert.equal(top.code, 0, top.stderr);
  assert.match(top.stdout, /^hearth \d+\.\d+\.\d+ at http/);
  assert.match(top.stdout, /^\d+ running, \d+ waiting/m);
  assert.match(top.stdout, /^hearth-tiny +ready/m);
  assert.match(top.stdout, /^told +done/m);
  const ps = await hub.run(['ps']);
  assert.equal(ps.code, 0, ps.stderr);
  assert.match(ps.stdout, /^hearth-tiny +chat +ready/m);
  const elsewhere = await hub.run(['ps', '--url', 'http://127.0.0.1:9']);
  assert.equal(elsewhere.code, 1);
});

test('hearth top on a terminal: drawn anew, what clients say made harmless, q gives the screen back', async () => {
  const evil = '\u001b]0;owned\u0007name';
  await chat('Hi', { model: evil });
  const s = new Session(['top', '--interval', '0.2'], { dir: hub.dir, env: { ...hub.env, TERM: 'xterm-256color' } });
  await s.expect(/\u001b\[\?1049h/);
  for (let i = 0; i < 2; i++) await s.expect(/\u001b\[H.*hearth \d+\.\d+\.\d+ at http[\s\S]*REQUEST/);
  s.send('q');
  await s.expect(/\u001b\[\?1049l/);
  assert.equal((await s.end()).code, 0);
  assert.ok(!s.text.includes('\u001b]0;'), 'an escape sequence of a client reached the terminal');
  const other = new Session(['top'], { dir: hub.dir, env: { ...hub.env, TERM: 'xterm-256color' } });
  await other.expect(/REQUEST/);
  other.send('\u0003');
  await other.expect(/\u001b\[\?1049l/);
  assert.equal((await other.end()).code, 0);
});

// ---- models -----------------------------------------------------------------------------------

const modelState = async (id) =>
  (await get('/v1/models')).data.find((m) => m.id === id).meta.state;

test('models are loaded, planned and unloaded', async () => {
  const plan = await post('/v1/models/plan', { model: 'hearth-tiny-embed' });
  assert.equal(plan.status, 200, JSON.stringify(plan.body));
  assert.equal(plan.body.fits, true);
  assert.ok(plan.body.needs.total > 1e6);
  const loaded = await post('/v1/models/hearth-tiny-embed/load', { keep_alive: '10m' });
  assert.equal(loaded.status, 200, JSON.stringify(loaded.body));
  assert.equal(await modelState('hearth-tiny-embed'), 'ready');
  const entry = (await get('/v1/models')).data.find((m) => m.id === 'hearth-tiny-embed');
  assert.equal(entry.meta.keep_alive_ms, 600000);
  assert.ok(entry.meta.memory.total > 1e6);
  assert.match((await hub.run(['ps'])).stdout, /^hearth-tiny-embed +embedding +ready/m);
  const gone = await post('/v1/models/hearth-tiny-embed/unload');
  assert.equal(gone.status, 200, JSON.stringify(gone.body));
  assert.equal(await modelState('hearth-tiny-embed'), 'on_disk');

  const verb = await hub.run(['load', 'hearth-tiny-embed', '-k', '1h']);
  assert.equal(verb.code, 0, verb.stderr);
  assert.equal(await modelState('hearth-tiny-embed'), 'ready');
  const dry = await hub.run(['load', 'hearth-tiny-rerank', '--dry-run']);
  assert.match(dry.stdout, /^hearth-tiny-rerank fits$/m);
  assert.equal(await modelState('hearth-tiny-rerank'), 'on_disk');
  assert.equal((await hub.run(['unload', 'hearth-tiny-embed'])).code, 0);
  assert.equal(await modelState('hearth-tiny-embed'), 'on_disk');

  const none = await post('/v1/models/org/none/load');
  assert.equal(none.status, 404);
  assert.equal(none.body.error.code, 'model_not_found');
});

test('keep_alive 0 unloads the model when its work is done', async () => {
  const r = await post('/v1/embeddings', { input: 'a', model: 'hearth-tiny-embed', keep_alive: 0 });
  assert.equal(r.status, 200);
  await until(async () => (await modelState('hearth-tiny-embed')) === 'on_disk', 5000, 'the unload');
});

// ---- adapters ---------------------------------------------------------------------------------

const answer = async (more) =>
  (await chat('Tell me about the sea.', { max_tokens: 24, temperature: 0, ...more })).body;

test('adapters: by name, by the model’s name, and for all', async () => {
  const names = (await get('/adapters')).adapters.map((a) => a.name);
  assert.ok(names.includes('pirate') && names.includes('terse'), names.join());
  const plain = (await answer({})).choices[0].message.content;
  const pirate = (await answer({ adapter: 'pirate' })).choices[0].message.content;
  assert.notEqual(pirate, plain);
  const entry = (await get('/v1/models')).data.find((m) => m.id === 'hearth-tiny:pirate');
  assert.equal(entry.parent, 'hearth-tiny');
  assert.equal(entry.meta.kind, 'adapter');
  assert.equal((await get('/v1/models/hearth-tiny:pirate')).id, 'hearth-tiny:pirate');
  assert.equal((await fetch(`${hub.url}/v1/models/hearth-tiny:nobody`)).status, 404);
  const named = await answer({ model: 'hearth-tiny:pirate' });
  assert.equal(named.choices[0].message.content, pirate);
  assert.equal((await answer({ adapter: 'pirate', adapter_scale: 0 })).choices[0].message.content,
    plain);

  const r = await post('/adapters/load', { adapter_name: 'pirate' });
  assert.equal(r.status, 200, JSON.stringify(r.body));
  assert.equal(r.body.adapter, 'pirate');
  assert.equal((await get('/health')).adapter, 'pirate');
  assert.equal((await answer({})).choices[0].message.content, pirate);
  assert.equal((await answer({ adapter: 'base' })).choices[0].message.content, plain);
  assert.equal((await post('/adapters/load', { adapter_name: 'none' })).status, 200);
  assert.equal((await get('/health')).adapter, 'base');
  assert.equal((await answer({})).choices[0].message.content, plain);

  assert.equal((await answer({ adapter: 'nobody' })).error.code, 'adapter_not_found');
  assert.equal((await post('/adapters/load', { adapter_name: 'nobody' })).status, 404);
});

// ---- rerank -----------------------------------------------------------------------------------

test('documents are ordered by the query', async () => {
  const documents = [
    'The recipe needs two eggs and some flour.',
    { text: 'The capital of France is Paris.' },
    'A bicycle has two wheels.',
  ];
  const r = await post('/v1/rerank', {
    query: 'What is the capital of France?', documents, return_documents: true,
  });
  assert.equal(r.status, 200, JSON.stringify(r.body));
  assert.equal(r.body.results.length, 3);
  assert.equal(r.body.results[0].index, 1);
  assert.equal(r.body.results[0].document.text, documents[1].text);
  const scores = r.body.results.map((x) => x.relevance_score);
  assert.deepEqual(scores, [...scores].sort((a, b) => b - a));
  assert.ok(scores.every((s) => s >= 0 && s <= 1), scores.join());
  assert.ok(r.body.usage.total_tokens > 10);
  const best = await post('/v2/rerank', {
    query: 'What is the capital of France?', documents, top_n: 1, raw_scores: true,
  });
  assert.deepEqual(best.body.results.map((x) => x.index), [1]);
  const bad = await post('/v1/rerank', { query: 'a', documents: ['b'], model: 'hearth-tiny' });
  assert.equal(bad.status, 400, JSON.stringify(bad.body));
});

// ---- members of requests ----------------------------------------------------------------------

test('members that say how to schedule are checked', async () => {
  const cases = {
    adapter: '', adapter_scale: 'x', deterministic: 1, keep_alive: 'soon', context_overflow: 'wrap',
    deadline_ms: 0, priority: 101,
  };
  for (const [name, value] of Object.entries(cases)) {
    const r = await chat('Hi', { [name]: value });
    assert.equal(r.status, 400, name);
    assert.equal(r.body.error.param, `/${name}`);
  }
});

test('deterministic answers are the same beside others', async () => {
  const alone = await answer({ deterministic: true });
  const others = Array.from({ length: 3 }, (_, i) => answer({ seed: i, temperature: 1 }));
  const beside = await answer({ deterministic: true });
  await Promise.all(others);
  assert.equal(beside.choices[0].message.content, alone.choices[0].message.content);
});
