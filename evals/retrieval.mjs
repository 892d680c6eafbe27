// Retrieval quality on the labelled set (evals/retrieval/): uploads every document to a hub of its own,
// asks every question in each mode and prints how often the right passage came.
//
//   node evals/retrieval.mjs [--hearth build/hearth] [--set KEY=VALUE]... [--mode MODE]... [--every N]
//                            [--fail MODE] [--check] [--json FILE]
//
// A result counts when it is of the right file and its text holds the words that answer. recall@5: among
// the first five; MRR: one over the place of the first one, 0 if it is not among the first ten. --fail
// lists what a mode missed; --check ends with an error when hybrid doesn't beat both its parts.
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { documents, normal, questions } from './retrieval/make.mjs';

const { values: arg } = parseArgs({
  options: {
    hearth: { type: 'string', default: fileURLToPath(new URL('../build/hearth', import.meta.url)) },
    set: { type: 'string', multiple: true, default: [] },
    mode: { type: 'string', multiple: true, default: [] }, // only these; all without
    every: { type: 'string', default: '1' }, // the Nth questions only
    fail: { type: 'string' },
    check: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
process.env.HEARTH_BIN ??= resolve(arg.hearth);
const { startHub, until } = await import('../tests/e2e/support/hearth.mjs');

const DEPTH = 10;
const MODES = [
  { name: 'vector', body: { mode: 'vector', rerank: false } },
  { name: 'bm25', body: { mode: 'bm25', rerank: false } },
  { name: 'hybrid', body: { mode: 'hybrid', rerank: false } },
  { name: 'hybrid + rerank', body: { mode: 'hybrid', rerank: true } },
].filter((m) => arg.mode.length === 0 || arg.mode.includes(m.name));
const KINDS = { p: 'paraphrase', f: 'fact', i: 'identifier', d: 'near-duplicate' };

// ---- the hub -----------------------------------------------------------------------------------------

let token;
const auth = () => ({ authorization: `Bearer ${token}` });

async function post(hub, path, body) {
  const r = await fetch(`${hub.url}/api/v1${path}`, {
    method: 'POST', headers: { ...(token && auth()), 'content-type': 'application/json' }, body: JSON.stringify(body),
  });
  const json = await r.json();
  if (!r.ok) throw new Error(`${path}: ${r.status} ${json.error?.message}`);
  return json;
}

async function login(hub) {
  const who = { username: 'evals', password: 'a long password' };
  await post(hub, '/auth/register', who);
  token = (await post(hub, '/auth/login', who)).access_token;
}

async function upload(hub, doc) {
  const form = new FormData();
  form.append('file', new Blob([doc.bytes]), doc.name);
  const r = await fetch(`${hub.url}/api/v1/files/upload`, { method: 'POST', headers: auth(), body: form });
  const json = await r.json();
  if (!r.ok) throw new Error(`${doc.name}: ${r.status} ${json.error?.message}`);
  const id = json.file_id ?? json.id ?? json.file?.id;
  if (!id) throw new Error(`no id in ${JSON.stringify(json)}`);
  return id;
}

async function whenReady(hub, id, name) {
  return until(async () => {
    const r = await (await fetch(`${hub.url}/api/v1/files/status/${id}`, { headers: auth() })).json();
    if (r.status === 'failed') throw new Error(`${name}: ${JSON.stringify(r.error ?? r)}`);
    return r.status === 'ready' && r;
  }, 600000, `${name} to be ready`);
}

// ---- asking ------------------------------------------------------------------------------------------

const answers = (result, q) => result.file_name === q.file && q.words.some((w) => normal(result.text).includes(normal(w)));

async function ask(hub, q, mode) {
  const started = performance.now();
  const { results } = await post(hub, '/search', { query: q.question, k: DEPTH, ...mode.body });
  const ms = performance.now() - started;
  return { place: results.findIndex((r) => answers(r, q)) + 1, file: results.findIndex((r) => r.file_name === q.file) + 1, ms, results };
}

const share = (list, yes) => list.filter(yes).length / list.length;
function score(rows) {
  return {
    'recall@1': share(rows, (r) => r.place === 1),
    'recall@5': share(rows, (r) => r.place > 0 && r.place <= 5),
    MRR: rows.reduce((n, r) => n + (r.place ? 1 / r.place : 0), 0) / rows.length,
    'file@5': share(rows, (r) => r.file > 0 && r.file <= 5),
  };
}

function table(title, columns, rows) {
  const lines = [[title, ...columns], ...rows.map(([name, cells]) => [name, ...cells])];
  const widths = lines[0].map((_, k) => Math.max(...lines.map((l) => l[k].length)));
  lines.splice(1, 0, widths.map((w) => '-'.repeat(w)));
  return lines.map((l) => `| ${l.map((c, k) => (k ? c.padStart(widths[k]) : c.padEnd(widths[k]))).join(' | ')} |`).join('\n');
}

const fixed = (x) => x.toFixed(3);

// ---- all of it ---------------------------------------------------------------------------------------

const docs = documents();
const all = questions().filter((_, i) => i % Number(arg.every) === 0);
const env = Object.fromEntries(arg.set.map((s) => [s.slice(0, s.indexOf('=')), s.slice(s.indexOf('=') + 1)]));
const hub = await startHub({ args: ['--no-preload'], env });
const byMode = new Map();
try {
  await login(hub);
  const begun = performance.now();
  const ids = [];
  for (const doc of docs) ids.push([await upload(hub, doc), doc.name]);
  const files = [];
  for (const [id, name] of ids) files.push(await whenReady(hub, id, name));
  const chunks = files.reduce((n, f) => n + (f.n_chunks ?? f.chunks ?? 0), 0);
  console.log(`${docs.length} documents in ${new Set(docs.map((d) => d.name.split('.').pop())).size} formats, ` +
    `${chunks} chunks, ready after ${((performance.now() - begun) / 1000).toFixed(1)} s; ${all.length} questions\n`);
  for (const mode of MODES) {
    const rows = [];
    for (const q of all) rows.push({ ...q, ...await ask(hub, q, mode) });
    byMode.set(mode.name, rows);
    if (arg.fail === mode.name) {
      for (const r of rows.filter((x) => !x.place || x.place > 5)) {
        console.log(`missed: [${r.kind}] ${r.question}  (${r.file ? `${r.file}` : 'file not found'}; wants ${r.words[0]})`);
      }
    }
  }
} finally {
  await hub.stop();
}

const scores = new Map([...byMode].map(([name, rows]) => [name, score(rows)]));
const columns = Object.keys([...scores.values()][0]);
const p50 = (rows) => rows.map((r) => r.ms).sort((a, b) => a - b)[Math.floor(rows.length / 2)];
console.log(table('all questions', [...columns, 'ms'], [...scores].map(([name, s]) =>
  [name, [...columns.map((c) => fixed(s[c])), p50(byMode.get(name)).toFixed(0)]])));
console.log();
const kinds = Object.keys(KINDS);
console.log(table('recall@5 by kind', kinds.map((k) => `${KINDS[k]} (${all.filter((q) => q.kind === k).length})`),
  [...byMode].map(([name, rows]) => [name, kinds.map((k) => fixed(score(rows.filter((r) => r.kind === k))['recall@5']))])));
if (arg.json) writeFileSync(arg.json, JSON.stringify(Object.fromEntries(scores), null, 2));

const [vector, bm25, hybrid] = ['vector', 'bm25', 'hybrid'].map((m) => scores.get(m));
if (vector && bm25 && hybrid) {
  const beats = ['recall@5', 'MRR'].every((c) => hybrid[c] > vector[c] && hybrid[c] > bm25[c]);
  console.log(`\nhybrid ${beats ? 'beats' : 'does not beat'} both its parts in recall@5 and MRR`);
  if (arg.check && !beats) process.exitCode = 1;
}
