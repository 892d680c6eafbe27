// The Responses API with the Vercel AI SDK's OpenAI provider.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { createOpenAI } from '@ai-sdk/openai';
import { generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai';

import { startHub } from './support/hearth.mjs';

let hub;
let model;

before(async () => {
  hub = await startHub();
  model = createOpenAI({ baseURL: `${hub.url}/v1`, apiKey: 'any' }).responses('hearth-tiny');
});
after(() => hub?.stop());

test('a text, and its usage', async () => {
  const r = await generateText({ model, prompt: 'Hello, who are you?', maxOutputTokens: 8, temperature: 0, maxRetries: 0 });
  assert.match(r.text, /\S/);
  assert.equal(r.usage.outputTokens, 8);
  assert.equal(r.finishReason, 'length');
  assert.match(r.providerMetadata.openai.responseId, /^resp_/);
});

test('a stream', async () => {
  const r = streamText({ model, prompt: 'Hello, who are you?', maxOutputTokens: 8, temperature: 0, maxRetries: 0 });
  let text = '';
  for await (const piece of r.textStream) text += piece;
  const whole = await generateText({ model, prompt: 'Hello, who are you?', maxOutputTokens: 8, temperature: 0, maxRetries: 0 });
  assert.equal(text, whole.text);
  assert.equal((await r.usage).outputTokens, 8);
});

test('going on by id', async () => {
  const first = await generateText({ model, prompt: 'My name is Ada.', maxOutputTokens: 8, temperature: 0, maxRetries: 0 });
  const second = await generateText({
    model, prompt: 'And yours?', maxOutputTokens: 4, temperature: 0, maxRetries: 0,
    providerOptions: { openai: { previousResponseId: first.providerMetadata.openai.responseId } },
  });
  assert.ok(second.usage.inputTokens > first.usage.inputTokens + first.usage.outputTokens);
});

test('an object that matches a schema', async () => {
  const schema = jsonSchema({
    type: 'object', properties: { age: { type: 'integer', minimum: 1, maximum: 9 } }, required: ['age'], additionalProperties: false,
  });
  const r = await generateObject({ model, schema, prompt: 'How old?', maxOutputTokens: 60, temperature: 0, maxRetries: 0 });
  assert.ok(r.object.age >= 1 && r.object.age <= 9);
});

test('a tool is called, and its result read: the steps refer to kept items', async () => {
  let called;
  const r = await generateText({
    model, prompt: 'The weather in Oslo?', maxOutputTokens: 200, temperature: 0, maxRetries: 0,
    tools: {
      get_weather: tool({
        description: 'The weather of a city.',
        inputSchema: jsonSchema({ type: 'object', properties: { city: { type: 'string', enum: ['Oslo', 'Rome'] } }, required: ['city'], additionalProperties: false }),
        execute: async ({ city }) => {
          called = city;
          return { degrees: 3 };
        },
      }),
    },
    toolChoice: { type: 'tool', toolName: 'get_weather' },
    stopWhen: stepCountIs(2),
  });
  assert.ok(['Oslo', 'Rome'].includes(called));
  assert.equal(r.steps.length, 2);
  assert.ok(r.steps[1].usage.inputTokens > r.steps[0].usage.inputTokens);
});

test('an error is told with its words', async () => {
  const nobody = createOpenAI({ baseURL: `${hub.url}/v1`, apiKey: 'any' }).responses('nobody');
  await assert.rejects(generateText({ model: nobody, prompt: 'x', maxRetries: 0 }), (e) => e.statusCode === 404 && /nobody/.test(e.message));
});
