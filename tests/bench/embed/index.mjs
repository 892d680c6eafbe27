// Whether indexing embeds as fast as the engine can: a file goes through a hub (upload, job,
// extracting, chunks, vectors from its model worker, SQLite), from its last byte to `ready`; then the
// same chunks go through libllama in a plain loop, in its quickest batch (bench_embed.c).
//
//   node tests/bench/embed/index.mjs --build build --model embedding.gguf [--threads 2] [--chunks 80]
//        [--chunk-size 500] [--rounds 2] [--json]
//
// In turns, a file of its own each round: the machine may change its speed. The hub has nothing to do
// while the plain loop runs.
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { sleep } from '../support/client.mjs';
import { workers } from '../support/process.mjs';
import { sum } from '../support/stats.mjs';

const { values: arg } = parseArgs({
  options: {
    build: { type: 'string', default: 'build' },
    model: { type: 'string' },
    threads: { type: 'string', default: '2' },
    chunks: { type: 'string', default: '80' },
    'chunk-size': { type: 'string', default: '500' },
    rounds: { type: 'string', default: '2' },
    json: { type: 'boolean', default: false },
  },
});
process.env.HEARTH_BIN = path.join(arg.build, 'hearth');
const { startHub, runHearth, tempDir } = await import('../../e2e/support/hearth.mjs');

const GOAL = 0.95;
const LOOK_MS = 100;
const size = Number(arg['chunk-size']), overlap = Math.floor(size / 5);

// Common words in any order, so that a token has as many letters as in a real text; the same for
// the same round.
const words = (`the of and to in is was for that on with as his they at be this from have or by one had not but what
  all were when we there can an your which their said if do will each about how up out them then she many some so
  these would other into has more her two like him see time could no make than first been its who now people my made
  over did down only way find use may water long little very after words called just where most know`).split(/\s+/);

function text(length, round) {
  let state = (round + 1) * 2654435761 % 2 ** 32;
  const random = (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * n);
  };
  let out = '';
  for (let n = 1; out.length < length; n++) {
    out += words[random(words.length)];
    out += n % 12 ? ' ' : n % 60 ? '. ' : '.\n\n';
  }
  return out.slice(0, length);
}

const model = path.resolve(arg.model);
const dir = tempDir();
await runHearth(['users', 'create', 'ada', '--admin'], { dir, input: 'correct horse\n' });
const hub = await startHub({
  dir,
  args: ['--no-preload', '--embed-model', model],
  env: { CHUNK_SIZE: size, CHUNK_OVERLAP: overlap, HEARTH_ENGINE_THREADS: arg.threads, LOG_LEVEL: 'WARNING' },
});
const ask = async (method, target, body, headers = {}) => {
  const r = await fetch(hub.url + target, { method, body, headers });
  const answer = await r.json();
  if (!r.ok) throw new Error(`${method} ${target}: ${JSON.stringify(answer)}`);
  return answer;
};
const login = await ask('POST', '/api/v1/auth/login', JSON.stringify({ username: 'ada', password: 'correct horse' }));
const headers = { authorization: `Bearer ${login.access_token}` };

// Seconds that each thread of the model worker had work, whether it ran or waited for its turn: the
// rest it slept. That says where time went on a machine that others use, too.
function worked() {
  const [pid] = workers(hub.child.pid);
  return new Map(readdirSync(`/proc/${pid}/task`).map((tid) => {
    const [ran, waited] = readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'utf8').split(' ').map(Number);
    return [tid, (ran + waited) / 1e9];
  }));
}

async function index(name, bytes) {
  const form = new FormData();
  form.append('file', new Blob([bytes]), name);
  const before = worked();
  const t0 = performance.now();
  const { id } = await ask('POST', '/api/v1/files/upload', form, headers);
  for (;;) {
    const f = await ask('GET', `/api/v1/files/status/${id}`, undefined, headers);
    if (f.status === 'ready') {
      const seconds = (performance.now() - t0) / 1000;
      const busy = Math.max(...[...worked()].map(([tid, s]) => s - (before.get(tid) ?? 0))) / seconds;
      return { id, seconds, busy };
    }
    if (f.status === 'failed') throw new Error(`${name}: ${f.error}`);
    await sleep(LOOK_MS);
  }
}

const bare = (id, batch) => JSON.parse(execFileSync(path.join(arg.build, 'tests/bench_embed'),
  [model, path.join(dir, 'data/hearth.db'), id, arg.threads, ...(batch ? [String(batch)] : [])], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }));

const rounds = [];
await ask('POST', '/v1/embeddings', JSON.stringify({ input: 'warm' })); // the model is in memory
for (let i = 0; i < Number(arg.rounds); i++) {
  const length = (Number(arg.chunks) - 1) * (size - overlap) + size;
  const hearth = await index(`${i}.txt`, text(length, i));
  const engine = bare(hearth.id, rounds[0]?.engine.batch);
  if (engine.alike < 0.999) throw new Error(`the hub's vectors are others: ${engine.alike}`);
  rounds.push({ hearth: hearth.seconds, busy: hearth.busy, engine });
}
await hub.stop();

const tokens = sum(rounds.map((r) => r.engine.tokens)), chunks = sum(rounds.map((r) => r.engine.chunks));
const result = {
  chunks, tokens,
  batch: rounds[0].engine.batch,
  hearth: tokens / sum(rounds.map((r) => r.hearth)),
  engine: tokens / sum(rounds.map((r) => r.engine.seconds)),
  rounds: rounds.map((r) => r.engine.seconds / r.hearth),
  busy: Math.min(...rounds.map((r) => r.busy)),
  alike: Math.min(...rounds.map((r) => r.engine.alike)),
};
result.ratio = result.hearth / result.engine;
if (arg.json) console.log(JSON.stringify(result));
else {
  console.log(`${chunks} chunks of ${(tokens / chunks).toFixed(0)} tokens, ${arg.threads} threads, ${rounds.length} rounds`);
  console.log(`the engine alone, best batch (${result.batch < 2 ? 'a chunk' : `${result.batch} tokens`})   ${result.engine.toFixed(1)} tokens/s`);
  console.log(`a file indexed by the hub               ${result.hearth.toFixed(1)} tokens/s   ratio ${result.ratio.toFixed(3)} ` +
    `(${result.rounds.map((r) => r.toFixed(3)).join(', ')}; wanted: ${GOAL} or more)`);
  console.log(`the hub's engine had work for ${(100 * result.busy).toFixed(1)} % of that time, or more`);
}
process.exitCode = result.ratio < GOAL ? 1 : 0;
