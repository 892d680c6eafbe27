// HTTP as the real binary speaks it, over raw sockets: what clients do wrong gets a clear error in the
// API's shape, and the next normal request works.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { runHearth, sleep, startHub, until } from './support/hearth.mjs';

let hub;

before(async () => {
  hub = await startHub({
    args: ['--no-preload'],
    env: {
      HEARTH_HEADER_TIMEOUT: '600ms', HEARTH_BODY_TIMEOUT: '500ms', HEARTH_IDLE_TIMEOUT: '3s',
      HEARTH_MAX_BODY: '1M', ALLOWED_ORIGINS: 'http://localhost:3000',
    },
  });
});

after(() => hub?.stop());

/** A connection that collects what comes. */
class Wire {
  constructor(port) {
    this.text = '';
    this.ended = false;
    this.socket = net.connect(port, '127.0.0.1');
    this.socket.on('data', (d) => { this.text += d.toString('latin1'); });
    this.socket.on('close', () => { this.ended = true; });
    this.socket.on('error', () => {});
  }

  send(text) {
    this.socket.write(text);
    return this;
  }

  /** The next whole answer with a Content-Length. */
  async answer(ms = 5000) {
    let parsed;
    await until(() => {
      const end = this.text.indexOf('\r\n\r\n');
      if (end < 0) return false;
      const head = this.text.slice(0, end);
      const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
      if (this.text.length < end + 4 + length) return false;
      const headers = Object.fromEntries(head.split('\r\n').slice(1)
        .map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]));
      parsed = { status: Number(head.split(' ')[1]), headers, body: this.text.slice(end + 4, end + 4 + length) };
      this.text = this.text.slice(end + 4 + length);
      return true;
    }, ms, 'an answer');
    return parsed;
  }

  close() {
    this.socket.destroy();
  }
}

const HOST = 'Host: localhost\r\n';

async function ask(request) {
  const wire = new Wire(hub.port).send(request);
  try {
    return await wire.answer();
  } finally {
    wire.close();
  }
}

function assertError(answer, status, code) {
  assert.equal(answer.status, status, answer.body);
  assert.equal(answer.headers['content-type'], 'application/json');
  const { error } = JSON.parse(answer.body);
  assert.equal(error.code, code);
  assert.ok(error.message.length > 10 && typeof error.type === 'string');
  assert.equal(error.request_id, answer.headers['x-request-id']);
}

async function assertAlive() {
  const r = await fetch(`${hub.url}/health`);
  assert.equal(r.status, 200);
  await r.arrayBuffer();
}

test('unknown path, wrong method, HEAD, OPTIONS', async () => {
  assertError(await ask(`GET /nope HTTP/1.1\r\n${HOST}\r\n`), 404, 'not_found');
  const wrong = await ask(`DELETE /v1/models HTTP/1.1\r\n${HOST}\r\n`);
  assertError(wrong, 405, 'method_not_allowed');
  assert.match(wrong.headers.allow, /GET/);
  const head = await fetch(`${hub.url}/health`, { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal(await head.text(), '');
  assert.equal((await fetch(`${hub.url}/health`, { method: 'OPTIONS' })).status, 204);
});

test('a header of 64 KB, a request line of 64 KB', async () => {
  assertError(await ask(`GET /health HTTP/1.1\r\n${HOST}Cookie: ${'c'.repeat(65536)}\r\n\r\n`),
    431, 'headers_too_large');
  assertError(await ask(`GET /${'u'.repeat(65536)} HTTP/1.1\r\n${HOST}\r\n`), 414, 'headers_too_large');
  await assertAlive();
});

test('a body of 200 MB, declared and chunked', async () => {
  assertError(await ask(`POST /v1/embeddings HTTP/1.1\r\n${HOST}Content-Length: 209715200\r\n\r\n`),
    413, 'too_large');
  const wire = new Wire(hub.port)
    .send(`POST /v1/embeddings HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`);
  const piece = `100000\r\n${'x'.repeat(0x100000)}\r\n`;
  wire.send(piece).send(piece);
  assertError(await wire.answer(), 413, 'too_large');
  wire.close();
  await assertAlive();
});

test('what is not HTTP, and what two servers could read differently', async () => {
  for (const request of [
    'GET /health\r\n\r\n',
    `GET /health HTTP/1.1\r\nno colon\r\n\r\n`,
    'GET /health HTTP/1.1\r\n\r\n',
    `POST /v1/embeddings HTTP/1.1\r\n${HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `POST /v1/embeddings HTTP/1.1\r\n${HOST}Content-Length: 5\r\nContent-Length: 50\r\n\r\nhello`,
    `POST /v1/embeddings HTTP/1.1\r\n${HOST}Content-Length: five\r\n\r\nhello`,
    `POST /v1/embeddings HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nxyz\r\n`,
    `GET /health%00 HTTP/1.1\r\n${HOST}\r\n`,
  ]) {
    const answer = await ask(request);
    assertError(answer, 400, 'invalid_request');
  }
  assertError(await ask('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 505, 'unsupported');
  await assertAlive();
});

test('dripping heads and bodies are cut', async () => {
  for (const start of ['GET /hea', `GET /health HTTP/1.1\r\n${HOST}X-A: `,
    `POST /v1/embeddings HTTP/1.1\r\n${HOST}Content-Length: 100000\r\n\r\n`]) {
    const wire = new Wire(hub.port).send(start);
    const timer = setInterval(() => wire.send('x'), 50);
    try {
      assertError(await wire.answer(8000), 408, 'timeout');
      await until(() => wire.ended, 3000, 'the end of the connection');
    } finally {
      clearInterval(timer);
      wire.close();
    }
  }
  await assertAlive();
});

test('pipelined requests, and a connection that survives errors', async () => {
  const wire = new Wire(hub.port);
  wire.send(`GET /health HTTP/1.1\r\n${HOST}X-Request-Id: one\r\n\r\nGET /nope HTTP/1.1\r\n${HOST}X-Request-Id: two\r\n\r\n` +
    `POST /health HTTP/1.1\r\n${HOST}Content-Length: 2\r\n\r\n{}GET /v1/models HTTP/1.1\r\n${HOST}X-Request-Id: four\r\n\r\n`);
  const answers = [await wire.answer(), await wire.answer(), await wire.answer(), await wire.answer()];
  assert.deepEqual(answers.map((a) => a.status), [200, 404, 405, 200]);
  assert.equal(answers[0].headers['x-request-id'], 'one');
  assert.equal(answers[1].headers['x-request-id'], 'two');
  assert.equal(answers[3].headers['x-request-id'], 'four');
  wire.close();
});

test('CORS answers only known origins, and a rebound name is refused', async () => {
  const fine = await ask(`GET /health HTTP/1.1\r\n${HOST}Origin: http://localhost:3000\r\n\r\n`);
  assert.equal(fine.headers['access-control-allow-origin'], 'http://localhost:3000');
  const stranger = await ask(`GET /health HTTP/1.1\r\n${HOST}Origin: http://evil.example\r\n\r\n`);
  assert.equal(stranger.headers['access-control-allow-origin'], undefined);
  assert.equal(stranger.headers['access-control-allow-credentials'], undefined);
  const preflight = await ask(`OPTIONS /v1/chat/completions HTTP/1.1\r\n${HOST}Origin: http://localhost:3000\r\n` +
    'Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization, x-stainless-os\r\n\r\n');
  assert.equal(preflight.status, 204);
  assert.match(preflight.headers['access-control-allow-methods'], /POST/);
  assert.match(preflight.headers['access-control-allow-headers'], /x-stainless-os/);
  assertError(await ask('GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n'), 403, 'forbidden');
});

test('hundreds of clients that vanish leave no descriptor', async () => {
  const count = () => readdirSync(`/proc/${hub.pid}/fd`).length;
  await assertAlive();
  await sleep(50);
  const earlier = count();
  const wires = Array.from({ length: 300 }, (_, i) => new Wire(hub.port)
    .send(i % 2 ? 'GET /hea' : `GET /health HTTP/1.1\r\n${HOST}\r\n`));
  await until(() => count() >= earlier + 300, 5000, '300 connections');
  for (const wire of wires) wire.socket.resetAndDestroy();
  await until(() => count() <= earlier, 5000, 'their end');
  await assertAlive();
});

test('a port in use is said, with what to do', async () => {
  const second = await runHearth(['serve', '--port', String(hub.port), '--no-preload']);
  assert.notEqual(second.code, 0);
  assert.match(second.stderr, new RegExp(`port ${hub.port} on 127\\.0\\.0\\.1 is in use`));
  assert.match(second.stderr, /--port/);
});
