// Text while it is written, with Vercel's AI SDK through the hub's Messages API.
import { createAnthropic } from '@ai-sdk/anthropic';
import { streamText } from 'ai';

const hub = process.env.HEARTH_URL ?? 'http://127.0.0.1:8000';
const hearth = createAnthropic({ baseURL: `${hub}/v1`, apiKey: process.env.HEARTH_API_KEY ?? 'any' });

const { textStream, usage } = streamText({
  model: hearth(process.env.HEARTH_MODEL ?? 'hearth-tiny'),
  system: 'Be brief.',
  prompt: 'Hello, who are you?',
  maxOutputTokens: 60,
});
for await (const piece of textStream) process.stdout.write(piece);
const { inputTokens, outputTokens } = await usage;
console.log(`\n(${inputTokens} tokens read, ${outputTokens} written)`);
