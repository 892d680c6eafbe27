// Which texts mean similar things?
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: `${process.env.HEARTH_URL ?? 'http://127.0.0.1:8000'}/v1`,
  apiKey: process.env.HEARTH_API_KEY ?? 'none',
});

const texts = ['The cat sleeps.', 'A kitten naps.', 'Interest rates rise.'];
const { data } = await client.embeddings.create({ model: '', input: texts });
const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0); // the vectors have length 1
for (let i = 1; i < texts.length; i++) {
  console.log(`${dot(data[0].embedding, data[i].embedding).toFixed(3)}  ${texts[0]}  ${texts[i]}`);
}
