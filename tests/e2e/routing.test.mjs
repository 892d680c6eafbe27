// Who answers: the hub's own models first, others over HTTP when those can't, and what clients are
// told about it. The others are scripted servers (support/upstream.mjs).
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startHub, tempDir } from './support/hearth.mjs';
import { startUpstream } from './support/upstream.mjs';

let hub;
let box;
let cloud;

before(async () => {
  const dir = tempDir();
  box = await startUpstream();
  cloud = await startUpstream();
  box.answer = { text: 'Answer of the box.' };
  cloud.answer = { text: 'Answer of the cloud.' };
  const file = join(dir, 'providers.json');
  writeFileSync(file, JSON.stringify({
    providers: {
      box: { kind: 'openai', base_url: `${box.url}/v1`, model: 'big-model', retries: 0 },
      cloud: { kind: 'openai', base_url: `${cloud.url}/v1`, model: 'huge-model', retries: 0 },
    },
    routes: {
      default: { chain: ['local', 'box', 'cloud'], goal: 'cost' },
      away: { chain: ['box', 'cloud'] },
      home: { chain: ['local', 'box'], local_only: true },
    },
  }));
  hub = await startHub({ dir, env: { HEARTH_PROVIDERS: file } });
});

after(async () => {
  await hub?.stop();
  await box?.close();
  await cloud?.close();
});

function chat(body, options = {}) {
  return fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...options.headers },
    body: JSON.stringify({
      messages: [{ role: 'user', content: 'Say something.' }], max_tokens: 8, ...body,
    }),
  });
}

test("the hub's own model answers when it can, and says so", async () => {
  const r = await chat({});
  assert.equal(r.status, 200);
  assert.equal(r.headers.get('x-hearth-provider'), 'local');
  assert.equal(r.headers.get('x-hearth-model'), 'hearth-tiny');
  assert.match(r.headers.get('x-hearth-route-reason'), /^local: /);
  await r.json();
  assert.equal(box.requests.length, 0);
});

test('a model that is not here is answered elsewhere, streaming or not', async () => {
  for (const stream of [false, true]) {
    const r = await chat({ model: 'no-such-model', stream });
    assert.equal(r.status, 200);
    assert.equal(r.headers.get('x-hearth-provider'), 'box');
    assert.equal(r.headers.get('x-hearth-model'), 'no-such-model');
    assert.match(r.headers.get('x-hearth-route-reason'), /local: model_not_found after \d+ ms/);
    const text = await r.text();
    assert.match(text, stream ? /"content":"Answer/ : /Answer of the box\./);
  }
});

test('a provider that fails is passed over, and the record says it', async () => {
  box.faults.push({ kind: 'status', status: 500 });
  const r = await chat({ model: 'no-such-model' });
  assert.equal(r.status, 200);
  assert.equal(r.headers.get('x-hearth-provider'), 'cloud');
  assert.match(r.headers.get('x-hearth-route-reason'), /box: upstream_error after/);
  const id = r.headers.get('x-request-id');
  await r.json();
  const record = await (await fetch(`${hub.url}/v1/requests/${id}`)).json();
  assert.equal(record.provider, 'cloud');
  assert.equal(record.remote, false); // its address is this machine's
  assert.equal(record.attempts, 3);
  assert.match(record.route_reason, /local: model_not_found/);
  assert.equal(record.usage.completion_tokens, 7);
});

test('a stream that breaks after its first token ends with an error, not with another answer', async () => {
  const before = cloud.requests.length;
  box.faults.push({ kind: 'cut', after: 3 });
  const r = await chat({ model: 'no-such-model', stream: true });
  const text = await r.text();
  assert.match(text, /"error"/);
  assert.equal(cloud.requests.length, before);
});

test('the name of a provider before the model asks that one alone', async () => {
  const r = await chat({ model: 'cloud/huge-model' });
  assert.equal(r.headers.get('x-hearth-provider'), 'cloud');
  assert.equal((await r.json()).choices[0].message.content, 'Answer of the cloud.');
  assert.equal(cloud.requests.at(-1).body.model, 'huge-model');
});

test('what a client calls a model can not become a header of the answer', async () => {
  const r = await chat({ model: 'x\r\nSet-Cookie: a=b\u001b[2Jü' });
  assert.equal(r.status, 200);
  assert.equal(r.headers.get('set-cookie'), null);
  assert.match(r.headers.get('x-hearth-model'), /^x\?\?Set-Cookie: a=b\?\[2J\?\?$/);
  await r.json();
});
