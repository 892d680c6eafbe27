// What one user's prompts leave in the prefix cache is of use to that user alone, whatever others send: it is not
// in `cached_tokens` of theirs, and it is not in the time that theirs take either.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startHub, until } from './support/hearth.mjs';

const ROUNDS = 5;
const password = 'correct horse';
let hub;

async function call(path, body, token, headers = {}) {
  const r = await fetch(`${hub.url}${path}`, {
    method: body ? 'POST' : 'GET',
    headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }), ...headers },
    body: body && JSON.stringify(body),
  });
  const text = await r.text();
  assert.equal(Math.floor(r.status / 100), 2, `${path}: ${r.status} ${text}`);
  return JSON.parse(text);
}

async function user(username) {
  await call('/api/v1/auth/register', { username, password });
  return (await call('/api/v1/auth/login', { username, password })).access_token;
}

/** A prompt that nobody has sent yet, of about 900 tokens. */
function secret(round) {
  const words = [];
  for (let i = 0; i < 180; i++) words.push(`${round}${(i * i * 31 + i * 7) % 997}`);
  return `My notes: ${words.join(' ')}. What is in them?`;
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
let asked = 0;

/** Asks for one token; what the record says of the prompt. */
async function ask(token, text) {
  const id = `tenant-${asked++}`;
  const answer = await call('/v1/chat/completions', { messages: [{ role: 'user', content: text }], max_tokens: 1, temperature: 0 }, token, { 'X-Request-Id': id });
  const record = await call(`/v1/requests/${id}`, null, token);
  assert.equal(record.cache.cached_tokens, answer.usage.prompt_tokens_details.cached_tokens);
  return { prompt: answer.usage.prompt_tokens, cached: record.cache.cached_tokens, prefill: record.timings.prefill_ms, first: record.timings.first_token_ms };
}

before(async () => {
  hub = await startHub({ env: { HEARTH_AUTH: 'on' } });
  await until(async () => (await (await fetch(`${hub.url}/health`)).json()).model_state === 'ready', 30000, 'the model');
});
after(() => hub?.stop());

test('two users with the same private prompt', async (t) => {
  const ann = await user('ann');
  const bob = await user('bob');
  for (const token of [ann, bob]) await ask(token, 'Hi'); // the first steps of a model are slower
  const times = { cold: [], others: [], own: [] };
  for (let round = 0; round < ROUNDS; round++) {
    const text = secret(round);
    const cold = await ask(ann, text);
    const others = await ask(bob, text);
    const own = [await ask(ann, text), await ask(bob, text)];
    assert.ok(cold.prompt > 500, `${cold.prompt} tokens`);
    // The words of the template in front are the same in all prompts of a user.
    assert.ok(cold.cached < 50, `${cold.cached} of ${cold.prompt} cached`);
    assert.ok(others.cached < 50, `${others.cached} of ${others.prompt} tokens came from another user's prompt`);
    for (const again of own) assert.ok(again.cached > 500, `${again.cached} of ${again.prompt} cached`);
    times.cold.push(cold.prefill);
    times.others.push(others.prefill);
    times.own.push(...own.map((x) => x.prefill));
  }
  const [cold, others, own] = [times.cold, times.others, times.own].map(median);
  t.diagnostic(`prefill, medians: cold ${cold.toFixed(1)} ms, another user's prompt ${others.toFixed(1)} ms, one's own ${own.toFixed(1)} ms`);
  // On an idle machine some thirty times as long; what is left of that on a busy one.
  assert.ok(cold > 3 * own, `a new prompt takes ${cold} ms, one's own ${own} ms`);
  assert.ok(others > 3 * own, `another user's prompt takes ${others} ms, one's own ${own} ms`);
});
