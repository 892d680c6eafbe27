// HEARTH_KV_TYPE: what it saves, that answers go on, what is kept over restarts with another one, models
// that can't have it, and what `hearth bench` says to it.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';

import { root, runHearth, startHub, tempDir, until } from './support/hearth.mjs';

const system = 'You answer in one short sentence. '.repeat(12); // long enough to be kept

async function chat(hub, content) {
  const r = await fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      messages: [{ role: 'system', content: system }, { role: 'user', content }],
      temperature: 0, max_tokens: 12,
    }),
  });
  assert.equal(r.status, 200, await r.clone().text());
  const body = await r.json();
  return { text: body.choices[0].message.content, cached: body.usage.prompt_tokens_details.cached_tokens };
}

/** Bytes of the KV cells of the model in memory, as `hearth ps` has them. */
async function kvBytes(hub, dir) {
  const run = await runHearth(['ps', '--json', '--url', hub.url], { dir });
  assert.equal(run.code, 0, run.stderr);
  return JSON.parse(run.stdout).data.find((m) => m.id === 'hearth-tiny').meta.memory.kv;
}

const cells = (type) => new RegExp(`hearth-tiny ready in .* KV cells of ${type}\\)`);

test('q8_0 takes about half and answers; each type finds its own states again', async () => {
  const dir = tempDir();
  const seen = {};
  for (const [type, kept] of [['f16', false], ['q8_0', false], ['q8_0', true], ['f16', true]]) {
    const hub = await startHub({ dir, env: { HEARTH_KV_TYPE: type } });
    const first = await chat(hub, 'Who are you?');
    assert.equal(first.cached > 0, kept, `${type}: ${first.cached} tokens were there already`);
    assert.ok((await chat(hub, 'Are you sure?')).cached > 0, 'within a run');
    assert.match(hub.log, cells(type));
    assert.ok(first.text.trim(), 'an answer');
    seen[type] ??= await kvBytes(hub, dir);
    await hub.stop(); // which keeps what is worth it
  }
  assert.equal(seen.q8_0 * 64, seen.f16 * 34);
});

test('a model that can not have it gets f16, and one line says why', async () => {
  const dir = tempDir();
  const file = readFileSync(join(root, 'models', 'hearth-tiny.gguf'));
  const set = (name, value) => { // behind the name and the type, u32
    const at = file.indexOf(Buffer.concat([Buffer.from(name), Buffer.from([4, 0, 0, 0])]));
    assert.ok(at > 0, name);
    file.writeUInt32LE(value, at + name.length + 4);
  };
  set('llama.attention.head_count', 16); // 16 heads of 16 numbers: no whole blocks of 32
  set('llama.attention.head_count_kv', 16);
  set('llama.rope.dimension_count', 16);
  mkdirSync(join(dir, 'models'), { recursive: true });
  writeFileSync(join(dir, 'models', 'odd.gguf'), file);
  const hub = await startHub({ dir, env: { HEARTH_KV_TYPE: 'q8_0', DEFAULT_MODEL: 'odd' } });
  await chat(hub, 'Who are you?');
  assert.match(hub.log, /odd ready in .* KV cells of f16\)/);
  const why = hub.log.match(/.*the KV cache is of f16 and not of q8_0.*/g);
  assert.equal(why?.length, 1, hub.log);
  assert.match(why[0], /block size 32 does not divide/);
  await hub.stop();
});

test('a value that is none is refused with what is allowed', async () => {
  const run = await runHearth(['serve'], { env: { HEARTH_KV_TYPE: 'q5_1' } });
  assert.notEqual(run.code, 0);
  assert.match(run.stderr, /HEARTH_KV_TYPE/);
  assert.match(run.stderr, /q5_1/);
  assert.match(run.stderr, /f16, q8_0, auto/);
});

test('bench measures the types; its choice counts only with auto', async () => {
  const dir = tempDir();
  const run = await runHearth(['bench', '--seconds', '1', '--parallel', '2', '--threads', '1'], { dir });
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stdout, /^KV type .*\(behind \d+ tokens\)$/m);
  assert.match(run.stdout, /^ +f16.? +[\d.]+ tok\/s +\d+ tok\/s +6\.0 KiB$/m);
  assert.match(run.stdout, /^ +q8_0.? +[\d.]+ tok\/s +\d+ tok\/s +3\.2 KiB$/m);
  const kept = join(dir, 'data', 'tuning.json');
  const tuning = JSON.parse(readFileSync(kept, 'utf8'));
  assert.ok(['f16', 'q8_0'].includes(tuning.entries[0].kv_type));
  tuning.entries[0].kv_type = 'q8_0'; // whatever it was here
  writeFileSync(kept, JSON.stringify(tuning));
  for (const [setting, type] of [[undefined, 'f16'], ['f16', 'f16'], ['auto', 'q8_0']]) {
    const hub = await startHub({ dir, env: { HEARTH_KV_TYPE: setting } });
    await until(() => /hearth-tiny ready in/.test(hub.log), 30000, 'the model');
    assert.match(hub.log, /has measured it on this machine/);
    assert.match(hub.log, cells(type), `with ${setting}`);
    await hub.stop();
  }
});
