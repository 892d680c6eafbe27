// Ollama's own client for JavaScript, and LangChain's classes over it, as apps use them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { ChatOllama, OllamaEmbeddings } from '@langchain/ollama';
import { Ollama } from 'ollama';

import { startHub } from './support/hearth.mjs';

let hub;
let client;
let host;
before(async () => {
  hub = await startHub({ args: ['--ollama-port', '0'] });
  host = /find it at (http:\S+),/.exec(hub.log)[1];
  client = new Ollama({ host });
});
after(() => hub?.stop());

const model = 'hearth-tiny';
const HI = [{ role: 'user', content: 'Hello, who are you?' }];
const options = { num_predict: 8, temperature: 0 };
const tools = [{
  type: 'function',
  function: { name: 'get_weather', description: 'The weather of a city.', parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } },
}];

test('chat: whole and streamed say the same', async () => {
  const whole = await client.chat({ model, messages: HI, options });
  assert.match(whole.message.content, /\S/);
  assert.equal(whole.eval_count, 8);
  let text = '';
  for await (const part of await client.chat({ model, messages: HI, options, stream: true })) text += part.message.content;
  assert.equal(text, whole.message.content);
});

test('generate, with its context', async () => {
  const first = await client.generate({ model, prompt: 'Hello', options });
  const next = await client.generate({ model, prompt: 'And you?', context: first.context, options });
  assert.ok(next.prompt_eval_count > first.prompt_eval_count);
  let text = '';
  for await (const part of await client.generate({ model, prompt: 'Hello', options, stream: true })) text += part.response;
  assert.equal(text, first.response);
});

test('tools and structured output', async () => {
  const r = await client.chat({ model, messages: [{ role: 'user', content: 'What is the weather in Paris?' }], tools, options: { num_predict: 80, temperature: 0 } });
  assert.deepEqual(r.message.tool_calls[0].function.arguments, { city: 'Paris' });
  const schema = { type: 'object', properties: { mood: { enum: ['good', 'bad'] } }, required: ['mood'], additionalProperties: false };
  const mood = await client.chat({ model, messages: HI, format: schema, options: { num_predict: 60 } });
  assert.ok(['good', 'bad'].includes(JSON.parse(mood.message.content).mood));
});

test('models: list, show, ps, version, embeddings', async () => {
  assert.ok((await client.list()).models.some((m) => m.name === 'hearth-tiny:latest'));
  assert.ok((await client.show({ model })).capabilities.includes('completion'));
  assert.ok((await client.ps()).models.length > 0);
  assert.match((await client.version()).version, /^\d/);
  const { embeddings } = await client.embed({ model: 'hearth-tiny-embed', input: ['one', 'two'] });
  assert.equal(embeddings.length, 2);
  assert.deepEqual((await client.embeddings({ model: 'hearth-tiny-embed', prompt: 'one' })).embedding, embeddings[0]);
});

test('create, copy, delete', async () => {
  assert.equal((await client.create({ model: 'mario', from: model, system: 'You are Mario.' })).status, 'success');
  const said = [];
  for await (const p of await client.create({ model: 'luigi', from: 'mario', stream: true })) said.push(p.status);
  assert.equal(said.at(-1), 'success');
  assert.equal((await client.show({ model: 'luigi' })).system, 'You are Mario.');
  await client.copy({ source: 'luigi', destination: 'toad' });
  for (const name of ['mario', 'luigi', 'toad']) assert.equal((await client.delete({ model: name })).status, 'success');
});

test('errors and aborts', async () => {
  await assert.rejects(client.chat({ model: 'nope', messages: HI }), (e) => e.message === "model 'nope' not found" && e.status_code === 404);
  await assert.rejects(client.chat({ model, messages: HI, format: 'xml' }), (e) => e.status_code === 400);
  const stream = await client.generate({ model, prompt: 'x', raw: true, stream: true, options: { num_predict: 100000 } });
  await assert.rejects(async () => {
    for await (const part of stream) if (part.response) stream.abort();
  }, /abort/i);
});

test('LangChain: invoke, stream, tools, embeddings', async () => {
  const chat = new ChatOllama({ model, baseUrl: host, temperature: 0, numPredict: 8 });
  assert.match((await chat.invoke('Hello, who are you?')).content, /\S/);
  let text = '';
  for await (const chunk of await chat.stream('Hello, who are you?')) text += chunk.content;
  assert.match(text, /\S/);
  const r = await new ChatOllama({ model, baseUrl: host, temperature: 0, numPredict: 80 }).bindTools(tools).invoke('What is the weather in Paris?');
  assert.deepEqual(r.tool_calls[0].args, { city: 'Paris' });
  const vectors = await new OllamaEmbeddings({ model: 'hearth-tiny-embed', baseUrl: host }).embedDocuments(['one', 'two']);
  assert.equal(vectors.length, 2);
});
