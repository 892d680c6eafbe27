// A tool: the model says with what it is to be called, the program calls it.
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: `${process.env.HEARTH_URL ?? 'http://127.0.0.1:8000'}/v1`,
  apiKey: process.env.HEARTH_API_KEY ?? 'none',
});

const weather = { Oslo: 3, Rome: 21, Tokyo: 17 };
const tools = [
  {
    type: 'function',
    function: {
      name: 'get_weather',
      description: 'Degrees in a city.',
      parameters: {
        type: 'object',
        properties: { city: { type: 'string', enum: Object.keys(weather) } },
        required: ['city'],
        additionalProperties: false,
      },
    },
  },
];

const messages = [{ role: 'user', content: 'How warm is it in Rome?' }];
const asked = await client.chat.completions.create({ model: '', messages, tools, tool_choice: 'required' });
messages.push(asked.choices[0].message);
for (const call of asked.choices[0].message.tool_calls) {
  const { city } = JSON.parse(call.function.arguments);
  console.log(`called: ${call.function.name}(${city})`);
  messages.push({ role: 'tool', tool_call_id: call.id, content: `${weather[city]} degrees` });
}
const answer = await client.chat.completions.create({ model: '', messages, tools, tool_choice: 'none', max_tokens: 40 });
console.log(answer.choices[0].message.content);
