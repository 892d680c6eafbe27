// Runs golden files (golden.mjs says what stands in them) against the real binary:
//
//   runGolden(join(root, 'tests/e2e/golden'), { plain: () => startHub(), ... });
//
// Each file is one API. Its examples run in their order, each a subtest:
//
//   { "name": "a whole answer",
//     "request": { "method": "POST", "path": "/v1/...", "headers": {}, "body": {} },
//     "status": 200, "headers": { "content-type": "application/json" },
//     "answer": "ChatCompletion", "with": ["usage"], "values": { "choices.0.index": 0 } }
//
// A request has one of: `body` (JSON), `text`, `form` (multipart; { "name", "text" } is a file; "lines" instead of
// "text" are lines of JSON), `file` (of the repository). Instead of `answer` an example may have `events` (of a
// stream, in their order; checkStream()), or `text` (a pattern for an answer that is no JSON). `headers` are
// patterns; null: it must not be there. `"save": { "id": "data.0.id" }` remembers a value of the answer (of the last
// event), and `{{id}}` in a later request or value stands for it. `"until": { "status": ["completed"] }` asks again
// until the value at that path is one of these. `"hub"` names one of the hubs (`plain`), `"upstream"` is what the
// server behind it says (upstream.mjs).
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, describe, test } from 'node:test';

import { departures } from './declarations.mjs';
import { Shapes, checkStream, checkValues, readEvents, readLines, valueAt } from './golden.mjs';
import { root, sleep } from './hearth.mjs';

const UNTIL_MS = 90000; // the machine may be busy

/** A copy of `value` with `{{name}}` replaced; a text that is nothing else becomes the value itself. */
function filled(value, saved) {
  if (typeof value === 'string') {
    const whole = /^\{\{(\w+)\}\}$/.exec(value);
    const one = (name) => {
      if (!(name in saved)) throw new Error(`nothing was saved as ${name}`);
      return saved[name];
    };
    return whole ? one(whole[1]) : value.replace(/\{\{(\w+)\}\}/g, (_, name) => String(one(name)));
  }
  if (Array.isArray(value)) return value.map((v) => filled(v, saved));
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, filled(v, saved)]));
  }
  return value;
}

const linesOf = (lines) => lines.map((l) => `${JSON.stringify(l)}\n`).join('');

function bodyOf(request) {
  if (request.body !== undefined) return { body: JSON.stringify(request.body), type: 'application/json' };
  if (request.text !== undefined) return { body: request.text, type: 'application/json' };
  if (request.file !== undefined) return { body: readFileSync(join(root, request.file)), type: 'application/octet-stream' };
  if (request.form === undefined) return { body: undefined, type: undefined };
  const form = new FormData();
  for (const [name, value] of Object.entries(request.form)) {
    if (typeof value === 'string') form.set(name, value);
    else form.set(name, new Blob([value.text ?? linesOf(value.lines)]), value.name);
  }
  return { body: form, type: undefined };
}

async function send(hub, request) {
  const { body, type } = bodyOf(request);
  const r = await fetch(hub.url + request.path, {
    method: request.method ?? 'POST', body,
    headers: { ...(type && { 'content-type': type }), ...request.headers },
  });
  return { status: r.status, headers: r.headers, text: await r.text() };
}

function checkHeaders(headers, wanted = {}) {
  return Object.entries(wanted).flatMap(([name, pattern]) => {
    const value = headers.get(name);
    if (pattern === null) return value === null ? [] : [`header ${name}: must not be there, is ${value}`];
    return value !== null && new RegExp(`^(?:${pattern})$`).test(value) ? [] : [`header ${name}: must be ${pattern}, is ${value}`];
  });
}

/** undefined: it is none. */
function jsonOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What is wrong with an answer, and the JSON of it (of its last event) to save from. */
function judge(shapes, example, r) {
  const status = example.status ?? 200;
  if (r.status !== status) return { errors: [`status: must be ${status}, is ${r.status}: ${r.text.slice(0, 400)}`] };
  const errors = checkHeaders(r.headers, example.headers);
  if (example.events) {
    const lines = /x-ndjson|octet|jsonl/.test(r.headers.get('content-type'));
    const events = lines ? readLines(r.text) : readEvents(r.text);
    errors.push(...checkStream(shapes, events, example.events));
    return { errors, json: events.findLast((e) => typeof e.data === 'object')?.data };
  }
  if (example.text !== undefined) {
    if (!new RegExp(`^(?:${example.text})$`, 's').test(r.text)) errors.push(`must be ${example.text}, is ${r.text.slice(0, 400)}`);
    return { errors, json: jsonOf(r.text) };
  }
  const json = jsonOf(r.text);
  if (json === undefined) return { errors: [...errors, `is no JSON: ${r.text.slice(0, 400)}`] };
  errors.push(...shapes.check(json, example.answer, example.with), ...checkValues(json, example.values));
  return { errors, json };
}

async function runExample(hub, shapes, given, saved) {
  const { save, until, ...rest } = given;
  const example = { ...filled({ ...rest, events: undefined }, saved), events: filled(rest.events, saved) };
  if (example.upstream) hub.upstream.answer = example.upstream;
  if (hub.upstream) hub.upstream.faults = example.fault ? [example.fault] : [];
  const end = performance.now() + UNTIL_MS;
  let r;
  for (;;) {
    r = await send(hub, example.request);
    const waits = ([path, values]) => !values.includes(valueAt(jsonOf(r.text), path));
    if (!Object.entries(until ?? {}).some(waits)) break;
    assert.ok(performance.now() < end, `${JSON.stringify(until)} did not come true: ${r.text.slice(0, 400)}`);
    await sleep(20);
  }
  const { errors, json } = judge(shapes, example, r);
  assert.deepEqual(errors, [], `${example.request.method ?? 'POST'} ${example.request.path}\n${errors.join('\n')}\n${r.text.slice(0, 4000)}`);
  for (const [name, path] of Object.entries(save ?? {})) {
    saved[name] = path.startsWith('header:') ? r.headers.get(path.slice(7)) : valueAt(json, path);
    assert.notEqual(saved[name], undefined, `nothing to save at ${path}`);
  }
}

/** What every example may use. */
const predefined = () => ({
  long: 'word '.repeat(20000),
  tiny_sha256: createHash('sha256').update(readFileSync(join(root, 'models/hearth-tiny.gguf'))).digest('hex'),
});

/** The golden files of a folder: name -> what stands in it. */
function readGolden(folder) {
  const names = readdirSync(folder).filter((f) => f.endsWith('.json')).sort();
  return new Map(names.map((f) => [basename(f, '.json'), JSON.parse(readFileSync(join(folder, f), 'utf8'))]));
}

/** Registers the tests of all golden files of a folder. `hubs`: name -> how one is started. */
export function runGolden(folder, hubs) {
  const started = new Map();
  const hubOf = (name) => {
    if (!hubs[name]) throw new Error(`no hub is called ${name}`);
    if (!started.has(name)) started.set(name, hubs[name]());
    return started.get(name);
  };
  after(async () => {
    for (const starting of started.values()) {
      const hub = await starting;
      await hub.stop();
      await hub.upstream?.close();
      await hub.files?.close();
    }
  });
  const files = readGolden(folder);
  const only = process.env.GOLDEN ? process.env.GOLDEN.split(',') : null; // some files: GOLDEN=ollama,rerank
  if (!files.size || only?.some((name) => !files.has(name))) throw new Error(`${folder} has ${[...files.keys()]}`);
  const shared = new Map(); // included file -> what was seen of it
  for (const [api, golden] of files) {
    const included = (golden.include ?? []).map((f) => files.get(basename(f, '.json')).types);
    if (golden.include) for (const f of golden.include) if (!shared.has(f)) shared.set(f, new Set());
    if (only && !only.includes(api)) continue;
    describe(`${api}: ${golden.title}`, () => {
      const shapes = new Shapes(Object.assign({}, ...included, golden.types));
      const saved = predefined();
      test('its types are those of the documentation', () => {
        assert.deepEqual(Object.entries(golden.types).flatMap(([name, type]) => departures(name, type)), []);
      });
      for (const example of golden.examples ?? []) {
        test(example.name, async () => runExample(await hubOf(example.hub ?? golden.hub ?? 'plain'), shapes, example, saved));
      }
      for (const f of golden.include ?? []) after(() => shapes.seen.forEach((s) => shared.get(f).add(s)));
      if (golden.examples) {
        test('every type and every optional field was seen', () => assert.deepEqual(shapes.unseen(Object.keys(golden.types)), []));
      }
    });
  }
  if (only) return;
  for (const [f, seen] of shared) {
    test(`what is shared was seen: ${f}`, () => {
      const shapes = new Shapes(files.get(basename(f, '.json')).types);
      shapes.seen = seen;
      assert.deepEqual(shapes.unseen(), []);
    });
  }
}
