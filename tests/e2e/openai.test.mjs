// The OpenAI surface with OpenAI's own client, as apps use it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import OpenAI, { APIError, BadRequestError, NotFoundError } from 'openai';

import { startHub } from './support/hearth.mjs';

let hub;
let client;

const HI = [{ role: 'user', content: 'Hello, who are you?' }];
const WEATHER = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'The weather of a city.',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

before(async () => {
  hub = await startHub();
  client = new OpenAI({ baseURL: `${hub.url}/v1`, apiKey: 'any', maxRetries: 0 });
});
after(() => hub?.stop());

async function health() {
  return (await fetch(`${hub.url}/health`)).json();
}

/** Waits until the hub generates nothing any more. */
async function idle(ms = 20000) {
  const until = performance.now() + ms;
  for (;;) {
    const h = await health();
    if (h.running === 0 && h.waiting === 0) return performance.now();
    assert.ok(performance.now() < until, `still busy: ${JSON.stringify(h)}`);
    await new Promise((r) => setTimeout(r, 10));
  }
}

test('models: list, one, none', async () => {
  const ids = [];
  for await (const m of client.models.list()) ids.push(m.id);
  assert.ok(ids.includes('hearth-tiny'), ids.join());
  assert.equal((await client.models.retrieve('hearth-tiny')).owned_by, 'hearth');
  await assert.rejects(client.models.retrieve('org/none'), (e) => {
    assert.ok(e instanceof NotFoundError);
    assert.equal(e.code, 'model_not_found');
    return true;
  });
});

test('a whole answer', async () => {
  const r = await client.chat.completions.create({ model: 'hearth-tiny', messages: HI, max_tokens: 8, temperature: 0 });
  assert.equal(r.object, 'chat.completion');
  assert.equal(r.model, 'hearth-tiny');
  assert.equal(r.choices[0].message.role, 'assistant');
  assert.match(r.choices[0].message.content, /\S/);
  assert.equal(r.choices[0].finish_reason, 'length');
  assert.equal(r.usage.completion_tokens, 8);
  assert.equal(r.usage.total_tokens, r.usage.prompt_tokens + 8);
});

test('the same seed gives the same answer', async () => {
  const ask = () => client.chat.completions.create({ model: '', messages: HI, max_tokens: 8, temperature: 1, seed: 7 });
  assert.equal((await ask()).choices[0].message.content, (await ask()).choices[0].message.content);
});

test('a stream: role first, one id, usage last with empty choices', async () => {
  const stream = await client.chat.completions.create({
    model: 'hearth-tiny', messages: HI, max_tokens: 8, temperature: 0,
    stream: true, stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const c of stream) chunks.push(c);
  assert.deepEqual(chunks[0].choices[0].delta, { role: 'assistant', content: '' });
  for (const key of ['id', 'created', 'model', 'system_fingerprint', 'object']) {
    assert.equal(new Set(chunks.map((c) => c[key])).size, 1, key);
  }
  const last = chunks.at(-1);
  assert.deepEqual(last.choices, []);
  assert.equal(last.usage.completion_tokens, 8);
  for (const c of chunks.slice(0, -1)) assert.equal(c.usage, null);
  assert.equal(chunks.at(-2).choices[0].finish_reason, 'length');
  assert.deepEqual(chunks.at(-2).choices[0].delta, {});
  assert.equal(chunks.filter((c) => c.choices[0]?.finish_reason).length, 1);
});

test('stream and whole answer say the same', async () => {
  const params = { model: 'hearth-tiny', messages: HI, max_tokens: 12, temperature: 0 };
  const whole = await client.chat.completions.create(params);
  const streamed = await client.chat.completions.stream(params).finalChatCompletion();
  assert.equal(streamed.choices[0].message.content, whole.choices[0].message.content);
});

test('stop texts, log probabilities, several answers, logit bias', async () => {
  const first = await client.chat.completions.create({
    model: '', messages: HI, max_tokens: 6, temperature: 0, n: 2, logprobs: true, top_logprobs: 3,
  });
  assert.equal(first.choices.length, 2);
  assert.deepEqual(first.choices.map((c) => c.index), [0, 1]);
  const tokens = first.choices[0].logprobs.content;
  assert.equal(tokens.length, 6);
  for (const t of tokens) {
    assert.ok(t.logprob <= 0);
    assert.equal(t.top_logprobs.length, 3);
    assert.equal(Buffer.from(t.bytes).toString(), t.token);
  }
  assert.equal(tokens.map((t) => t.token).join(''), first.choices[0].message.content);
  const text = first.choices[0].message.content;
  const stop = text.slice(-4, -1);
  const cut = await client.chat.completions.create({ model: '', messages: HI, max_tokens: 6, temperature: 0, stop });
  assert.equal(cut.choices[0].message.content, text.slice(0, text.indexOf(stop)));
  assert.equal(cut.choices[0].finish_reason, 'stop');
});

test('JSON that matches a schema', async () => {
  const r = await client.chat.completions.create({
    model: 'hearth-tiny', messages: HI, max_tokens: 60, temperature: 0,
    response_format: {
      type: 'json_schema',
      json_schema: {
        name: 'mood', strict: true,
        schema: {
          type: 'object', additionalProperties: false, required: ['mood', 'sure'],
          properties: { mood: { enum: ['good', 'bad'] }, sure: { type: 'boolean' } },
        },
      },
    },
  });
  const v = JSON.parse(r.choices[0].message.content);
  assert.ok(['good', 'bad'].includes(v.mood));
  assert.equal(typeof v.sure, 'boolean');
});

test('a named tool is called, whole and streamed', async () => {
  const params = {
    model: 'hearth-tiny', max_tokens: 80, temperature: 0, tools: [WEATHER],
    messages: [{ role: 'user', content: 'What is the weather in Paris?' }],
    tool_choice: { type: 'function', function: { name: 'get_weather' } },
  };
  const whole = await client.chat.completions.create(params);
  const call = whole.choices[0].message.tool_calls[0];
  assert.equal(call.type, 'function');
  assert.equal(call.function.name, 'get_weather');
  assert.equal(typeof JSON.parse(call.function.arguments).city, 'string');
  assert.equal(whole.choices[0].finish_reason, 'tool_calls');
  assert.ok(call.id);

  const names = [];
  const stream = await client.chat.completions.create({ ...params, stream: true });
  let text = '';
  for await (const c of stream) {
    for (const t of c.choices[0]?.delta.tool_calls ?? []) {
      assert.equal(t.index, 0);
      if (t.function.name) names.push([t.id, t.type, t.function.name]);
      text += t.function.arguments;
    }
  }
  assert.equal(names.length, 1);
  assert.deepEqual(names[0].slice(1), ['function', 'get_weather']);
  assert.deepEqual(JSON.parse(text), JSON.parse(call.function.arguments));

  const next = await client.chat.completions.create({
    model: 'hearth-tiny', max_tokens: 4, tools: [WEATHER],
    messages: [...params.messages, whole.choices[0].message, { role: 'tool', tool_call_id: call.id, content: '21 degrees, sunny' }],
  });
  assert.ok(next.choices[0].message);
});

test('raw completions: several prompts, echo', async () => {
  const r = await client.completions.create({ model: 'hearth-tiny', prompt: ['One, two,', 'Red,'], max_tokens: 3, n: 2, temperature: 0, echo: true });
  assert.equal(r.object, 'text_completion');
  assert.deepEqual(r.choices.map((c) => c.index), [0, 1, 2, 3]);
  assert.ok(r.choices[1].text.startsWith('One, two,'), r.choices[1].text);
  assert.ok(r.choices[3].text.startsWith('Red,'), r.choices[3].text);
  const stream = await client.completions.create({ model: 'hearth-tiny', prompt: 'One, two,', max_tokens: 3, temperature: 0, stream: true });
  let text = '';
  for await (const c of stream) text += c.choices[0].text;
  assert.equal(`One, two,${text}`, r.choices[0].text);
});

test('embeddings: the client asks for base64 by itself, and decodes it', async () => {
  const input = ['The cat sleeps.', 'A cat is sleeping.', 'Taxes are due in May.'];
  const plain = await client.embeddings.create({ model: 'hearth-tiny-embed', input, encoding_format: 'float' });
  const coded = await client.embeddings.create({ model: 'hearth-tiny-embed', input });
  assert.equal(plain.data.length, 3);
  coded.data.forEach((d, i) => {
    assert.equal(d.index, i);
    assert.equal(d.embedding.length, plain.data[i].embedding.length);
    d.embedding.forEach((x, k) => assert.ok(Math.abs(x - plain.data[i].embedding[k]) < 1e-5));
  });
  const dot = (a, b) => a.reduce((s, x, i) => s + x * b[i], 0);
  const [a, b, c] = plain.data.map((d) => d.embedding);
  assert.ok(Math.abs(dot(a, a) - 1) < 1e-4);
  assert.ok(dot(a, b) > dot(a, c), 'similar texts have similar vectors');
  const short = await client.embeddings.create({ model: '', input: 'x', dimensions: 8, encoding_format: 'float' });
  assert.equal(short.data[0].embedding.length, 8);
  assert.ok(Math.abs(dot(short.data[0].embedding, short.data[0].embedding) - 1) < 1e-4);
  await assert.rejects(client.embeddings.create({ model: '', input: 'x', dimensions: 100000 }), BadRequestError);
});

test('errors have the right class, code and param, in streams too', async () => {
  const cases = [
    [{ messages: [] }, '/messages'],
    [{ messages: HI, temperature: -1 }, '/temperature'],
    [{ messages: HI, top_p: 7 }, '/top_p'],
    [{ messages: [{ role: 'robot', content: 'x' }] }, '/messages/0/role'],
    [{ messages: HI, tools: [WEATHER], tool_choice: { type: 'function', function: { name: 'none' } } }, '/tool_choice/function/name'],
  ];
  for (const [body, param] of cases) {
    for (const stream of [false, true]) {
      await assert.rejects(client.chat.completions.create({ model: '', ...body, stream }), (e) => {
        assert.ok(e instanceof BadRequestError, String(e));
        assert.equal(e.param, param);
        assert.equal(e.type, 'invalid_request_error');
        assert.ok(e.requestID);
        return true;
      });
    }
  }
  const long = [{ role: 'user', content: 'word '.repeat(20000) }];
  for (const stream of [false, true]) {
    await assert.rejects(client.chat.completions.create({ model: 'hearth-tiny', messages: long, stream }), (e) => {
      assert.equal(e.code, 'context_length_exceeded');
      assert.match(e.message, /\d{5}.*\d{3}/);
      return true;
    });
    await assert.rejects(client.chat.completions.create({ model: 'none', messages: HI, stream }), NotFoundError);
  }
});

test('a schema that cannot be used is named', async () => {
  const schema = { type: 'object', properties: { a: { $ref: '#/nowhere' } } };
  await assert.rejects(
    client.chat.completions.create({
      model: 'hearth-tiny', messages: HI,
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
    }),
    (e) => e instanceof BadRequestError && e.code === 'invalid_schema' && /^\/response_format/.test(e.param),
  );
});

test('an error inside a stream is thrown by the client', async () => {
  // The provider can't be made to fail from outside, so the bytes are replayed: this is what
  // src/api/openai/answer.c sends (its own test checks that it does).
  const replay = new OpenAI({
    baseURL: 'http://replay', apiKey: 'x', maxRetries: 0,
    fetch: async () => new Response(
      'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
        + ': queued position=3\n\n'
        + 'data: {"error":{"message":"the model caught fire","type":"server_error","param":null,"code":"engine_error","request_id":"r"}}\n\ndata: [DONE]\n\n',
      { headers: { 'content-type': 'text/event-stream' } },
    ),
  });
  const stream = await replay.chat.completions.create({ model: 'm', messages: HI, stream: true });
  let chunks = 0;
  await assert.rejects(async () => {
    for await (const _ of stream) chunks++;
  }, (e) => e instanceof APIError && e.code === 'engine_error' && /caught fire/.test(e.message));
  assert.equal(chunks, 1);
});

test('a client that goes away stops its generation', async () => {
  const stream = await client.chat.completions.create({ model: 'hearth-tiny', messages: HI, max_tokens: 900, stream: true, ignore_eos: true });
  for await (const c of stream) {
    if (c.choices[0]?.delta.content) break; // leaves the loop: the client closes the connection
  }
  await idle();
  const whole = new AbortController();
  const pending = client.chat.completions.create(
    { model: 'hearth-tiny', messages: HI, max_tokens: 900, ignore_eos: true }, { signal: whole.signal });
  while ((await health()).running === 0) await new Promise((r) => setTimeout(r, 5));
  whole.abort();
  await assert.rejects(pending);
  await idle();
});

test('unknown fields are ignored, known ones of the wrong type are not', async () => {
  const r = await client.chat.completions.create({
    model: '', messages: HI, max_tokens: 1, user: 'u', metadata: { a: 'b' }, store: true, service_tier: 'auto', something_new: [1],
  });
  assert.equal(r.choices.length, 1);
  await assert.rejects(client.chat.completions.create({ model: '', messages: HI, max_tokens: '1' }), BadRequestError);
});
