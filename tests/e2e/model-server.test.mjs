// The model server's surface under /api: health, models that are listed, loaded and unloaded by id,
// chats whole and as events, errors.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { startHub } from './support/hearth.mjs';

let hub;
let model;
before(async () => {
  hub = await startHub({
    args: ['--no-preload'],
    env: { DEFAULT_MAX_TOKENS: 7, DEFAULT_TEMPERATURE: 0, ALLOWED_ORIGINS: 'https://app.example' },
  });
  const { models } = await (await fetch(`${hub.url}/api/models`)).json();
  model = models.find((m) => m.type === 'chat').id;
});
after(() => hub?.stop());

const post = (path, body, headers = {}) =>
  fetch(`${hub.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body ?? {}),
  });
const one = async () => {
  const { models } = await (await fetch(`${hub.url}/api/models`)).json();
  return models.find((m) => m.id === model);
};
const messages = [{ role: 'user', content: 'Say something.' }];

/** The data of each event; comments are no events. */
async function events(response) {
  const out = [];
  for (const block of (await response.text()).split('\n\n')) {
    if (!block.startsWith('data: ')) continue;
    out.push(block === 'data: [DONE]' ? '[DONE]' : JSON.parse(block.slice(6)));
  }
  return out;
}

test('health', async () => {
  const r = await fetch(`${hub.url}/api/health`);
  assert.equal(r.status, 200);
  const health = await r.json();
  assert.equal(health.status, 'healthy');
  assert.equal(typeof health.version, 'string');
});

test('models are listed, loaded and unloaded', async () => {
  assert.equal((await one()).loaded, false);
  const loaded = await post(`/api/models/${model}/load`);
  assert.equal(loaded.status, 200, await loaded.clone().text());
  const body = await loaded.json();
  assert.equal(body.status, 'loaded');
  assert.equal(body.model_id, model);
  assert.match(body.message, /is loaded$/);
  const now = await one();
  assert.equal(now.loaded, true);
  assert.equal(now.status, 'ready');
  assert.ok(now.size > 0 && now.context_length > 0 && now.architecture);
  assert.equal(now.path_id, model.replaceAll('/', '__'));
  const unloaded = await (await post(`/api/models/${model}/unload`)).json();
  assert.equal(unloaded.status, 'unloaded');
  assert.equal((await one()).loaded, false);
});

test('two underscores are a slash, unless a model is called so', async () => {
  const r = await post('/api/models/some__model/load');
  assert.equal(r.status, 404);
  const body = await r.json();
  assert.equal(body.error.code, 'model_not_found');
  assert.match(body.detail, /some\/model/);
  assert.equal((await post('/api/models/some/model/load')).status, 404);
});

test('a chat, with the settings for what it does not say', async () => {
  const r = await post('/api/chat/completions', { messages });
  assert.equal(r.status, 200, await r.clone().text());
  const body = await r.json();
  assert.deepEqual(Object.keys(body), ['id', 'created', 'model', 'message', 'finish_reason', 'usage']);
  assert.equal(body.message.role, 'assistant');
  assert.ok(body.message.content.length > 0);
  assert.equal(body.model, model);
  assert.equal(body.finish_reason, 'length'); // DEFAULT_MAX_TOKENS
  assert.equal(body.usage.completion_tokens, 7);
  assert.equal(body.usage.total_tokens, body.usage.prompt_tokens + 7);
  const same = await (await post('/api/chat/completions', { messages, top_p: 0.5 })).json();
  assert.equal(same.message.content, body.message.content); // DEFAULT_TEMPERATURE
  const short = await (await post('/api/chat/completions', { messages, max_tokens: 2 })).json();
  assert.equal(short.usage.completion_tokens, 2);
});

test('the same as events', async () => {
  const whole = await (await post('/api/chat/completions', { messages, temperature: 0 })).json();
  const r = await post('/api/chat/completions/stream', { messages, temperature: 0 });
  assert.equal(r.status, 200);
  assert.match(r.headers.get('content-type'), /^text\/event-stream/);
  const list = await events(r);
  assert.equal(list.pop(), '[DONE]');
  const last = list.pop();
  assert.ok(list.length >= 1); // a busy hub puts several tokens into one
  for (const e of list) assert.deepEqual(Object.keys(e).sort(), ['content', 'done']);
  assert.ok(list.every((e) => e.done === false));
  assert.equal(list.map((e) => e.content).join(''), whole.message.content);
  assert.equal(last.done, true);
  assert.equal(last.content, '');
  assert.deepEqual(last.message, whole.message);
  assert.equal(last.finish_reason, whole.finish_reason);
  assert.equal(last.usage.completion_tokens, whole.usage.completion_tokens);
  const asked = await events(await post('/api/chat/completions', { messages, stream: true }));
  assert.equal(asked.at(-1), '[DONE]');
});

test('tools are called', async () => {
  const tools = [{
    type: 'function',
    function: { name: 'add', description: 'Adds.', parameters: { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] } },
  }];
  const call = { messages, tools, tool_choice: 'required', max_tokens: 200 };
  const { message, finish_reason: why } = await (await post('/api/chat/completions', call)).json();
  assert.equal(why, 'tool_calls');
  assert.equal(message.tool_calls[0].function.name, 'add');
  assert.equal(typeof JSON.parse(message.tool_calls[0].function.arguments).a, 'number');
  assert.ok(message.tool_calls[0].id);
  const list = await events(await post('/api/chat/completions/stream', call));
  assert.deepEqual(list.at(-2).message.tool_calls[0].function.name, 'add');
});

test('what is wrong is said', async () => {
  const cases = [
    [{}, 400, 'invalid_request', '/messages'],
    [{ messages: [] }, 400, 'invalid_request', '/messages'],
    [{ messages, n: 2 }, 400, 'invalid_request', '/n'],
    [{ messages, temperature: 'hot' }, 400, 'invalid_request', '/temperature'],
    [{ messages, model: 'none-such' }, 404, 'model_not_found', '/model'],
  ];
  for (const [body, status, code, param] of cases) {
    for (const path of ['/api/chat/completions', '/api/chat/completions/stream']) {
      const r = await post(path, body);
      const answer = await r.json();
      assert.equal(r.status, status, JSON.stringify(answer));
      assert.equal(answer.error.code, code);
      assert.equal(answer.error.param, param);
      assert.equal(answer.detail, answer.error.message);
      assert.ok(answer.error.request_id);
    }
  }
  assert.equal((await fetch(`${hub.url}/api/chat/completions`)).status, 405);
});

test('web pages of allowed origins may call', async () => {
  const call = (origin) => fetch(`${hub.url}/api/models`, { headers: { origin } });
  assert.equal((await call('https://app.example')).headers.get('access-control-allow-origin'), 'https://app.example');
  assert.equal((await call('https://other.example')).headers.get('access-control-allow-origin'), null);
});
