// Files under /api/v1 as apps use them: upload, duplicates, state, bytes, deletion, collections; and
// what clients do wrong or to each other. Jobs and `hearth add` beside the running hub.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, writeFileSync, appendFileSync, renameSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runHearth, startHub, tempDir, until as untilMs } from './support/hearth.mjs';

const password = 'correct horse';
const MIB = 1 << 20;
const until = (check) => untilMs(check, 60000); // the machine may be busy
let hub;
let dir;
let ada;
let bob;
let admin;

before(async () => {
  dir = tempDir();
  const made = await runHearth(['users', 'create', 'root', '--admin'], { dir, input: `${password}\n` });
  assert.equal(made.code, 0, made.stderr);
  hub = await startHub({ dir, args: ['--no-preload'], env: { MAX_FILESIZE_MB: 2 } });
  admin = await login('root');
  ada = await login('ada');
  bob = await login('bob');
});
after(() => hub?.stop());

async function call(method, path, { token = ada, body, form, headers = {} } = {}) {
  const h = { ...headers };
  if (token) h.authorization = `Bearer ${token}`;
  if (body !== undefined) h['content-type'] = 'application/json';
  const r = await fetch(`${hub.url}/api/v1${path}`, {
    method, headers: h, body: form ?? (body && JSON.stringify(body)),
  });
  const text = await r.text();
  const type = r.headers.get('content-type') ?? '';
  return { status: r.status, text, json: type.includes('json') && text ? JSON.parse(text) : null, headers: r.headers };
}

async function login(username) {
  await call('POST', '/auth/register', { token: null, body: { username, password } });
  const r = await call('POST', '/auth/login', { token: null, body: { username, password } });
  assert.equal(r.status, 200, r.text);
  return r.json.access_token;
}

function upload(name, content, { token = ada, fields = {}, type = 'application/octet-stream' } = {}) {
  const form = new FormData();
  for (const [key, value] of Object.entries(fields)) form.append(key, value);
  form.append('file', new Blob([content], { type }), name);
  return call('POST', '/files/upload', { token, form });
}

const stored = (sub) => {
  try {
    return readdirSync(join(dir, 'data', 'files', sub), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile()).length;
  } catch {
    return 0;
  }
};

test('a file from its upload to its deletion', async () => {
  const text = '# Rivers\n\nThe Danube is 2850 km long.\n';
  const made = await upload('rivers.md', text);
  assert.equal(made.status, 201, made.text);
  assert.equal(made.json.filename, 'rivers.md');
  assert.equal(made.json.type, 'text/markdown');
  assert.equal(made.json.size, text.length);
  assert.equal(made.json.sha256, createHash('sha256').update(text).digest('hex'));
  assert.equal(made.json.duplicate, false);
  const { id } = made.json;
  assert.equal(made.json.file_id, id);
  const again = await upload('other.md', text);
  assert.equal(again.status, 200);
  assert.equal(again.json.id, id);
  assert.equal(again.json.duplicate, true);

  const state = await call('GET', `/files/status/${id}`);
  assert.equal(state.status, 200);
  assert.equal(state.json.file_id, id);
  assert.ok(['queued', 'extracting', 'chunking', 'embedding', 'ready'].includes(state.json.status), state.text);
  const list = await call('GET', '/files?search=river');
  assert.deepEqual(list.json.files.map((f) => f.id), [id]);
  assert.equal(list.json.next_cursor, null);

  const bytes = await call('GET', `/files/${id}/content`);
  assert.equal(bytes.status, 200);
  assert.equal(bytes.text, text);
  assert.equal(bytes.headers.get('x-content-type-options'), 'nosniff');
  assert.match(bytes.headers.get('content-disposition'), /^attachment; filename="rivers\.md"/);
  assert.equal(bytes.headers.get('content-type'), 'text/plain; charset=utf-8');
  const head = await call('HEAD', `/files/${id}/content`);
  assert.equal(head.status, 200);
  assert.equal(head.headers.get('content-length'), String(text.length));

  assert.equal((await call('DELETE', `/files/${id}`)).status, 204);
  for (const path of [`/files/${id}`, `/files/status/${id}`, `/files/${id}/content`]) {
    assert.equal((await call('GET', path)).status, 404, path);
  }
  assert.equal((await call('DELETE', `/files/${id}`)).status, 404);
  assert.equal(stored('tmp'), 0);
});

test('another user sees nothing of it', async () => {
  const { id } = (await upload('secret.txt', 'the key is under the mat')).json;
  for (const [method, path] of [['GET', ''], ['GET', '/content'], ['DELETE', ''], ['POST', '/reindex']]) {
    const r = await call(method, `/files/${id}${path}`, { token: bob });
    assert.equal(r.status, 404, `${method} ${path}: ${r.text}`);
    assert.equal(r.json.error.code, 'not_found');
  }
  assert.equal((await call('GET', `/files/status/${id}`, { token: bob })).status, 404);
  assert.deepEqual((await call('GET', '/files', { token: bob })).json.files, []);
  // The same bytes are a file of his own.
  const his = await upload('secret.txt', 'the key is under the mat', { token: bob });
  assert.equal(his.status, 201);
  assert.notEqual(his.json.id, id);
  assert.equal((await call('DELETE', `/files/${id}`)).status, 204);
  assert.equal((await call('GET', `/files/${his.json.id}/content`, { token: bob })).text, 'the key is under the mat');
  assert.equal((await call('DELETE', `/files/${his.json.id}`, { token: bob })).status, 204);
});

test('names and types that would do harm', async () => {
  const page = await upload('../../etc/<b>"x".html', '<!doctype html><html><body><script>alert(1)</script></body></html>');
  assert.equal(page.status, 201, page.text);
  assert.ok(!page.json.filename.includes('/'));
  const r = await call('GET', `/files/${page.json.id}/content`);
  assert.equal(r.headers.get('content-type'), 'application/octet-stream');
  assert.match(r.headers.get('content-disposition'), /^attachment;/);
  assert.match(r.headers.get('content-security-policy'), /sandbox/);
  const umlaut = await upload('Übersicht\u202Efdp.txt', 'Wörter');
  assert.equal(umlaut.json.filename, 'Übersichtfdp.txt');
  const named = await call('GET', `/files/${umlaut.json.id}/content`);
  assert.match(named.headers.get('content-disposition'), /filename\*=UTF-8''%C3%9Cbersichtfdp\.txt$/);
  // What it is decides its content, not its name.
  const fake = await upload('picture.txt', Buffer.from('%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n', 'latin1'));
  assert.equal(fake.json.type, 'application/pdf');
  for (const f of [page, umlaut, fake]) await call('DELETE', `/files/${f.json.id}`);
});

test('what is refused', async () => {
  const nobody = await upload('a.txt', 'x', { token: null });
  assert.equal(nobody.status, 401);
  const forged = await upload('a.txt', 'x', { token: 'a.b.c' });
  assert.equal(forged.status, 401, forged.text);
  const json = await call('POST', '/files/upload', { body: { file: 'x' } });
  assert.equal(json.status, 415, json.text);
  assert.equal(json.json.error.code, 'unsupported_media_type');
  const empty = new FormData();
  empty.append('collection', 'x');
  const none = await call('POST', '/files/upload', { form: empty });
  assert.equal(none.status, 422, none.text);
  assert.equal(none.json.error.code, 'validation_error');
  const two = new FormData();
  two.append('file', new Blob(['a']), 'a.txt');
  two.append('file', new Blob(['b']), 'b.txt');
  assert.equal((await call('POST', '/files/upload', { form: two })).status, 422);
  assert.equal((await call('POST', '/files/upload')).status, 422);
  const where = await upload('a.txt', 'x', { fields: { collection: 'nowhere' } });
  assert.equal(where.status, 404, where.text);
  for (const query of ['limit=0', 'limit=x', 'cursor=x', 'status=done']) {
    assert.equal((await call('GET', `/files?${query}`)).status, 422, query);
  }
  assert.equal(stored('tmp'), 0);
});

test('a file that is too large', async () => {
  const before = stored('blobs');
  const big = await upload('big.txt', Buffer.alloc(2 * MIB + 1, 'x'));
  assert.equal(big.status, 413, big.text);
  assert.equal(big.json.error.code, 'too_large');
  const fits = await upload('fits.txt', Buffer.alloc(2 * MIB, 'y'));
  assert.equal(fits.status, 201, fits.text);
  const sum = createHash('sha256').update(Buffer.alloc(2 * MIB, 'y')).digest('hex');
  assert.equal(fits.json.sha256, sum);
  const r = await fetch(`${hub.url}/api/v1/files/${fits.json.id}/content`, { headers: { authorization: `Bearer ${ada}` } });
  assert.equal(createHash('sha256').update(Buffer.from(await r.arrayBuffer())).digest('hex'), sum);
  // Much too large: told by the head alone, before a byte of it is sent.
  const early = await raw([
    'POST /api/v1/files/upload HTTP/1.1', 'Host: localhost', `Authorization: Bearer ${ada}`,
    'Content-Type: multipart/form-data; boundary=X', 'Content-Length: 900000000', '', '',
  ].join('\r\n'));
  assert.match(early, /^HTTP\/1\.1 413 /);
  assert.match(early, /MAX_FILESIZE_MB/);
  // Without a length: as soon as it is over.
  const form = `--X\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n`;
  const piece = 'z'.repeat(65536);
  let chunked = `POST /api/v1/files/upload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ada}\r\n` +
    'Content-Type: multipart/form-data; boundary=X\r\nTransfer-Encoding: chunked\r\n\r\n' +
    `${form.length.toString(16)}\r\n${form}\r\n`;
  for (let i = 0; i < 60; i++) chunked += `10000\r\n${piece}\r\n`;
  assert.match(await raw(chunked), /^HTTP\/1\.1 413 /);
  await until(() => stored('tmp') === 0);
  assert.equal((await call('DELETE', `/files/${fits.json.id}`)).status, 204);
  assert.equal(stored('blobs'), before);
});

function raw(text, { keep = false } = {}) {
  return new Promise((done, fail) => {
    const socket = connect(Number(new URL(hub.url).port), '127.0.0.1');
    let got = '';
    socket.setTimeout(30000, () => done(got));
    socket.on('data', (d) => {
      got += d;
      if (!keep && got.includes('\r\n\r\n')) setTimeout(() => socket.destroy(), 50);
    });
    socket.on('error', (e) => (got ? done(got) : fail(e)));
    socket.on('close', () => done(got));
    socket.write(text);
  });
}

test('a client that goes away leaves nothing', async () => {
  const before = stored('blobs');
  const head = `POST /api/v1/files/upload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ada}\r\n` +
    'Content-Type: multipart/form-data; boundary=X\r\nContent-Length: 1000000\r\n\r\n' +
    '--X\r\nContent-Disposition: form-data; name="file"; filename="half.txt"\r\n\r\n';
  const sockets = [];
  for (let i = 0; i < 8; i++) {
    const socket = connect(Number(new URL(hub.url).port), '127.0.0.1');
    socket.on('error', () => {});
    socket.write(head + 'x'.repeat(10000 * (i + 1)));
    sockets.push(socket);
  }
  await until(() => stored('tmp') === 8);
  sockets.forEach((socket, i) => (i % 2 ? socket.destroy() : socket.resetAndDestroy()));
  await until(() => stored('tmp') === 0);
  assert.equal(stored('blobs'), before);
  assert.equal((await call('GET', '/files?search=half')).json.files.length, 0);
});

test('a form in the smallest pieces, and one that is cut short', async () => {
  const body = '--X\r\nContent-Disposition: form-data; name="file"; filename="slow.txt"\r\n\r\nslowly\r\n--X--\r\n';
  const head = `POST /api/v1/files/upload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ada}\r\n` +
    'Content-Type: multipart/form-data; boundary=X\r\n';
  const got = await new Promise((done, fail) => {
    const socket = connect(Number(new URL(hub.url).port), '127.0.0.1');
    socket.setNoDelay(true);
    let text = '';
    socket.on('error', fail);
    socket.on('data', (d) => {
      text += d;
      if (text.includes('"sha256"')) done(text), socket.destroy();
    });
    socket.write(`${head}Content-Length: ${body.length}\r\n\r\n`);
    let i = 0;
    const timer = setInterval(() => {
      if (i < body.length) socket.write(body[i++]);
      else clearInterval(timer);
    }, 2);
  });
  assert.match(got, /^HTTP\/1\.1 201 /);
  const cut = body.slice(0, 80);
  assert.match(await raw(`${head}Content-Length: ${cut.length}\r\n\r\n${cut}`), /^HTTP\/1\.1 422 /);
  await until(() => stored('tmp') === 0);
});

test('many uploads at once', async () => {
  const made = await Promise.all(Array.from({ length: 24 }, (_, i) =>
    upload(`many-${i}.txt`, Buffer.alloc(200000 + i, String.fromCharCode(97 + i)))));
  for (const m of made) assert.equal(m.status, 201, m.text);
  const seen = new Set();
  let cursor = '';
  do {
    const page = await call('GET', `/files?search=many-&limit=7${cursor && `&cursor=${cursor}`}`);
    for (const f of page.json.files) seen.add(f.id);
    cursor = page.json.next_cursor;
  } while (cursor);
  assert.equal(seen.size, 24);
  await Promise.all([...seen].map((id) => call('DELETE', `/files/${id}`)));
  // The same file from many sides is one.
  const same = await Promise.all(Array.from({ length: 12 }, () => upload('same.txt', 'the same bytes')));
  assert.equal(same.filter((r) => r.status === 201).length, 1);
  assert.equal(new Set(same.map((r) => r.json.id)).size, 1);
  await call('DELETE', `/files/${same[0].json.id}`);
});

test('collections, own and shared', async () => {
  const own = await call('POST', '/collections', { body: { name: 'papers' } });
  assert.equal(own.status, 201, own.text);
  assert.equal((await call('POST', '/collections', { body: { name: 'papers' } })).status, 409);
  assert.equal((await call('POST', '/collections', { body: { name: '' } })).status, 422);
  assert.equal((await call('POST', '/collections', { body: { name: 'all', shared: true } })).status, 403);
  const shared = await call('POST', '/collections', { token: admin, body: { name: 'handbook', shared: true } });
  assert.equal(shared.status, 201, shared.text);
  const names = (await call('GET', '/collections')).json.collections.map((c) => c.name);
  assert.ok(names.includes('papers') && names.includes('handbook'), names.join());
  assert.ok(!(await call('GET', '/collections', { token: bob })).json.collections.some((c) => c.name === 'papers'));

  const mine = await upload('p.txt', 'a paper', { fields: { collection: 'papers' } });
  assert.equal(mine.json.collection_id, own.json.id);
  assert.equal((await upload('h.txt', 'rules', { fields: { collection: 'handbook' } })).status, 403);
  const rules = await upload('h.txt', 'rules', { token: admin, fields: { collection: shared.json.id } });
  assert.equal(rules.status, 201, rules.text);
  assert.equal(rules.json.shared, true);
  assert.equal((await call('GET', `/files/${rules.json.id}/content`, { token: bob })).text, 'rules');
  assert.equal((await call('DELETE', `/files/${rules.json.id}`, { token: bob })).status, 403);
  const seen = await call('GET', '/files?collection=handbook', { token: bob });
  assert.deepEqual(seen.json.files.map((f) => f.id), [rules.json.id]);

  assert.equal((await call('DELETE', `/collections/${own.json.id}`, { token: bob })).status, 404);
  assert.equal((await call('DELETE', `/collections/${shared.json.id}`)).status, 403);
  assert.equal((await call('DELETE', `/collections/${own.json.id}`)).status, 204);
  assert.equal((await call('GET', `/files/${mine.json.id}`)).status, 404);
  assert.equal((await call('DELETE', `/collections/${shared.json.id}`, { token: admin })).status, 204);
});

test('who goes takes the files along', async () => {
  const before = stored('blobs');
  for (const name of ['carol', 'dave']) {
    const token = await login(name);
    assert.equal((await upload('mine.txt', `of ${name}`, { token })).status, 201);
  }
  assert.equal(stored('blobs'), before + 2);
  const users = (await call('GET', '/users', { token: admin })).json.users;
  const carol = users.find((u) => u.username === 'carol');
  assert.equal((await call('DELETE', `/users/${carol.id}`, { token: admin })).status, 204);
  assert.equal(stored('blobs'), before + 1);
  assert.equal((await runHearth(['users', 'delete', 'dave', '--yes'], { dir })).code, 0);
  assert.equal(stored('blobs'), before);
});

test('jobs are the user\'s own, and the command line sees them', async () => {
  const { id } = (await upload('job.txt', 'work to do')).json;
  const jobs = (await call('GET', '/jobs')).json.jobs;
  assert.ok(jobs.length > 0 && jobs.every((j) => j.kind === 'index_file'));
  assert.equal((await call('GET', `/jobs/${jobs[0].id}`, { token: bob })).status, 404);
  const listed = await runHearth(['jobs'], { dir });
  assert.equal(listed.code, 0, listed.stderr);
  assert.ok(listed.stdout.includes(jobs[0].id));
  assert.equal((await runHearth(['jobs', 'retry', 'none'], { dir })).code, 1);
  assert.equal((await runHearth(['jobs', 'frob'], { dir })).code, 2);
  await call('DELETE', `/files/${id}`);
});

test('hearth add, and a watched folder', async () => {
  const notes = join(dir, 'notes');
  mkdirSync(join(notes, 'deep'), { recursive: true });
  writeFileSync(join(notes, 'one.md'), '# One\n');
  writeFileSync(join(notes, 'deep', 'two.txt'), 'Two');
  writeFileSync(join(notes, '.hidden.txt'), 'no');
  writeFileSync(join(notes, 'program'), Buffer.from('7f454c4602010100', 'hex'));
  const env = { MAX_FILESIZE_MB: 2 };
  const names = async () => (await call('GET', '/files?limit=100', { token: admin })).json.files.map((f) => f.filename).sort();
  const added = await runHearth(['add', join(notes, 'one.md'), '--collection', 'cli'], { dir, env });
  assert.equal(added.code, 0, added.stderr);
  assert.deepEqual(await names(), ['one.md']);
  assert.match((await runHearth(['add', notes, '--collection', 'cli'], { dir, env })).stdout, /1 added, 1 there already, 1 left out/);
  assert.deepEqual(await names(), ['one.md', 'two.txt']);
  for (const c of (await call('GET', '/collections', { token: admin })).json.collections) {
    await call('DELETE', `/collections/${c.id}`, { token: admin });
  }
  assert.notEqual((await runHearth(['add', join(notes, 'program')], { dir, env })).code, 0);
  assert.notEqual((await runHearth(['add', join(notes, 'none')], { dir, env })).code, 0);

  const watched = await runHearth(['add', notes, '--watch'], { dir, env });
  assert.equal(watched.code, 0, watched.stderr);
  assert.match((await runHearth(['add', '--list'], { dir, env })).stdout, /notes\n$/);
  const is = async (wanted) => until(async () => (await names()).join() === wanted);
  await is('one.md,two.txt');
  writeFileSync(join(notes, 'deep', 'three.txt'), 'Three');
  await is('one.md,three.txt,two.txt');
  const hash = async (name) => (await call('GET', `/files?search=${name}`, { token: admin })).json.files[0]?.sha256;
  const first = await hash('three');
  appendFileSync(join(notes, 'deep', 'three.txt'), ' and more');
  await until(async () => (await hash('three')) !== first);
  renameSync(join(notes, 'one.md'), join(notes, 'uno.md'));
  await is('three.txt,two.txt,uno.md');
  mkdirSync(join(notes, 'new', 'er'), { recursive: true });
  writeFileSync(join(notes, 'new', 'er', 'four.txt'), 'Four');
  await is('four.txt,three.txt,two.txt,uno.md');

  // What changed while the hub was away is found when it is back.
  await hub.stop();
  rmSync(join(notes, 'deep', 'two.txt'));
  writeFileSync(join(notes, 'five.txt'), 'Five');
  hub = await startHub({ dir, args: ['--no-preload'], env });
  await is('five.txt,four.txt,three.txt,uno.md');
  rmSync(join(notes, 'new'), { recursive: true });
  await is('five.txt,three.txt,uno.md');
  // A folder that is gone keeps what came from it.
  renameSync(notes, `${notes}-away`);
  await new Promise((r) => setTimeout(r, 2500));
  assert.deepEqual(await names(), ['five.txt', 'three.txt', 'uno.md']);
  renameSync(`${notes}-away`, notes);
  assert.equal((await runHearth(['add', notes, '--unwatch'], { dir, env })).code, 0);
  await until(() => hub.text.includes('no longer watched'));
  writeFileSync(join(notes, 'six.txt'), 'Six');
  await new Promise((r) => setTimeout(r, 1500));
  assert.deepEqual(await names(), ['five.txt', 'three.txt', 'uno.md']);
});
