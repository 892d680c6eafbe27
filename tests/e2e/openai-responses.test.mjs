// The Responses API with OpenAI's own client, as apps use it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import OpenAI, { APIError, BadRequestError, NotFoundError } from 'openai';

import { startHub } from './support/hearth.mjs';

let hub;
let client;

const MODEL = 'hearth-tiny';
const SAY = { model: MODEL, input: 'Hello, who are you?', temperature: 0, max_output_tokens: 8 };
const WEATHER = {
  type: 'function',
  name: 'get_weather',
  description: 'The weather of a city.',
  parameters: { type: 'object', properties: { city: { type: 'string', enum: ['Oslo', 'Rome'] } }, required: ['city'], additionalProperties: false },
  strict: true,
};

before(async () => {
  hub = await startHub();
  client = new OpenAI({ baseURL: `${hub.url}/v1`, apiKey: 'any', maxRetries: 0 });
});
after(() => hub?.stop());

/** Asks until the response is over. */
async function finished(id, ms = 60000) {
  const until = performance.now() + ms;
  for (;;) {
    const r = await client.responses.retrieve(id);
    if (r.status !== 'queued' && r.status !== 'in_progress') return r;
    assert.ok(performance.now() < until, `still ${r.status}`);
    await new Promise((r) => setTimeout(r, 30));
  }
}

/** A response that takes long: until it is stopped. */
// A model may end an answer whenever it likes; a grammar does not let it end this one soon.
const LONG_TEXT = { type: 'object', properties: { a: { type: 'string', minLength: 500 } }, required: ['a'], additionalProperties: false };
const ENDLESS = {
  model: MODEL, input: 'Tell me everything.', max_output_tokens: 100000, temperature: 1, truncation: 'auto',
  text: { format: { type: 'json_schema', name: 'long', schema: LONG_TEXT } },
};

test('a whole response, field by field', async () => {
  const r = await client.responses.create({ ...SAY, instructions: 'Be short.', metadata: { app: 'test' }, user: 'u1' });
  assert.match(r.id, /^resp_[0-9A-Za-z]{24}$/);
  assert.equal(r.object, 'response');
  assert.ok(Math.abs(r.created_at - Date.now() / 1000) < 60);
  assert.equal(r.status, 'incomplete');
  assert.deepEqual(r.incomplete_details, { reason: 'max_output_tokens' });
  assert.equal(r.error, null);
  assert.equal(r.model, MODEL);
  assert.equal(r.instructions, 'Be short.');
  assert.equal(r.background, false);
  assert.equal(r.store, true);
  assert.equal(r.temperature, 0);
  assert.equal(r.max_output_tokens, 8);
  assert.equal(r.previous_response_id, null);
  assert.equal(r.parallel_tool_calls, true);
  assert.equal(r.tool_choice, 'auto');
  assert.equal(r.truncation, 'disabled');
  assert.equal(r.user, 'u1');
  assert.deepEqual(r.tools, []);
  assert.deepEqual(r.metadata, { app: 'test' });
  assert.deepEqual(r.text, { format: { type: 'text' }, verbosity: 'medium' });
  assert.deepEqual(r.reasoning, { effort: null, summary: null });
  assert.equal(r.usage.output_tokens, 8);
  assert.equal(r.usage.total_tokens, r.usage.input_tokens + 8);
  assert.equal(typeof r.usage.input_tokens_details.cached_tokens, 'number');
  assert.equal(r.usage.output_tokens_details.reasoning_tokens, 0);
  assert.equal(r.output.length, 1);
  const [m] = r.output;
  assert.match(m.id, /^msg_/);
  assert.equal(m.type, 'message');
  assert.equal(m.role, 'assistant');
  assert.equal(m.status, 'incomplete');
  assert.equal(m.content.length, 1);
  assert.equal(m.content[0].type, 'output_text');
  assert.deepEqual(m.content[0].annotations, []);
  assert.match(r.output_text, /\S/);
});

test('a stream: the exact order of events, and what they add up to', async () => {
  const events = [];
  for await (const e of await client.responses.create({ ...SAY, stream: true })) events.push(e);
  assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i));
  const types = events.map((e) => e.type);
  assert.deepEqual(types.filter((t, i) => t !== types[i - 1]), [
    'response.created', 'response.in_progress', 'response.output_item.added', 'response.content_part.added',
    'response.output_text.delta', 'response.output_text.done', 'response.content_part.done',
    'response.output_item.done', 'response.incomplete',
  ]);
  const last = events.at(-1).response;
  assert.equal(events[0].response.id, last.id);
  assert.equal(events[0].response.status, 'in_progress');
  assert.deepEqual(events[0].response.output, []);
  assert.equal(events[0].response.usage, null);
  const item = last.output[0];
  const text = events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join('');
  assert.equal(text, item.content[0].text);
  for (const e of events) {
    if (e.item_id) assert.equal(e.item_id, item.id);
    if (e.type.startsWith('response.output') || e.type.startsWith('response.content')) assert.equal(e.output_index, 0);
    if (e.type.startsWith('response.content') || e.type.startsWith('response.output_text')) assert.equal(e.content_index, 0);
  }
  assert.equal(events.find((e) => e.type === 'response.output_text.done').text, text);
  assert.deepEqual(events.find((e) => e.type === 'response.content_part.done').part, item.content[0]);
  assert.deepEqual(events.find((e) => e.type === 'response.output_item.done').item, item);
  const whole = await client.responses.create(SAY);
  assert.equal(whole.output_text, text);
  // What is kept is what was told.
  assert.deepEqual({ ...await client.responses.retrieve(last.id), output_text: undefined }, { ...last, output_text: undefined });
});

test("the client's own accumulator is content", async () => {
  const r = await client.responses.stream(SAY).finalResponse();
  assert.equal(r.status, 'incomplete');
  assert.equal(r.output_text, r.output[0].content[0].text);
});

test('going on from a response: the model reads what was said', async () => {
  const first = await client.responses.create({ ...SAY, instructions: 'Secret instructions.' });
  const second = await client.responses.create({ ...SAY, input: 'And you?', previous_response_id: first.id });
  assert.equal(second.previous_response_id, first.id);
  const apart = await client.responses.create({
    ...SAY,
    input: [
      { role: 'user', content: SAY.input },
      { role: 'assistant', content: first.output_text },
      { role: 'user', content: 'And you?' },
    ],
  });
  // The same prompt: instructions are not carried over.
  assert.equal(second.usage.input_tokens, apart.usage.input_tokens);
  assert.equal(second.output_text, apart.output_text);
  const third = await client.responses.create({ ...SAY, input: 'Well?', previous_response_id: second.id });
  assert.ok(third.usage.input_tokens > second.usage.input_tokens + second.usage.output_tokens);
  await assert.rejects(client.responses.create({ ...SAY, previous_response_id: 'resp_none' }), (e) => {
    assert.ok(e instanceof BadRequestError);
    assert.equal(e.param, '/previous_response_id');
    assert.match(e.message, /Previous response with id 'resp_none' not found/);
    return true;
  });
});

test('kept responses: fetched, their input listed, deleted', async () => {
  const input = Array.from({ length: 5 }, (_, i) => ({ role: i % 2 ? 'assistant' : 'user', content: `Part ${i}` }));
  const r = await client.responses.create({ ...SAY, input });
  const fetched = await client.responses.retrieve(r.id);
  assert.equal(fetched.output_text, r.output_text);
  const newest = [];
  for await (const item of client.responses.inputItems.list(r.id, { limit: 2 })) newest.push(item);
  assert.deepEqual(newest.map((i) => i.content[0].text), ['Part 4', 'Part 3', 'Part 2', 'Part 1', 'Part 0']);
  assert.equal(newest[1].content[0].type, 'output_text');
  assert.equal(newest[0].content[0].type, 'input_text');
  assert.equal(new Set(newest.map((i) => i.id)).size, 5);
  const oldest = await client.responses.inputItems.list(r.id, { order: 'asc', limit: 3 });
  assert.deepEqual(oldest.data.map((i) => i.content[0].text), ['Part 0', 'Part 1', 'Part 2']);
  assert.equal(oldest.has_more, true);
  await client.responses.delete(r.id);
  await assert.rejects(client.responses.retrieve(r.id), NotFoundError);
  await assert.rejects(client.responses.inputItems.list(r.id), NotFoundError);
  await assert.rejects(client.responses.delete(r.id), NotFoundError);
});

test('store: false keeps nothing', async () => {
  const r = await client.responses.create({ ...SAY, store: false });
  assert.equal(r.store, false);
  await assert.rejects(client.responses.retrieve(r.id), NotFoundError);
  await assert.rejects(client.responses.create({ ...SAY, previous_response_id: r.id }), BadRequestError);
});

test('an item is referred to by its id', async () => {
  const first = await client.responses.create(SAY);
  const r = await client.responses.create({
    ...SAY,
    input: [{ role: 'user', content: SAY.input }, { type: 'item_reference', id: first.output[0].id }, { role: 'user', content: 'And you?' }],
  });
  const again = await client.responses.create({ ...SAY, input: 'And you?', previous_response_id: first.id });
  assert.equal(r.output_text, again.output_text);
  await assert.rejects(
    client.responses.create({ ...SAY, input: [{ type: 'item_reference', id: 'msg_none' }] }),
    (e) => e instanceof BadRequestError && e.param === '/input/0/id',
  );
});

test('tools: a call, its output, and the way back', async () => {
  const ask = { ...SAY, max_output_tokens: 200, tools: [WEATHER], tool_choice: { type: 'function', name: 'get_weather' } };
  const r = await client.responses.create({ ...ask, input: 'The weather in Oslo?' });
  const call = r.output.find((i) => i.type === 'function_call');
  assert.ok(call, JSON.stringify(r.output));
  assert.match(call.id, /^fc_/);
  assert.equal(call.name, 'get_weather');
  assert.equal(call.status, 'completed');
  assert.ok(['Oslo', 'Rome'].includes(JSON.parse(call.arguments).city));
  assert.equal(r.status, 'completed');
  assert.equal(r.tools[0].name, 'get_weather');

  const events = [];
  for await (const e of await client.responses.create({ ...ask, input: 'The weather in Oslo?', stream: true })) events.push(e);
  const deltas = events.filter((e) => e.type === 'response.function_call_arguments.delta').map((e) => e.delta).join('');
  const done = events.find((e) => e.type === 'response.function_call_arguments.done');
  assert.equal(done.arguments, deltas);
  assert.equal(done.name, 'get_weather');
  assert.equal(events.find((e) => e.type === 'response.output_item.added' && e.item.type === 'function_call').item.arguments, '');

  const next = await client.responses.create({
    ...SAY, previous_response_id: r.id, tools: [WEATHER],
    input: [{ type: 'function_call_output', call_id: call.call_id, output: '{"degrees": 3}' }],
  });
  assert.ok(next.usage.input_tokens > r.usage.input_tokens);
  // Without the store the items themselves go back.
  const stateless = await client.responses.create({
    ...SAY, tools: [WEATHER], store: false,
    input: [{ role: 'user', content: 'The weather in Oslo?' }, ...r.output, { type: 'function_call_output', call_id: call.call_id, output: '{"degrees": 3}' }],
  });
  assert.equal(stateless.usage.input_tokens, next.usage.input_tokens);
  await assert.rejects(
    client.responses.create({ ...SAY, input: [{ type: 'function_call_output', call_id: 'call_no', output: '1' }] }),
    /No tool call found for function call output with call_id call_no/,
  );
});

test('a tool that takes plain text', async () => {
  const tools = [{ type: 'custom', name: 'shell', description: 'Runs a command.' }];
  const ask = { ...SAY, tools, tool_choice: { type: 'custom', name: 'shell' }, max_output_tokens: 400, temperature: 1, top_k: 20, seed: 3 };
  const r = await client.responses.stream({ ...ask, input: 'List the files.' }).finalResponse();
  const call = r.output.find((i) => i.type === 'custom_tool_call');
  assert.ok(call, JSON.stringify(r.output));
  assert.equal(typeof call.input, 'string');
  assert.equal(call.name, 'shell');
  await client.responses.create({
    ...SAY, tools, previous_response_id: r.id,
    input: [{ type: 'custom_tool_call_output', call_id: call.call_id, output: 'a.txt' }],
  });
});

test('tools in a namespace, as Codex sends them', async () => {
  const tools = [{
    type: 'namespace', name: 'agents', description: 'Helpers.',
    tools: [{ type: 'function', name: 'close', description: 'Ends one.', strict: false, parameters: { type: 'object', properties: { id: { type: 'integer' } }, required: ['id'], additionalProperties: false } }],
  }];
  const ask = { ...SAY, tools, tool_choice: 'required', max_output_tokens: 400, temperature: 1, top_k: 20, seed: 3 };
  const r = await client.responses.stream({ ...ask, input: 'Close helper 3.' }).finalResponse();
  const call = r.output.find((i) => i.type === 'function_call');
  assert.ok(call, JSON.stringify(r.output));
  assert.deepEqual([call.namespace, call.name], ['agents', 'close']);
  assert.equal(typeof JSON.parse(call.arguments).id, 'number');
  const kept = await client.responses.retrieve(r.id);
  assert.equal(kept.output.find((i) => i.type === 'function_call').namespace, 'agents');
  await client.responses.create({
    ...SAY, tools, input: [{ role: 'user', content: 'Close helper 3.' }, call, { type: 'function_call_output', call_id: call.call_id, output: 'closed' }],
  });
});

test('JSON that matches a schema', async () => {
  const schema = { type: 'object', properties: { age: { type: 'integer', minimum: 1, maximum: 9 } }, required: ['age'], additionalProperties: false };
  const r = await client.responses.parse({
    ...SAY, max_output_tokens: 60, text: { format: { type: 'json_schema', name: 'person', schema, strict: true } },
  });
  assert.equal(typeof r.output_parsed.age, 'number');
  assert.equal(r.text.format.name, 'person');
  const any = await client.responses.create({ ...SAY, max_output_tokens: 300, text: { format: { type: 'json_object' } } });
  if (any.status === 'completed') JSON.parse(any.output_text);
});

test('log probabilities', async () => {
  const r = await client.responses.create({ ...SAY, top_logprobs: 2, include: ['message.output_text.logprobs'] });
  const { logprobs } = r.output[0].content[0];
  assert.equal(logprobs.length, 8);
  assert.equal(logprobs[0].top_logprobs.length, 2);
  assert.equal(logprobs.map((t) => t.token).join(''), r.output_text);
});

test('what is wrong is said with its place', async () => {
  const wrong = [
    [{ input: undefined }, '/input', 'invalid_request'],
    [{ input: [] }, '/input', 'invalid_request'],
    [{ input: 7 }, '/input', 'invalid_request'],
    [{ input: [{ role: 'robot', content: 'x' }] }, '/input/0/role', 'invalid_request'],
    [{ input: [{ role: 'user', content: [{ type: 'input_audio' }] }] }, '/input/0/content/0', 'unsupported'],
    [{ input: [{ type: 'web_search_call' }] }, '/input/0', 'unsupported'],
    [{ input: [{ type: 'function_call', call_id: 'c', name: 'f', arguments: '{' }] }, '/input/0/arguments', 'invalid_request'],
    [{ tools: [{ type: 'web_search' }] }, '/tools/0', 'unsupported'],
    [{ tools: [{ type: 'function', name: 'a b' }] }, '/tools/0/name', 'invalid_request'],
    [{ tool_choice: 'required' }, '/tool_choice', 'invalid_request'],
    [{ tool_choice: { type: 'function', name: 'none' } }, '/tool_choice/name', 'invalid_request'],
    [{ text: { format: { type: 'json_schema', name: 'x' } } }, '/text/format/schema', 'invalid_request'],
    [{ text: { format: { type: 'xml' } } }, '/text/format/type', 'invalid_request'],
    [{ max_output_tokens: 0 }, '/max_output_tokens', 'invalid_request'],
    [{ truncation: 'maybe' }, '/truncation', 'invalid_request'],
    [{ temperature: 'hot' }, '/temperature', 'invalid_request'],
    [{ store: 'yes' }, '/store', 'invalid_request'],
    [{ background: true, store: false }, '/background', 'invalid_request'],
    [{ conversation: 'conv_1' }, '/conversation', 'unsupported'],
    [{ metadata: { a: 1 } }, '/metadata/a', 'invalid_request'],
    [{ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, ''])) }, '/metadata', 'invalid_request'],
  ];
  for (const [change, param, code] of wrong) {
    await assert.rejects(client.responses.create({ ...SAY, ...change }), (e) => {
      assert.ok(e instanceof BadRequestError, `${JSON.stringify(change)}: ${e}`);
      assert.deepEqual([e.param, e.code], [param, code], JSON.stringify(change));
      return true;
    });
  }
  await assert.rejects(client.responses.create({ ...SAY, model: 'nobody' }), (e) => e instanceof NotFoundError && e.code === 'model_not_found');
});

test('a client that leaves a stream ends it, and nothing is kept', async () => {
  const stream = await client.responses.create({ ...ENDLESS, stream: true });
  let id;
  for await (const e of stream) {
    id = e.response?.id ?? id;
    if (e.type === 'response.output_text.delta') break;
  }
  const until = performance.now() + 30000;
  for (;;) {
    const h = await (await fetch(`${hub.url}/health`)).json();
    if (h.running === 0) break;
    assert.ok(performance.now() < until);
    await new Promise((r) => setTimeout(r, 20));
  }
  await assert.rejects(client.responses.retrieve(id), NotFoundError);
});

test('in the background: queued at once, fetched later', async () => {
  const r = await client.responses.create({ ...SAY, background: true, metadata: { k: 'v' } });
  assert.equal(r.status, 'queued');
  assert.equal(r.background, true);
  assert.deepEqual(r.output, []);
  const done = await finished(r.id);
  assert.equal(done.status, 'incomplete');
  assert.equal(done.id, r.id);
  assert.equal(done.created_at, r.created_at);
  assert.deepEqual(done.metadata, { k: 'v' });
  assert.equal(done.output_text, (await client.responses.create(SAY)).output_text);
  // It can be gone on from, and its stream told again.
  await client.responses.create({ ...SAY, previous_response_id: r.id });
  const events = [];
  for await (const e of await client.responses.retrieve(r.id, { stream: true })) events.push(e);
  assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i));
  assert.deepEqual(events.slice(0, 3).map((e) => e.type), ['response.created', 'response.queued', 'response.in_progress']);
  assert.deepEqual(events.at(-1).response.output, done.output);
  const tail = [];
  for await (const e of await client.responses.retrieve(r.id, { stream: true, starting_after: 3 })) tail.push(e);
  assert.deepEqual(tail, events.slice(4));
});

test('in the background, streamed: left, and taken up again where it was', async () => {
  const stream = await client.responses.create({ ...SAY, max_output_tokens: 60, background: true, stream: true });
  const seen = [];
  for await (const e of stream) {
    seen.push(e);
    if (e.type === 'response.output_text.delta') break; // the connection is closed
  }
  const id = seen[0].response.id;
  assert.equal(seen[0].response.status, 'queued');
  assert.deepEqual(seen.slice(0, 3).map((e) => e.type), ['response.created', 'response.queued', 'response.in_progress']);
  for await (const e of await client.responses.retrieve(id, { stream: true, starting_after: seen.at(-1).sequence_number })) seen.push(e);
  assert.deepEqual(seen.map((e) => e.sequence_number), seen.map((_, i) => i));
  const text = seen.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join('');
  const done = await finished(id);
  assert.equal(text, done.output_text);
  // The same events once more, from what is kept.
  const again = [];
  for await (const e of await client.responses.retrieve(id, { stream: true })) again.push(e);
  assert.deepEqual(again, seen);
  assert.equal((await client.responses.stream({ response_id: id }).finalResponse()).output_text, text);
});

test('in the background: cancelled while it runs, and while it waits', async () => {
  const many = await Promise.all(Array.from({ length: 6 }, () => client.responses.create({ ...ENDLESS, background: true })));
  const until = performance.now() + 60000;
  for (;;) {
    const now = await Promise.all(many.map((r) => client.responses.retrieve(r.id)));
    if (now.filter((r) => r.status === 'in_progress').length >= 4) break;
    assert.ok(performance.now() < until, now.map((r) => r.status).join());
    await new Promise((r) => setTimeout(r, 30));
  }
  for (const r of many) {
    const c = await client.responses.cancel(r.id);
    assert.equal(c.status, 'cancelled');
    assert.equal((await client.responses.cancel(r.id)).status, 'cancelled'); // again is fine
  }
  for (;;) {
    const h = await (await fetch(`${hub.url}/health`)).json();
    if (h.running === 0 && h.waiting === 0) break;
    assert.ok(performance.now() < until + 30000, JSON.stringify(h));
    await new Promise((r) => setTimeout(r, 20));
  }
  for (const r of many) assert.equal((await client.responses.retrieve(r.id)).status, 'cancelled');
  const whole = await client.responses.create(SAY);
  await assert.rejects(client.responses.cancel(whole.id), (e) => e instanceof BadRequestError && /background/.test(e.message));
  await assert.rejects(client.responses.create({ ...SAY, previous_response_id: many[0].id }), /is cancelled/);
});

test('in the background: a failure is told by the response', async () => {
  const r = await client.responses.create({ ...SAY, model: 'nobody', background: true });
  const done = await finished(r.id);
  assert.equal(done.status, 'failed');
  assert.equal(done.error.code, 'server_error');
  assert.match(done.error.message, /nobody/);
});

test('in the background: deleted while it runs', async () => {
  const r = await client.responses.create({ ...ENDLESS, background: true });
  await client.responses.delete(r.id);
  await assert.rejects(client.responses.retrieve(r.id), APIError);
});
