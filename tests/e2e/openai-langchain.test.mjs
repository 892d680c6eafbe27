// LangChain's OpenAI classes against the hub.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { HumanMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI, OpenAI, OpenAIEmbeddings } from '@langchain/openai';

import { startHub } from './support/hearth.mjs';

let hub;
let common;

before(async () => {
  hub = await startHub();
  common = { apiKey: 'any', maxRetries: 0, configuration: { baseURL: `${hub.url}/v1` } };
});
after(() => hub?.stop());

const chat = (more) => new ChatOpenAI({ model: 'hearth-tiny', temperature: 0, maxTokens: 10, ...common, ...more });

test('invoke', async () => {
  const r = await chat().invoke([new HumanMessage('Hello, who are you?')]);
  assert.match(r.content, /\S/);
  assert.equal(r.usage_metadata.output_tokens > 0, true);
});

test('stream', async () => {
  let text = '';
  let usage;
  for await (const chunk of await chat().stream('Hello, who are you?')) {
    text += chunk.content;
    usage = chunk.usage_metadata ?? usage;
  }
  assert.match(text, /\S/);
  assert.ok(usage.total_tokens > 0);
});

test('a bound tool that must be called', async () => {
  const weather = tool(async () => 'sunny', {
    name: 'get_weather',
    description: 'The weather of a city.',
    schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  });
  const bound = chat({ maxTokens: 80 }).bindTools([weather], { tool_choice: 'get_weather' });
  const r = await bound.invoke('What is the weather in Paris?');
  assert.equal(r.tool_calls[0].name, 'get_weather');
  assert.equal(typeof r.tool_calls[0].args.city, 'string');
});

test('structured output', async () => {
  const schema = {
    title: 'mood', type: 'object', additionalProperties: false, required: ['mood'],
    properties: { mood: { type: 'string', enum: ['good', 'bad'] } },
  };
  const r = await chat({ maxTokens: 60 }).withStructuredOutput(schema, { method: 'jsonSchema', name: 'mood' })
    .invoke('Are you well?');
  assert.ok(['good', 'bad'].includes(r.mood));
});

test('raw completion', async () => {
  const llm = new OpenAI({ model: 'hearth-tiny', temperature: 0, maxTokens: 5, ...common });
  assert.equal(typeof (await llm.invoke('One, two,')), 'string');
});

test('embeddings', async () => {
  const embed = new OpenAIEmbeddings({ model: 'hearth-tiny-embed', ...common });
  const [a, b] = await embed.embedDocuments(['a cat', 'a dog']);
  assert.equal(a.length, b.length);
  assert.ok(a.length > 10);
  assert.equal((await embed.embedQuery('a cat')).length, a.length);
});

test('errors reach the caller', async () => {
  await assert.rejects(chat({ model: 'none' }).invoke('x'), /none/);
});
