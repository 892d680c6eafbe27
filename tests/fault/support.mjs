// What the fault tests share: a hub that can be killed and started again on the same folder, database
// and port, people who use it, and what they remember of what was acknowledged.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

const { binary, root, sleep, startHub, tempDir, until } = await import('../e2e/support/hearth.mjs');
export { binary, root, sleep, startHub, tempDir, until };

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

export function dice(seed) {
  let state = seed >>> 0;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

export function freePort() {
  return new Promise((done) => {
    const s = createServer().listen(0, '127.0.0.1', () => {
      const { port } = s.address();
      s.close(() => done(port));
    });
  });
}

// ---- databases ---------------------------------------------------------------------------------------

/** {name, url, query(sql) -> rows of strings, stop()} */
export function sqlite(dir) {
  const file = join(dir, 'data', 'hearth.db');
  if (spawnSync('sqlite3', ['-version']).status !== 0) throw new Error('the program sqlite3 is missing: tools/setup faults');
  return {
    name: 'sqlite',
    url: '',
    query: (sql) => execFileSync('sqlite3', ['-readonly', '-separator', '\t', file, sql], { maxBuffer: 1 << 28 })
      .toString().split('\n').filter(Boolean).map((l) => l.split('\t')),
    stop() {},
  };
}

const pgPrivate = (verb, dir) => execFileSync(join(root, 'tools/pg-private'), [verb, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
  .toString().trim();

export function postgresql(dir) {
  const folder = join(dir, 'pg');
  execFileSync('chmod', ['755', dir]);
  const url = pgPrivate('start', folder);
  let running = true;
  const stop = () => {
    if (running) spawnSync(join(root, 'tools/pg-private'), ['stop', folder]);
    running = false;
  };
  process.on('exit', stop);
  return {
    name: 'postgresql',
    url,
    query: (sql) => execFileSync('psql', ['-At', '-F', '\t', url, '-c', sql], { maxBuffer: 1 << 28 })
      .toString().split('\n').filter(Boolean).map((l) => l.split('\t')),
    kill: () => { pgPrivate('kill', folder); },
    again: () => { pgPrivate('again', folder); },
    stop,
  };
}

// ---- the hub -----------------------------------------------------------------------------------------

export class Site {
  constructor(dir, database, env = {}) {
    this.dir = dir;
    this.database = database;
    this.env = {
      JWT_SECRET_KEY: 'a key that stays the same over restarts',
      ...(database?.url && { DATABASE_URL: database.url }),
      ...env,
    };
  }

  async start() {
    this.port ??= await freePort();
    this.hub = await startHub({ dir: this.dir, port: this.port, args: ['--log-level', 'INFO'], env: this.env, readyMs: 120000 });
    this.url = this.hub.url;
    return this.hub;
  }

  async kill() {
    await this.hub.stop('SIGKILL');
  }

  async stop() {
    return this.hub?.stop();
  }

  /** {status, json, text}; status 0: nobody answered, or not to the end. */
  async call(method, path, { token, body, form, timeout = 60000 } = {}) {
    try {
      const r = await fetch(`${this.url}${path}`, {
        method,
        headers: { ...(token && { authorization: `Bearer ${token}` }), ...(body !== undefined && { 'content-type': 'application/json' }) },
        body: form ?? (body === undefined ? undefined : JSON.stringify(body)),
        signal: AbortSignal.timeout(timeout),
      });
      const text = await r.text();
      let json = null;
      try { json = JSON.parse(text); } catch { /* a file's bytes */ }
      return { status: r.status, json, text };
    } catch (e) {
      return { status: 0, json: null, text: String(e.cause ?? e) };
    }
  }

  async login(username) {
    const who = { username, password: 'correct horse battery' };
    return until(async () => {
      await this.call('POST', '/api/v1/auth/register', { body: who });
      const r = await this.call('POST', '/api/v1/auth/login', { body: who });
      return r.status === 200 && r.json.access_token;
    }, 60000, `${username} to be logged in`);
  }

  /** Paths of the bytes of uploaded files, by their hash. */
  blobs() {
    const found = new Map();
    const dir = join(this.dir, 'data', 'files', 'blobs');
    if (!existsSync(dir)) return found;
    for (const a of readdirSync(dir)) {
      for (const name of readdirSync(join(dir, a))) found.set(name, join(dir, a, name));
    }
    return found;
  }

  spools() {
    const dir = join(this.dir, 'data', 'files', 'tmp');
    return existsSync(dir) ? readdirSync(dir) : [];
  }
}

// ---- what may not be in a database --------------------------------------------------------------------

const CHECKS = {
  'messages without a conversation': 'SELECT COUNT(*) FROM messages m WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.id = m.conversation_id)',
  'conversations that miscount their messages': 'SELECT COUNT(*) FROM conversations c WHERE n_messages <> (SELECT COUNT(*) FROM messages m WHERE m.conversation_id = c.id)',
  'messages that are being written by nobody': "SELECT COUNT(*) FROM messages WHERE status = 'streaming'",
  'chunks without a file': 'SELECT COUNT(*) FROM chunks c WHERE NOT EXISTS (SELECT 1 FROM files f WHERE f.id = c.file_id)',
  'files that miscount their chunks': "SELECT COUNT(*) FROM files f WHERE status = 'ready' AND n_chunks <> (SELECT COUNT(*) FROM chunks c WHERE c.file_id = f.id)",
  'vectors without a chunk': 'SELECT COUNT(*) FROM vectors v WHERE NOT EXISTS (SELECT 1 FROM chunks c WHERE c.id = v.chunk_id)',
  'chunks of ready files without a vector': "SELECT COUNT(*) FROM chunks c JOIN files f ON f.id = c.file_id WHERE f.status = 'ready' AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.chunk_id = c.id)",
  'vectors of a file that is gone': 'SELECT COUNT(*) FROM vector_files vf WHERE NOT EXISTS (SELECT 1 FROM files f WHERE f.id = vf.file_id)',
  'files that wait for nobody': "SELECT COUNT(*) FROM files f WHERE status NOT IN ('ready', 'failed') AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.state IN ('queued', 'running') AND j.payload LIKE '%' || f.id || '%')",
};
const SQLITE_CHECKS = {
  'bits without a vector': 'SELECT COUNT(*) FROM vector_bits b WHERE NOT EXISTS (SELECT 1 FROM vectors v WHERE v.n = b.n)',
  'rows that refer to nothing': 'SELECT COUNT(*) FROM pragma_foreign_key_check',
  'faults that SQLite finds': "SELECT COUNT(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
};

/** Words for everything that is wrong between database and folder; the hub should be at rest. */
export function inconsistencies(site) {
  const bad = [];
  const checks = { ...CHECKS, ...(site.database.name === 'sqlite' && SQLITE_CHECKS) };
  for (const [what, sql] of Object.entries(checks)) {
    const n = Number(site.database.query(sql)[0][0]);
    if (n) bad.push(`${n} ${what}`);
  }
  const known = new Set(site.database.query('SELECT DISTINCT sha256 FROM files').map((r) => r[0]));
  const there = site.blobs();
  const orphans = [...there.keys()].filter((h) => !known.has(h));
  const missing = [...known].filter((h) => !there.has(h));
  if (orphans.length) bad.push(`${orphans.length} bytes without a record`);
  if (missing.length) bad.push(`${missing.length} records without their bytes`);
  if (site.spools().length) bad.push(`${site.spools().length} half uploads`);
  return bad;
}

