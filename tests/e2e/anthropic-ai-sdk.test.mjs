// Vercel's AI SDK against the hub's Messages API, through its Anthropic provider.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { createAnthropic } from '@ai-sdk/anthropic';
import { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from 'ai';

import { startHub, until } from './support/hearth.mjs';

let hub;
let model;

const base = { temperature: 0, maxRetries: 0 };
const prompt = 'Hello, who are you?';

before(async () => {
  hub = await startHub();
  model = createAnthropic({ baseURL: `${hub.url}/v1`, apiKey: 'any' })('hearth-tiny');
});
after(() => hub?.stop());

test('whole and streamed text', async () => {
  const whole = await generateText({ ...base, model, prompt, maxOutputTokens: 10 });
  assert.match(whole.text, /\S/);
  assert.equal(whole.finishReason, 'length');
  assert.equal(whole.usage.outputTokens, 10);
  const streamed = streamText({ ...base, model, prompt, maxOutputTokens: 10 });
  let text = '';
  for await (const piece of streamed.textStream) text += piece;
  assert.equal(text, whole.text);
  assert.equal((await streamed.usage).outputTokens, 10);
  assert.equal(await streamed.finishReason, 'length');
});

test('a tool is called, run and answered', async () => {
  const cities = [];
  const result = await generateText({
    ...base, model, prompt: 'What is the weather in Paris?', maxOutputTokens: 80, stopWhen: stepCountIs(2),
    tools: {
      get_weather: tool({
        description: 'The weather of a city.',
        inputSchema: jsonSchema({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }),
        execute: async ({ city }) => {
          cities.push(city);
          return { weather: 'rain' };
        },
      }),
    },
    prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? { type: 'tool', toolName: 'get_weather' } : 'none' }),
  });
  assert.equal(cities.length, 1);
  assert.equal(result.steps.length, 2);
  assert.equal(result.steps[0].finishReason, 'tool-calls');
  assert.equal(typeof cities[0], 'string');
});

test('structured output', async () => {
  const { output } = await generateText({
    ...base, model, prompt: 'Are you well?', maxOutputTokens: 80,
    output: Output.object({
      schema: jsonSchema({
        type: 'object', additionalProperties: false, required: ['mood'], properties: { mood: { type: 'string', enum: ['good', 'bad'] } },
      }),
    }),
  });
  assert.ok(['good', 'bad'].includes(output.mood));
});

test('stopping a stream stops the generation', async () => {
  const abort = new AbortController();
  const { textStream } = streamText({ ...base, model, prompt: 'Tell me a long story.', maxOutputTokens: 900, abortSignal: abort.signal });
  for await (const _ of textStream) {
    abort.abort();
    break;
  }
  await until(async () => (await (await fetch(`${hub.url}/health`)).json()).running === 0, 20000, 'the end of the generation');
});

test('errors reach the caller', async () => {
  const none = createAnthropic({ baseURL: `${hub.url}/v1`, apiKey: 'any' })('none');
  await assert.rejects(generateText({ ...base, model: none, prompt }), (e) => e.statusCode === 404 && /none/.test(e.message));
});
