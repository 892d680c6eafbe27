// Sixty-four clients use everything at once for ten minutes: they ask, read, leave, queue, change
// adapters, load and unload models, list, plan and cancel, while a hub of a ThreadSanitizer build
// answers. At the end every request was answered or left by its own client, no answer was one that
// nobody expects, the sanitizer is silent, memory and descriptors are where they were, and the hub
// stops cleanly.
//
//   HEARTH_BIN=build-tsan/hearth node tests/soak/soak.mjs [--seconds 600] [--clients 64] [--seed 1] [--partial]
//        [--shared]  all sequences in one pool of KV cells, which is short of them
//
// `make soak` builds and runs it (SOAK_SECONDS). It works with any build; without the sanitizer the
// races are those that crash.
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import WebSocket from 'ws';

import { root, sleep, startHub, tempDir } from '../e2e/support/hearth.mjs';

const { values: arg } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    clients: { type: 'string', default: '64' },
    seed: { type: 'string', default: '1' },
    shared: { type: 'boolean', default: false },
    partial: { type: 'boolean', default: false }, // what the hub does not have is no problem
  },
});
const seconds = Number(arg.seconds);
const nClients = Number(arg.clients);

// ---- chance, the same in every run with the same seed (mulberry32)

let state = Number(arg.seed) >>> 0;
function chance() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const below = (n) => Math.floor(chance() * n);
const pick = (list) => list[below(list.length)];

// ---- one request

const agent = new http.Agent({ keepAlive: true, maxSockets: nClients });

// leaveMs: closes the connection after that time. Resolves with { status, body, headers, left }; an
// answer that breaks off, or none within two minutes, is an error.
function ask(hub, method, path, body, leaveMs) {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    let left = false, whole = false;
    const late = setTimeout(() => {
      reject(new Error(`${method} ${path}: no answer within two minutes`));
      req.destroy();
    }, 120000);
    const done = (value) => {
      clearTimeout(late);
      resolve(value);
    };
    const failed = (e) => {
      clearTimeout(late);
      if (left) resolve({ left });
      else reject(new Error(`${method} ${path}: ${e.message}`));
    };
    const req = http.request(
      {
        host: '127.0.0.1', port: hub.port, method, path, agent: leaveMs === undefined ? agent : false,
        headers: text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
      },
      (res) => {
        let got = '';
        res.setEncoding('utf8');
        res.on('data', (d) => (got += d));
        res.on('end', () => {
          whole = true;
          done({ status: res.statusCode, headers: res.headers, body: got, left });
        });
        res.on('close', () => whole || failed(new Error('the answer breaks off')));
        res.on('error', failed);
      },
    );
    req.on('error', failed);
    req.end(text);
    if (leaveMs !== undefined) {
      setTimeout(() => {
        left = true;
        req.destroy();
      }, leaveMs).unref();
    }
  });
}

// The same over a WebSocket of its own; one that doesn't leave sends the message twice, and may cancel the second.
function askSocket(hub, path, message, leaveMs, cancel) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${hub.port}${path}`);
    let left = false, answers = 0;
    const late = setTimeout(() => {
      reject(new Error(`${path}: no answer within two minutes`));
      socket.terminate();
    }, 120000);
    const end = (settle, value) => {
      clearTimeout(late);
      settle(value);
      socket.close();
    };
    const statusOf = ({ error }) => ({ rate_limit_error: 429, server_error: error.code === 'internal_error' ? 500 : 503 })[error.type] ?? 400;
    socket.on('open', () => {
      for (let i = 0; i < (leaveMs === undefined ? 2 : 1); i++) socket.send(JSON.stringify(message));
      if (cancel) setTimeout(() => socket.readyState === WebSocket.OPEN && socket.send('{"type":"cancel"}'), below(300));
    });
    socket.on('message', (data) => {
      const m = JSON.parse(data.toString());
      if (m.type === 'error') end(resolve, { status: statusOf(m), body: data.toString(), headers: { 'retry-after': m.retry_after }, left });
      else if (m.type === 'cancelled' || (m.type === 'done' && ++answers === 2 && !cancel)) end(resolve, { status: 200, body: data.toString(), headers: { 'x-request-id': m.request_id }, left });
    });
    socket.on('close', () => end(left ? resolve : reject, left ? { left } : new Error(`${path}: it was closed`)));
    socket.on('error', (e) => end(left ? resolve : reject, left ? { left } : e));
    if (leaveMs !== undefined) {
      setTimeout(() => {
        left = true;
        socket.terminate();
      }, leaveMs).unref();
    }
  });
}

// ---- what clients do. Each says which answers are all right.

const chatModels = ['hearth-tiny', 'second'];
const adapters = ['pirate', 'terse', 'base'];
const system = `You are a helpful assistant in a house with a hearth. ${'Be kind and short. '.repeat(20)}`;
const questions = ['What is a hearth?', 'Count to five.', 'Say hello.', 'Who are you?', 'What is 2 + 3?', 'Name three colours.'];

// Answers that are right whatever else goes on: done; too many; the model was unloaded meanwhile, is
// being unloaded, or does not fit now. A load that somebody else's unloading ends is told so (409).
const busy = { 429: true, 503: true };
const fine = { 200: true, ...busy };

function chatBody(more = {}) {
  return {
    model: pick(chatModels),
    messages: [...(chance() < 0.5 ? [{ role: 'system', content: system }] : []), { role: 'user', content: pick(questions) }],
    max_tokens: 1 + below(40), priority: below(101), ...(chance() < 0.4 ? { adapter: pick(adapters) } : {}),
    ...(chance() < 0.3 ? { temperature: 0, seed: below(5) } : {}), ...more,
  };
}

// A stream must end with [DONE] or with an error of its own.
function checkStream(answer) {
  if (answer.left || answer.status !== 200) return;
  if (!/data: \[DONE\]\s*$/.test(answer.body) && !/"error"/.test(answer.body)) throw new Error(`a stream without an end: ${answer.body.slice(-200)}`);
}
function checkChoices(n) {
  return (answer) => {
    if (answer.left || answer.status !== 200) return;
    const { choices } = JSON.parse(answer.body);
    if (choices.length !== n) throw new Error(`${choices.length} choices instead of ${n}`);
  };
}
function checkJson(answer) {
  if (answer.left || answer.status !== 200) return;
  const [choice] = JSON.parse(answer.body).choices;
  if (choice.finish_reason === 'stop') JSON.parse(choice.message.content);
}
function checkEmbeddings(answer) {
  if (answer.left || answer.status !== 200) return;
  if (JSON.parse(answer.body).data.some((d) => d.embedding.length !== 256)) throw new Error('an embedding of another length');
}

const form = { type: 'json_schema', json_schema: { name: 'answer', schema: { type: 'object', properties: { colour: { enum: ['red', 'green'] }, n: { type: 'integer' } }, required: ['colour', 'n'], additionalProperties: false } } };

// name: [weight, route (as in /openapi.json), what is sent, answers that are right, check]
const actions = {
  stream: [20, 'POST /v1/chat/completions', () => chatBody({ stream: true }), fine, checkStream],
  'stream and leave': [20, 'POST /v1/chat/completions', () => chatBody({ stream: true, max_tokens: 200 }), fine, checkStream, () => below(400)],
  answer: [10, 'POST /v1/chat/completions', () => chatBody(), fine, checkChoices(1)],
  'two choices': [4, 'POST /v1/chat/completions', () => chatBody({ n: 2 }), fine, checkChoices(2)],
  'answer by schema': [4, 'POST /v1/chat/completions', () => chatBody({ response_format: form, max_tokens: 60 }), fine, checkJson],
  'deterministic answer': [2, 'POST /v1/chat/completions', () => chatBody({ deterministic: true, temperature: 0 }), arg.shared ? { ...fine, 400: true } : fine, arg.shared ? null : checkChoices(1)],
  'model:adapter': [4, 'POST /v1/chat/completions', () => chatBody({ model: `hearth-tiny:${pick(['pirate', 'terse'])}`, adapter: undefined }), fine, checkChoices(1)],
  'raw and leave': [5, 'POST /v1/completions', () => ({ prompt: pick(questions).repeat(1 + below(20)), max_tokens: 100, stream: true }), fine, checkStream, () => below(300)],
  'chats over a WebSocket': [6, 'GET /api/chat/ws', () => chatBody({ type: 'chat' }), fine],
  'cancel over a WebSocket': [3, 'GET /api/chat/ws', () => chatBody({ type: 'chat', max_tokens: 200 }), fine, () => {}, null, true],
  'WebSocket and leave': [4, 'GET /api/chat/ws', () => chatBody({ type: 'chat', max_tokens: 200 }), fine, () => {}, () => below(300)],
  embed: [8, 'POST /v1/embeddings', () => ({ input: Array.from({ length: 1 + below(12) }, () => pick(questions)) }), fine, checkEmbeddings],
  'embed and leave': [3, 'POST /v1/embeddings', () => ({ input: Array.from({ length: 40 }, () => pick(questions)) }), fine, () => {}, () => below(60)],
  rerank: [4, 'POST /v1/rerank', () => ({ query: pick(questions), documents: questions }), fine],
  'other adapter for all': [2, 'POST /adapters/load', () => ({ adapter_name: pick(['default', 'none', ...adapters]) }), fine],
  'list adapters': [1, 'GET /adapters', null, fine],
  'load a model': [3, 'POST /v1/models/{id}/load', () => (chance() < 0.5 ? {} : { keep_alive: pick([0, '2s', -1]) }), { ...fine, 409: true }],
  'unload a model': [3, 'POST /v1/models/{id}/unload', () => ({}), fine],
  plan: [1, 'POST /v1/models/plan', () => ({ model: pick(chatModels) }), fine],
  queue: [2, 'GET /v1/queue', null, fine],
  cache: [1, 'GET /v1/cache', null, fine],
  models: [2, 'GET /v1/models', null, fine],
  requests: [2, 'GET /v1/requests', null, fine],
  'cancel somebody': [2, 'DELETE /v1/requests/{id}', null, { ...fine, 404: true, 409: true }],
  health: [2, 'GET /health', null, { 200: true }],
  metrics: [1, 'GET /metrics', null, { 200: true }],
};

let lastId = 'none';

function pathOf(route) {
  const path = route.split(' ')[1];
  if (path.startsWith('/v1/models/{id}')) return path.replace('{id}', pick([...chatModels, 'hearth-tiny-embed']));
  return path.replace('{id}', lastId);
}

// ---- what is watched

function descendants(pid) {
  const all = [pid];
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    let text = '';
    try {
      text = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8');
    } catch { /* the thread has just ended */ }
    for (const child of text.split(' ').filter(Boolean)) all.push(...descendants(Number(child)));
  }
  return all;
}

// { rss (MiB), fds, processes } of the hub and its worker.
function usage(pid) {
  const total = { rss: 0, fds: 0, processes: 0 };
  for (const p of descendants(pid)) {
    try {
      total.rss += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${p}/status`, 'utf8'))?.[1] ?? 0) / 1024;
      total.fds += readdirSync(`/proc/${p}/fd`).length;
      total.processes++;
    } catch { /* it has just ended */ }
  }
  return total;
}

// ---- the run

async function supported(hub) {
  const doc = JSON.parse((await ask(hub, 'GET', '/openapi.json')).body);
  const have = new Set();
  for (const [path, methods] of Object.entries(doc.paths)) for (const m of Object.keys(methods)) have.add(`${m.toUpperCase()} ${path}`);
  const known = {}, missing = [];
  for (const [name, action] of Object.entries(actions)) {
    if (have.has(action[1])) known[name] = action;
    else missing.push(name);
  }
  return { known, missing };
}

const counts = {}, problems = [];

function count(name, what) {
  counts[name] ??= {};
  counts[name][what] = (counts[name][what] ?? 0) + 1;
}

async function act(hub, name, [, route, body, right, check, leave, cancel]) {
  const [method] = route.split(' ');
  const path = pathOf(route);
  try {
    const answer = path.endsWith('/ws') ? await askSocket(hub, path, body(), leave?.(), cancel) : await ask(hub, method, path, body?.(), leave?.());
    if (answer.headers?.['x-request-id']) lastId = answer.headers['x-request-id'];
    count(name, answer.left ? 'left' : answer.status);
    if (answer.left) return;
    if (arg.partial && /"code":"unsupported"/.test(answer.body)) return;
    if (!right[answer.status]) throw new Error(`${method} ${path}: ${answer.status} ${answer.body.slice(0, 300)}`);
    if (answer.status === 429 && !answer.headers['retry-after']) throw new Error(`${method} ${path}: 429 without Retry-After`);
    check?.(answer);
  } catch (e) {
    count(name, 'wrong');
    problems.push(`${name}: ${e.message}`);
  }
}

function chooser(known) {
  const wheel = Object.entries(known).flatMap(([name, a]) => Array(a[0]).fill(name));
  return () => pick(wheel);
}

async function client(hub, known, until) {
  const choose = chooser(known);
  while (performance.now() < until && problems.length < 50) {
    const name = choose();
    await act(hub, name, known[name]);
    if (chance() < 0.2) await sleep(below(100));
  }
}

// Nothing is running or waiting any more.
async function settled(hub) {
  for (let i = 0; i < 300; i++) {
    const health = JSON.parse((await ask(hub, 'GET', '/health')).body);
    if (!health.running && !health.waiting) return true;
    await sleep(100);
  }
  return false;
}

const dir = tempDir();
mkdirSync(join(dir, 'models'), { recursive: true });
copyFileSync(join(root, 'models/hearth-tiny.gguf'), join(dir, 'models/second.gguf'));
const adaptersDir = join(dir, 'adapters');
mkdirSync(adaptersDir); // what lies directly in there is the "default" one
copyFileSync(join(root, 'models/adapters/terse.gguf'), join(adaptersDir, 'mine.gguf'));
const hub = await startHub({ dir, readyMs: 60000, args: ['--model', 'hearth-tiny'], env: { HEARTH_ADAPTERS: adaptersDir, HEARTH_CACHE_MEMORY: '32M', /* soon full, so that growth is a leak */ HEARTH_QUEUE_CAPACITY: 96, LLAMA_CPP_N_CTX: 1024, HEARTH_PARALLEL: 4, HEARTH_ENGINE_THREADS: 1, ...(arg.shared && { HEARTH_SHARED_KV: 'true', HEARTH_CACHE_MEMORY: '3M' }) } });
const { known, missing } = await supported(hub);
console.log(`${nClients} clients for ${seconds} s, seed ${arg.seed}`);

if (missing.length && !arg.partial) problems.push(`this hub has no: ${missing.join(', ')}`);

const begin = performance.now(), until = begin + seconds * 1000;
const clients = Array.from({ length: nClients }, () => client(hub, known, until));
const samples = [];
const watcher = (async () => {
  while (performance.now() < until && problems.length < 50) {
    await sleep(Math.min(5000, (seconds * 1000) / 8));
    if (hub.exit) break;
    samples.push({ at: (performance.now() - begin) / 1000, ...usage(hub.pid) });
  }
})();
await Promise.all([...clients, watcher]);
if (!hub.exit && !(await settled(hub))) problems.push('requests are still running or waiting 30 s after the last client has left');
agent.destroy();
await sleep(500);
const end = hub.exit ? null : usage(hub.pid);
const { code, signal } = await hub.stop('SIGTERM', 60000);

// ---- what came out

// The first quarter fills caches and pools; after it memory may grow by a tenth and some MiB.
function judge() {
  const early = samples.filter((s) => s.at > seconds * 0.2 && s.at < seconds * 0.45), late = samples.filter((s) => s.at > seconds * 0.75);
  const most = (list, key) => Math.max(...list.map((s) => s[key]));
  if (early.length && late.length && seconds >= 60) {
    const before = most(early, 'rss'), after = most(late, 'rss');
    if (after > before * 1.15 + 32) problems.push(`memory grows: ${before.toFixed(0)} MiB, later ${after.toFixed(0)} MiB`);
  }
  if (end && end.fds > 120) problems.push(`${end.fds} descriptors are open with no client left`);
  const races = (hub.log.match(/WARNING: ThreadSanitizer/g) ?? []).length;
  if (races) problems.push(`${races} reports of ThreadSanitizer, the first:\n${hub.log.slice(hub.log.indexOf('WARNING: ThreadSanitizer')).slice(0, 4000)}`);
  if (/assertion failed|ht_assert|AddressSanitizer|runtime error/i.test(hub.log)) problems.push(`an assertion or a sanitizer in the log: ${/.*(assertion failed|ht_assert|AddressSanitizer|runtime error).*/i.exec(hub.log)[0]}`);
  if (/worker.*(died|killed|ended|crash)/i.test(hub.log)) problems.push(`the worker died: ${/.*worker.*(died|killed|ended|crash).*/i.exec(hub.log)[0]}`);
  if (code !== 0) problems.push(`the hub ended with ${code ?? signal}`);
}
judge();

let total = 0;
for (const [name, by] of Object.entries(counts).sort()) {
  const n = Object.values(by).reduce((a, b) => a + b, 0);
  total += n;
  console.log(`${name.padEnd(24)} ${String(n).padStart(7)}  ${Object.entries(by).map(([k, v]) => `${k}: ${v}`).join(', ')}`);
}
console.log(`${total} requests; memory ${samples.map((s) => s.rss.toFixed(0)).filter((_, i, l) => i % Math.ceil(l.length / 8) === 0).join(' ')} MiB; descriptors ${end?.fds ?? '?'} at the end`);
if (problems.length) {
  console.log(`\n${problems.length} problem${problems.length > 1 ? 's' : ''}:`);
  for (const p of problems.slice(0, 20)) console.log(`- ${p}`);
  if (existsSync(hub.logFile)) console.log(`the hub's last words:\n${hub.log.slice(-3000)}`);
  process.exitCode = 1;
} else {
  console.log('no problem');
}
