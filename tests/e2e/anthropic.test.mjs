// Anthropic's Messages API with Anthropic's own client, as apps use it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import Anthropic, { APIError, AuthenticationError, BadRequestError, NotFoundError } from '@anthropic-ai/sdk';

import { startHub, until } from './support/hearth.mjs';
import { startUpstream } from './support/upstream.mjs';

let hub;
let client;

const HI = [{ role: 'user', content: 'Hello, who are you?' }];
const WEATHER = {
  name: 'get_weather',
  description: 'The weather of a city.',
  input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};
const BASE = { model: 'hearth-tiny', max_tokens: 12, temperature: 0, messages: HI };

before(async () => {
  hub = await startHub();
  client = new Anthropic({ baseURL: hub.url, apiKey: 'any', maxRetries: 0 });
});
after(() => hub?.stop());

const textOf = (message) => message.content.map((b) => b.text ?? '').join('');

test('a whole answer', async () => {
  const m = await client.messages.create(BASE);
  assert.match(m.id, /^msg_/);
  assert.equal(m.type, 'message');
  assert.equal(m.role, 'assistant');
  assert.equal(m.model, 'hearth-tiny');
  assert.equal(m.content.length, 1);
  assert.equal(m.content[0].type, 'text');
  assert.match(m.content[0].text, /\S/);
  assert.equal(m.stop_reason, 'max_tokens');
  assert.equal(m.stop_sequence, null);
  assert.equal(m.usage.output_tokens, 12);
  assert.ok(m.usage.input_tokens + m.usage.cache_read_input_tokens > 5);
  assert.equal(m.usage.cache_creation_input_tokens, 0);
  assert.match(m._request_id, /^req-/);
});

test('the events of a stream come in the API\'s order', async () => {
  const stream = await client.messages.create({ ...BASE, stream: true });
  const events = [];
  for await (const ev of stream) events.push(ev);
  const types = events.map((ev) => ev.type);
  assert.deepEqual(types.slice(0, 2), ['message_start', 'content_block_start']);
  assert.deepEqual(types.slice(-3), ['content_block_stop', 'message_delta', 'message_stop']);
  assert.ok(types.slice(2, -3).every((t) => t === 'content_block_delta'), types.join());
  const start = events[0].message;
  assert.deepEqual(start.content, []);
  assert.equal(start.stop_reason, null);
  assert.equal(start.stop_sequence, null);
  assert.ok(start.usage.input_tokens + start.usage.cache_read_input_tokens > 5);
  assert.deepEqual(events[1], { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } });
  assert.equal(events.at(-2).delta.stop_reason, 'max_tokens');
  assert.equal(events.at(-2).usage.output_tokens, 12);
});

test('on the wire: names of events, a ping, nothing behind message_stop', async () => {
  const r = await fetch(`${hub.url}/v1/messages`, {
    method: 'POST', headers: { 'anthropic-version': '2023-06-01' }, body: JSON.stringify({ ...BASE, max_tokens: 2, stream: true }),
  });
  assert.equal(r.headers.get('content-type'), 'text/event-stream');
  assert.equal(r.headers.get('request-id'), r.headers.get('x-request-id'));
  const blocks = (await r.text()).split('\n\n').filter((b) => b && !b.startsWith(':'));
  for (const block of blocks) {
    const [, event, data] = /^event: (\w+)\ndata: (\{.*\})$/.exec(block);
    assert.equal(JSON.parse(data).type, event);
  }
  const names = blocks.map((b) => /^event: (\w+)/.exec(b)[1]);
  assert.equal(names[2], 'ping');
  assert.equal(names.at(-1), 'message_stop');
});

test('stream and whole answer say the same', async () => {
  const whole = await client.messages.create(BASE);
  const streamed = await client.messages.stream(BASE).finalMessage();
  assert.equal(textOf(streamed), textOf(whole));
  assert.equal(streamed.stop_reason, whole.stop_reason);
  assert.equal(streamed.usage.output_tokens, whole.usage.output_tokens);
});

test('a stop sequence is named', async () => {
  const text = textOf(await client.messages.create(BASE));
  const stop = text.slice(5, 8);
  for (const stream of [false, true]) {
    const params = { ...BASE, stop_sequences: ['never said', stop] };
    const m = stream ? await client.messages.stream(params).finalMessage() : await client.messages.create(params);
    assert.equal(m.stop_reason, 'stop_sequence');
    assert.equal(m.stop_sequence, stop);
    assert.equal(textOf(m), text.slice(0, text.indexOf(stop)));
  }
});

test('what ends because the context is full says so', async () => {
  const numbers = { type: 'array', items: { type: 'integer' }, minItems: 1000 }; // an end is not allowed before
  const body = { model: 'hearth-tiny', messages: HI, output_config: { format: { type: 'json_schema', schema: numbers } } };
  const full = await client.messages.create({ ...body, max_tokens: 6000 });
  assert.equal(full.stop_reason, 'model_context_window_exceeded');
  assert.ok(full.usage.output_tokens < 6000);
  assert.equal((await client.messages.create({ ...body, max_tokens: 20 })).stop_reason, 'max_tokens');
});

test('a tool that must be called, whole and streamed', async () => {
  for (const tool_choice of [{ type: 'any' }, { type: 'tool', name: 'get_weather' }]) {
    const params = {
      ...BASE, max_tokens: 80, messages: [{ role: 'user', content: 'What is the weather in Paris?' }], tools: [WEATHER], tool_choice,
    };
    const whole = await client.messages.create(params);
    assert.equal(whole.stop_reason, 'tool_use');
    const call = whole.content.find((b) => b.type === 'tool_use');
    assert.equal(call.name, 'get_weather');
    assert.equal(typeof call.input.city, 'string');
    const inputs = [];
    const streamed = await client.messages.stream(params).on('inputJson', (piece) => inputs.push(piece)).finalMessage();
    assert.deepEqual(streamed.content.find((b) => b.type === 'tool_use').input, call.input);
    assert.ok(inputs.length > 1, 'the input comes in pieces');
    const next = await client.messages.create({
      ...BASE, tools: [WEATHER],
      messages: [
        ...params.messages,
        { role: 'assistant', content: whole.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: [{ type: 'text', text: 'rain' }] }] },
      ],
    });
    assert.equal(next.role, 'assistant');
  }
});

test('JSON that matches a schema', async () => {
  const schema = {
    type: 'object', additionalProperties: false, required: ['mood'], properties: { mood: { enum: ['good', 'bad'] } },
  };
  const m = await client.messages.create({ ...BASE, max_tokens: 60, output_config: { format: { type: 'json_schema', schema } } });
  assert.ok(['good', 'bad'].includes(JSON.parse(textOf(m)).mood));
});

test('the last turn of the assistant is continued', async () => {
  const text = textOf(await client.messages.create({ ...BASE, max_tokens: 20 }));
  const begin = text.slice(0, text.indexOf(' ', 3));
  const m = await client.messages.create({ ...BASE, messages: [...HI, { role: 'assistant', content: begin }] });
  assert.ok(text.startsWith(begin + textOf(m).slice(0, 8)), `${text} | ${begin} | ${textOf(m)}`);
});

test('counting tokens', async () => {
  const short = await client.messages.countTokens({ model: 'hearth-tiny', messages: HI });
  const m = await client.messages.create(BASE);
  assert.equal(short.input_tokens, m.usage.input_tokens + m.usage.cache_read_input_tokens);
  const long = await client.messages.countTokens({
    model: 'hearth-tiny', system: 'Answer in French.', tools: [WEATHER],
    messages: [{ role: 'user', content: 'word '.repeat(5000) }],
  });
  assert.ok(long.input_tokens > 5000, 'longer than the context, and counted all the same');
  await assert.rejects(client.messages.countTokens({ model: 'none', messages: HI }), NotFoundError);
});

test('the models', async () => {
  const models = [];
  for await (const m of client.models.list()) models.push(m);
  const tiny = models.find((m) => m.id === 'hearth-tiny');
  assert.equal(tiny.type, 'model');
  assert.equal(tiny.display_name, 'hearth-tiny');
  assert.ok(Date.parse(tiny.created_at) > 0);
  const page = await client.models.list();
  assert.equal(page.has_more, false);
  assert.equal(page.first_id, models[0].id);
  assert.equal(page.last_id, models.at(-1).id);
  assert.equal((await client.models.retrieve('hearth-tiny')).id, 'hearth-tiny');
  // What it says it can is what it does.
  const can = (await client.beta.models.retrieve('hearth-tiny')).capabilities;
  const format = { type: 'json_schema', schema: { type: 'object', properties: { a: { enum: ['x'] } }, required: ['a'], additionalProperties: false } };
  assert.equal(can.structured_outputs.supported, true);
  const m = await client.messages.create({ ...BASE, max_tokens: 100, output_config: { format } });
  assert.deepEqual(JSON.parse(m.content[0].text), { a: 'x' });
  for (const [type, { supported }] of Object.entries(can.thinking.types)) {
    if (supported) await client.messages.create({ ...BASE, thinking: { type } });
  }
  assert.equal(can.image_input.supported, false); // the test of errors sends one
});

test('the beta face of the client, with what agents send', async () => {
  const m = await client.beta.messages.create({
    ...BASE, betas: ['interleaved-thinking-2025-05-14', 'fine-grained-tool-streaming-2025-05-14'],
    system: [
      { type: 'text', text: 'x-anthropic-billing-header: cc_version=2.1; cch=00000;' },
      { type: 'text', text: 'You are an agent.', cache_control: { type: 'ephemeral' } },
    ],
    thinking: { type: 'adaptive' }, output_config: { effort: 'high' }, metadata: { user_id: 'x' },
    context_management: { edits: [] }, tools: [{ ...WEATHER, eager_input_streaming: true, cache_control: { type: 'ephemeral' } }],
    messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello', cache_control: { type: 'ephemeral' } }] }],
  });
  assert.equal(m.role, 'assistant');
  assert.ok(m.usage.output_tokens > 0);
});

test('what the accounting puts into the system prompt does not cost the cache', async () => {
  const ask = (n) => client.messages.create({
    ...BASE, max_tokens: 1,
    system: [{ type: 'text', text: `x-anthropic-billing-header: cch=${n};` }, { type: 'text', text: 'A system prompt of some length. '.repeat(8) }],
  });
  await ask(1);
  assert.ok((await ask(2)).usage.cache_read_input_tokens > 40);
});

test('errors are Anthropic\'s', async () => {
  await assert.rejects(client.messages.create({ ...BASE, model: 'none' }), (e) => {
    assert.ok(e instanceof NotFoundError);
    assert.equal(e.error.type, 'error');
    assert.equal(e.error.error.type, 'not_found_error');
    assert.match(e.error.request_id, /^req-/);
    return true;
  });
  await assert.rejects(client.messages.create({ ...BASE, messages: [] }), (e) => {
    assert.ok(e instanceof BadRequestError);
    assert.equal(e.error.error.type, 'invalid_request_error');
    return true;
  });
  await assert.rejects(client.messages.create({ ...BASE, messages: [{ role: 'user', content: 'word '.repeat(20000) }] }), (e) => {
    assert.ok(e instanceof BadRequestError);
    assert.match(e.error.error.message, /^prompt is too long: \d+ tokens > \d+ maximum$/); // what agents look for
    return true;
  });
  const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: png } };
  await assert.rejects(
    client.messages.create({ ...BASE, messages: [{ role: 'user', content: [image, { type: 'text', text: 'What is this?' }] }] }),
    (e) => e instanceof APIError && e.status === 400 && /image/.test(e.message),
  );
  const wrong = await fetch(`${hub.url}/v1/messages`, {
    method: 'POST', headers: { 'anthropic-version': 'yesterday' }, body: JSON.stringify(BASE),
  });
  assert.equal(wrong.status, 400);
  assert.equal((await wrong.json()).error.type, 'invalid_request_error');
});

test('which stop sequence it was, from another provider', async () => {
  const up = await startUpstream();
  const remote = await startHub({ env: { ANTHROPIC_API_KEY: 'sk-ant-1', ANTHROPIC_BASE_URL: up.url } });
  try {
    up.answer = { text: 'one two', finish: 'stop_sequence', stopSequence: '##' };
    const other = new Anthropic({ baseURL: remote.url, apiKey: 'any', maxRetries: 0 });
    const params = { ...BASE, model: 'anthropic/claude-x', stop_sequences: ['##'] };
    for (const m of [await other.messages.create(params), await other.messages.stream(params).finalMessage()]) {
      assert.equal(textOf(m), 'one two');
      assert.equal(m.stop_reason, 'stop_sequence');
      assert.equal(m.stop_sequence, '##');
    }
  } finally {
    await remote.stop();
    await up.close();
  }
});

test('leaving a stream stops the generation', async () => {
  const stream = await client.messages.create({ ...BASE, max_tokens: 900, stream: true, messages: [{ role: 'user', content: 'Tell me a long story.' }] });
  for await (const ev of stream) {
    if (ev.type !== 'content_block_delta') continue;
    stream.controller.abort();
    break;
  }
  await until(async () => (await (await fetch(`${hub.url}/health`)).json()).running === 0, 20000, 'the end of the generation');
});

test('a key goes into x-api-key', async () => {
  const guarded = await startHub({ env: { HEARTH_AUTH: 'on' } });
  try {
    const stranger = new Anthropic({ baseURL: guarded.url, apiKey: 'hth_wrong', maxRetries: 0 });
    await assert.rejects(stranger.messages.create(BASE), (e) => {
      assert.ok(e instanceof AuthenticationError);
      assert.equal(e.error.error.type, 'authentication_error');
      return true;
    });
    const v1 = async (path, body, token) => {
      const r = await fetch(`${guarded.url}/api/v1${path}`, {
        method: 'POST', body: JSON.stringify(body),
        headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
      });
      assert.ok(r.ok, `${path}: ${r.status}`);
      return r.json();
    };
    const account = { username: 'ada', password: 'correct horse battery', email: 'ada@example.org' };
    await v1('/auth/register', account);
    const { access_token } = await v1('/auth/login', account);
    const key = async (scopes) => (await v1('/auth/keys', { name: `k-${scopes}`, scopes }, access_token)).key;
    const user = new Anthropic({ baseURL: guarded.url, apiKey: await key(['chat']), maxRetries: 0 });
    assert.match(textOf(await user.messages.create(BASE)), /\S/);
    assert.ok((await user.messages.countTokens({ model: 'hearth-tiny', messages: HI })).input_tokens > 0);
    const other = new Anthropic({ baseURL: guarded.url, apiKey: await key(['models']), maxRetries: 0 });
    await assert.rejects(other.messages.create(BASE), (e) => e.status === 403 && e.error.error.type === 'permission_error');
  } finally {
    await guarded.stop();
  }
});
