// Many requests in one file, answered when the hub has time.
import OpenAI, { toFile } from 'openai';

const client = new OpenAI({
  baseURL: `${process.env.HEARTH_URL ?? 'http://127.0.0.1:8000'}/v1`,
  apiKey: process.env.HEARTH_API_KEY ?? 'none',
});

const lines = ['Norway', 'Italy', 'Japan'].map((country) => JSON.stringify({
  custom_id: country,
  method: 'POST',
  url: '/v1/chat/completions',
  body: { messages: [{ role: 'user', content: `The capital of ${country}?` }], max_tokens: 20 },
}));
const file = await client.files.create({
  file: await toFile(Buffer.from(lines.join('\n')), 'requests.jsonl'), purpose: 'batch',
});
let batch = await client.batches.create({
  input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h',
});
while (!['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) {
  await new Promise((done) => setTimeout(done, 500));
  batch = await client.batches.retrieve(batch.id);
}
console.log(batch.status, batch.request_counts);
const output = await (await client.files.content(batch.output_file_id)).text();
for (const line of output.trim().split('\n').map((l) => JSON.parse(l))) {
  console.log(`${line.custom_id}: ${line.response.body.choices[0].message.content}`);
}
