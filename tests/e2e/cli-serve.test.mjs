// `hearth serve`: what it says at start, how it ends, and every way in which it can't start.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import test from 'node:test';

import { runHearth, sleep, startHub, tempDir, until } from './support/hearth.mjs';

test('one calm line when it listens, and how to get a real model', async () => {
  const hub = await startHub();
  assert.match(hub.log, /^hearth \d+\.\d+\.\d+ listening on http:\/\/127\.0\.0\.1:\d+  model hearth-tiny \(built-in\)$/m);
  assert.match(hub.log, /hearth pull/);
  const health = await (await fetch(`${hub.url}/health`)).json();
  assert.equal(health.status, 'healthy');
  assert.deepEqual(await hub.stop(), { code: 0, signal: null });
});

test('hub.json is there while it runs, for its owner only, and goes with it', async () => {
  const hub = await startHub();
  const file = join(hub.dir, 'data', 'hub.json');
  const said = JSON.parse(readFileSync(file, 'utf8'));
  assert.equal(said.pid, hub.pid);
  assert.equal(said.url, hub.url);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  await hub.stop();
  assert.equal(existsSync(file), false);
});

test('SIGINT and SIGTERM end it with status 0, SIGHUP does not', async () => {
  for (const signal of ['SIGINT', 'SIGTERM']) {
    const hub = await startHub({ args: ['--no-preload'] });
    hub.child.kill('SIGHUP');
    await sleep(200);
    assert.equal((await fetch(`${hub.url}/health`)).status, 200);
    assert.deepEqual(await hub.stop(signal), { code: 0, signal: null }, signal);
  }
});

// Opens a stream that goes on for long, and waits for its first event.
async function longStream(hub) {
  const r = await fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      messages: [{ role: 'user', content: 'Tell me something.' }],
      stream: true, max_tokens: 900, ignore_eos: true,
    }),
  });
  assert.equal(r.status, 200);
  const reader = r.body.getReader();
  await reader.read();
  return reader;
}

test('a running answer may finish after SIGTERM', async () => {
  const hub = await startHub();
  const reader = await longStream(hub);
  hub.child.kill('SIGTERM');
  let text = '';
  for (let p = await reader.read(); !p.done; p = await reader.read()) {
    text += new TextDecoder().decode(p.value);
  }
  assert.match(text, /data: \[DONE\]/);
  assert.deepEqual(await hub.waitExit(), { code: 0, signal: null });
});

test('a second signal ends it at once', async () => {
  const hub = await startHub({ env: { HEARTH_STOP_GRACE: '60s' } });
  await longStream(hub);
  hub.child.kill('SIGTERM');
  await sleep(100);
  const before = performance.now();
  hub.child.kill('SIGTERM');
  assert.deepEqual(await hub.waitExit(), { code: 130, signal: null });
  assert.ok(performance.now() - before < 2000);
  assert.equal(existsSync(join(hub.dir, 'data', 'hub.json')), false);
});

test('a port that is taken', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => other.on('listening', done));
  const { port } = other.address();
  const r = await runHearth(['serve', '--port', String(port)]);
  assert.equal(r.code, 1);
  assert.match(r.stderr, new RegExp(String(port)));
  assert.match(r.stderr, /in use/);
  other.close();
});

test('a host that is not ours', async () => {
  const r = await runHearth(['serve', '--host', '192.0.2.1', '--port', '0']);
  assert.equal(r.code, 1);
  assert.match(r.stderr, /192\.0\.2\.1/);
});

test('a data folder that can not be one', async () => {
  const dir = tempDir();
  writeFileSync(join(dir, 'file'), 'not a folder');
  const r = await runHearth(['serve', '--port', '0', '--data-dir', join(dir, 'file', 'data')], { dir });
  assert.equal(r.code, 1);
  assert.match(r.stderr, /data folder can't be used \(HEARTH_DATA chooses another\): .*\/file exists/);
});

test('a model that does not exist, and one that is damaged', async () => {
  const unknown = await runHearth(['serve', '--port', '0', '--model', 'no-such-model']);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /no-such-model/);

  const known = await runHearth(['serve', '--port', '0', '--model', 'llama3.2:1b']);
  assert.equal(known.code, 1);
  assert.match(known.stderr, /hearth pull llama3\.2:1b/);

  const dir = tempDir();
  const path = join(dir, 'broken.gguf');
  writeFileSync(path, 'GGUF this is not');
  const broken = await runHearth(['serve', '--port', '0', '--model', path], { dir });
  assert.equal(broken.code, 1);
  assert.match(broken.stderr, /broken\.gguf/);
});

test('a setting that names an adapter or texts that are not there', async () => {
  for (const [name, value, allowed] of [
    ['HEARTH_ADAPTER', 'gone', /there is no adapter "gone"; there are: pirate, terse.*allowed: .*base/],
    ['HEARTH_SHARED_PREFIXES', '/nonexistent/x', /No such file.*allowed: a file of UTF-8 text/],
  ]) {
    const r = await runHearth(['serve', '--port', '0'], { env: { [name]: value } });
    assert.equal(r.code, 1);
    assert.match(r.stderr, new RegExp(`^hearth: ${name} is '${value}' `));
    assert.match(r.stderr, allowed);
    assert.doesNotMatch(r.stderr, /worker/); // nothing was begun
    const doctor = await runHearth(['doctor'], { env: { [name]: value } });
    assert.match(doctor.stdout, new RegExp(`fail +configuration +${name} is '${value}'`));
  }
  const fine = await startHub({ env: { HEARTH_ADAPTER: 'base', HEARTH_PRELOAD_MODELS: 'nope' } });
  await until(() => /HEARTH_PRELOAD_MODELS.*no model "nope"/.test(fine.log));
  await fine.stop();
});

test('--no-preload loads at the first request', async () => {
  const hub = await startHub({ args: ['--no-preload'] });
  const health = async () => (await fetch(`${hub.url}/health`)).json();
  assert.notEqual((await health()).model_state, 'ready');
  const r = await fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'Hi' }], max_tokens: 4 }),
  });
  assert.equal(r.status, 200);
  await r.json();
  assert.equal((await health()).model_state, 'ready');
  await hub.stop();
});

test('preloading is over soon after start', async () => {
  const hub = await startHub();
  await until(async () => (await (await fetch(`${hub.url}/health`)).json()).model_state === 'ready',
    10000, 'the model is ready');
  await hub.stop();
});

test('listening for everybody takes accounts', async () => {
  const hub = await startHub({ args: ['--host', '0.0.0.0', '--no-preload'] });
  // On standard error, which may be read after the line on standard output that startHub waits for.
  await until(() => /every call needs a user.*\n.*WARNING.*anybody.*can make an account/.test(hub.log), 10000, 'the warning');
  assert.match(hub.url, /127\.0\.0\.1/);
  assert.equal((await fetch(`${hub.url}/health`)).status, 200);
  const refused = await fetch(`${hub.url}/v1/models`);
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get('www-authenticate'), 'Bearer');
  assert.equal((await refused.json()).error.type, 'authentication_error');
  await hub.stop();
  const off = await runHearth(['serve', '--host', '0.0.0.0', '--port', '0'], { env: { HEARTH_AUTH: 'off' } });
  assert.equal(off.code, 1);
  assert.match(off.stderr, /HEARTH_AUTH is off, and with HOST=0\.0\.0\.0 anybody/);
});

test('settings come from hearth.env and .env; flags win', async () => {
  const dir = tempDir();
  mkdirSync(join(dir, '.config', 'hearth'), { recursive: true });
  writeFileSync(join(dir, '.config', 'hearth', 'hearth.env'), 'HEARTH_PRELOAD=false\nLOG_LEVEL=ERROR\n');
  writeFileSync(join(dir, '.env'), 'PORT=1\n');
  const hub = await startHub({ dir });
  assert.notEqual(hub.port, 1);
  assert.equal((await (await fetch(`${hub.url}/health`)).json()).model_state !== 'ready', true);
  await hub.stop();
});

test('the log file is turned over, kept in number, and opened anew at SIGHUP', async () => {
  const dir = tempDir();
  const file = join(dir, 'hub.log.json');
  const hub = await startHub({
    dir,
    args: ['--log-file', file, '--log-format', 'json'],
    env: { HEARTH_LOG_SIZE: '4K', HEARTH_LOG_KEEP: '2' },
  });
  for (let i = 0; i < 60; i++) {
    await fetch(`${hub.url}/v1/nothing-${i}`, { headers: { 'x-request-id': `one-of-many-${i}` } });
  }
  const read = (n) => (existsSync(n ? `${file}.${n}` : file) ? readFileSync(n ? `${file}.${n}` : file, 'utf8') : '');
  // A line is written behind its answer: until the last one is there, files may turn over while they are read.
  // The model's worker writes lines, too, so the last one of ours may have been turned over by then.
  await until(() => [0, 1].some((n) => read(n).includes('"one-of-many-59"')), 10000, 'the last line');
  assert.equal(existsSync(`${file}.2`), true);
  assert.equal(existsSync(`${file}.3`), false);
  const lines = [2, 1, 0].flatMap((n) => read(n).trim().split('\n').map((l) => JSON.parse(l)));
  const last = lines.filter((l) => l.request_id?.startsWith('one-of-many-'));
  assert.ok(last.length > 5);
  last.forEach((l, i) => { // the newest, in their order, none left out
    assert.equal(l.request_id, `one-of-many-${60 - last.length + i}`);
  });

  renameSync(file, join(dir, 'moved'));
  hub.child.kill('SIGHUP');
  await until(() => existsSync(file), 10000, 'a new file');
  await fetch(`${hub.url}/v1/nothing`, { headers: { 'x-request-id': 'after' } });
  await until(() => readFileSync(file, 'utf8').includes('"request_id":"after"'), 10000, 'the line');
  assert.equal(readFileSync(join(dir, 'moved'), 'utf8').includes('"after"'), false);
  await hub.stop();
  assert.match(readFileSync(file, 'utf8'), /stopping \(SIGTERM\)/);
});
