// Vercel's AI SDK against the hub, through both of its providers for this kind of API.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany, generateText, jsonSchema, Output, streamText, tool } from 'ai';

import { startHub } from './support/hearth.mjs';

let hub;
let providers;

before(async () => {
  hub = await startHub();
  const baseURL = `${hub.url}/v1`;
  const compatible = createOpenAICompatible({ name: 'hearth', baseURL, apiKey: 'any', includeUsage: true, supportsStructuredOutputs: true });
  const openai = createOpenAI({ baseURL, apiKey: 'any' });
  providers = {
    compatible: { chat: (id) => compatible(id), embedding: (id) => compatible.textEmbeddingModel(id) },
    openai: { chat: (id) => openai.chat(id), embedding: (id) => openai.textEmbeddingModel(id) },
  };
});
after(() => hub?.stop());

const prompt = 'Hello, who are you?';

for (const name of ['compatible', 'openai']) {
  test(`${name}: whole and streamed text`, async () => {
    const model = providers[name].chat('hearth-tiny');
    const whole = await generateText({ model, prompt, maxOutputTokens: 10, temperature: 0, maxRetries: 0 });
    assert.match(whole.text, /\S/);
    assert.equal(whole.finishReason, 'length');
    const streamed = streamText({ model, prompt, maxOutputTokens: 10, temperature: 0, maxRetries: 0 });
    let text = '';
    for await (const piece of streamed.textStream) text += piece;
    assert.equal(text, whole.text);
    assert.ok((await streamed.usage).outputTokens > 0);
  });

  test(`${name}: a tool that must be called`, async () => {
    const result = await generateText({
      model: providers[name].chat('hearth-tiny'),
      prompt: 'What is the weather in Paris?',
      maxOutputTokens: 80, temperature: 0, maxRetries: 0,
      tools: {
        get_weather: tool({
          description: 'The weather of a city.',
          inputSchema: jsonSchema({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }),
        }),
      },
      toolChoice: { type: 'tool', toolName: 'get_weather' },
    });
    assert.equal(result.toolCalls[0].toolName, 'get_weather');
    assert.equal(typeof result.toolCalls[0].input.city, 'string');
  });

  test(`${name}: embeddings`, async () => {
    const { embeddings } = await embedMany({
      model: providers[name].embedding('hearth-tiny-embed'), values: ['a', 'b'], maxRetries: 0,
    });
    assert.equal(embeddings.length, 2);
    assert.equal(embeddings[0].length, embeddings[1].length);
  });
}

test('structured output', async () => {
  const { output } = await generateText({
    model: providers.compatible.chat('hearth-tiny'), prompt: 'Are you well?', maxOutputTokens: 60, temperature: 0, maxRetries: 0,
    output: Output.object({
      schema: jsonSchema({
        type: 'object', additionalProperties: false, required: ['mood'],
        properties: { mood: { type: 'string', enum: ['good', 'bad'] } },
      }),
    }),
  });
  assert.ok(['good', 'bad'].includes(output.mood));
});

test('stopping a stream stops the generation', async () => {
  const abort = new AbortController();
  const { textStream } = streamText({
    model: providers.compatible.chat('hearth-tiny'), prompt: 'Tell me a long story.', maxOutputTokens: 900,
    abortSignal: abort.signal, maxRetries: 0,
  });
  for await (const _ of textStream) {
    abort.abort();
    break;
  }
  const until = performance.now() + 20000;
  for (;;) {
    const h = await (await fetch(`${hub.url}/health`)).json();
    if (h.running === 0) break;
    assert.ok(performance.now() < until, 'still running');
    await new Promise((r) => setTimeout(r, 20));
  }
});

test('errors reach the caller', async () => {
  await assert.rejects(
    generateText({ model: providers.compatible.chat('none'), prompt, maxRetries: 0 }),
    (e) => e.statusCode === 404 && /none/.test(e.message),
  );
});
