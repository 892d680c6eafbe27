// Each provider's own protocol, through the real binary: what the server on the other side is sent,
// and what a client of OpenAI's API gets of its answer. The servers are scripted
// (support/upstream.mjs); all five are configured as a person does, by settings.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, beforeEach, test } from 'node:test';
import { startHub } from './support/hearth.mjs';
import { startUpstream, vectorOf } from './support/upstream.mjs';

const secrets = {
  openai: 'sk-openai-4f1c', anthropic: 'sk-ant-77aa', cohere: 'co-13be9d', aihub: 'lovelace-9921',
};
const kinds = {
  openai: { path: '/v1/chat/completions', auth: ['authorization', `Bearer ${secrets.openai}`] },
  anthropic: { path: '/v1/messages', auth: ['x-api-key', secrets.anthropic] },
  ollama: { path: '/api/chat', auth: ['authorization', undefined] },
  cohere: { path: '/v2/chat', auth: ['authorization', `Bearer ${secrets.cohere}`] },
  aihub: { path: '/v1/chat/completions', auth: ['authorization', 'Bearer token-1'] },
};
const names = Object.keys(kinds);
const up = {};
let hub;

before(async () => {
  for (const name of names) up[name] = await startUpstream();
  up.aihub.oauth.password = secrets.aihub;
  hub = await startHub({
    env: {
      OPENAI_API_KEY: secrets.openai, OPENAI_BASE_URL: `${up.openai.url}/v1`,
      ANTHROPIC_API_KEY: secrets.anthropic, ANTHROPIC_BASE_URL: up.anthropic.url,
      EMBEDDINGS_BASEURL: up.ollama.url,
      COHERE_API_KEY: secrets.cohere, COHERE_BASE_URL: up.cohere.url,
      AIHUB_URL: up.aihub.url, AIHUB_KEYCLOAK_HOST: up.aihub.url, AIHUB_CLIENT_ID: 'hearth',
      AIHUB_USERNAME: 'ada', AIHUB_PASSWORD: secrets.aihub,
    },
  });
});

beforeEach(() => {
  for (const name of names) {
    Object.assign(up[name], {
      answer: { text: 'Hello there, this is upstream.' }, faults: [], requests: [], gapMs: 0,
    });
  }
});

after(async () => {
  await hub?.stop();
  for (const name of names) await up[name].close();
});

function post(path, body, options = {}) {
  return fetch(`${hub.url}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    ...options,
  });
}

const chat = (name, body, options) => post('/v1/chat/completions', {
  model: `${name}/up-large`, messages: [{ role: 'user', content: 'Say something.' }], max_tokens: 64,
  ...body,
}, options);

async function message(r) {
  const text = await r.text();
  assert.equal(r.status, 200, text);
  return JSON.parse(text).choices[0];
}

/** The chunks of a stream, put together as clients do. */
async function collect(r) {
  assert.equal(r.status, 200, r.status === 200 ? '' : await r.text());
  const out = { content: '', reasoning: '', calls: [], finish: null, usage: null, pieces: 0 };
  for (const line of (await r.text()).split('\n')) {
    if (!line.startsWith('data: ') || line === 'data: [DONE]') continue;
    const chunk = JSON.parse(line.slice(6));
    assert.equal(chunk.error, undefined, line);
    out.usage = chunk.usage ?? out.usage;
    const choice = chunk.choices[0];
    if (!choice) continue;
    out.finish = choice.finish_reason ?? out.finish;
    if (choice.delta.content) out.pieces++;
    out.content += choice.delta.content ?? '';
    out.reasoning += choice.delta.reasoning_content ?? '';
    for (const call of choice.delta.tool_calls ?? []) {
      const at = out.calls[call.index] ??= { id: '', name: '', arguments: '' };
      at.id += call.id ?? '';
      at.name += call.function?.name ?? '';
      at.arguments += call.function?.arguments ?? '';
    }
  }
  return out;
}

const generated = (name) => up[name].requests.filter((r) => r.path === kinds[name].path);

for (const name of names) {
  const { path, auth } = kinds[name];

  test(`${name}: answers at once and as a stream, with its key in the right place`, async () => {
    const r = await chat(name, {});
    assert.equal(r.headers.get('x-hearth-provider'), name);
    assert.equal(r.headers.get('x-hearth-model'), 'up-large');
    assert.match(r.headers.get('x-hearth-route-reason'), new RegExp(`^${name}: `));
    const whole = JSON.parse(await r.text());
    assert.equal(whole.choices[0].message.content, 'Hello there, this is upstream.');
    assert.equal(whole.choices[0].finish_reason, 'stop');
    assert.deepEqual([whole.usage.prompt_tokens, whole.usage.completion_tokens], [11, 7]);
    const stream = await collect(await chat(name, {
      stream: true, stream_options: { include_usage: true },
    }));
    assert.equal(stream.content, 'Hello there, this is upstream.');
    assert.equal(stream.finish, 'stop');
    assert.ok(stream.pieces > 1);
    assert.equal(stream.usage.completion_tokens, 7);
    const sent = generated(name);
    assert.equal(sent.length, 2);
    for (const { method, body, headers } of sent) {
      assert.equal(method, 'POST');
      assert.equal(headers[auth[0]], auth[1]);
      assert.equal(headers['content-type'], 'application/json');
      assert.equal(body.model, 'up-large');
      assert.equal(body.stream, true);
    }
  });

  test(`${name}: is told of the sampling and of where to stop`, async () => {
    await message(await chat(name, { temperature: 0.25, max_tokens: 33, stop: ['END'], seed: 7 }));
    const { body } = generated(name)[0];
    const said = name === 'ollama'
      ? [body.options.temperature, body.options.num_predict, body.options.stop, body.options.seed]
      : [body.temperature, body.max_tokens ?? body.max_completion_tokens,
        body.stop ?? body.stop_sequences, body.seed];
    assert.deepEqual(said, [0.25, 33, ['END'], name === 'anthropic' ? undefined : 7]);
  });

  test(`${name}: a length that is reached is the answer's end`, async () => {
    up[name].answer = {
      text: 'Cut',
      finish: { anthropic: 'max_tokens', cohere: 'MAX_TOKENS' }[name] ?? 'length',
    };
    assert.equal((await message(await chat(name, {}))).finish_reason, 'length');
  });

  test(`${name}: calls tools, and gets their results`, async () => {
    const tools = [{
      type: 'function',
      function: {
        name: 'get_weather', description: 'The weather of a city.',
        parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
      },
    }];
    const messages = [{ role: 'system', content: 'Be kind.' }, { role: 'user', content: 'Paris, and Rome?' }];
    up[name].answer = {
      text: '',
      toolCalls: [
        { id: 'call_a', name: 'get_weather', arguments: { city: 'Paris' } },
        { id: 'call_b', name: 'get_weather', arguments: { city: 'Rome' } },
      ],
    };
    const first = await message(await chat(name, { messages, tools }));
    assert.equal(first.finish_reason, 'tool_calls');
    const streamed = await collect(await chat(name, { messages, tools, stream: true }));
    for (const calls of [first.message.tool_calls.map((c) => c.function), streamed.calls]) {
      assert.deepEqual(calls.map((c) => [c.name, JSON.parse(c.arguments)]),
        [['get_weather', { city: 'Paris' }], ['get_weather', { city: 'Rome' }]]);
    }
    assert.equal(streamed.finish, 'tool_calls');

    up[name].answer = { text: 'Sun, and rain.' };
    const second = await message(await chat(name, {
      tools,
      messages: [
        ...messages, first.message,
        ...first.message.tool_calls.map((c, i) => ({
          role: 'tool', tool_call_id: c.id, content: ['sun', 'rain'][i],
        })),
      ],
    }));
    assert.equal(second.message.content, 'Sun, and rain.');
    const { body } = generated(name).at(-1);
    const ids = first.message.tool_calls.map((c) => c.id);
    if (name === 'anthropic') {
      assert.deepEqual(body.tools[0].input_schema, tools[0].function.parameters);
      assert.deepEqual(body.system, [{ type: 'text', text: 'Be kind.' }]);
      assert.deepEqual(body.messages.map((m) => m.role), ['user', 'assistant', 'user']);
      assert.deepEqual(body.messages[1].content.map((b) => [b.type, b.id, b.input?.city]),
        [['tool_use', ids[0], 'Paris'], ['tool_use', ids[1], 'Rome']]);
      assert.deepEqual(body.messages[2].content.map((b) => [b.type, b.tool_use_id, b.content[0].text]),
        [['tool_result', ids[0], 'sun'], ['tool_result', ids[1], 'rain']]);
    } else {
      assert.deepEqual(body.tools[0].function.parameters, tools[0].function.parameters);
      assert.deepEqual(body.messages.map((m) => m.role), ['system', 'user', 'assistant', 'tool', 'tool']);
      assert.deepEqual(body.messages[2].tool_calls.map((c) => c.function.arguments),
        name === 'ollama' ? [{ city: 'Paris' }, { city: 'Rome' }] : ['{"city":"Paris"}', '{"city":"Rome"}']);
      assert.deepEqual(body.messages.slice(3).map((m) => [m.tool_call_id, m.content]),
        [[ids[0], 'sun'], [ids[1], 'rain']]);
      if (name === 'ollama') assert.equal(body.messages[3].tool_name, 'get_weather');
    }
  });

  test(`${name}: is held to a JSON schema in its own way`, async () => {
    const schema = {
      type: 'object', properties: { age: { type: 'integer' } }, required: ['age'],
      additionalProperties: false,
    };
    up[name].answer = name === 'anthropic'
      ? { text: '', toolCalls: [{ name: 'answer_as_json', arguments: { age: 42 } }] }
      : { text: '{"age":42}' };
    const choice = await message(await chat(name, {
      response_format: { type: 'json_schema', json_schema: { name: 'person', schema } },
    }));
    assert.deepEqual(JSON.parse(choice.message.content), { age: 42 });
    assert.equal(choice.finish_reason, 'stop');
    assert.equal(choice.message.tool_calls, undefined);
    const { body } = generated(name)[0];
    const said = {
      openai: () => body.response_format.json_schema.schema,
      aihub: () => body.response_format.json_schema.schema,
      anthropic: () => body.tool_choice.name === body.tools[0].name && body.tools[0].input_schema,
      ollama: () => body.format,
      cohere: () => body.response_format.json_schema,
    }[name]();
    assert.deepEqual(said, schema);
  });

  test(`${name}: gets a picture's bytes`, async () => {
    const data = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=';
    const choice = await message(await chat(name, {
      messages: [{
        role: 'user',
        content: [
          { type: 'text', text: 'What is it?' },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${data}` } },
        ],
      }],
    }));
    assert.equal(choice.message.content, 'Hello there, this is upstream.');
    const sent = generated(name)[0].body.messages[0];
    if (name === 'ollama') assert.deepEqual(sent.images, [data]);
    else if (name === 'anthropic') {
      assert.deepEqual(sent.content[0].source, { type: 'base64', media_type: 'image/png', data });
    } else assert.equal(sent.content[1].image_url.url, `data:image/png;base64,${data}`);
  });

  test(`${name}: its thoughts are told as thoughts`, async () => {
    up[name].answer = { text: 'Four.', reasoning: 'Two and two.' };
    const choice = await message(await chat(name, {}));
    assert.equal(choice.message.reasoning_content, 'Two and two.');
    assert.equal(choice.message.content, 'Four.');
    const stream = await collect(await chat(name, { stream: true }));
    assert.deepEqual([stream.reasoning, stream.content], ['Two and two.', 'Four.']);
  });

  test(`${name}: a server that does not stream is understood, too`, async () => {
    up[name].faults.push({ kind: 'whole' });
    up[name].answer = { text: 'All of it.', toolCalls: [{ id: 'c', name: 'f', arguments: { a: 1 } }] };
    const choice = await message(await chat(name, {
      tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }],
    }));
    assert.equal(choice.message.content, 'All of it.');
    assert.equal(choice.message.tool_calls[0].function.arguments, '{"a":1}');
  });

  test(`${name}: a client that leaves ends the request there`, async () => {
    up[name].gapMs = 50;
    up[name].answer = { text: 'word '.repeat(2000) };
    const open = up[name].open;
    const abort = new AbortController();
    const r = await chat(name, { stream: true }, { signal: abort.signal });
    await r.body.getReader().read();
    abort.abort();
    const until = Date.now() + 20000;
    while (up[name].open > open && Date.now() < until) await new Promise((done) => setTimeout(done, 20));
    assert.ok(up[name].open <= open, 'the connection is still there');
    const { requests } = await (await fetch(`${hub.url}/v1/requests`)).json().catch(() => ({}));
    if (requests) assert.ok(!requests.some((q) => q.state === 'running'));
  });

  test(`${name}: a key that is refused does not come out`, async () => {
    up[name].faults.push({
      kind: 'status', status: 401,
      message: `Incorrect key ${secrets[name] ?? 'none'} ${up.aihub.token}`, type: 'authentication_error', always: true,
    });
    const r = await chat(name, {});
    assert.equal(r.status, 502);
    const text = await r.text();
    assert.match(text, /HTTP 401/);
    for (const secret of [...Object.values(secrets), 'token-']) assert.ok(!text.includes(secret), text);
  });

  if (path === kinds.anthropic.path) {
    test('anthropic: has no embeddings, and says so', async () => {
      const r = await post('/v1/embeddings', { model: 'anthropic/e', input: 'a' });
      assert.equal(r.status, 400);
      assert.match(await r.text(), /no embeddings|can't do/);
    });
    continue;
  }

  test(`${name}: vectors of texts, in order and of length 1`, async () => {
    const input = Array.from({ length: 300 }, (_, i) => `text number ${i}`);
    const r = await post('/v1/embeddings', { model: `${name}/up-embed`, input });
    const text = await r.text();
    assert.equal(r.status, 200, text);
    const { data } = JSON.parse(text);
    assert.equal(data.length, 300);
    for (const i of [0, 95, 96, 255, 256, 299]) {
      const want = vectorOf(input[i]);
      const length = Math.hypot(...want);
      data[i].embedding.forEach((v, k) => assert.ok(Math.abs(v - want[k] / length) < 1e-5));
    }
  });
}

test('anthropic: thoughts go back with the signature they came with', async () => {
  up.anthropic.answer = {
    text: '', reasoning: 'I need the weather.', signature: 'c2lnLTQy',
    toolCalls: [{ id: 'toolu_9', name: 'get_weather', arguments: {} }],
  };
  const tools = [{ name: 'get_weather', description: 'x', input_schema: { type: 'object', properties: {} } }];
  const ask = (messages) => post('/v1/messages', {
    model: 'anthropic/up-large', max_tokens: 4000, thinking: { type: 'enabled', budget_tokens: 2000 }, tools, messages,
  }, { headers: { 'Content-Type': 'application/json', 'anthropic-version': '2023-06-01' } });
  const r = await ask([{ role: 'user', content: 'Weather?' }]);
  const first = await r.json();
  assert.deepEqual(first.content[0], { type: 'thinking', thinking: 'I need the weather.', signature: 'c2lnLTQy' });
  up.anthropic.answer = { text: 'Sun.' };
  const second = await (await ask([
    { role: 'user', content: 'Weather?' },
    { role: 'assistant', content: first.content },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_9', content: 'sun' }] },
  ])).json();
  assert.equal(second.content[0].text, 'Sun.');
  const { body } = generated('anthropic').at(-1);
  assert.deepEqual(body.messages[1].content[0],
    { type: 'thinking', thinking: 'I need the weather.', signature: 'c2lnLTQy' });
  assert.deepEqual(body.thinking, { type: 'enabled', budget_tokens: 2000 });
});

test('aihub: signs in once for many requests, and again when its token is refused', async () => {
  const count = up.aihub.tokens.length;
  assert.ok(count <= 2, `${count} tokens`); // the test of refused keys asks for another one
  assert.deepEqual(up.aihub.tokens[0], {
    grant_type: 'password', client_id: 'hearth', username: 'ada', password: secrets.aihub,
  });
  up.aihub.faults.push({ kind: 'status', status: 401 });
  await message(await chat('aihub', {}));
  assert.equal(up.aihub.tokens.length, count + 1);
  assert.equal(generated('aihub').at(-1).headers.authorization, `Bearer token-${count + 1}`);
});

test('aihub: without AIHUB_MODEL the hub there has one', async () => {
  up.aihub.answer = { text: 'Mine.', model: 'their-default' };
  const r = await post('/v1/chat/completions', { source: 'aihub', messages: [{ role: 'user', content: 'hi' }] });
  assert.equal(r.headers.get('x-hearth-provider'), 'aihub');
  assert.equal(r.headers.get('x-hearth-model'), 'their-default');
  assert.equal((await message(r)).message.content, 'Mine.');
  assert.ok(!('model' in generated('aihub')[0].body));
});

test('cohere: documents are scored', async () => {
  const r = await post('/v1/rerank', {
    model: 'cohere/rerank-v3.5', query: 'red apples', documents: ['a blue car', 'red apples'],
  });
  const text = await r.text();
  assert.equal(r.status, 200, text);
  const { results } = JSON.parse(text);
  assert.deepEqual(results.map((x) => x.index), [1, 0]);
  assert.ok(Math.abs(results[0].relevance_score - 0.2) < 1e-3); // as Cohere says it
  assert.ok(Math.abs(results[1].relevance_score - 0.1) < 1e-3);
  const other = await post('/v1/rerank', { model: 'openai/x', query: 'q', documents: ['a'] });
  assert.equal(other.status, 400);
  assert.match(await other.text(), /reranking/);
});

// What new models don't take any more changes faster than hubs are updated.
const refusals = {
  openai: ['temperature', "Unsupported value: 'temperature' does not support 0.5 with this model."],
  anthropic: ['thinking', 'adaptive thinking is not supported on this model'],
  ollama: ['think', '"up-large" does not support thinking'],
  cohere: ['thinking', 'thinking is not supported by this model'],
  aihub: ['reasoning_effort', 'Unrecognized request argument supplied: reasoning_effort'],
};
for (const [name, [member, words]] of Object.entries(refusals)) {
  test(`${name}: is asked again without a hint that its model does not take`, async () => {
    up[name].faults.push({ kind: 'status', status: 400, message: words, type: 'invalid_request_error' });
    const choice = await message(await chat(name, {
      temperature: 0.5, reasoning_effort: 'low', max_tokens: 4000,
    }));
    assert.equal(choice.message.content, 'Hello there, this is upstream.');
    const sent = generated(name);
    assert.equal(sent.length, 2);
    assert.ok(member in sent[0].body);
    assert.ok(!(member in sent[1].body));
    assert.deepEqual({ ...sent[1].body, [member]: sent[0].body[member] }, sent[0].body);
    up[name].faults.push(...[1, 2].map(() => ({ kind: 'status', status: 400, message: words })));
    const again = await chat(name, { temperature: 0.5, reasoning_effort: 'low', max_tokens: 4000 });
    assert.ok([400, 502].includes(again.status)); // it was not the hint after all
    await again.text();
  });
}

test('no secret is in the log', () => {
  const log = readFileSync(hub.logFile, 'utf8');
  assert.match(log, /anthropic/);
  for (const secret of [...Object.values(secrets), 'Bearer', 'token-1', 'token-2']) {
    assert.ok(!log.includes(secret), `the log has ${secret}`);
  }
});
