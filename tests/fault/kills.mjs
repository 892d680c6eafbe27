// Kills the hub (kill -9) again and again while people chat, upload, rename and delete, on SQLite and on
// a private PostgreSQL, and looks for anything that was acknowledged and is not there, anything that
// was deleted and is, and anything left over.
//
//   node tests/fault/kills.mjs [--kills 50] [--database sqlite|postgresql|both] [--people 4]
//                              [--binary build/hearth] [--seed 1]
//
// Everybody remembers what each object may be: one value after an acknowledged change, several after a
// change whose answer never came (the hub was killed meanwhile). What is found must be one of them.
// Then the hub is started once more, finishes its jobs and sweeps, and database, folder, chunks and
// vectors must agree. Ends with status 1 when they don't.
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    database: { type: 'string', default: 'both' },
    people: { type: 'string', default: '4' },
    binary: { type: 'string' },
    seed: { type: 'string', default: '1' },
    keep: { type: 'boolean', default: false },
  },
});
if (values.binary) process.env.HEARTH_BIN = values.binary;
if (values.keep) process.env.HEARTH_KEEP = '1';
const { Site, dice, inconsistencies, postgresql, sha256, sleep, sqlite, tempDir, until } = await import('./support.mjs');

const GONE = Symbol('gone');
const words = ['anchor', 'beacon', 'cable', 'dory', 'eddy', 'fathom', 'galley', 'halyard', 'isle', 'jetty', 'keel', 'lagoon'];

/** One person, who does one thing after the other and remembers. */
class Person {
  constructor(site, name, seed, counts) {
    this.site = site;
    this.name = name;
    this.roll = dice(seed);
    this.counts = counts;
    this.conversations = new Map(); // id -> {titles: Set (may hold GONE), turns: [{message, answer}], maybe}
    this.files = new Map(); // sha256 -> {id, text, may: Set of 'there' and GONE}
    this.serial = 0;
    this.over = false;
  }

  async begin() { this.token = await this.site.login(this.name); }

  call(method, path, more) { return this.site.call(method, `/api/v1${path}`, { token: this.token, ...more }); }

  /** True when the hub has done it, false when it certainly has not; null: nobody knows. */
  outcome(r, what) {
    const known = r.status >= 200 && r.status < 300;
    this.counts[known ? 'done' : r.status ? 'refused' : 'unknown']++;
    if (!known && r.status) {
      const why = `${what}: ${r.status} ${r.json?.error?.code ?? ''}`;
      this.counts.why.set(why, (this.counts.why.get(why) ?? 0) + 1);
    }
    if (r.status >= 500 && r.status !== 503) this.counts.errors.add(`${what}: ${r.status} ${r.text.slice(0, 200)}`);
    return known ? true : r.status >= 400 && r.status < 500 ? false : null;
  }

  pick(map) { return [...map.keys()][this.roll(map.size)]; }
  sentence() { return Array.from({ length: 6 }, () => words[this.roll(words.length)]).join(' '); }

  async step() {
    const kind = this.roll(20);
    if (kind < 4 || this.conversations.size === 0) return this.makeConversation();
    if (kind < 7) return this.rename();
    if (kind < 8) return this.forget();
    if (kind < 12) return this.talk();
    if (kind < 17 || this.files.size === 0) return this.upload();
    if (kind < 19) return this.remove();
    return this.reindex();
  }

  async makeConversation() {
    const id = `${this.name}-${++this.serial}`;
    const title = `about ${this.sentence()}`;
    const c = { titles: new Set([title, GONE]), turns: [] };
    this.conversations.set(id, c);
    const done = this.outcome(await this.call('POST', '/conversations', { body: { id, title } }), 'a conversation');
    if (done) c.titles.delete(GONE);
    else if (done === false) this.conversations.delete(id);
  }

  async rename() {
    const id = this.pick(this.conversations);
    const c = this.conversations.get(id);
    if (c.titles.size === 1 && c.titles.has(GONE)) return;
    const title = `about ${this.sentence()}`;
    const before = new Set(c.titles);
    c.titles.add(title);
    const done = this.outcome(await this.call('PATCH', `/conversations/${id}`, { body: { title } }), 'a title');
    if (done) c.titles = new Set([title]);
    else if (done === false) c.titles = before;
  }

  async forget() {
    const id = this.pick(this.conversations);
    const c = this.conversations.get(id);
    if (c.titles.size === 1 && c.titles.has(GONE)) return;
    const before = new Set(c.titles);
    c.titles.add(GONE);
    const done = this.outcome(await this.call('DELETE', `/conversations/${id}`), 'forgetting');
    if (done) c.titles = new Set([GONE]);
    else if (done === false && !before.has(GONE)) c.titles = before;
    if (done) c.turns = [];
  }

  async talk() {
    const id = this.pick(this.conversations);
    const c = this.conversations.get(id);
    if (c.titles.has(GONE)) return;
    const message = `${this.name} ${++this.serial}: ${this.sentence()}`;
    const r = await this.call('POST', '/chat', { body: { conversation_id: id, message, temperature: 0, max_tokens: 6 + this.roll(20) } });
    if (this.outcome(r, 'a turn')) c.turns.push({ message, answer: r.json.message.content });
  }

  async upload() {
    const text = `${this.sentence()}. `.repeat(1 + this.roll(60)) + `${this.name} ${++this.serial}\n`;
    const hash = sha256(text);
    const form = new FormData();
    form.append('file', new Blob([text], { type: 'text/plain' }), `${this.name}-${this.serial}.txt`);
    const f = { text, may: new Set(['there', GONE]) };
    this.files.set(hash, f);
    const r = await this.call('POST', '/files/upload', { form });
    const done = this.outcome(r, 'an upload');
    if (done) {
      f.id = r.json.file_id ?? r.json.id;
      f.may.delete(GONE);
    } else if (done === false) this.files.delete(hash);
  }

  async remove() {
    const f = this.files.get(this.pick(this.files));
    if (!f.id || !f.may.has('there')) return;
    const wasGone = f.may.has(GONE);
    f.may.add(GONE);
    const done = this.outcome(await this.call('DELETE', `/files/${f.id}`), 'a deletion');
    if (done) f.may.delete('there');
    else if (done === false && !wasGone) f.may.delete(GONE);
  }

  async reindex() {
    const f = this.files.get(this.pick(this.files));
    if (f.id && f.may.has('there')) this.outcome(await this.call('POST', `/files/${f.id}/reindex`), 'indexing anew');
  }

  /** Until the hub answers: what comes while it is away is no work. */
  async live() {
    while (!this.over) {
      await this.step();
      if (!this.site.up) await sleep(30);
    }
  }

  // ---- and afterwards ----

  async checkConversation(id, c, bad) {
    const r = await this.call('GET', `/conversations/${id}`);
    if (r.status === 404) {
      if (!c.titles.has(GONE)) bad.push(`conversation ${id} is gone`);
      return;
    }
    if (r.status !== 200) return void bad.push(`conversation ${id}: ${r.status} ${r.text.slice(0, 120)}`);
    const { title } = r.json.conversation;
    if (!c.titles.has(title)) bad.push(`conversation ${id} is '${title}', not one of ${[...c.titles].map(String)}`);
    const { messages } = (await this.call('GET', `/conversations/${id}/messages?all=true`)).json;
    for (const t of c.turns) {
      const said = messages.find((m) => m.role === 'user' && m.content === t.message);
      const answer = said && messages.find((m) => m.parent_id === said.id);
      if (!said) bad.push(`a turn of ${id} is gone: ${t.message}`);
      else if (answer?.content !== t.answer) bad.push(`an answer of ${id} changed: ${t.answer} -> ${answer?.content}`);
    }
  }

  async checkFile(hash, f, bad) {
    if (!f.id) return; // never acknowledged: may be there or not
    const r = await this.call('GET', `/files/${f.id}/content`);
    if (r.status === 404) {
      if (!f.may.has(GONE)) bad.push(`file ${f.id} is gone`);
      return;
    }
    if (r.status !== 200) return void bad.push(`file ${f.id}: ${r.status}`);
    if (!f.may.has('there')) bad.push(`file ${f.id} was deleted and is there`);
    else if (r.text !== f.text) bad.push(`file ${f.id} has other bytes`);
  }

  async check(bad) {
    for (const [id, c] of this.conversations) await this.checkConversation(id, c, bad);
    for (const [hash, f] of this.files) await this.checkFile(hash, f, bad);
    const list = (await this.call('GET', '/files?limit=200&status=failed')).json;
    for (const f of list.files ?? []) bad.push(`file ${f.filename} failed: ${f.error}`);
  }
}

// ---- one database --------------------------------------------------------------------------------------

async function rest(site) {
  const open = "SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'running')";
  await until(() => Number(site.database.query(open)[0][0]) === 0, 300000, 'all jobs to be over');
}

async function run(kind) {
  const dir = tempDir();
  const database = kind === 'sqlite' ? sqlite(dir) : postgresql(dir);
  const site = new Site(dir, database);
  const roll = dice(Number(values.seed));
  const counts = { done: 0, refused: 0, unknown: 0, errors: new Set(), why: new Map() };
  await site.start();
  site.up = true;
  const people = Array.from({ length: Number(values.people) }, (_, i) => new Person(site, `${kind.slice(0, 4)}${i}`, Number(values.seed) * 100 + i, counts));
  for (const p of people) await p.begin();
  const lives = people.map((p) => p.live());
  const started = performance.now();
  let slowest = 0;
  for (let i = 0; i < Number(values.kills); i++) {
    await sleep(150 + roll(1500));
    site.up = false;
    await site.kill();
    const at = performance.now();
    await site.start();
    slowest = Math.max(slowest, performance.now() - at);
    if ((i + 1) % 10 === 0 || i === 0) console.log(`${kind}: ${i + 1} kills, ${counts.done} changes acknowledged`);
    site.up = true;
  }
  await sleep(1000);
  for (const p of people) p.over = true;
  await Promise.all(lives);
  const seconds = (performance.now() - started) / 1000;

  await rest(site);
  await site.stop(); // and once more, for what the last kill left to be swept
  await site.start();
  for (const p of people) await p.call('GET', '/auth/me'); // opens the database, which sweeps
  await rest(site);
  const bad = [];
  for (const p of people) await p.check(bad);
  await until(() => inconsistencies(site).length === 0, 30000, 'agreement').catch(() => {});
  bad.push(...inconsistencies(site));
  const table = (what) => database.query(`SELECT COUNT(*) FROM ${what}`)[0][0];
  const tail = `${table('conversations')} conversations, ${table('messages')} messages, ${table('files')} files, ` +
    `${table('chunks')} chunks, ${table('vectors')} vectors, ${table('jobs')} jobs`;
  await site.stop();
  database.stop();
  console.log(`${kind}: ${values.kills} kills in ${seconds.toFixed(0)} s, back after at most ${(slowest / 1000).toFixed(1)} s`);
  console.log(`  ${counts.done} changes acknowledged, ${counts.refused} refused, ${counts.unknown} without an answer`);
  if (counts.why.size) console.log(`  refused: ${[...counts.why].map(([w, n]) => `${n} ${w}`).join(', ')}`);
  console.log(`  ${tail}`);
  for (const e of [...counts.errors].slice(0, 10)) bad.push(`an error that should not be: ${e}`);
  for (const b of bad.slice(0, 30)) console.log(`  WRONG: ${b}`);
  console.log(`  ${bad.length ? `${bad.length} faults` : 'nothing lost, nothing left over'}`);
  return bad.length;
}

let faults = 0;
for (const kind of values.database === 'both' ? ['sqlite', 'postgresql'] : [values.database]) faults += await run(kind);
process.exit(faults ? 1 : 0);
