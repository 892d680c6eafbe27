// A client that leaves stops its generation, streamed or not, running or queued; a hub that is told to
// stop lets a running answer end.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startHub, until } from './support/hearth.mjs';

let hub;

before(async () => {
  // Two at a time, so that a third one waits in the queue.
  hub = await startHub({ env: { HEARTH_PARALLEL: '2', HEARTH_STOP_GRACE: '100s' } });
});

after(() => hub?.stop());

const LONG = { messages: [{ role: 'user', content: 'Tell me a long story.' }], max_tokens: 900, ignore_eos: true };

function ask(body, signal) {
  return fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), signal,
  });
}

async function metrics() {
  const text = await (await fetch(`${hub.url}/metrics`)).text();
  return Object.fromEntries(text.split('\n').filter((l) => l && !l.startsWith('#'))
    .map((l) => [l.slice('hearth_'.length, l.lastIndexOf(' ')), Number(l.slice(l.lastIndexOf(' ') + 1))]));
}

test('leaving a stream stops its generation', async () => {
  const earlier = await metrics();
  const abort = new AbortController();
  const response = await ask({ ...LONG, stream: true }, abort.signal);
  await response.body.getReader().read();
  assert.equal((await metrics()).requests_running, 1);
  abort.abort();
  await until(async () => (await metrics()).requests_running === 0, 5000, 'the end of the generation');
  const now = await metrics();
  assert.equal(now.requests_cancelled_total, earlier.requests_cancelled_total + 1);
  assert.equal(now.http_disconnects_total, earlier.http_disconnects_total + 1);
  assert.equal(now.http_streams, 0);
  const made = now.generated_tokens_total - earlier.generated_tokens_total;
  assert.ok(made < 890, `${made} tokens were generated for nobody`);
});

test('leaving while waiting for a whole answer, running or queued', async () => {
  const earlier = await metrics();
  const aborts = Array.from({ length: 5 }, () => new AbortController());
  const requests = aborts.map((a) => ask(LONG, a.signal).then(() => 'answered', () => 'aborted'));
  await until(async () => {
    const m = await metrics();
    return m.requests_running + m.requests_waiting === 5;
  }, 10000, 'five requests');
  for (const a of aborts) a.abort();
  assert.deepEqual(await Promise.all(requests), Array(5).fill('aborted'));
  await until(async () => {
    const m = await metrics();
    return m.requests_running === 0 && m.requests_waiting === 0;
  }, 5000, 'an empty queue');
  assert.equal((await metrics()).requests_cancelled_total, earlier.requests_cancelled_total + 5);
  const next = await (await ask({ messages: [{ role: 'user', content: 'hello' }], max_tokens: 4 })).json();
  assert.equal(next.choices.length, 1);
});

test('a hub that stops finishes the answer it is giving', async () => {
  const response = await ask({ ...LONG, max_tokens: 8, stream: true });
  const reader = response.body.getReader();
  let text = Buffer.from((await reader.read()).value).toString();
  const stopped = hub.stop();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read())
    text += Buffer.from(piece.value).toString();
  assert.match(text, /"finish_reason":"length"/); // not broken off
  assert.match(text, /data: \[DONE\]\n\n$/);
  assert.deepEqual(await stopped, { code: 0, signal: null });
});
