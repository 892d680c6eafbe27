// An object that matches a schema, whatever the model: through the OpenAI-compatible provider.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, jsonSchema, Output } from 'ai';

const hub = process.env.HEARTH_URL ?? 'http://127.0.0.1:8000';
const hearth = createOpenAICompatible({
  name: 'hearth', baseURL: `${hub}/v1`, apiKey: process.env.HEARTH_API_KEY ?? 'any', supportsStructuredOutputs: true,
});

const { output } = await generateText({
  model: hearth(process.env.HEARTH_MODEL ?? 'hearth-tiny'),
  prompt: 'Plan a meal for a rainy evening.',
  maxOutputTokens: 200,
  output: Output.object({
    schema: jsonSchema({
      type: 'object',
      additionalProperties: false,
      required: ['kind', 'minutes'],
      properties: { kind: { type: 'string', enum: ['soup', 'stew', 'salad'] }, minutes: { type: 'integer', minimum: 5, maximum: 90 } },
    }),
  }),
});
console.log(output);
