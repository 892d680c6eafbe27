// Ollama's API field by field, against the documented examples: every member that is there, its type, and in which
// order the lines of a stream come. Plain HTTP: what its own client does with it is ollama.test.mjs.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { startHub } from './support/hearth.mjs';

let hub;
let url; // of Ollama's port
before(async () => {
  hub = await startHub({ args: ['--ollama-port', '0'] });
  url = /find it at (http:\S+),/.exec(hub.log)[1];
});
after(() => hub?.stop());

const HI = [{ role: 'user', content: 'Hello, who are you?' }];
const short = { num_predict: 6, temperature: 0 };
const WEATHER = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'The weather of a city.',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

async function post(path, body, base = url) {
  const r = await fetch(base + path, { method: 'POST', body: JSON.stringify(body) });
  const text = await r.text();
  return { status: r.status, type: r.headers.get('content-type'), text, lines: text.split('\n') };
}
const whole = async (path, body) => {
  const r = await post(path, { stream: false, ...body });
  assert.equal(r.type, 'application/json', r.text);
  return { status: r.status, ...JSON.parse(r.text) };
};
async function stream(path, body) {
  const r = await post(path, body);
  assert.equal(r.status, 200, r.text);
  assert.equal(r.type, 'application/x-ndjson');
  assert.equal(r.lines.at(-1), '', 'the last line ends');
  return r.lines.slice(0, -1).map((l) => JSON.parse(l));
}

const isTime = (s) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(s);
const numbers = ['total_duration', 'load_duration', 'prompt_eval_count', 'prompt_eval_duration', 'eval_count', 'eval_duration'];
function checkNumbers(last) {
  for (const name of numbers) assert.ok(Number.isInteger(last[name]) && last[name] >= 0, `${name}: ${last[name]}`);
  assert.ok(last.total_duration >= last.prompt_eval_duration + last.eval_duration);
}

test('the first thing that clients ask', async () => {
  for (const method of ['GET', 'HEAD']) {
    const r = await fetch(`${url}/`, { method });
    assert.equal(r.status, 200);
    assert.equal(await r.text(), method === 'GET' ? 'Ollama is running' : '');
  }
  assert.match((await (await fetch(`${url}/api/version`)).json()).version, /^\d+\.\d+\.\d+$/);
  // On the hub's own port only those who say that they are Ollama's.
  assert.equal((await (await fetch(`${hub.url}/`)).json()).status, 'healthy');
  const r = await fetch(`${hub.url}/`, { headers: { 'user-agent': 'ollama/0.12.0 (amd64 linux)' } });
  assert.equal(await r.text(), 'Ollama is running');
  // And the whole of the hub is at both.
  assert.equal((await fetch(`${url}/v1/models`)).status, 200);
  assert.equal((await fetch(`${hub.url}/api/tags`)).status, 200);
});

test('a streamed chat', async () => {
  const lines = await stream('/api/chat', { model: 'hearth-tiny', messages: HI, options: short });
  for (const l of lines.slice(0, -1)) {
    assert.deepEqual(Object.keys(l), ['model', 'created_at', 'message', 'done']);
    assert.equal(l.model, 'hearth-tiny');
    assert.ok(isTime(l.created_at), l.created_at);
    assert.deepEqual(Object.keys(l.message), ['role', 'content']);
    assert.equal(l.message.role, 'assistant');
    assert.equal(l.done, false);
  }
  const last = lines.at(-1);
  assert.deepEqual(Object.keys(last), ['model', 'created_at', 'message', 'done', 'done_reason', ...numbers]);
  assert.deepEqual(last.message, { role: 'assistant', content: '' });
  assert.equal(last.done, true);
  assert.equal(last.done_reason, 'length');
  assert.equal(last.eval_count, 6);
  checkNumbers(last);
  const w = await whole('/api/chat', { model: 'hearth-tiny', messages: HI, options: short });
  assert.equal(w.message.content, lines.map((l) => l.message.content).join(''));
});

test('a whole chat: the names of models as they were asked', async () => {
  for (const model of ['hearth-tiny', 'hearth-tiny:latest', 'Hearth-Tiny']) {
    const w = await whole('/api/chat', { model, messages: HI, options: short });
    assert.deepEqual(Object.keys(w), ['status', 'model', 'created_at', 'message', 'done', 'done_reason', ...numbers]);
    assert.equal(w.model, model);
    assert.match(w.message.content, /\S/);
    checkNumbers(w);
  }
});

test('generate: streamed, whole, and going on with the context', async () => {
  const lines = await stream('/api/generate', { model: 'hearth-tiny', prompt: 'Hello', options: short });
  for (const l of lines.slice(0, -1)) assert.deepEqual(Object.keys(l), ['model', 'created_at', 'response', 'done']);
  const last = lines.at(-1);
  assert.deepEqual(Object.keys(last), ['model', 'created_at', 'response', 'done', 'done_reason', 'context', ...numbers]);
  assert.equal(last.response, '');
  assert.ok(last.context.length > 0 && last.context.every(Number.isInteger));
  // The same as a chat with the exchange in it.
  const answer = lines.map((l) => l.response).join('');
  const went = await whole('/api/generate', { model: 'hearth-tiny', prompt: 'And you?', context: last.context, options: short });
  const messages = [{ role: 'user', content: 'Hello' }, { role: 'assistant', content: answer }, { role: 'user', content: 'And you?' }];
  const chat = await whole('/api/chat', { model: 'hearth-tiny', messages, options: short });
  assert.equal(went.response, chat.message.content);
  assert.equal(went.prompt_eval_count, chat.prompt_eval_count);
  for (const context of [[1, 2, 3], [-1], ['a']]) {
    const r = await whole('/api/generate', { model: 'hearth-tiny', prompt: 'x', context });
    assert.equal(r.status, 400);
    assert.match(r.error, /context/);
  }
});

test('generate: system, raw, format, stop', async () => {
  const system = await whole('/api/generate', { model: 'hearth-tiny', prompt: 'Hi', system: 'Be brief.', options: short });
  const chat = await whole('/api/chat', { model: 'hearth-tiny', messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hi' }], options: short });
  assert.equal(system.prompt_eval_count, chat.prompt_eval_count);
  const raw = await whole('/api/generate', { model: 'hearth-tiny', prompt: 'Once upon a time', raw: true, options: short });
  assert.ok(raw.prompt_eval_count < chat.prompt_eval_count, 'no template around it');
  assert.equal(raw.context, undefined);
  assert.equal((await whole('/api/generate', { model: 'hearth-tiny', prompt: 'a', raw: true, system: 'b' })).status, 400);
  const json = await whole('/api/generate', { model: 'hearth-tiny', prompt: 'A person, as JSON', format: 'json', options: { num_predict: 200 } });
  if (json.done_reason === 'stop') assert.equal(typeof JSON.parse(json.response), 'object');
  const schema = { type: 'object', properties: { mood: { enum: ['good', 'bad'] } }, required: ['mood'], additionalProperties: false };
  const mood = await whole('/api/chat', { model: 'hearth-tiny', messages: HI, format: schema, options: { num_predict: 60 } });
  assert.ok(['good', 'bad'].includes(JSON.parse(mood.message.content).mood));
  const stop = raw.response.slice(-3, -1);
  const cut = await whole('/api/generate', { model: 'hearth-tiny', prompt: 'Once upon a time', raw: true, options: { ...short, stop: [stop] } });
  assert.equal(cut.response, raw.response.slice(0, raw.response.indexOf(stop)));
  assert.equal(cut.done_reason, 'stop');
});

test('tools: arguments are an object, in one piece', async () => {
  const body = {
    model: 'hearth-tiny', messages: [{ role: 'user', content: 'What is the weather in Paris?' }], tools: [WEATHER],
    options: { num_predict: 80, temperature: 0 },
  };
  const w = await whole('/api/chat', body);
  const [call] = w.message.tool_calls;
  assert.equal(w.message.content, '');
  assert.deepEqual(call.function.arguments, { city: 'Paris' });
  assert.equal(call.function.name, 'get_weather');
  assert.equal(w.done_reason, 'stop');
  const lines = await stream('/api/chat', body);
  const calls = lines.filter((l) => l.message.tool_calls);
  assert.equal(calls.length, 1);
  assert.equal(calls[0].done, false);
  assert.deepEqual(calls[0].message.tool_calls[0].function.arguments, { city: 'Paris' });
  // The answer of the tool, without an id, as older clients send it.
  const messages = [...body.messages, w.message, { role: 'tool', tool_name: 'get_weather', content: '11 degrees' }];
  const next = await whole('/api/chat', { ...body, messages, options: short });
  assert.equal(next.status, 200);
  assert.match(next.message.content, /\S/);
  // One that was cut off is none.
  const half = await whole('/api/chat', { ...body, options: { num_predict: w.eval_count - 4, temperature: 0 } });
  assert.equal(half.done_reason, 'length');
  assert.equal(half.message.tool_calls, undefined);
});

test('log probabilities', async () => {
  const w = await whole('/api/chat', { model: 'hearth-tiny', messages: HI, logprobs: true, top_logprobs: 2, options: short });
  assert.equal(w.logprobs.length, 6);
  for (const p of w.logprobs) {
    assert.ok(p.logprob <= 0 && p.top_logprobs.length === 2);
    assert.equal(Buffer.from(p.bytes).toString(), p.token);
  }
  assert.equal(w.logprobs.map((p) => p.token).join(''), w.message.content);
  const lines = await stream('/api/chat', { model: 'hearth-tiny', messages: HI, logprobs: true, options: short });
  assert.equal(lines.flatMap((l) => l.logprobs ?? []).length, 6);
});

test('without messages or prompt: loaded, listed, unloaded', async () => {
  const ps = async () => (await (await fetch(`${url}/api/ps`)).json()).models;
  const loaded = await whole('/api/chat', { model: 'hearth-tiny' });
  assert.deepEqual(Object.keys(loaded), ['status', 'model', 'created_at', 'message', 'done', 'done_reason']);
  assert.deepEqual([loaded.message, loaded.done, loaded.done_reason], [{ role: 'assistant', content: '' }, true, 'load']);
  const [m] = await ps();
  assert.deepEqual(Object.keys(m), ['name', 'model', 'size', 'digest', 'details', 'expires_at', 'size_vram', 'context_length']);
  assert.equal(m.name, 'hearth-tiny:latest');
  assert.ok(m.size > 0 && m.context_length > 0 && isTime(m.expires_at));
  assert.ok(Date.parse(m.expires_at) > Date.now() + 1e12, 'for ever');
  const kept = await whole('/api/generate', { model: 'hearth-tiny', keep_alive: '10m' });
  assert.deepEqual([kept.response, kept.done_reason], ['', 'load']);
  const expires = Date.parse((await ps())[0].expires_at) - Date.now();
  assert.ok(expires > 0 && expires <= 600000, String(expires));
  assert.equal((await whole('/api/generate', { model: 'hearth-tiny', keep_alive: 0 })).done_reason, 'unload');
  assert.deepEqual(await ps(), []);
  const [line] = await stream('/api/generate', { model: 'hearth-tiny' });
  assert.equal(line.done_reason, 'load');
  for (const keep_alive of [-1, '-1s', '1h30m', 60, 0.5]) {
    assert.equal((await whole('/api/generate', { model: 'hearth-tiny', keep_alive })).status, 200, String(keep_alive));
  }
  assert.equal((await whole('/api/generate', { model: 'hearth-tiny', keep_alive: 'soon' })).status, 400);
});

test('tags and show', async () => {
  const { models } = await (await fetch(`${url}/api/tags`)).json();
  const m = models.find((t) => t.name === 'hearth-tiny:latest');
  assert.deepEqual(Object.keys(m), ['name', 'model', 'modified_at', 'size', 'digest', 'details']);
  assert.equal(m.model, m.name);
  assert.match(m.digest, /^[0-9a-f]{64}$/);
  assert.deepEqual(Object.keys(m.details), ['parent_model', 'format', 'family', 'families', 'parameter_size', 'quantization_level']);
  assert.deepEqual([m.details.format, m.details.family, m.details.families, m.details.quantization_level], ['gguf', 'llama', ['llama'], 'Q8_0']);
  const s = await whole('/api/show', { model: 'hearth-tiny' });
  for (const name of ['modelfile', 'parameters', 'template', 'details', 'model_info', 'capabilities', 'modified_at']) assert.ok(name in s, name);
  assert.deepEqual(s.details, m.details);
  assert.ok(s.capabilities.includes('completion') && s.capabilities.includes('tools'), s.capabilities.join());
  assert.equal(s.model_info['general.architecture'], 'llama');
  assert.ok(s.model_info['llama.context_length'] > 0 && s.model_info['general.parameter_count'] > 1e6);
  assert.equal(s.model_info['tokenizer.ggml.tokens'], null);
  assert.match(s.modelfile, /^FROM hearth-tiny:latest$/m);
  assert.deepEqual((await whole('/api/show', { name: 'hearth-tiny-embed' })).capabilities, ['embedding']);
});

test('embed and embeddings', async () => {
  const e = await whole('/api/embed', { model: 'hearth-tiny-embed', input: ['one', 'two'] });
  assert.deepEqual(Object.keys(e), ['status', 'model', 'embeddings', 'total_duration', 'load_duration', 'prompt_eval_count']);
  assert.equal(e.embeddings.length, 2);
  const norm = (v) => Math.sqrt(v.reduce((s, x) => s + x * x, 0));
  for (const v of e.embeddings) assert.ok(Math.abs(norm(v) - 1) < 1e-3);
  const one = await whole('/api/embed', { model: 'hearth-tiny-embed', input: 'one' });
  assert.deepEqual(one.embeddings, [e.embeddings[0]]);
  assert.deepEqual((await whole('/api/embeddings', { model: 'hearth-tiny-embed', prompt: 'one' })).embedding, e.embeddings[0]);
  const cut = await whole('/api/embed', { model: 'hearth-tiny-embed', input: 'one', dimensions: 8 });
  assert.equal(cut.embeddings[0].length, 8);
  assert.ok(Math.abs(norm(cut.embeddings[0]) - 1) < 1e-3);
  // Nothing to embed: the model is loaded.
  assert.equal((await whole('/api/embed', { model: 'hearth-tiny', keep_alive: 0 })).status, 200);
  for (const [path, body] of [['/api/embed', { input: [] }], ['/api/embed', { input: '' }], ['/api/embed', {}], ['/api/embeddings', { prompt: '' }]]) {
    assert.equal((await whole('/api/generate', { model: 'hearth-tiny-embed', keep_alive: 0 })).done_reason, 'unload');
    const nothing = await whole(path, { model: 'hearth-tiny-embed', ...body });
    assert.deepEqual(path === '/api/embed' ? nothing.embeddings : nothing.embedding, [], JSON.stringify(nothing));
    const names = (await (await fetch(`${url}/api/ps`)).json()).models.map((m) => m.name);
    assert.ok(names.includes('hearth-tiny-embed:latest'), names.join());
  }
  // Longer than the context: cut, unless that is refused.
  const long = 'word '.repeat(20000);
  assert.equal((await whole('/api/embed', { model: 'hearth-tiny-embed', input: long })).embeddings.length, 1);
  assert.equal((await whole('/api/embed', { model: 'hearth-tiny-embed', input: long, truncate: false })).status, 400);
});

test('errors: their words', async () => {
  const none = { error: "model 'nope' not found" };
  for (const [path, body] of [['/api/chat', { messages: HI }], ['/api/chat', {}], ['/api/generate', { prompt: 'x' }], ['/api/generate', { keep_alive: 0 }],
    ['/api/show', {}], ['/api/embed', { input: 'x' }], ['/api/embeddings', { prompt: 'x' }],
    ['/api/embed', { input: [] }], ['/api/embed', {}], ['/api/embeddings', { prompt: '' }]]) {
    for (const streamed of [true, false]) {
      const r = await post(path, { model: 'nope', stream: streamed, ...body });
      assert.equal(r.status, 404, `${path}: ${r.text}`);
      assert.equal(r.type, 'application/json');
      assert.deepEqual(JSON.parse(r.text), none, path);
    }
  }
  assert.deepEqual(JSON.parse((await post('/api/chat', { messages: HI })).text), { error: 'model is required' });
  for (const bad of [{ options: { temperature: 'hot' } }, { options: { seed: 1e300 } }, { options: { seed: -1e16 } }, { format: 'xml' }, { think: 'a lot' }, { messages: [{ role: 'judge', content: '' }] }, { tools: [{}] }]) {
    const r = await post('/api/chat', { model: 'hearth-tiny', messages: HI, ...bad });
    assert.equal(r.status, 400, r.text);
    assert.equal(typeof JSON.parse(r.text).error, 'string');
  }
  const thinks = await whole('/api/chat', { model: 'hearth-tiny', messages: HI, think: true });
  assert.deepEqual([thinks.status, thinks.error], [400, '"hearth-tiny" does not support thinking']);
  assert.equal((await whole('/api/chat', { model: 'hearth-tiny', messages: HI, think: false, options: short })).status, 200);
  const text = await fetch(`${url}/api/chat`, { method: 'POST', body: '{' });
  assert.equal(text.status, 400);
  const method = await fetch(`${url}/api/chat`);
  assert.equal(method.status, 405);
  const pull = await post('/api/pull', { model: 'no-such-model-anywhere' });
  assert.equal(pull.status, 404);
  assert.match(JSON.parse(pull.text).error, /^pull model manifest: file does not exist/);
});

test('a client that goes ends what it asked for', async () => {
  const gone = new AbortController();
  const r = await fetch(`${url}/api/generate`, {
    method: 'POST', signal: gone.signal,
    body: JSON.stringify({ model: 'hearth-tiny', prompt: 'Hello', raw: true, options: { num_predict: 100000 } }),
  });
  const reader = r.body.getReader();
  await reader.read();
  gone.abort();
  for (const end = performance.now() + 20000; ;) {
    const h = await (await fetch(`${hub.url}/health`)).json();
    if (h.running === 0) break;
    assert.ok(performance.now() < end, 'it still runs');
    await new Promise((done) => setTimeout(done, 20));
  }
});
