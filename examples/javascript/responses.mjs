// A conversation that the hub keeps: each turn names the one before.
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: `${process.env.HEARTH_URL ?? 'http://127.0.0.1:8000'}/v1`,
  apiKey: process.env.HEARTH_API_KEY ?? 'none',
});

let previous_response_id;
for (const input of ['My name is Ada.', 'What is my name?']) {
  const stream = client.responses.stream({
    model: '', input, previous_response_id, instructions: 'Answer in one sentence.', max_output_tokens: 40,
  });
  stream.on('response.output_text.delta', ({ delta }) => process.stdout.write(delta));
  const response = await stream.finalResponse();
  console.log(`\n(${response.usage.input_tokens} tokens read)`);
  previous_response_id = response.id;
}
