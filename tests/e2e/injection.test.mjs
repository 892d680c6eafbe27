// SQL, headers, paths and markup in every place that takes a text: nothing but a text comes of it.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { startHub } from './support/hearth.mjs';

const password = 'correct horse';
let hub;
let token;

const sql = [
  '\'', '"', '\\', ';', '--', '/*', '\' OR \'1\'=\'1', '\' OR 1=1 --', '"; DROP TABLE users; --',
  '\'); DELETE FROM conversations; --', '1; SELECT pg_sleep(10)', '\' UNION SELECT password_hash FROM users --',
  '$1', '$$', '%', '_', '%s%s%s%n', '{0}', '\' || (SELECT hash FROM api_keys) || \'', 'x\' AND 1=(SELECT COUNT(*) FROM users) --',
  '*', '"*', 'NEAR(a b)', 'a AND', 'content:x', '^x', '\u0000', '\ud800', '\u202e', '🙂', 'Ω'.repeat(300), 'Ω'.repeat(200), 'a'.repeat(5000),
];
const paths = [
  '..', '../', '../../etc/passwd', '..%2f..%2fetc%2fpasswd', '%2e%2e/', '..\\..\\', '/etc/passwd', 'file:///etc/passwd', '....//',
  '%00', 'a%00b', '%c0%ae%c0%ae', '.', '%2F', 'hearth.db', 'jwt.key', '..%5c', 'CON', '~root', '%ff',
];

before(async () => {
  hub = await startHub({ args: ['--no-preload'] });
  await call('POST', '/auth/register', { username: 'ada', password });
  token = (await call('POST', '/auth/login', { username: 'ada', password })).json.access_token;
  await call('POST', '/conversations', { id: 'canary', title: 'still here' });
});
after(() => hub?.stop());

async function call(method, path, body, extra = {}) {
  const headers = { ...extra };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const r = await fetch(`${hub.url}/api/v1${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await r.text();
  let json = null;
  try { json = JSON.parse(text); } catch { /* no JSON */ }
  return { status: r.status, text, json, headers: r.headers };
}

function harmless(r, what) {
  assert.ok(r.status < 500, `${what}: ${r.status} ${r.text}`);
  for (const word of ['argon2id', 'syntax error', 'SQLITE', 'sqlite3', 'root:x:', 'PRIMARY KEY', '/src/']) {
    assert.ok(!r.text.includes(word), `${what} tells ${word}: ${r.text}`);
  }
}

async function stillThere() {
  const r = await call('GET', '/conversations/canary');
  assert.equal(r.json?.conversation.title, 'still here');
}

test('SQL in bodies', async () => {
  for (const text of sql) {
    const what = JSON.stringify(text).slice(0, 60);
    for (const [method, path, body] of [
      ['POST', '/auth/register', { username: text, password }],
      ['POST', '/auth/register', { username: 'bob', password, email: text, invitation: text }],
      ['POST', '/auth/login', { username: text, password: text }],
      ['POST', '/auth/refresh', { refresh_token: text }],
      ['PATCH', '/auth/me', { email: text, settings: { [text]: text } }],
      ['POST', '/auth/keys', { name: text, scopes: [text] }],
      ['POST', '/conversations', { id: text, title: text, meta: { [text]: text } }],
      ['PATCH', '/conversations/canary', { leaf_id: text }],
      ['POST', '/conversations/import', { conversation: { id: text, title: text, leaf_id: text, meta: { [text]: text } }, messages: [{ id: text, role: 'user', content: text }] }],
      ['POST', '/chat', { conversation_id: text, parent_id: text, regenerate: true }],
    ]) harmless(await call(method, path, body), `${method} ${path} with ${what}`);
  }
  await stillThere();
});

test('a text comes back as it went in', async () => {
  for (const text of sql.filter((s) => s.length < 250 && !/[\u0000\ud800]/.test(s))) {
    const made = await call('POST', '/conversations', { title: text });
    assert.equal(made.status, 201, text);
    assert.equal((await call('GET', `/conversations/${made.json.id}`)).json.conversation.title, text);
    const found = await call('GET', `/conversations?search=${encodeURIComponent(text)}`);
    harmless(found, text);
    if (found.status === 200) assert.ok(found.json.conversations.every((c) => c.title !== 'still here'), text);
    const md = await call('GET', `/conversations/${made.json.id}/export?format=md`);
    assert.ok(md.text.startsWith(`# ${text || 'Conversation'}\n`), md.text);
    assert.match(md.headers.get('content-type'), /^text\/markdown/); // and never a page
  }
  await stillThere();
});

test('SQL and paths in URLs', async () => {
  const words = [...sql.filter((s) => !/\ud800/.test(s)).map(encodeURIComponent), ...paths];
  for (const word of words) {
    for (const path of [`/conversations/${word}`, `/conversations/${word}/export`, `/conversations/${word}/messages?leaf_id=${word}`,
      `/conversations?cursor=${word}`, `/conversations?search=${word}`, `/conversations?limit=${word}`, `/jobs/${word}`, `/jobs?state=${word}`,
      `/chat/stream/${word}?after=${word}`, `/users/${word}`]) {
      const r = await call('GET', path);
      harmless(r, path);
      assert.ok(!r.text.includes('still here') || path.startsWith('/conversations?') || /^\/conversations\/(\.|%2e)/i.test(path), `${path}: ${r.text}`);
    }
    for (const path of [`/assets/${word}`, `/v1/models/${word}`, `/v1/requests/${word}`]) {
      const r = await fetch(hub.url + path);
      harmless({ status: r.status, text: r.url.includes('/docs') ? '' : await r.text() }, path);
    }
  }
  await stillThere();
});

/** What the server answers to bytes that no HTTP client would send. */
function raw(text) {
  return new Promise((done, fail) => {
    const socket = connect(hub.port, '127.0.0.1', () => socket.write(text));
    let got = '';
    socket.on('data', (d) => { got += d; });
    socket.on('end', () => done(got));
    socket.on('close', () => done(got));
    socket.on('error', fail);
    socket.setTimeout(5000, () => socket.destroy());
  });
}

test('headers stay single', async () => {
  const evil = ['x\rX-Evil: 1', 'x\nX-Evil: 1', 'x\r\n\r\n<html>', '%0d%0aX-Evil: 1', 'x\tX-Evil: 1', 'x\u0085X-Evil: 1'];
  for (const value of evil) {
    for (const name of ['X-Request-Id', 'Origin', 'Last-Event-ID', 'X-Priority', 'Authorization', 'X-Api-Key']) {
      const answer = await raw(`GET /api/v1/chat/stream/x HTTP/1.1\r\nHost: localhost\r\n${name}: ${value}\r\nConnection: close\r\n\r\n`);
      const head = answer.split('\r\n\r\n')[0];
      assert.match(head, /^HTTP\/1\.1 4\d\d /, `${name}: ${JSON.stringify(value)}`);
      assert.ok(!/^x-evil/im.test(head), `${name}: ${head}`);
    }
  }
  const id = await call('GET', '/auth/me', undefined, { 'x-request-id': 'a b<script>' });
  assert.match(id.headers.get('x-request-id'), /^[A-Za-z0-9._-]+$/);
  await stillThere();
});
