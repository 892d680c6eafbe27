// A tool that the model calls and this program runs, until the model has its answer.
import { createAnthropic } from '@ai-sdk/anthropic';
import { generateText, jsonSchema, stepCountIs, tool } from 'ai';

const hub = process.env.HEARTH_URL ?? 'http://127.0.0.1:8000';
const hearth = createAnthropic({ baseURL: `${hub}/v1`, apiKey: process.env.HEARTH_API_KEY ?? 'any' });

const weather = tool({
  description: 'The weather of a city.',
  inputSchema: jsonSchema({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }),
  execute: async ({ city }) => {
    console.log(`weather of ${city}: 7 degrees, rain`);
    return { degrees: 7, sky: 'rain' };
  },
});

const { text, steps } = await generateText({
  model: hearth(process.env.HEARTH_MODEL ?? 'hearth-tiny'),
  prompt: 'What is the weather in Paris?',
  tools: { weather },
  maxOutputTokens: 200,
  temperature: 0,
  stopWhen: stepCountIs(3),
  // A model as small as the built-in one has to be told; larger ones find out by themselves.
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'none' }),
});
console.log(`${steps.length} steps; answer: ${text}`);
