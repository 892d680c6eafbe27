// Kills the model worker again and again under load and counts what became of every request.
//
//   tests/torture/kills.mjs [--kills 100] [--clients 8] [--binary build/hearth] [--model NAME]
//
// Each client sends one request after the other: streams (greedy, seeded, several choices), whole
// answers, embeddings, questions, and now and then leaves in the middle. Each request must end: with
// the answer that an undisturbed hub gives (greedy ones are compared), or with a clear error. Ends
// with status 1 when one does not, when an answer differs, or when descriptors, threads, processes or
// memory are left over.
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '100' },
    clients: { type: 'string', default: '8' },
    binary: { type: 'string' },
    model: { type: 'string', default: '' },
    seed: { type: 'string', default: '1' },
  },
});
if (values.binary) process.env.HEARTH_BIN = values.binary;
const { startHub, sleep, until } = await import('../e2e/support/hearth.mjs');
const { descriptors, isAlive, killWorker, post, stream, workers, zombies } =
  await import('../e2e/support/worker.mjs');

const LATEST_MS = 60000; // no request may take longer
const kills = Number(values.kills);
let state = Number(values.seed);
const dice = (n) => {
  state = (state * 1103515245 + 12345) % 2147483648;
  return Math.floor((state / 2147483648) * n);
};

const hub = await startHub({
  args: [...(values.model ? ['--model', values.model] : []), '--log-level', 'INFO'],
  env: { HEARTH_QUEUE_CAPACITY: '256' },
});
const topics = ['a river', 'a lamp', 'the sea', 'an old house', 'bread', 'winter', 'a train', 'ink'];
const ask = (i) => ({
  model: values.model || undefined,
  messages: [{ role: 'user', content: `Tell me a story about ${topics[i % topics.length]}.` }],
  temperature: 0,
  max_tokens: 40 + (i % 5) * 20,
  ignore_eos: true,
  deterministic: true, // else a prompt's computation in other steps may tip a close decision
});

// What an undisturbed hub says.
const expected = [];
for (let i = 0; i < 40; i++) expected.push((await stream(hub, ask(i))).text);

const count = { same: 0, differs: 0, ended: 0, left: 0, errors: {}, stuck: 0 };
const fail = (code) => { count.errors[code] = (count.errors[code] ?? 0) + 1; };

async function one() {
  const i = dice(40);
  const kind = dice(10);
  if (kind < 5) {
    const r = await stream(hub, ask(i));
    if (r.error) fail(r.error.code);
    else if (r.text === expected[i]) count.same++;
    else {
      count.differs++;
      console.log(`differs: ${i}\n  ${expected[i]}\n  ${r.text}`);
    }
  } else if (kind < 6) {
    const r = await stream(hub, { ...ask(i), temperature: 1, seed: i, n: 1 + dice(3) });
    if (r.error) fail(r.error.code);
    else count.ended++;
  } else if (kind < 7) {
    const r = await post(hub, '/v1/chat/completions', ask(i));
    if (r.status === 200 && r.body.choices[0].message.content === expected[i]) count.same++;
    else if (r.status === 200) count.differs++;
    else fail(r.body.error.code);
  } else if (kind < 8) {
    const r = await post(hub, '/v1/embeddings', { input: topics });
    if (r.status === 200 && r.body.data.length === topics.length) count.ended++;
    else fail(r.body.error?.code ?? r.status);
  } else if (kind < 9) {
    const abort = new AbortController();
    const r = fetch(`${hub.url}/v1/chat/completions`, {
      method: 'POST', body: JSON.stringify({ ...ask(i), stream: true }), signal: abort.signal,
    });
    setTimeout(() => abort.abort(), dice(200));
    await r.then((x) => x.text()).catch(() => {});
    count.left++;
  } else {
    const r = await fetch(`${hub.url}/v1/queue`);
    if (r.status === 200) count.ended++;
    else fail((await r.json()).error.code);
  }
}

let over = false;
async function client() {
  while (!over) {
    let timer;
    const late = new Promise((done) => { timer = setTimeout(() => done('late'), LATEST_MS); });
    if ((await Promise.race([one(), late])) === 'late') count.stuck++;
    clearTimeout(timer);
  }
}

const before = { fds: descriptors(hub.pid), threads: Number(hub.status('Threads')), rss: 0 };
const clients = Array.from({ length: Number(values.clients) }, client);
const started = performance.now();
for (let i = 0; i < kills; i++) {
  await sleep(100 + dice(900));
  await killWorker(hub);
  if (i === Math.floor(kills / 4)) before.rss = hub.rss(); // warmed up
}
const seconds = (performance.now() - started) / 1000;
over = true;
await Promise.all(clients);
const calm = await stream(hub, ask(3));
await until(() => descriptors(hub.pid) <= before.fds + clients.length, 10000, 'descriptors').catch(() => {});
const after = { fds: descriptors(hub.pid), threads: Number(hub.status('Threads')), rss: hub.rss() };
const queue = await (await fetch(`${hub.url}/v1/queue`)).json();
const dead = workers(hub).slice(0, -1).filter(isAlive).length + zombies(hub.pid);

const errors = Object.entries(count.errors).map(([k, v]) => `${v} ${k}`).join(', ') || 'none';
const MiB = (n) => (n / 1048576).toFixed(1);
console.log(`kills             ${kills} in ${seconds.toFixed(0)} s, ${workers(hub).length} workers`);
console.log(`answers as ever   ${count.same}`);
console.log(`other answers     ${count.ended} (sampled, embeddings, lists)`);
console.log(`clients that left ${count.left}`);
console.log(`clear errors      ${errors}`);
console.log(`answers differ    ${count.differs}`);
console.log(`without an end    ${count.stuck}`);
console.log(`descriptors       ${before.fds} -> ${after.fds}, threads ${before.threads} -> ${after.threads}`);
console.log(`resident memory   ${MiB(before.rss)} -> ${MiB(after.rss)} MiB, processes left ${dead}`);
console.log(`queue             ${queue.running} running, ${queue.waiting} waiting`);

const bad = [];
if (count.differs) bad.push('answers differ');
if (count.stuck) bad.push('requests without an end');
if (Object.keys(count.errors).some((c) => c !== 'worker_stopped')) bad.push('errors of another kind');
if (after.fds > before.fds + clients.length) bad.push('descriptors are left over');
if (after.threads > before.threads) bad.push('threads are left over');
if (before.rss && after.rss > before.rss * 1.25 + 8 * 1048576) bad.push('memory is left over');
if (dead) bad.push('processes are left over');
if (queue.running || queue.waiting) bad.push('requests are left over');
if (calm.text !== expected[3]) bad.push('the hub does not answer as before');
await hub.stop();
console.log(bad.length ? `FAILED: ${bad.join('; ')}` : 'nothing lost');
process.exit(bad.length ? 1 : 0);
