// JSON that matches a schema.
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: `${process.env.HEARTH_URL ?? 'http://127.0.0.1:8000'}/v1`,
  apiKey: process.env.HEARTH_API_KEY ?? 'none',
});

const answer = await client.chat.completions.parse({
  model: '',
  messages: [{ role: 'user', content: 'Ada is 36 years old and lives in London.' }],
  response_format: {
    type: 'json_schema',
    json_schema: {
      name: 'person',
      strict: true,
      schema: {
        type: 'object',
        properties: { city: { enum: ['London', 'Paris', 'Oslo'] }, age: { type: 'integer', minimum: 0, maximum: 150 } },
        required: ['city', 'age'],
        additionalProperties: false,
      },
    },
  },
});
console.log(answer.choices[0].message.parsed);
