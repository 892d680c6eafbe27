// Anthropic's own client: a stream with its events, and a count of tokens.
import Anthropic from '@anthropic-ai/sdk';

const client = new Anthropic({
  baseURL: process.env.HEARTH_URL ?? 'http://127.0.0.1:8000', // without /v1
  apiKey: process.env.HEARTH_API_KEY ?? 'any',
});
const model = process.env.HEARTH_MODEL ?? 'hearth-tiny';
const messages = [{ role: 'user', content: 'Hello, who are you?' }];

const { input_tokens: n } = await client.messages.countTokens({ model, messages });
console.log(`the prompt has ${n} tokens`);
const stream = client.messages.stream({ model, max_tokens: 60, messages });
stream.on('text', (piece) => process.stdout.write(piece));
const { stop_reason: why, usage } = await stream.finalMessage();
console.log(`\nended by ${why} after ${usage.output_tokens} tokens`);
