// The answer while it is written.
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: `${process.env.HEARTH_URL ?? 'http://127.0.0.1:8000'}/v1`,
  apiKey: process.env.HEARTH_API_KEY ?? 'none',
});

const stream = await client.chat.completions.create({
  model: '',
  messages: [{ role: 'user', content: 'Why is the sky blue?' }],
  max_tokens: 40,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? '');
  if (chunk.usage) console.log(`\n(${chunk.usage.completion_tokens} tokens)`);
}
