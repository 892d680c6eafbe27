// kill -9 while files are uploaded, deleted and worked on; a disk that is full. What was acknowledged
// is there, what was not leaves nothing behind.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { runHearth, startHub, tempDir, sleep, until as untilMs } from './support/hearth.mjs';

const password = 'correct horse';
const until = (check) => untilMs(check, 60000); // the machine may be busy
const ROUNDS = Number(process.env.HEARTH_KILLS || 8);
let dir;

before(async () => {
  dir = tempDir();
  const made = await runHearth(['users', 'create', 'ada', '--admin'], { dir, input: `${password}\n` });
  assert.equal(made.code, 0, made.stderr);
});

async function login(hub) {
  const r = await fetch(`${hub.url}/api/v1/auth/login`, {
    method: 'POST', body: JSON.stringify({ username: 'ada', password }),
  });
  return { authorization: `Bearer ${(await r.json()).access_token}` };
}

function upload(hub, headers, bytes, name) {
  const form = new FormData();
  form.append('file', new Blob([bytes]), name);
  return fetch(`${hub.url}/api/v1/files/upload`, { method: 'POST', headers, body: form });
}

async function everyFile(hub, headers) {
  const all = [];
  let cursor = '';
  do {
    const r = await fetch(`${hub.url}/api/v1/files?limit=100${cursor && `&cursor=${cursor}`}`, { headers });
    const page = await r.json();
    all.push(...page.files);
    cursor = page.next_cursor;
  } while (cursor);
  return all;
}

function onDisk(sub) {
  try {
    return readdirSync(join(dir, 'data', 'files', sub), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile()).map((entry) => entry.name).sort();
  } catch {
    return [];
  }
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

test(`kill -9 while uploads run, ${ROUNDS} times`, { timeout: 900000 }, async () => {
  const acknowledged = new Map(); // id -> sha256
  const deleted = new Set(); // may be gone: the answer did not come, or said so
  for (let round = 0; round < ROUNDS; round++) {
    const hub = await startHub({ dir, args: ['--no-preload'] });
    const headers = await login(hub);
    await until(() => onDisk('tmp').length === 0); // the sweep at the start
    const files = await everyFile(hub, headers);
    const there = new Map(files.map((f) => [f.id, f.sha256]));
    for (const [id, hash] of acknowledged) {
      if (!deleted.has(id)) assert.equal(there.get(id), hash, `file ${id} is lost`);
    }
    // Bytes for each record, and no others.
    await until(() => onDisk('blobs').length <= new Set(there.values()).size);
    assert.deepEqual(onDisk('blobs'), [...new Set(there.values())].sort());

    let going = true;
    const client = async (i) => {
      for (let k = 0; going; k++) {
        const bytes = randomBytes(20000 + ((i * 37 + k * 101) % 7) * 60000);
        try {
          const r = await upload(hub, headers, bytes, `f${i}-${k}.bin`);
          if (r.status !== 201) continue;
          const { id } = await r.json();
          acknowledged.set(id, sha256(bytes));
          if (k % 3 === 2) {
            deleted.add(id);
            await fetch(`${hub.url}/api/v1/files/${id}`, { method: 'DELETE', headers });
          }
        } catch {
          if (going) await sleep(5);
        }
      }
    };
    const clients = Array.from({ length: 6 }, (_, i) => client(i));
    await sleep(150 + round * 90);
    process.kill(hub.child.pid, 'SIGKILL');
    going = false;
    await Promise.all(clients);
    await hub.waitExit();
  }
  assert.ok(acknowledged.size > ROUNDS, `only ${acknowledged.size} uploads were acknowledged`);
  // Every job ends, though its workers were killed again and again.
  const hub = await startHub({ dir, args: ['--no-preload'] });
  const headers = await login(hub);
  const files = await everyFile(hub, headers);
  for (const [id, hash] of acknowledged) {
    if (!deleted.has(id)) assert.ok(files.some((f) => f.id === id && f.sha256 === hash));
  }
  const bytes = await (await fetch(`${hub.url}/api/v1/files/${files[0].id}/content`, { headers })).arrayBuffer();
  assert.equal(sha256(Buffer.from(bytes)), files[0].sha256);
  await until(async () => (await runHearth(['jobs', '--state', 'running'], { dir })).stdout === 'no jobs\n');
  await hub.stop();
});

// Which write fails is a matter of luck: the file's, the database's, or one that nobody waits for.
test('a disk that is full: 507, nothing is left, and it goes on', async (t) => {
  let failures = 0;
  for (const nth of [80, 97, 118, 131, 150, 171]) {
    const hub = await startHub({ dir, args: ['--no-preload'], env: { HEARTH_FAULT: `write:${nth}` } });
    const headers = await login(hub);
    const made = [];
    for (let i = 0; i < 24; i++) {
      const r = await upload(hub, headers, randomBytes(5000), `full-${nth}-${i}.bin`);
      const body = await r.json();
      if (r.status === 201) {
        made.push(body.sha256);
        continue;
      }
      failures++;
      assert.equal(r.status, 507, JSON.stringify(body));
      assert.equal(body.error.code, 'disk_full');
      assert.match(body.error.message, /full/);
    }
    assert.ok(made.length >= 23);
    await until(() => onDisk('tmp').length === 0);
    const records = (await everyFile(hub, headers)).map((f) => f.sha256).sort();
    assert.deepEqual(onDisk('blobs'), records);
    for (const hash of made) assert.ok(records.includes(hash));
    await hub.stop();
  }
  const binary = readFileSync(process.env.HEARTH_BIN ?? join('build', 'hearth'));
  if (!failures && !binary.includes('HEARTH_FAULT')) return t.skip('a build without fault injection');
  assert.ok(failures > 0);
});
