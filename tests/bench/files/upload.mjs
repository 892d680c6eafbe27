// What a large upload costs the hub: memory while it runs, and how fast it is.
//
//   node tests/bench/files/upload.mjs --hearth build/hearth [--mb 50] [--rounds 5]
//
// The hub's peak of resident memory is set back before each upload (/proc/<pid>/clear_refs), so what
// is told is what that upload added. A small upload before opens what is opened once (the database).
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    hearth: { type: 'string', default: 'build/hearth' },
    mb: { type: 'string', default: '50' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
  },
});
process.env.HEARTH_BIN = values.hearth;
const { startHub, runHearth, tempDir } = await import('../../e2e/support/hearth.mjs');

const size = Number(values.mb) << 20;
const dir = tempDir();
await runHearth(['users', 'create', 'ada', '--admin'], { dir, input: 'correct horse\n' });
const hub = await startHub({
  dir,
  args: ['--no-preload'],
  // No jobs: they would be measured, too.
  env: { MAX_FILESIZE_MB: String(Number(values.mb) + 1), LOG_LEVEL: 'WARNING' },
});
const login = await fetch(`${hub.url}/api/v1/auth/login`, {
  method: 'POST', body: JSON.stringify({ username: 'ada', password: 'correct horse' }),
});
const headers = { authorization: `Bearer ${(await login.json()).access_token}` };
const pid = hub.child.pid;

const status = (name) => Number(readFileSync(`/proc/${pid}/status`, 'latin1').match(new RegExp(`${name}:\\s+(\\d+)`))[1]);

async function upload(bytes, name) {
  const form = new FormData();
  form.append('file', new Blob([bytes]), name);
  const r = await fetch(`${hub.url}/api/v1/files/upload`, { method: 'POST', headers, body: form });
  const made = await r.json();
  if (r.status !== 201) throw new Error(JSON.stringify(made));
  const sum = createHash('sha256').update(bytes).digest('hex');
  if (made.sha256 !== sum) throw new Error('the hub has other bytes');
  return made.id;
}

const remove = (id) => fetch(`${hub.url}/api/v1/files/${id}`, { method: 'DELETE', headers });

for (let i = 0; i < 3; i++) await remove(await upload(randomBytes(1 << 20), 'warm.bin'));
const extra = [];
const seconds = [];
for (let i = 0; i < Number(values.rounds); i++) {
  const bytes = randomBytes(size);
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  const before = status('VmRSS');
  const started = performance.now();
  const id = await upload(bytes, `large-${i}.bin`);
  seconds.push((performance.now() - started) / 1000);
  extra.push((status('VmHWM') - before) / 1024);
  await remove(id);
}
await hub.stop();
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const result = {
  mb: Number(values.mb),
  extra_mb: Math.max(...extra),
  median_extra_mb: median(extra),
  mb_per_s: Number(values.mb) / median(seconds),
};
if (values.json) console.log(JSON.stringify(result));
else {
  console.log(`an upload of ${result.mb} MB adds at most ${result.extra_mb.toFixed(2)} MB to the hub's memory ` +
    `(median ${result.median_extra_mb.toFixed(2)}, of ${extra.length}); ${result.mb_per_s.toFixed(0)} MB/s`);
}
process.exitCode = result.extra_mb < 2 ? 0 : 1;
