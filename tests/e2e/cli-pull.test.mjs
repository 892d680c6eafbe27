// `hearth pull` from a local server that speaks the hub's paths: progress, Ctrl-C and resuming, errors.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import test, { after, before } from 'node:test';

import { root, runHearth, tempDir } from './support/hearth.mjs';
import { Session } from './support/terminal.mjs';

const model = readFileSync(join(root, 'models', 'hearth-tiny.gguf'));
const sha256 = createHash('sha256').update(model).digest('hex');

// What the server does next.
const server = { delayMs: 0, sha256, ranges: [] };
let http;
let endpoint;

function serveFile(req, res) {
  const range = /bytes=(\d+)-/.exec(req.headers.range ?? '');
  const from = range ? Number(range[1]) : 0;
  server.ranges.push(from);
  res.writeHead(range ? 206 : 200, {
    etag: `"${server.sha256}"`,
    'x-linked-etag': `"${server.sha256}"`,
    'accept-ranges': 'bytes',
    'content-length': model.length - from,
    ...(range ? { 'content-range': `bytes ${from}-${model.length - 1}/${model.length}` } : {}),
  });
  let pos = from;
  const more = () => {
    if (pos >= model.length) return res.end();
    const end = Math.min(pos + 256 * 1024, model.length);
    res.write(model.subarray(pos, end));
    pos = end;
    return setTimeout(more, server.delayMs);
  };
  more();
}

before(async () => {
  http = createServer((req, res) => {
    if (req.url.startsWith('/api/models/org/tiny/')) {
      res.setHeader('content-type', 'application/json');
      res.end(JSON.stringify([{
        type: 'file', path: 'tiny.gguf', size: model.length,
        lfs: { oid: server.sha256, size: model.length },
      }]));
    } else if (req.url.startsWith('/org/tiny/resolve/main/tiny.gguf')) {
      serveFile(req, res);
    } else if (req.url.includes('gated')) {
      res.writeHead(401).end();
    } else {
      res.writeHead(404).end();
    }
  }).listen(0, '127.0.0.1');
  await new Promise((done) => http.on('listening', done));
  endpoint = `http://127.0.0.1:${http.address().port}`;
});
after(() => {
  http.closeAllConnections();
  http.close();
});

const pull = (spec, dir, options = {}) =>
  runHearth(['pull', spec], { dir, ...options, env: { HF_ENDPOINT: endpoint, ...options.env } });

test('pull, use, and pull again', async () => {
  Object.assign(server, { delayMs: 0, sha256, ranges: [] });
  const dir = tempDir();
  const first = await pull('org/tiny:tiny.gguf', dir);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /^tiny is ready \(.*\)\. Try it: hearth chat --model tiny$/m);
  assert.doesNotMatch(first.stderr, /\u001b|\r/); // piped: plain lines
  assert.deepEqual(readFileSync(join(dir, 'models', 'tiny.gguf')), model);
  const asked = server.ranges.length;
  const again = await pull('org/tiny:tiny.gguf', dir);
  assert.equal(again.code, 0, again.stderr);
  assert.equal(server.ranges.length, asked);
  const chat = await runHearth(['chat', '--model', 'tiny', '-n', '4', 'Hi'], { dir, env: { PORT: 1 } });
  assert.equal(chat.code, 0, chat.stderr);
});

test('Ctrl-C keeps what came; the same command goes on from there', async () => {
  Object.assign(server, { delayMs: 100, sha256, ranges: [] });
  const dir = tempDir();
  const stopped = await pull('org/tiny:tiny.gguf', dir, {
    onStart: (child) => setTimeout(() => child.kill('SIGINT'), 1000),
  });
  assert.equal(stopped.code, 130, JSON.stringify(stopped));
  assert.match(stopped.stderr, /the same command goes on from there/);
  const files = readdirSync(join(dir, 'models'));
  assert.ok(files.some((f) => f.endsWith('.part')), files.join());
  assert.equal(existsSync(join(dir, 'models', 'tiny.gguf')), false);
  server.delayMs = 0;
  const whole = await pull('org/tiny:tiny.gguf', dir);
  assert.equal(whole.code, 0, whole.stderr);
  assert.match(whole.stderr, /going on where it was/);
  assert.ok(server.ranges.at(-1) > 0);
  assert.deepEqual(readFileSync(join(dir, 'models', 'tiny.gguf')), model);
});

test('a bar on a terminal', async () => {
  Object.assign(server, { delayMs: 60, sha256, ranges: [] });
  const s = new Session(['pull', 'org/tiny:tiny.gguf'], { dir: tempDir(), env: { HF_ENDPOINT: endpoint } });
  await s.expect(/\u2595\u2588.*\d+%  [\d.]+ [KM]iB of [\d.]+ MiB  [\d.]+ [KM]iB\/s  \d+:\d\d left/);
  await s.expect(/tiny is ready/);
  assert.equal((await s.end()).code, 0);
  for (const line of s.text.split(/[\r\n]/)) {
    // eslint-disable-next-line no-control-regex
    assert.ok([...line.replace(/\u001b\[K/g, '')].length <= 80, JSON.stringify(line));
  }
});

test('errors say what to do', async () => {
  Object.assign(server, { delayMs: 0, sha256: sha256.replace(/^./, (c) => (c === '0' ? '1' : '0')) });
  const dir = tempDir();
  const wrong = await pull('org/tiny:tiny.gguf', dir);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /sha256|hash|checksum/i);
  assert.equal(existsSync(join(dir, 'models', 'tiny.gguf')), false);
  const gated = await pull('org/gated:x.gguf', dir);
  assert.equal(gated.code, 1);
  assert.match(gated.stderr, /HF_TOKEN/);
  const missing = await pull('org/missing:x.gguf', dir);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /missing/);
  const unknown = await pull('lama3.2:1b', dir);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /llama3\.2:1b/);
  const refused = await pull('org/tiny:tiny.gguf', dir, { env: { HF_ENDPOINT: 'http://127.0.0.1:1' } });
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /127\.0\.0\.1/);
});
