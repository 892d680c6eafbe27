// Files and batches with OpenAI's own client: JSON lines in, JSON lines out, whatever happens between.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import OpenAI, { BadRequestError, ConflictError, NotFoundError, toFile } from 'openai';

import { runHearth, sleep, startHub, tempDir, until } from './support/hearth.mjs';
import { startUpstream } from './support/upstream.mjs';

let hub;
let client;

const MODEL = 'hearth-tiny';
const LONG = 90000; // the machine may be busy

function clientOf(h, apiKey = 'any') {
  return new OpenAI({ baseURL: `${h.url}/v1`, apiKey, maxRetries: 0 });
}

before(async () => {
  hub = await startHub();
  client = clientOf(hub);
});
after(() => hub?.stop());

function line(id, body = {}, more = {}) {
  return {
    custom_id: id, method: 'POST', url: '/v1/chat/completions',
    body: { model: MODEL, messages: [{ role: 'user', content: `Say ${id}.` }], max_tokens: 4, temperature: 0, ...body }, ...more,
  };
}

async function upload(lines, c = client) {
  const text = typeof lines === 'string' ? lines : `${lines.map((l) => JSON.stringify(l)).join('\n')}\n`;
  return c.files.create({ file: await toFile(Buffer.from(text), 'requests.jsonl'), purpose: 'batch' });
}

async function start(lines, more = {}, c = client) {
  const file = await upload(lines, c);
  return c.batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h', ...more });
}

const OVER = ['completed', 'failed', 'expired', 'cancelled'];

async function finished(id, c = client) {
  return until(async () => {
    const b = await c.batches.retrieve(id);
    return OVER.includes(b.status) && b;
  }, LONG, `the end of ${id}`);
}

async function linesOf(id, c = client) {
  const text = await (await c.files.content(id)).text();
  return text.trim().split('\n').map((l) => JSON.parse(l));
}

test('files: uploaded, listed, fetched, deleted', async () => {
  const f = await upload([line('a')]);
  assert.match(f.id, /^file-[0-9A-Za-z]{24}$/);
  assert.equal(f.object, 'file');
  assert.equal(f.filename, 'requests.jsonl');
  assert.equal(f.purpose, 'batch');
  assert.equal(f.status, 'processed');
  assert.ok(f.bytes > 50);
  assert.deepEqual(await client.files.retrieve(f.id), f);
  assert.equal((await linesOf(f.id))[0].custom_id, 'a');
  const other = await client.files.create({ file: await toFile(Buffer.from([0, 1, 255, 10]), 'x.bin'), purpose: 'user_data' });
  assert.deepEqual(new Uint8Array(await (await client.files.content(other.id)).arrayBuffer()), new Uint8Array([0, 1, 255, 10]));
  const ids = [];
  for await (const each of client.files.list({ limit: 1 })) ids.push(each.id);
  assert.deepEqual(ids.slice(0, 2), [other.id, f.id]);
  const batch = [];
  for await (const each of client.files.list({ purpose: 'batch', order: 'asc' })) batch.push(each.purpose);
  assert.deepEqual([...new Set(batch)], ['batch']);
  assert.deepEqual(await client.files.delete(other.id), { id: other.id, object: 'file', deleted: true });
  await assert.rejects(client.files.retrieve(other.id), NotFoundError);
  await assert.rejects(client.files.content(other.id), NotFoundError);
  await assert.rejects(client.files.delete(other.id), NotFoundError);
  await assert.rejects(client.files.create({ file: await toFile(Buffer.from('x'), 'x'), purpose: 'nothing' }), BadRequestError);
  const gone = await client.files.create({
    file: await toFile(Buffer.from('x'), 'x'), purpose: 'batch', expires_after: { anchor: 'created_at', seconds: 3600 },
  });
  assert.ok(Math.abs(gone.expires_at - gone.created_at - 3600) <= 1);
  await assert.rejects(
    client.files.create({ file: await toFile(Buffer.from('x'), 'x'), purpose: 'batch', expires_after: { anchor: 'created_at', seconds: 5 } }),
    (e) => e instanceof BadRequestError && e.param === 'expires_after[seconds]',
  );
});

test('a batch: answers in the order of the requests, failures in a file of their own', async () => {
  const lines = Array.from({ length: 12 }, (_, i) => line(`r${i}`));
  lines[3] = line('r3', { model: 'nobody' });
  lines[7] = line('r7', { temperature: 'hot' });
  const b = await start(lines, { metadata: { job: 'nightly' } });
  assert.match(b.id, /^batch_/);
  assert.equal(b.object, 'batch');
  assert.equal(b.status, 'validating');
  assert.equal(b.completion_window, '24h');
  assert.equal(b.expires_at - b.created_at, 86400);
  assert.deepEqual(b.metadata, { job: 'nightly' });
  assert.equal(b.output_file_id, null);
  const done = await finished(b.id);
  assert.equal(done.status, 'completed');
  assert.deepEqual(done.request_counts, { total: 12, completed: 10, failed: 2 });
  assert.equal(done.model, MODEL);
  assert.equal(done.usage.output_tokens, 40);
  assert.equal(done.usage.total_tokens, done.usage.input_tokens + 40);
  for (const when of ['in_progress_at', 'finalizing_at', 'completed_at']) assert.ok(done[when] >= done.created_at, when);
  for (const when of ['failed_at', 'expired_at', 'cancelling_at', 'cancelled_at']) assert.equal(done[when], null);
  const out = await linesOf(done.output_file_id);
  assert.deepEqual(out.map((l) => l.custom_id), lines.map((l) => l.custom_id).filter((id) => id !== 'r3' && id !== 'r7'));
  for (const l of out) {
    assert.match(l.id, /^batch_req_/);
    assert.equal(l.error, null);
    assert.equal(l.response.status_code, 200);
    assert.match(l.response.request_id, /./);
    assert.equal(l.response.body.object, 'chat.completion');
  }
  const alone = await client.chat.completions.create(lines[0].body);
  assert.equal(out[0].response.body.choices[0].message.content, alone.choices[0].message.content);
  const failed = await linesOf(done.error_file_id);
  assert.deepEqual(failed.map((l) => [l.custom_id, l.response.status_code, l.response.body.error.code]), [
    ['r3', 404, 'model_not_found'], ['r7', 400, 'invalid_request'],
  ]);
  const output = await client.files.retrieve(done.output_file_id);
  assert.equal(output.purpose, 'batch_output');
  assert.equal(output.filename, `${b.id}_output.jsonl`);
  const listed = [];
  for await (const each of client.batches.list({ limit: 1 })) listed.push(each.id);
  assert.ok(listed.includes(b.id));
});

test('other endpoints: embeddings, responses, completions', async () => {
  const cases = {
    '/v1/embeddings': { input: 'hello', encoding_format: 'float' },
    '/v1/responses': { model: MODEL, input: 'hello', max_output_tokens: 3 },
    '/v1/completions': { model: MODEL, prompt: 'hello', max_tokens: 3 },
  };
  for (const [url, body] of Object.entries(cases)) {
    const b = await start([line('only', {}, { url, body })], { endpoint: url });
    const done = await finished(b.id);
    assert.deepEqual(done.request_counts, { total: 1, completed: 1, failed: 0 }, url);
    assert.equal(done.error_file_id, null);
    assert.ok(done.usage.input_tokens > 0, url);
    const [l] = await linesOf(done.output_file_id);
    assert.ok({ list: 1, response: 1, text_completion: 1 }[l.response.body.object], url);
  }
});

test('an input that is wrong fails the batch, and each fault is named', async () => {
  const text = [
    JSON.stringify(line('a')),
    '{"custom_id": ',
    JSON.stringify(line('a')),
    JSON.stringify({ ...line('b'), method: 'GET' }),
    JSON.stringify({ ...line('c'), url: '/v1/embeddings' }),
    JSON.stringify({ ...line('d'), custom_id: undefined }),
    JSON.stringify({ ...line('e'), body: 'x' }),
    JSON.stringify(line('f', { stream: true })),
    '[]',
    '',
  ].join('\n');
  const done = await finished((await start(text)).id);
  assert.equal(done.status, 'failed');
  assert.ok(done.failed_at);
  assert.equal(done.errors.object, 'list');
  assert.deepEqual(done.errors.data.map((e) => [e.line, e.code, e.param]), [
    [2, 'invalid_json_line', null], [3, 'duplicate_custom_id', 'custom_id'], [4, 'invalid_method', 'method'],
    [5, 'invalid_url', 'url'], [6, 'missing_required_parameter', 'custom_id'], [7, 'missing_required_parameter', 'body'],
    [8, 'invalid_request', 'body.stream'], [9, 'invalid_json_line', null],
  ]);
  assert.equal(done.output_file_id, null);
  const empty = await finished((await start('\n\n')).id);
  assert.deepEqual(empty.errors.data.map((e) => e.code), ['empty_file']);
});

test('what can not be a batch is refused', async () => {
  const file = await upload([line('a')]);
  const wrong = [
    [{ endpoint: '/v1/models' }, '/endpoint'],
    [{ completion_window: 'soon' }, '/completion_window'],
    [{ completion_window: '24' }, '/completion_window'],
    [{ completion_window: '60d' }, '/completion_window'],
    [{ input_file_id: 'file-none' }, '/input_file_id'],
    [{ input_file_id: undefined }, '/input_file_id'],
    [{ metadata: { a: 1 } }, '/metadata/a'],
    [{ output_expires_after: { anchor: 'created_at', seconds: 1 } }, '/output_expires_after/seconds'],
  ];
  for (const [change, param] of wrong) {
    await assert.rejects(
      client.batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h', ...change }),
      (e) => e instanceof BadRequestError && e.param === param, JSON.stringify(change),
    );
  }
  const other = await client.files.create({ file: await toFile(Buffer.from('x'), 'x'), purpose: 'vision' });
  await assert.rejects(client.batches.create({ input_file_id: other.id, endpoint: '/v1/chat/completions', completion_window: '24h' }), /purpose/);
  await assert.rejects(client.batches.retrieve('batch_none'), NotFoundError);
  await assert.rejects(client.batches.cancel('batch_none'), NotFoundError);
});

/** Requests that take their time: the first ones are short, so that something is answered. */
const slow = (n) => Array.from({ length: n }, (_, i) => line(`s${i}`, { max_tokens: i < 2 ? 2 : 400, temperature: 1, ignore_eos: true }));

test('cancelled in the middle: what was answered stays', async () => {
  const b = await start(slow(40));
  await until(async () => (await client.batches.retrieve(b.id)).request_counts.completed >= 2, LONG);
  const c = await client.batches.cancel(b.id);
  assert.ok(['cancelling', 'cancelled'].includes(c.status));
  const done = await finished(b.id);
  assert.equal(done.status, 'cancelled');
  assert.ok(done.cancelled_at >= done.cancelling_at);
  const out = await linesOf(done.output_file_id);
  assert.equal(out.length, done.request_counts.completed);
  assert.ok(out.length < 40);
  await assert.rejects(client.batches.cancel(b.id), ConflictError);
  await until(async () => (await (await fetch(`${hub.url}/health`)).json()).running === 0, LONG);
});

test('its time is over: the rest is told as expired', async () => {
  const b = await start(slow(60), { completion_window: '4s' });
  const done = await finished(b.id);
  assert.equal(done.status, 'expired');
  const out = done.output_file_id ? await linesOf(done.output_file_id) : [];
  const late = await linesOf(done.error_file_id);
  assert.equal(out.length + late.length, 60);
  assert.deepEqual(done.request_counts, { total: 60, completed: out.length, failed: late.length });
  assert.equal(late.at(-1).response, null);
  assert.equal(late.at(-1).error.code, 'batch_expired');
  assert.equal(new Set([...out, ...late].map((l) => l.custom_id)).size, 60);
});

test('others go first: no line begins while somebody is answered', async () => {
  const stream = await client.chat.completions.create({
    model: MODEL, messages: [{ role: 'user', content: 'Tell me everything.' }], max_tokens: 100000, stream: true, context_overflow: 'shift', ignore_eos: true,
  });
  const reading = stream[Symbol.asyncIterator]();
  await reading.next();
  const b = await start(Array.from({ length: 5 }, (_, i) => line(`q${i}`)));
  await until(async () => (await client.batches.retrieve(b.id)).status === 'in_progress', LONG);
  for (let i = 0; i < 40; i++) {
    await reading.next();
    await sleep(20);
  }
  assert.deepEqual((await client.batches.retrieve(b.id)).request_counts, { total: 5, completed: 0, failed: 0 });
  stream.controller.abort();
  const done = await finished(b.id);
  assert.deepEqual(done.request_counts, { total: 5, completed: 5, failed: 0 });
});

test('kill -9 in the middle, again and again: every request is answered once', { timeout: 600000 }, async () => {
  const dir = tempDir();
  let h = await startHub({ dir });
  const n = 60;
  const lines = Array.from({ length: n }, (_, i) => line(`k${i}`, { max_tokens: 12 }));
  const b = await start(lines, {}, clientOf(h));
  let kills = 0;
  let seen = 0;
  for (;;) {
    const c = clientOf(h);
    const now = await until(async () => {
      const x = await c.batches.retrieve(b.id);
      return (OVER.includes(x.status) || x.request_counts.completed >= seen + 8) && x;
    }, LONG, 'progress');
    assert.ok(now.request_counts.completed >= seen);
    seen = now.request_counts.completed;
    if (OVER.includes(now.status)) break;
    await h.stop('SIGKILL');
    kills++;
    h = await startHub({ dir });
  }
  assert.ok(kills >= 3, `${kills} kills`);
  const c = clientOf(h);
  const done = await c.batches.retrieve(b.id);
  assert.equal(done.status, 'completed');
  assert.deepEqual(done.request_counts, { total: n, completed: n, failed: 0 });
  const out = await linesOf(done.output_file_id, c);
  assert.deepEqual(out.map((l) => l.custom_id), lines.map((l) => l.custom_id));
  assert.equal(done.usage.output_tokens, out.reduce((sum, l) => sum + l.response.body.usage.completion_tokens, 0));
  await h.stop();
});

test('a hub that stops while the last lines are under way finishes them after its start', { timeout: 300000 }, async () => {
  const dir = tempDir();
  const env = { HEARTH_STOP_GRACE: '0' };
  const first = await startHub({ dir, env });
  const long = { max_tokens: 4000, context_overflow: 'shift', ignore_eos: true };
  const b = await start([line('long', long), line('longer', long)], {}, clientOf(first));
  const busy = async () => (await (await fetch(`${first.url}/v1/queue`)).json()).running > 0;
  await until(busy, LONG, 'a line under way');
  await first.stop('SIGTERM');
  const second = await startHub({ dir, env });
  const c = clientOf(second);
  const done = await until(async () => {
    const x = await c.batches.retrieve(b.id);
    return OVER.includes(x.status) && x;
  }, LONG, 'the end');
  assert.equal(done.status, 'completed');
  assert.deepEqual(done.request_counts, { total: 2, completed: 2, failed: 0 });
  assert.deepEqual((await linesOf(done.output_file_id, c)).map((l) => l.custom_id), ['long', 'longer']);
  await second.stop();
});

test('kill -9 under responses in the background: they are answered by the next hub', { timeout: 300000 }, async () => {
  const dir = tempDir();
  let h = await startHub({ dir });
  let c = clientOf(h);
  const asked = await Promise.all(Array.from({ length: 6 }, (_, i) => c.responses.create({
    model: MODEL, input: `Number ${i}`, max_output_tokens: 300, temperature: 0, background: true, truncation: 'auto',
  })));
  await until(async () => (await c.responses.retrieve(asked[0].id)).status !== 'queued', LONG);
  await h.stop('SIGKILL');
  h = await startHub({ dir });
  c = clientOf(h);
  for (const r of asked) {
    const done = await until(async () => {
      const x = await c.responses.retrieve(r.id);
      return x.status !== 'queued' && x.status !== 'in_progress' && x;
    }, LONG, r.id);
    assert.ok(['completed', 'incomplete'].includes(done.status), JSON.stringify(done.error));
    assert.match(done.output_text, /\S/);
  }
  await h.stop();
});

/** A hub that asks who calls, and clients of its users ada and bob. */
async function hubWithUsers(env = {}, dir = tempDir()) {
  const clients = {};
  for (const name of ['ada', 'bob']) {
    const made = await runHearth(['users', 'create', name], { dir, input: 'correct horse\n' });
    assert.equal(made.code, 0, made.stderr);
  }
  const h = await startHub({ dir, env: { HEARTH_AUTH: 'on', ...env } });
  for (const username of ['ada', 'bob']) {
    const r = await fetch(`${h.url}/api/v1/auth/login`, { method: 'POST', body: JSON.stringify({ username, password: 'correct horse' }) });
    clients[username] = clientOf(h, (await r.json()).access_token);
  }
  return { h, ...clients };
}

test('a user who is pinned meanwhile: nothing more of his batch, nor of what waits, leaves the machine', async (t) => {
  const dir = tempDir();
  const cloud = await startUpstream();
  t.after(() => cloud.close());
  cloud.answer = { text: 'From the cloud.', usage: { prompt: 500000000, completion: 5 } };
  cloud.faults.push({ kind: 'slow', ms: 300, always: true });
  const file = join(dir, 'providers.json');
  writeFileSync(file, JSON.stringify({
    providers: { cloud: { kind: 'openai', base_url: `${cloud.url}/v1`, model: 'large', retries: 0 } },
  }));
  const { h, ada, bob } = await hubWithUsers({ HEARTH_PROVIDERS: file, HEARTH_BATCH_LINES: 1, HEARTH_BACKGROUND: 1 }, dir);
  const b = await start(Array.from({ length: 30 }, (_, i) => line(`p${i}`, { model: 'cloud/large' })), {}, ada);
  await until(() => cloud.requests.length >= 6, LONG, 'lines that leave');
  assert.equal((await h.run(['users', 'local', 'ada', 'on'])).code, 0);
  const left = cloud.requests.length + 1; // one may have been about to leave
  const done = await finished(b.id, ada);
  assert.equal(done.status, 'completed');
  assert.ok(cloud.requests.length <= left, `${cloud.requests.length} of ${left}`);
  const out = await linesOf(done.output_file_id, ada);
  const failed = await linesOf(done.error_file_id, ada);
  assert.equal(out.length, cloud.requests.length);
  assert.equal(out.length + failed.length, 30);
  for (const l of failed) assert.deepEqual([l.response.status_code, l.response.body.error.code], [403, 'local_only'], JSON.stringify(l));
  // More tokens in all than 32 bits hold: 500 million a line are the most that is believed.
  assert.equal(done.usage.input_tokens, out.length * 500000000);
  assert.ok(done.usage.input_tokens > 2 ** 31);
  assert.equal(done.usage.total_tokens, out.length * 500000005);

  // The only place is taken by one that can't end by itself.
  const schema = { type: 'object', properties: { text: { type: 'string', minLength: 500 } }, required: ['text'], additionalProperties: false };
  const first = await bob.responses.create({
    model: MODEL, input: 'Go on.', max_output_tokens: 1000000, truncation: 'auto', background: true,
    text: { format: { type: 'json_schema', name: 'long', schema } },
  });
  await until(async () => (await bob.responses.retrieve(first.id)).status === 'in_progress', LONG);
  const next = await bob.responses.create({ model: 'cloud/large', input: 'Hello', background: true });
  const before = cloud.requests.length;
  assert.equal((await h.run(['users', 'local', 'bob', 'on'])).code, 0);
  await bob.responses.cancel(first.id);
  const over = await until(async () => {
    const x = await bob.responses.retrieve(next.id);
    return x.status !== 'queued' && x.status !== 'in_progress' && x;
  }, LONG);
  assert.equal(over.status, 'failed');
  assert.match(over.error.message, /this machine/);
  assert.equal(cloud.requests.length, before);
  await h.stop();
});

/** Changes ada's account. */
const accountOf = (h, ada) => (method, path, body) => fetch(`${h.url}/api/v1${path}`, {
  method, headers: { authorization: `Bearer ${ada.apiKey}` }, body: body && JSON.stringify(body),
});

test('a key that is revoked: what waits in the background is not answered', async () => {
  const { h, ada } = await hubWithUsers({ HEARTH_BACKGROUND: 1 });
  const account = accountOf(h, ada);
  const made = await (await account('POST', '/auth/keys', { name: 'lost' })).json();
  // The only place is taken by one that can't end by itself.
  const schema = { type: 'object', properties: { text: { type: 'string', minLength: 500 } }, required: ['text'], additionalProperties: false };
  const first = await ada.responses.create({
    model: MODEL, input: 'Go on.', max_output_tokens: 1000000, truncation: 'auto', background: true,
    text: { format: { type: 'json_schema', name: 'long', schema } },
  });
  await until(async () => (await ada.responses.retrieve(first.id)).status === 'in_progress', LONG);
  const ask = { model: MODEL, input: 'Hello', max_output_tokens: 3, background: true };
  const lost = await clientOf(h, made.key).responses.create(ask);
  const kept = await ada.responses.create(ask);
  assert.equal((await account('DELETE', `/auth/keys/${made.id}`)).status, 204);
  await ada.responses.cancel(first.id);
  const over = (id) => until(async () => {
    const x = await ada.responses.retrieve(id);
    return x.status !== 'queued' && x.status !== 'in_progress' && x;
  }, LONG);
  const failed = await over(lost.id);
  assert.equal(failed.status, 'failed');
  assert.match(failed.error.message, /API key .* revoked/);
  assert.notEqual((await over(kept.id)).status, 'failed');
  await h.stop();
});

test('a key\'s limit is its batches\', too, and one that is revoked begins nothing more', async () => {
  const { h, ada } = await hubWithUsers();
  const account = accountOf(h, ada);
  const made = await (await account('POST', '/auth/keys', { name: 'nightly', requests_per_minute: 5 })).json();
  const n = 60;
  const lines = Array.from({ length: n }, (_, i) => line(`l${i}`, { max_tokens: 1 }));
  const limited = await start(lines, {}, clientOf(h, made.key)); // two of its calls
  const of = (job) => job.kind === 'batch' && job.state === 'running';
  await until(async () => {
    const { jobs } = await (await account('GET', '/jobs')).json();
    return /quota/.test(JSON.stringify(jobs.find(of) ?? ''));
  }, LONG, 'a batch that waits for its key');
  const waiting = await ada.batches.retrieve(limited.id);
  assert.equal(waiting.status, 'in_progress');
  assert.ok(waiting.request_counts.completed < n, JSON.stringify(waiting.request_counts));
  assert.equal((await account('DELETE', `/auth/keys/${made.id}`)).status, 204);
  const done = await finished(limited.id, ada);
  assert.equal(done.status, 'failed', JSON.stringify(done));
  assert.match(done.errors.data[0].message, /API key .* revoked/);
  assert.ok(done.request_counts.completed < n, JSON.stringify(done.request_counts));
  if (done.output_file_id) assert.equal((await linesOf(done.output_file_id, ada)).length, done.request_counts.completed);
  const other = await start(lines.slice(0, 8), {}, ada); // with a login, whatever becomes of keys
  assert.deepEqual((await finished(other.id, ada)).request_counts, { total: 8, completed: 8, failed: 0 });
  await h.stop();
});

test('what is kept is its user\'s alone', async () => {
  const { h, ada, bob } = await hubWithUsers();
  await assert.rejects(clientOf(h, 'wrong').files.list(), /401/);
  const file = await upload([line('a')], ada);
  const batch = await ada.batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' });
  const response = await ada.responses.create({ model: MODEL, input: 'Hello', max_output_tokens: 3 });
  const done = await finished(batch.id, ada);
  assert.equal(done.status, 'completed');
  assert.equal((await linesOf(done.output_file_id, ada)).length, 1);
  for (const denied of [
    () => bob.files.retrieve(file.id), () => bob.files.content(done.output_file_id), () => bob.files.delete(file.id),
    () => bob.batches.retrieve(batch.id), () => bob.batches.cancel(batch.id), () => bob.responses.retrieve(response.id),
    () => bob.responses.delete(response.id), () => bob.responses.inputItems.list(response.id),
  ]) await assert.rejects(denied(), NotFoundError);
  await assert.rejects(bob.batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' }), BadRequestError);
  await assert.rejects(bob.responses.create({ input: 'x', previous_response_id: response.id }), BadRequestError);
  assert.equal((await bob.files.list()).data.length, 0);
  assert.equal((await bob.batches.list()).data.length, 0);
  await h.stop();
});
