// The table of faults: what a client of the hub sees when the server behind a provider misbehaves,
// how long it takes, and who is asked next. One row per fault, one test per protocol; the servers
// are scripted (support/upstream.mjs) and speak the real protocols.
//
// Each fault is met twice: by a route with this provider alone, and by one that has a second
// provider behind it. HEARTH_TABLE=<file> writes what was measured as a Markdown table, which is
// how the one in docs/provider-faults.md is made.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { startHub, tempDir } from './support/hearth.mjs';
import { startUpstream } from './support/upstream.mjs';

const KEY = 'sk-up-0123456789abcdef';
const FIRST_BYTE = 700;
const IDLE = 500;
const TOTAL = 2500;

/*
 * seen: what the client gets from the provider alone:
 *   'answer'                     the whole text
 *   [status, code]               an error with this HTTP status
 *   'broken'                     some text, then an error in the stream
 * asked: how often the provider was asked. chain: who answers when there is a second one.
 */
const faults = [
  { name: 'none', fault: null, seen: 'answer', asked: 1, chain: 'first' },
  { name: '500', fault: { kind: 'status', status: 500 }, seen: [502, 'upstream_error'], asked: 2, chain: 'second' },
  { name: '500 once', fault: { kind: 'status', status: 500, once: true }, seen: 'answer', asked: 2, chain: 'first' },
  { name: '429, Retry-After: 1, once', fault: { kind: 'status', status: 429, headers: { 'Retry-After': '1' }, once: true },
    use: 'held', seen: 'answer', asked: 2, chain: 'first', least: 1000 },
  { name: '429, Retry-After: 60', fault: { kind: 'status', status: 429, headers: { 'Retry-After': '60' } },
    use: 'held', seen: [429, 'queue_full'], asked: 1, chain: 'second' },
  { name: '401, a wrong key', fault: { kind: 'status', status: 401, message: `Incorrect key: ${KEY}` },
    seen: [502, 'upstream_error'], asked: 1, aihub: { asked: 2 }, chain: 'second' }, // once more with a new token
  { name: '400', fault: { kind: 'status', status: 400, message: 'the temperature is wrong' },
    seen: [400, 'invalid_request'], asked: 1, chain: 'error' },
  { name: 'slow first byte', fault: { kind: 'slow', ms: 300 }, seen: 'answer', asked: 1, chain: 'first', least: 290 },
  { name: 'no first byte', fault: { kind: 'silent' }, seen: [408, 'timeout'], asked: 1, chain: 'second', least: FIRST_BYTE },
  { name: 'stall before the first token', fault: { kind: 'stall', after: 0 }, seen: [408, 'timeout'], asked: 1,
    chain: 'second', least: IDLE },
  { name: 'stall mid-stream', fault: { kind: 'stall', after: 5 }, seen: 'broken', asked: 1, chain: 'broken', least: IDLE },
  { name: 'cut before the first token', fault: { kind: 'cut', after: 0 }, seen: [502, 'network_error'], asked: 2, chain: 'second' },
  { name: 'cut mid-stream', fault: { kind: 'cut', after: 5 }, seen: 'broken', asked: 1, chain: 'broken' },
  { name: 'half an event, first', fault: { kind: 'half', after: 0 }, seen: [502, /^(network|upstream)_error$/], asked: 2, chain: 'second' },
  { name: 'half an event, mid-stream', fault: { kind: 'half', after: 5 }, seen: 'broken', asked: 1, chain: 'broken' },
  { name: 'an early end', fault: { kind: 'early', after: 5 }, seen: 'broken', asked: 1, chain: 'broken' },
  { name: 'bad JSON, first', fault: { kind: 'bad-json', after: 0 }, seen: [502, 'upstream_error'], asked: 2, chain: 'second' },
  { name: 'bad JSON, mid-stream', fault: { kind: 'bad-json', after: 5 }, seen: 'broken', asked: 1, chain: 'broken' },
  { name: 'an error in the stream, first', fault: { kind: 'error', after: 0 }, seen: [502, 'upstream_error'], asked: 2, chain: 'second' },
  { name: 'an error mid-stream', fault: { kind: 'error', after: 5 }, seen: 'broken', asked: 1, chain: 'broken' },
  { name: 'wrong content type', fault: { kind: 'wrong-type' }, seen: [502, 'upstream_error'], asked: 1, chain: 'second' },
  { name: 'pings for ever', fault: { kind: 'pings', after: 0, ms: 50 }, seen: [408, 'timeout'], asked: 1, chain: 'second', least: TOTAL },
  { name: 'text for ever', fault: { kind: 'endless', after: 5, ms: 20 }, seen: 'broken', asked: 1, chain: 'broken', least: TOTAL },
  { name: 'a line of 20 MiB', fault: { kind: 'giant', bytes: 20 << 20 }, seen: [502, 'upstream_error'], asked: 2, chain: 'second' },
  // Once more for a connection that was kept open: nobody knows whether the server had just given it up.
  { name: 'closed without an answer', fault: { kind: 'refuse' }, seen: [502, 'network_error'], asked: null, chain: 'second' },
  { name: 'no HTTP', fault: { kind: 'garbage' }, seen: [502, /^(upstream|network)_error$/], asked: null, chain: 'second' },
  { name: 'no stream, all at once', fault: { kind: 'whole' }, seen: 'answer', asked: 1, chain: 'first' },
  { name: 'nobody listens', use: 'down', seen: [502, 'network_error'], asked: 0, chain: 'second' },
  { name: 'an unknown certificate', use: 'tls', seen: [502, 'network_error'], asked: 0, chain: 'second' },
];

/*
 * The same for the server that an AI Hub's users sign in at. `signs` is how often it was asked;
 * `warm`: there is a token when it happens; `taken`: which the hub takes back.
 */
const signingIn = [
  { name: 'slow', fault: { kind: 'slow', ms: 300 }, seen: 'answer', asked: 1, signs: 1, chain: 'first', least: 290 },
  { name: 'no answer', fault: { kind: 'silent' }, seen: [408, 'timeout'], asked: 0, signs: 1, chain: 'second', least: FIRST_BYTE },
  { name: '401, a wrong password', fault: { kind: 'status', status: 401, message: `Invalid credentials: ${KEY}` },
    seen: [502, 'upstream_error'], asked: 0, signs: 1, chain: 'second', stays: true },
  { name: '500', fault: { kind: 'status', status: 500 }, seen: [502, 'upstream_error'], asked: 0, signs: 2, chain: 'second' },
  { name: '500 once', fault: { kind: 'status', status: 500, once: true }, seen: 'answer', asked: 1, signs: 2, chain: 'first' },
  { name: 'bad JSON', fault: { kind: 'status', status: 200, body: '{"access_token": oops' },
    seen: [502, 'upstream_error'], asked: 0, signs: 2, chain: 'second' },
  { name: 'wrong content type', fault: { kind: 'wrong-type' }, seen: [502, 'upstream_error'], asked: 0, signs: 2, chain: 'second' },
  { name: 'a line of 1 MiB', fault: { kind: 'giant', bytes: 1 << 20 }, seen: [502, 'upstream_error'], asked: 0, signs: 2, chain: 'second' },
  { name: 'closed without an answer', fault: { kind: 'refuse' }, seen: [502, 'network_error'], asked: 0, signs: null, chain: 'second' },
  { name: 'no HTTP', fault: { kind: 'garbage' }, seen: [502, /^(upstream|network)_error$/], asked: 0, signs: null, chain: 'second' },
  { name: 'nobody listens', down: true, seen: [502, 'network_error'], asked: 0, signs: 0, chain: 'second', stays: true },
  { name: 'gone, with a token there', warm: true, fault: { kind: 'refuse' }, seen: 'answer', asked: 1, signs: 0, chain: 'first' },
  { name: 'the token is taken back', warm: true, taken: true, seen: 'answer', asked: 2, signs: 1, chain: 'first' },
  { name: 'taken back, and 500', warm: true, taken: true, fault: { kind: 'status', status: 500 },
    seen: [502, 'upstream_error'], asked: 1, signs: 1, chain: 'second' }, // which was the second attempt
];

const protocols = {
  openai: { path: '/v1/chat/completions' },
  anthropic: { path: '/v1/messages' },
  ollama: { path: '/api/chat' },
  cohere: { path: '/v2/chat' },
  aihub: { path: '/v1/chat/completions' },
};
const TOKEN_PATH = '/realms/aihub/protocol/openid-connect/token';

const TEXT = 'One two three four five six seven eight nine ten.';
const SECOND = 'This is the second one.';

function certificate(dir) {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
    '-keyout', join(dir, 'key.pem'), '-out', join(dir, 'cert.pem'), '-days', '2', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=IP:127.0.0.1'], { stdio: 'ignore' });
  return { key: readFileSync(join(dir, 'key.pem')), cert: readFileSync(join(dir, 'cert.pem')) };
}

async function freePort() {
  const gone = await startUpstream();
  await gone.close();
  return gone.port;
}

/** A hub with one provider of this kind in all the states that the rows need, and a second one. */
async function startWorld(kind, rows) {
  const dir = tempDir();
  const [up, second, secure] = [await startUpstream(), await startUpstream(), await startUpstream({ tls: certificate(dir) })];
  for (const s of [up, second, secure]) s.key = KEY;
  up.answer = secure.answer = { text: TEXT };
  up.oauth.password = secure.oauth.password = KEY;
  second.answer = { text: SECOND };
  const common = {
    key: KEY, model: 'up-small', chain: false, retries: 1, connect_timeout: 3000,
    first_byte_timeout: FIRST_BYTE, idle_timeout: IDLE, total_timeout: TOTAL,
  };
  const patient = { first_byte_timeout: 20000, idle_timeout: 20000, total_timeout: 60000 };
  const providers = { second: { ...common, ...patient, kind: 'openai', base_url: second.url } };
  const routes = {};
  const signs = (token_url) => (kind === 'aihub' ? { token_url, client_id: 'hearth', username: 'ada' } : {});
  const add = (name, base_url, more = {}) => {
    providers[name] = { ...common, kind, base_url, ...signs(name === 'down' ? up.url : base_url), ...more };
    routes[`${name}-alone`] = { chain: [name] };
    routes[`${name}-chain`] = { chain: [name, 'second'] };
  };
  const nobody = `http://127.0.0.1:${await freePort()}`;
  if (rows === faults) {
    add('first', up.url);
    for (const n of [1, 2, 3, 4]) add(`held${n}`, up.url);
    add('down', nobody);
    add('tls', secure.url);
    add('trusting', secure.url, { ...patient, ca_file: join(dir, 'cert.pem') });
    add('careless', secure.url, { ...patient, verify_tls: false });
  } else {
    rows.forEach((row, i) => {
      for (const name of [`user${i}`, `other${i}`]) add(name, up.url, row.down ? { token_url: nobody } : {});
    });
  }
  const file = join(dir, 'providers.json');
  writeFileSync(file, JSON.stringify({ providers, routes }), { mode: 0o600 });
  const hub = await startHub({ args: ['--no-preload'], env: { HEARTH_PROVIDERS: file, LOG_LEVEL: 'DEBUG' } });
  return {
    kind, up, second, secure, hub,
    async close() {
      await hub.stop();
      for (const s of [up, second, secure]) await s.close();
    },
  };
}

/** Asks as a streaming OpenAI client does: {status, code, text, broken, provider, ms, ttft}. */
async function ask({ hub }, route) {
  const began = performance.now();
  const res = await fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-Hearth-Route': route },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], stream: true, max_tokens: 100 }),
  });
  const seen = { status: res.status, text: '', broken: null, provider: res.headers.get('x-hearth-provider'), body: '' };
  seen.body = await res.text();
  seen.ms = Math.round(performance.now() - began);
  if (res.status !== 200) {
    const { error } = JSON.parse(seen.body);
    return { ...seen, code: error.code, message: error.message };
  }
  for (const [, data] of seen.body.matchAll(/^data: (.*)$/gm)) {
    if (data === '[DONE]') continue;
    const obj = JSON.parse(data);
    if (obj.error) seen.broken = obj.error;
    seen.text += obj.choices?.[0]?.delta?.content ?? '';
  }
  return seen;
}

const outcome = (seen) => {
  if (seen.status !== 200) return `${seen.status} ${seen.code}`;
  return seen.broken ? `text, then ${seen.broken.code}` : 'the answer';
};

function check(row, seen, text) {
  const what = `${row.name}: ${JSON.stringify(seen)}`;
  assert.ok(!seen.body.includes(KEY), what);
  if (row.seen === 'answer') {
    assert.equal(seen.status, 200, what);
    assert.equal(seen.broken, null, what);
    assert.equal(seen.text, text, what);
  } else if (row.seen === 'broken') {
    assert.equal(seen.status, 200, what);
    assert.ok(seen.broken, what);
    assert.ok(row.fault.kind === 'endless' || TEXT.startsWith(seen.text), what);
    assert.ok(seen.text, what);
  } else {
    assert.equal(seen.status, row.seen[0], what);
    assert.match(seen.code, row.seen[1] instanceof RegExp ? row.seen[1] : new RegExp(`^${row.seen[1]}$`), what);
  }
  if (row.least) assert.ok(seen.ms >= row.least - 5, what);
}

function checkChain(row, seen) {
  const what = `${row.name}, with a second one: ${JSON.stringify(seen)}`;
  assert.ok(!seen.body.includes(KEY), what);
  if (row.chain === 'first') assert.equal(seen.text, TEXT, what);
  if (row.chain === 'second') {
    assert.equal(seen.text, SECOND, what);
    assert.equal(seen.broken, null, what);
    assert.equal(seen.provider, 'second', what);
  }
  if (row.chain === 'broken') assert.ok(seen.broken, what);
  if (row.chain === 'error') assert.equal(seen.status, row.seen[0], what);
}

function arm({ up }, row) {
  up.faults.length = 0;
  if (!row.fault) return;
  const { once, ...fault } = row.fault;
  up.faults.push({ ...fault, always: !once });
}

async function meet(world, general, held) {
  const row = { ...general, ...general[world.kind] };
  const name = row.use === 'held' ? `held${held}` : row.use ?? 'first';
  const { path } = protocols[world.kind];
  arm(world, row);
  const before = world.up.requests.length;
  const alone = await ask(world, `${name}-alone`);
  const asked = world.up.requests.slice(before).filter((r) => r.path === path).length;
  check(row, alone, TEXT);
  if (row.asked !== null) assert.equal(asked, row.asked, `${row.name}: asked ${asked} times`);
  arm(world, row);
  // A provider that was told to wait is left alone: another instance of it meets the fault.
  const chained = await ask(world, `${row.use === 'held' ? `held${held + 1}` : name}-chain`);
  checkChain(row, chained);
  world.up.faults.length = 0;
  if (!row.use) { // nothing of it may be left, such as an open breaker or a broken connection
    const well = await ask(world, `${name}-alone`);
    assert.equal(well.text, TEXT, `after ${row.name}: ${JSON.stringify(well)}`);
  }
  return { alone, asked, chained };
}

/** A fault of the server that signs in: each is met by two instances that know nothing of it yet. */
async function meetSigningIn(world, row, i) {
  const { up } = world;
  const prepare = async (name) => {
    if (row.warm) assert.equal((await ask(world, `${name}-alone`)).text, TEXT);
    if (row.taken) up.good.clear();
    const { once, ...fault } = row.fault ?? {};
    if (row.fault) up.tokenFaults.push({ ...fault, always: !once });
  };
  await prepare(`user${i}`);
  const before = up.requests.length;
  const asked = (path) => up.requests.slice(before).filter((r) => r.path === path).length;
  const alone = await ask(world, `user${i}-alone`);
  const [hub, signs] = [asked(protocols.aihub.path), asked(TOKEN_PATH)];
  check(row, alone, TEXT);
  assert.equal(hub, row.asked, `${row.name}: the hub was asked ${hub} times`);
  if (row.signs !== null) assert.equal(signs, row.signs, `${row.name}: signed in ${signs} times`);
  up.tokenFaults.length = 0;
  await prepare(`other${i}`);
  const chained = await ask(world, `other${i}-chain`);
  checkChain(row, chained);
  up.tokenFaults.length = 0;
  const later = await ask(world, `user${i}-alone`);
  if (row.stays) check(row, later, TEXT); // a server that locks users out is not provoked
  else assert.equal(later.text, TEXT, `after ${row.name}: ${JSON.stringify(later)}`);
  return { alone, asked: hub, chained };
}

const tableFile = process.env.HEARTH_TABLE;

function report(kind, row, { alone, asked, chained }) {
  const next = {
    first: 'the same one', second: `the second one answers, ${chained.ms} ms in all`,
    broken: 'nobody: tokens were out', error: 'nobody: the request is at fault',
  }[row.chain];
  return `| ${row.name} | ${kind} | ${outcome(alone)} | ${alone.ms} | ${asked} | ${next} |\n`;
}

function finish(world, table) {
  // The key is in no line of the log, which is there, and detailed.
  assert.ok(world.hub.log.includes('connecting to 127.0.0.1'));
  assert.ok(!world.hub.log.includes(KEY.slice(0, 12)));
  if (tableFile) appendFileSync(tableFile, table.join(''));
}

describe('faults of a provider', { concurrency: 5 }, () => {
  for (const kind of Object.keys(protocols)) {
    test(kind, { timeout: 170000 }, async (t) => {
      const world = await startWorld(kind, faults);
      t.after(() => world.close());
      const table = [];
      let held = 1;
      for (const row of faults) {
        table.push(report(kind, row, await meet(world, row, held)));
        if (row.use === 'held') held += 2;
      }
      // Certificates: one that is trusted, and none that is checked.
      for (const how of ['trusting', 'careless']) {
        const seen = await ask(world, `${how}-alone`);
        assert.equal(seen.text, TEXT, `${how}: ${JSON.stringify(seen)}`);
      }
      finish(world, table);
    });
  }

  test('signing in', { timeout: 170000 }, async (t) => {
    const world = await startWorld('aihub', signingIn);
    t.after(() => world.close());
    const table = [];
    for (const [i, row] of signingIn.entries()) table.push(report('signing in', row, await meetSigningIn(world, row, i)));
    const sent = world.up.requests.filter((r) => r.path === protocols.aihub.path);
    for (const { headers } of sent) assert.match(headers.authorization, /^Bearer token-\d+$/);
    finish(world, table);
  });
});
