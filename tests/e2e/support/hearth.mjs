// Runs the real binary for end-to-end tests: one hub per test file or per test, each on a free port
// and in a temporary folder of its own, with nothing of the person's own settings seen.
//
//   import { startHub, runHearth } from './support/hearth.mjs';
//   const hub = await startHub();                       // or startHub({ args: ['--no-preload'] })
//   const r = await fetch(`${hub.url}/health`);
//   await hub.stop();                                   // optional: the end of the process stops it
//
// The binary is $HEARTH_BIN, or build/hearth. The folder (with hub.log in it) is removed when the
// test file passes; when it fails it is kept and its path printed. HEARTH_KEEP=1 always keeps it.
import { spawn } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { seen, watchedEnv } from './seen.mjs';

export const root = resolve(fileURLToPath(new URL('../../..', import.meta.url)));
export const binary = resolve(process.env.HEARTH_BIN || join(root, 'build', 'hearth'));

// Sanitizer builds start several times slower.
const READY_MS = Number(process.env.HEARTH_READY_MS || 60000);

const REPORT = /^==\d+==ERROR: \w+Sanitizer|^WARNING: ThreadSanitizer|: runtime error: /m;

const folders = new Set();
const children = new Set();

process.on('exit', (code) => {
  for (const child of children) child.kill('SIGKILL');
  const keep = code !== 0 || process.exitCode || process.env.HEARTH_KEEP;
  for (const dir of folders) {
    if (keep) process.stderr.write(`# kept: ${dir}\n`);
    else rmSync(dir, { recursive: true, force: true });
  }
});

/** A fresh temporary folder, removed at the end when the test file passed. */
export function tempDir() {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-e2e-'));
  folders.add(dir);
  return dir;
}

/** The environment of a run in `dir`: no setting of the person's own, nothing outside the folder. */
export function cleanEnv(dir, extra = {}) {
  const env = {};
  for (const name of ['PATH', 'LANG', 'LC_ALL', 'TMPDIR', 'ASAN_OPTIONS', 'UBSAN_OPTIONS',
    'TSAN_OPTIONS', 'LSAN_OPTIONS', 'HEARTH_FAULT']) {
    if (process.env[name] !== undefined) env[name] = process.env[name];
  }
  Object.assign(env, {
    HOME: dir,
    HEARTH_DATA: join(dir, 'data'),
    HEARTH_MODELS: join(dir, 'models'),
    TERM: 'dumb',
    ...watchedEnv(),
  });
  for (const [name, value] of Object.entries(extra)) {
    if (value === undefined || value === null) delete env[name];
    else env[name] = String(value);
  }
  return env;
}

function requireBinary() {
  if (!existsSync(binary)) {
    throw new Error(`${binary} does not exist: build it with \`make\`, or set HEARTH_BIN`);
  }
}

/**
 * Runs `hearth <args>` to its end.
 * @param {string[]} args
 * @param {{dir?: string, env?: object, input?: string|Buffer|null, timeout?: number,
 *          onStart?: (child: import('node:child_process').ChildProcess) => void,
 *          onOutput?: (text: string, child: object) => void}} [options]
 *   input null: standard input is closed (/dev/null); a string is written to it. onStart sees the
 *   child; onOutput each piece of standard output (to react to it, e.g. with a signal).
 * @returns {Promise<{code: number|null, signal: string|null, stdout: string, stderr: string}>}
 */
export function runHearth(args, options = {}) {
  requireBinary();
  const dir = options.dir ?? tempDir();
  return new Promise((done, fail) => {
    const child = spawn(binary, args, {
      cwd: dir,
      env: cleanEnv(dir, options.env),
      stdio: [options.input == null ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    children.add(child);
    const out = [];
    const err = [];
    child.stdout.on('data', (d) => {
      out.push(d);
      options.onOutput?.(d.toString(), child);
    });
    child.stderr.on('data', (d) => err.push(d));
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeout ?? READY_MS);
    child.on('error', fail);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      children.delete(child);
      done({ code, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
    if (options.input != null) {
      child.stdin.on('error', () => {}); // it may exit without reading
      child.stdin.end(options.input);
    }
    options.onStart?.(child);
  });
}

/**
 * Starts `hearth serve` on a free port and waits until it says that it listens.
 * @param {{args?: string[], env?: object, dir?: string, readyMs?: number, port?: number}} [options]
 *   args: further arguments of `serve`. env: added to the clean environment (undefined removes).
 * @returns {Promise<Hub>} rejects with the log when it ends or says nothing in time.
 */
export async function startHub(options = {}) {
  requireBinary();
  const dir = options.dir ?? tempDir();
  mkdirSync(dir, { recursive: true });
  const hub = new Hub(dir, options);
  await hub.ready(options.readyMs ?? READY_MS);
  return hub;
}

export class Hub {
  constructor(dir, options) {
    this.dir = dir;
    this.logFile = join(dir, 'hub.log');
    this.text = '';
    this.env = cleanEnv(dir, options.env);
    this.startedAt = performance.now();
    this.child = spawn(
      binary,
      ['serve', '--port', String(options.port ?? 0), ...(options.args ?? [])],
      { cwd: dir, env: this.env, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    children.add(this.child);
    seen({ hub: this.child.pid, pinned: this.env.HEARTH_PRIVACY === 'local' });
    // A test file that forgets to stop its hub still ends; `exit` above then kills the hub.
    for (const handle of [this.child, this.child.stdout, this.child.stderr]) handle.unref();
    const file = createWriteStream(this.logFile, { flags: 'a' });
    const take = (d) => {
      this.text += d.toString();
      file.write(d);
    };
    this.child.stdout.on('data', take);
    this.child.stderr.on('data', take);
    // Does not keep the event loop alive: wait with waitExit().
    this.exit = null;
    this.exited = new Promise((done, fail) => {
      this.child.on('error', fail);
      this.child.on('close', (code, signal) => {
        children.delete(this.child);
        file.end();
        this.exit = { code, signal };
        if (REPORT.test(this.text)) { // whatever the test looks at
          process.stderr.write(`# a sanitizer found something in this hub:\n${this.text.slice(this.text.search(REPORT))}\n`);
          process.exitCode = 1;
        }
        done(this.exit);
      });
    });
    this.exited.catch(() => {});
  }

  /** Everything it has printed so far. */
  get log() {
    return this.text;
  }

  get pid() {
    return this.child.pid;
  }

  async ready(ms) {
    const found = () => /listening on (https?:\/\/\S+)/.exec(this.text)?.[1];
    const until = performance.now() + ms;
    while (!found()) {
      if (this.exit) throw new Error(`the hub ended (${JSON.stringify(this.exit)}):\n${this.text}`);
      if (performance.now() > until) {
        await this.stop('SIGKILL');
        throw new Error(`the hub was not ready in ${ms} ms:\n${this.text}`);
      }
      await sleep(10);
    }
    this.url = found().replace(/\/$/, '');
    this.port = Number(new URL(this.url).port);
    seen({ server: 'hub', port: this.port });
    this.readyMs = performance.now() - this.startedAt;
  }

  /** Runs a verb with the hub's own settings and folders: `hub.run(['chat', 'hello'])`. */
  run(args, options = {}) {
    return runHearth(args, { dir: this.dir, ...options, env: { ...this.env, ...options.env } });
  }

  /** A line of /proc/<pid>/status, of the hub unless another process is named. */
  status(name, pid = this.pid) {
    const text = readFileSync(`/proc/${pid}/status`, 'utf8');
    return new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(text)[1];
  }

  /** Resident memory in bytes, from /proc. */
  rss() {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
  }

  /** Sends the signal and waits for the end: {code, signal}. Harmless when it has ended already. */
  async stop(signal = 'SIGTERM', ms = 30000) {
    if (!this.exit) this.child.kill(signal);
    return this.waitExit(ms);
  }

  /** Waits for the hub to end by itself: {code, signal}; kills it after `ms`. */
  async waitExit(ms = 30000) {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), ms);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Calls `check` until it returns something truthy, or throws after `ms`. */
export async function until(check, ms = 10000, what = 'the condition') {
  const end = performance.now() + ms;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (performance.now() > end) throw new Error(`${what} did not come true in ${ms} ms`);
    await sleep(20);
  }
}
