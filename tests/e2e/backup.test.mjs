// `hearth backup`, `hearth restore`, `hearth db backup|restore`: beside a hub that is being written to,
// into another data folder, and every way in which a restore is refused.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { root, runHearth, startHub, tempDir } from './support/hearth.mjs';

const password = 'correct horse';
let dir;
let hub;
let token;

async function call(at, method, path, { token: t, body } = {}) {
  const r = await fetch(`${at.url}/api/v1${path}`, {
    method,
    headers: { ...(t && { authorization: `Bearer ${t}` }), ...(body && { 'content-type': 'application/json' }) },
    body: body && JSON.stringify(body),
  });
  const text = await r.text();
  return { status: r.status, text, json: text ? JSON.parse(text) : null };
}

before(async () => {
  dir = tempDir();
  mkdirSync(join(dir, '.config', 'hearth'), { recursive: true });
  writeFileSync(join(dir, '.config', 'hearth', 'hearth.env'), 'HEARTH_PARALLEL=3\n', { mode: 0o600 });
  hub = await startHub({ dir, args: ['--no-preload'] });
  await call(hub, 'POST', '/auth/register', { body: { username: 'ada', password } });
  const login = await call(hub, 'POST', '/auth/login', { body: { username: 'ada', password } });
  token = login.json.access_token;
});
after(() => hub?.stop());

const made = [];
async function makeConversation() {
  const r = await call(hub, 'POST', '/conversations', { token, body: { title: `about ${made.length}` } });
  assert.ok(r.status < 300, r.text);
  made.push(r.json.id);
}

test('taken while the hub is written to, it holds all that was acknowledged before', async () => {
  await makeConversation();
  const backup = join(dir, 'all.tar');
  let running = true;
  const before = made.length;
  const writing = (async () => { while (running) await makeConversation(); })();
  const r = await hub.run(['backup', backup]);
  running = false;
  await writing;
  assert.equal(r.code, 0, r.stderr);
  assert.match(r.stdout, /^wrote .*all\.tar: 3 files, /);
  assert.equal(statSync(backup).mode & 0o777, 0o600);
  assert.deepEqual(execFileSync('tar', ['tf', backup]).toString().trim().split('\n'),
    ['hearth.db', 'jwt.key', 'hearth.env', 'manifest.json']);

  // Elsewhere: everything is there, and the tokens are still good, since the key came along.
  const other = tempDir();
  const restored = await runHearth(['restore', backup], { dir: other });
  assert.equal(restored.code, 0, restored.stderr);
  assert.equal(readFileSync(join(other, '.config', 'hearth', 'hearth.env'), 'utf8'), 'HEARTH_PARALLEL=3\n');
  const copy = await startHub({ dir: other, args: ['--no-preload'] });
  const list = await call(copy, 'GET', '/conversations?limit=200', { token });
  assert.equal(list.status, 200, list.text);
  const there = new Set(list.json.conversations.map((c) => c.id));
  for (const id of made.slice(0, before)) assert.ok(there.has(id), `${id} is missing`);
  await copy.stop();
});

test('a backup is never written over something', async () => {
  const taken = join(dir, 'taken.tar');
  writeFileSync(taken, 'mine');
  const r = await hub.run(['backup', taken]);
  assert.equal(r.code, 1);
  assert.match(r.stderr, /exists already/);
  assert.equal(readFileSync(taken, 'utf8'), 'mine');
});

test('a restore is refused beside a running hub, over data, and from a torn file', async () => {
  const backup = join(dir, 'second.tar');
  assert.equal((await hub.run(['backup', backup])).code, 0);
  const running = await hub.run(['restore', backup]);
  assert.equal(running.code, 1);
  assert.match(running.stderr, /a hub is running/);

  const other = tempDir();
  assert.equal((await runHearth(['restore', backup], { dir: other })).code, 0);
  const again = await runHearth(['restore', backup], { dir: other });
  assert.equal(again.code, 1);
  assert.match(again.stderr, /overwrites nothing/);

  const torn = join(dir, 'torn.tar');
  const bytes = readFileSync(backup);
  writeFileSync(torn, bytes.subarray(0, bytes.length * 0.7));
  const third = tempDir();
  const r = await runHearth(['restore', torn], { dir: third });
  assert.equal(r.code, 1);
  assert.match(r.stderr, /cut off/);
  assert.equal(existsSync(join(third, 'data', 'hearth.db')), false);
  assert.equal(existsSync(join(third, 'data', 'jwt.key')), false);
});

test('a backup of a hub that nobody has used', async () => {
  const fresh = tempDir();
  const r = await runHearth(['backup', join(fresh, 'x.tar')], { dir: fresh });
  assert.equal(r.code, 0, r.stderr);
  assert.match(r.stdout, /0 files/);
  const into = tempDir();
  assert.equal((await runHearth(['restore', join(fresh, 'x.tar')], { dir: into })).code, 0);
});

test('the database alone, to SQLite and to PostgreSQL and back', async (t) => {
  const file = join(dir, 'alone.db');
  assert.equal((await hub.run(['db', 'backup', file])).code, 0);
  const other = tempDir();
  const env = {};
  const restored = await runHearth(['db', 'restore', file], { dir: other, env });
  assert.equal(restored.code, 0, restored.stderr);
  assert.match((await runHearth(['users', 'list'], { dir: other })).stdout, /ada/);
  const nonsense = join(other, 'x.sql');
  writeFileSync(nonsense, '-- PostgreSQL database dump\n');
  const refused = await runHearth(['db', 'restore', nonsense], { dir: tempDir() });
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /no SQLite database/);

  const pg = join(tempDir(), 'pg');
  let url;
  try {
    execFileSync('chmod', ['755', join(pg, '..')]);
    url = execFileSync(join(root, 'tools/pg-private'), ['start', pg], { stdio: ['ignore', 'pipe', 'pipe'] }).toString().trim();
  } catch (e) {
    t.diagnostic(`without PostgreSQL: ${e.message}`);
    return;
  }
  try {
    const at = tempDir();
    const inPg = { DATABASE_URL: url };
    const into = await runHearth(['db', 'restore', file], { dir: at, env: inPg });
    assert.equal(into.code, 0, into.stderr);
    const twice = await runHearth(['db', 'restore', file], { dir: at, env: inPg });
    assert.match(twice.stderr, /must be an empty one/);
    const all = join(at, 'pg.tar');
    assert.equal((await runHearth(['backup', all], { dir: at, env: inPg })).code, 0);
    const back = tempDir();
    assert.equal((await runHearth(['restore', all], { dir: back })).code, 0);
    assert.match((await runHearth(['users', 'list'], { dir: back })).stdout, /ada/);
  } finally {
    execFileSync(join(root, 'tools/pg-private'), ['stop', pg]);
    rmSync(pg, { recursive: true, force: true });
  }
});
