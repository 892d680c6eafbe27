// The templates for nginx and Caddy, as they are in deploy/ but for names, ports and certificates, each
// in front of a hub: tokens one by one, clients that leave, large bodies, whose address is throttled,
// WebSockets. Skipped where the programs are not installed (tools/setup proxies).
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import WebSocket from 'ws';

import { root, startHub, tempDir, until } from './support/hearth.mjs';

const HOST = 'hub.example.org';

function installed(program, where) {
  return where.find(existsSync) ??
    (spawnSync('sh', ['-c', `command -v ${program}`]).stdout.toString().trim() || null);
}
const programs = {
  nginx: installed('nginx', ['/usr/sbin/nginx', '/usr/local/sbin/nginx']),
  caddy: installed('caddy', ['/usr/bin/caddy', '/usr/local/bin/caddy']),
};

function freePort() {
  return new Promise((done) => {
    const s = createTcpServer().listen(0, '127.0.0.1', () => {
      const { port } = s.address();
      s.close(() => done(port));
    });
  });
}

/** Replaces what a person replaces, and sees to it that it was there. */
function replaceAll(text, pairs) {
  for (const [from, to] of pairs) {
    assert.ok(text.includes(from), `the template has no ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

function certificate(dir) {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
    '-keyout', join(dir, 'key.pem'), '-out', join(dir, 'cert.pem'), '-subj', `/CN=${HOST}`,
    '-addext', `subjectAltName=DNS:${HOST}`], { stdio: 'pipe' });
}

async function startNginx(dir, hubPort) {
  const port = await freePort();
  certificate(dir);
  const site = replaceAll(readFileSync(join(root, 'deploy/nginx/hearth.conf'), 'utf8'), [
    ['127.0.0.1:8000', `127.0.0.1:${hubPort}`],
    ['listen 80;', `listen 127.0.0.1:${await freePort()};`],
    ['    listen [::]:80;\n', ''],
    ['listen 443 ssl http2;', `listen 127.0.0.1:${port} ssl http2;`],
    ['    listen [::]:443 ssl http2;\n', ''],
    [`/etc/letsencrypt/live/${HOST}/fullchain.pem`, join(dir, 'cert.pem')],
    [`/etc/letsencrypt/live/${HOST}/privkey.pem`, join(dir, 'key.pem')],
  ]);
  mkdirSync(join(dir, 'tmp'));
  writeFileSync(join(dir, 'site.conf'), site);
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((n) => `${n}_temp_path ${join(dir, 'tmp', n)};`).join(' ');
  writeFileSync(join(dir, 'nginx.conf'), `daemon off; pid ${dir}/nginx.pid; error_log stderr;
    ${process.getuid() === 0 ? 'user root;' : ''}
    events { } http { access_log off; ${temp} include ${dir}/site.conf; }`);
  return { port, args: ['-p', dir, '-c', join(dir, 'nginx.conf')] };
}

async function startCaddy(dir, hubPort) {
  const port = await freePort();
  certificate(dir);
  const site = replaceAll(readFileSync(join(root, 'deploy/caddy/Caddyfile'), 'utf8'), [
    ['127.0.0.1:8000', `127.0.0.1:${hubPort}`],
    // Its own certificate would take a public name.
    [`\n${HOST} {`, `\n{\n\tadmin off\n\thttp_port ${await freePort()}\n\tauto_https disable_redirects\n}\n` +
      `https://${HOST}:${port} {\n\tbind 127.0.0.1\n\ttls ${dir}/cert.pem ${dir}/key.pem`],
  ]);
  writeFileSync(join(dir, 'Caddyfile'), site);
  return { port, args: ['run', '--adapter', 'caddyfile', '--config', join(dir, 'Caddyfile')] };
}

async function startProxy(kind, hubPort) {
  const dir = tempDir();
  const { port, args } = await (kind === 'nginx' ? startNginx : startCaddy)(dir, hubPort);
  const child = spawn(programs[kind], args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir },
  });
  const log = createWriteStream(join(dir, 'proxy.log'));
  child.stdout.pipe(log);
  child.stderr.pipe(log);
  let ended = false;
  const exited = new Promise((done) => { child.on('exit', () => { ended = true; done(); }); });
  const proxy = {
    port,
    agent: new Agent({ keepAlive: true, ca: readFileSync(join(dir, 'cert.pem')) }),
    async stop() {
      proxy.agent.destroy();
      if (!ended) child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 10000);
      await exited;
      clearTimeout(timer);
    },
  };
  process.on('exit', () => child.kill('SIGKILL'));
  await until(async () => {
    if (ended) throw new Error(`${kind} ended: ${readFileSync(join(dir, 'proxy.log'), 'utf8')}`);
    return ask(proxy, 'GET', '/').then(() => true, () => false);
  }, 20000, `${kind} to listen`);
  return proxy;
}

function options(proxy, method, path, headers = {}) {
  return { method, path, agent: proxy.agent, host: '127.0.0.1', port: proxy.port, servername: HOST,
    localAddress: '127.0.0.2', // from "another machine": 127.0.0.1 is the proxy, which is trusted
    headers: { host: HOST, ...headers } };
}

/** The whole answer. body: a string, a Buffer, or a function that writes it into the request. */
function ask(proxy, method, path, { body, headers } = {}) {
  return new Promise((done, fail) => {
    const req = request(options(proxy, method, path, headers), (res) => {
      const parts = [];
      res.on('data', (d) => parts.push(d));
      res.on('error', fail);
      res.on('end', () => {
        const text = Buffer.concat(parts).toString();
        done({ status: res.statusCode, headers: res.headers, text, json: () => JSON.parse(text) });
      });
    });
    req.on('error', fail);
    if (typeof body === 'function') body(req);
    else req.end(body);
  });
}

/** Sends `left` bytes, as fast as they are taken, until an answer comes. */
function pour(req, left) {
  const piece = Buffer.alloc(1 << 16, 'x');
  let answered = false;
  req.on('response', () => { answered = true; });
  const more = () => {
    while (left > 0 && !answered && !req.destroyed) {
      left -= piece.length;
      if (!req.write(piece)) return void req.once('drain', more);
    }
    if (left <= 0 && !answered) req.end();
  };
  more();
}

const STORY = JSON.stringify({
  messages: [{ role: 'user', content: 'Tell me a long story.' }], stream: true, max_tokens: 900, ignore_eos: true,
});

/** Opens a stream; `pieces` has the time and text of each piece that arrives. */
function openStream(proxy) {
  return new Promise((done, fail) => {
    const pieces = [];
    const req = request(options(proxy, 'POST', '/v1/chat/completions', { 'content-type': 'application/json' }), (res) => {
      assert.equal(res.statusCode, 200);
      res.on('data', (d) => pieces.push({ at: performance.now(), text: d.toString() }));
      res.on('error', () => {});
      done({ pieces, leave: () => req.destroy(), ended: new Promise((end) => res.on('close', end)) });
    });
    req.on('error', fail);
    req.end(STORY);
  });
}

async function metric(hub, name) {
  const text = await (await fetch(`${hub.url}/metrics`)).text();
  return Number(new RegExp(`^hearth_${name} (\\S+)$`, 'm').exec(text)[1]);
}

for (const kind of ['nginx', 'caddy']) {
  const skip = programs[kind] ? false : `${kind} is not installed; tools/setup proxies brings it`;
  describe(`behind ${kind}`, { skip, timeout: 150000 }, () => {
    let hub;
    let proxy;

    before(async () => {
      hub = await startHub({ env: { HEARTH_TRUSTED_PROXIES: '127.0.0.1', HEARTH_STREAM_BUFFER: '64K' } });
      proxy = await startProxy(kind, hub.port);
    });
    after(async () => {
      await proxy?.stop();
      await hub?.stop();
    });

    test('calls and errors come through as they are', async () => {
      const health = await ask(proxy, 'GET', '/health');
      assert.equal(health.status, 200);
      assert.equal(health.json().status, 'healthy');
      assert.match(health.headers['strict-transport-security'], /max-age/);
      const lost = await ask(proxy, 'GET', '/api/v1/conversations', { headers: { 'x-request-id': 'mine-1' } });
      assert.equal(lost.status, 401);
      assert.equal(lost.headers['x-request-id'], 'mine-1');
      assert.equal(lost.json().error.request_id, 'mine-1');
    });

    test('tokens arrive one by one, while the answer is still being made', async () => {
      const stream = await openStream(proxy);
      await until(() => stream.pieces.length >= 20, 60000, 'twenty pieces');
      // Buffered, all would come when the answer is complete.
      assert.equal(await metric(hub, 'requests_running'), 1);
      const events = stream.pieces.map((p) => p.text).join('').split('\n\n').length;
      assert.ok(events < stream.pieces.length * 4, `${events} events in ${stream.pieces.length} pieces`);
      stream.leave();
      await until(async () => await metric(hub, 'requests_running') === 0, 20000, 'the end');
    });

    test('a client that leaves ends its generation', async () => {
      const before = await metric(hub, 'requests_cancelled_total');
      const stream = await openStream(proxy);
      await until(() => stream.pieces.length > 2, 60000, 'a first token');
      stream.leave();
      await until(async () => await metric(hub, 'requests_cancelled_total') > before, 20000, 'the cancellation');
      await until(async () => await metric(hub, 'requests_running') === 0, 20000, 'the end');
    });

    test('large bodies go through, too large ones are refused', async () => {
      const input = 'x'.repeat(24 << 20);
      const large = await ask(proxy, 'POST', '/v1/chat/completions', {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ messages: [{ role: 'user', content: input }] }),
      });
      assert.equal(large.status, 400, large.text.slice(0, 300)); // by the hub: more than the context
      assert.equal(typeof large.json().error.code, 'string');
      const toProxy = await ask(proxy, 'POST', '/v1/chat/completions', {
        headers: { 'content-type': 'application/json', 'content-length': String(70 << 20) },
        body: (req) => pour(req, 70 << 20),
      });
      assert.equal(toProxy.status, 413);
    });

    test('it is the client whose logins are throttled, and it can not choose its address', async () => {
      const login = (from) => ask(proxy, 'POST', '/api/v1/auth/login', {
        headers: { 'content-type': 'application/json', 'x-forwarded-for': from },
        body: JSON.stringify({ username: `nobody-${from}`, password: 'wrong wrong' }),
      });
      const statuses = [];
      for (let i = 1; i <= 12; i++) statuses.push((await login(`203.0.113.${i}`)).status);
      assert.ok(statuses.includes(429), `a client that makes addresses up was let: ${statuses}`);
      // Straight to the hub from a trusted address, as another proxy would ask.
      const other = await fetch(`${hub.url}/api/v1/auth/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-forwarded-for': '198.51.100.7' },
        body: JSON.stringify({ username: 'nobody-else', password: 'wrong wrong' }),
      });
      assert.equal(other.status, 401);
    });
  });

  describe(`a WebSocket through ${kind}`, { skip }, () => {
    let hub;
    let proxy;

    before(async () => {
      hub = await startHub();
      proxy = await startProxy(kind, hub.port);
    });
    after(async () => {
      await proxy?.stop();
      await hub?.stop();
    });

    test('is opened, says tokens one by one, and its client’s leaving is noticed', async () => {
      const health = async () => (await fetch(`${hub.url}/health`)).json();
      const socket = new WebSocket(`wss://127.0.0.1:${proxy.port}/api/chat/ws`, {
        servername: HOST, headers: { Host: HOST }, ca: proxy.agent.options.ca,
      });
      const types = [];
      socket.on('message', (data) => types.push(JSON.parse(data.toString()).type));
      await new Promise((done, fail) => socket.on('open', done).on('error', fail));
      const say = (more) => socket.send(JSON.stringify({
        type: 'chat', messages: [{ role: 'user', content: 'Count' }], ignore_eos: true, ...more,
      }));
      say({ max_tokens: 30, temperature: 0 });
      await until(() => types.includes('done'), 20000, 'the answer');
      assert.ok(types.filter((t) => t === 'token').length > 1);
      say({ max_tokens: -1, context_overflow: 'shift' });
      await until(async () => (await health()).running === 1, 20000, 'a generation');
      socket.terminate();
      await until(async () => (await health()).running === 0, 20000, 'its end');
    });
  });
}
