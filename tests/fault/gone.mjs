// What the hub depends on goes away and comes back, without the hub being restarted: the database, the
// disk's free space, a Chroma server. Clear errors meanwhile, and everything works afterwards.
//
//   node tests/fault/gone.mjs [--binary build/hearth] [--only database|disk|chroma]
//
// The disk: a small file system of its own (tmpfs, which takes root or user namespaces).
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { join } from 'node:path';

const { values } = parseArgs({ options: { binary: { type: 'string' }, only: { type: 'string' } } });
if (values.binary) process.env.HEARTH_BIN = values.binary;
const { Site, freePort, inconsistencies, postgresql, root, sleep, sqlite, tempDir, until } = await import('./support.mjs');

let faults = 0;
function expect(what, ok, seen = '') {
  console.log(`  ${ok ? 'ok   ' : 'WRONG'} ${what}${ok ? '' : `: ${typeof seen === 'string' ? seen : JSON.stringify(seen)}`}`);
  if (!ok) faults++;
}

const api = (site, token) => (method, path, more) => site.call(method, `/api/v1${path}`, { token, ...more });
const file = (text, name) => {
  const form = new FormData();
  form.append('file', new Blob([text], { type: 'text/plain' }), name);
  return { form };
};
const isError = (r, status, code) => r.status === status && r.json?.error?.code === code && r.json.error.request_id && r.json.error.message;

async function ready(call, id) {
  return until(async () => {
    const r = await call('GET', `/files/status/${id}`);
    if (r.json?.status === 'failed') throw new Error(JSON.stringify(r.json));
    return r.json?.status === 'ready';
  }, 120000, 'a file to be ready');
}

// ---- the database --------------------------------------------------------------------------------------

async function databaseGone() {
  console.log('the database goes and comes back');
  const dir = tempDir();
  const database = postgresql(dir);
  const site = new Site(dir, database);
  await site.start();
  const call = api(site, await site.login('ada'));
  const before = await call('POST', '/conversations', { body: { title: 'before' } });
  expect('a conversation is made', before.status < 300, before);
  database.kill();
  const away = await call('POST', '/conversations', { body: { title: 'meanwhile' } });
  expect('a write says so: 503 database_unavailable', isError(away, 503, 'database_unavailable'), away);
  const read = await call('GET', '/conversations');
  expect('a read too', isError(read, 503, 'database_unavailable'), read);
  const upload = await call('POST', '/files/upload', file('while it is away', 'away.txt'));
  expect('an upload too', isError(upload, 503, 'database_unavailable'), upload);
  const health = await site.call('GET', '/health');
  expect('the hub lives', health.status === 200 && health.json.status === 'healthy', health);
  const model = await site.call('POST', '/v1/chat/completions', { body: { messages: [{ role: 'user', content: 'Hello' }], max_tokens: 5 } });
  expect('and answers what needs no database', model.status === 200, model);
  database.again();
  const back = await until(async () => {
    const r = await call('POST', '/conversations', { body: { title: 'after' } });
    return r.status < 300 && r;
  }, 30000, 'the database to be back').catch(() => null);
  expect('it works again without a restart', back);
  const list = await call('GET', '/conversations');
  const titles = list.json?.conversations?.map((c) => c.title) ?? [];
  expect('with what was acknowledged, and nothing that was not', titles.includes('before') && titles.includes('after') && !titles.includes('meanwhile'), titles);
  const late = await call('POST', '/files/upload', file('after it was away', 'back.txt'));
  expect('a file is taken', late.status < 300, late);
  if (late.status < 300) expect('and indexed', await ready(call, late.json.file_id).catch((e) => !String(e)));
  expect('nothing is left over', inconsistencies(site).length === 0, inconsistencies(site));
  await site.stop();
  database.stop();
}

// ---- the disk ------------------------------------------------------------------------------------------

const MEGABYTES = 160; // the hub leaves 32 of a disk to others

function smallDisk(dir, megabytes) {
  mkdirSync(dir, { recursive: true });
  const r = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=700`, 'hearth-fault', dir]);
  if (r.status !== 0) return null;
  let mounted = true;
  const unmount = () => {
    if (mounted) mounted = spawnSync('umount', ['-l', dir]).status !== 0;
  };
  process.on('exit', unmount);
  return unmount;
}

async function diskFull() {
  console.log('the disk is full and has room again');
  const dir = tempDir();
  const unmount = smallDisk(join(dir, 'data'), MEGABYTES);
  if (!unmount) {
    console.log('  skipped: no small file system can be mounted here (that takes root)');
    return;
  }
  const site = new Site(dir, sqlite(dir), { HEARTH_CACHE_DISK: '0' });
  await site.start();
  const call = api(site, await site.login('ada'));
  const first = await call('POST', '/files/upload', file('a first small text about lanterns', 'first.txt'));
  expect('a file is taken', first.status < 300, first);
  if (first.status < 300) await ready(call, first.json.file_id);
  const filler = join(dir, 'data', 'filler');
  for (let left = MEGABYTES << 20; left >= 4096; left >>= 1) {
    spawnSync('sh', ['-c', `while head -c ${left} /dev/zero >> '${filler}' 2> /dev/null; do :; done`]);
  }
  const full = await call('POST', '/files/upload', file('x'.repeat(3 << 20), 'large.txt'));
  expect('an upload says so: 507 disk_full', isError(full, 507, 'disk_full'), full);
  let refused = null;
  for (let i = 0; i < 400 && !refused; i++) {
    const r = await call('POST', '/conversations', { body: { title: 'y'.repeat(150) } });
    if (r.status >= 300) refused = r;
  }
  expect('so does a write to the database', refused && isError(refused, 507, 'disk_full'), refused ?? 'nothing was refused');
  const read = await call('GET', '/conversations?limit=5');
  expect('reading goes on', read.status === 200, read);
  rmSync(filler);
  const back = await call('POST', '/conversations', { body: { title: 'after' } });
  expect('with room again it writes again', back.status < 300, back);
  const again = await call('POST', '/files/upload', file('a second text about lanterns', 'second.txt'));
  expect('and takes files', again.status < 300, again);
  if (again.status < 300) expect('and indexes them', await ready(call, again.json.file_id).catch((e) => !String(e)));
  await site.stop();
  await site.start(); // sweeps
  await call('GET', '/auth/me');
  await until(() => inconsistencies(site).length === 0, 20000, 'agreement').catch(() => {});
  expect('nothing is left over', inconsistencies(site).length === 0, inconsistencies(site));
  await site.stop();
  unmount();
}

// ---- Chroma --------------------------------------------------------------------------------------------

class Chroma {
  constructor(dir) { this.dir = dir; }
  static get program() { return join(root, 'node_modules', '.bin', 'chroma'); }

  async start() {
    this.port ??= await freePort();
    this.child = spawn(Chroma.program, ['run', '--path', this.dir, '--host', '127.0.0.1', '--port', String(this.port)], { stdio: 'ignore' });
    process.on('exit', () => this.child.kill('SIGKILL'));
    await until(() => fetch(`http://127.0.0.1:${this.port}/api/v2/heartbeat`).then((r) => r.ok, () => false), 60000, 'Chroma');
  }

  async kill() {
    const gone = new Promise((done) => { this.child.on('exit', done); });
    this.child.kill('SIGKILL');
    await gone;
  }
}

async function chromaGone() {
  console.log('Chroma goes and comes back');
  if (!existsSync(Chroma.program)) {
    console.log('  skipped: npm\'s chromadb is not installed (tools/setup test)');
    return;
  }
  const dir = tempDir();
  const chroma = new Chroma(join(dir, 'chroma'));
  await chroma.start();
  const site = new Site(dir, sqlite(dir), { VECTOR_STORE: 'chroma', CHROMA_URL: `http://127.0.0.1:${chroma.port}` });
  await site.start();
  const call = api(site, await site.login('ada'));
  const search = (query) => call('POST', '/search', { body: { query, k: 3, mode: 'vector', rerank: false } });
  const first = await call('POST', '/files/upload', file('The lighthouse keeper lives on the island of Aldern.', 'keeper.txt'));
  await ready(call, first.json.file_id);
  const found = await search('Who lives on the island?');
  expect('it finds', found.json?.results?.[0]?.file_name === 'keeper.txt', found);
  await chroma.kill();
  const away = await search('Who lives on the island?');
  const words = away.json?.results?.length ? 'an answer from elsewhere' : away.json?.error?.code;
  expect('while it is away a search says so or is answered otherwise', away.status === 200 ? away.json.results.length > 0 : away.status >= 502 && away.json?.error?.message, away);
  console.log(`        (${words})`);
  const bm25 = await call('POST', '/search', { body: { query: 'lighthouse keeper', k: 3, mode: 'bm25', rerank: false } });
  expect('full text goes on', bm25.json?.results?.[0]?.file_name === 'keeper.txt', bm25);
  const second = await call('POST', '/files/upload', file('The baker of Aldern gets up at four in the morning.', 'baker.txt'));
  expect('a file is taken meanwhile', second.status < 300, second);
  await sleep(2000);
  await chroma.start();
  expect('and is ready when it is back', await ready(call, second.json.file_id).catch((e) => { console.log(`        ${e}`); return false; }));
  const back = await until(async () => {
    const r = await search('When does the baker get up?');
    return r.json?.results?.some((x) => x.file_name === 'baker.txt') && r;
  }, 60000, 'a search').catch(() => null);
  expect('both are found, without a restart', back);
  await site.stop();
  await chroma.kill();
}

const all = { database: databaseGone, disk: diskFull, chroma: chromaGone };
for (const [name, run] of Object.entries(all)) {
  if (values.only && values.only !== name) continue;
  await run().catch((e) => expect(`${name} to the end`, false, e.stack));
}
console.log(faults ? `${faults} faults` : 'all of it came back');
process.exit(faults ? 1 : 0);
