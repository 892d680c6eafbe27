// A response in the background: the program may go away, and the hub be started anew, meanwhile.
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: `${process.env.HEARTH_URL ?? 'http://127.0.0.1:8000'}/v1`,
  apiKey: process.env.HEARTH_API_KEY ?? 'none',
});

let response = await client.responses.create({
  model: '', input: 'Write a short poem.', max_output_tokens: 60, background: true,
});
console.log(response.id, response.status);
while (response.status === 'queued' || response.status === 'in_progress') {
  await new Promise((done) => setTimeout(done, 200));
  response = await client.responses.retrieve(response.id);
}
console.log(response.status, response.output_text);
