// A language model for LangChain, made by hand: no OpenAI package in between, only fetch and the
// hub's own surface under /api. Works wherever LangChain takes an LLM: prompts, chains, streams.
//
//   npm install @langchain/core
//   HEARTH_URL=http://127.0.0.1:8000 node llm.mjs
import { LLM } from '@langchain/core/language_models/llms';
import { GenerationChunk } from '@langchain/core/outputs';
import { StringOutputParser } from '@langchain/core/output_parsers';
import { PromptTemplate } from '@langchain/core/prompts';

export class HearthLLM extends LLM {
  /**
   * @param {{url?: string, model?: string, maxTokens?: number, temperature?: number,
   *          localOnly?: boolean}} [fields] localOnly: it never leaves the hub's machine, whatever
   *          providers the hub has.
   */
  constructor(fields = {}) {
    super(fields);
    this.url = fields.url ?? process.env.HEARTH_URL ?? 'http://127.0.0.1:8000';
    this.model = fields.model ?? '';
    this.maxTokens = fields.maxTokens;
    this.temperature = fields.temperature;
    this.localOnly = fields.localOnly ?? true;
  }

  _llmType() {
    return 'hearth';
  }

  async _ask(path, prompt, options) {
    const response = await fetch(`${this.url}/api/chat/completions${path}`, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        'X-Hearth-Local': String(this.localOnly),
        ...(process.env.HEARTH_API_KEY && { Authorization: `Bearer ${process.env.HEARTH_API_KEY}` }),
      },
      body: JSON.stringify({
        model: this.model,
        messages: [{ role: 'user', content: prompt }],
        max_tokens: this.maxTokens,
        temperature: this.temperature,
        stop: options.stop,
      }),
      signal: options.signal,
    });
    if (!response.ok) throw new Error((await response.json()).detail);
    return response;
  }

  /** The whole answer. */
  async _call(prompt, options) {
    const { message } = await (await this._ask('', prompt, options)).json();
    return message.content;
  }

  /** The answer while it is written: one event of the hub, one chunk of LangChain. */
  async *_streamResponseChunks(prompt, options, manager) {
    const response = await this._ask('/stream', prompt, options);
    let text = '';
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      text += piece;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
        const event = text.slice(0, end);
        if (!event.startsWith('data: ') || event === 'data: [DONE]') continue;
        const data = JSON.parse(event.slice(6));
        if (data.error) throw new Error(data.detail);
        if (!data.content) continue;
        yield new GenerationChunk({ text: data.content });
        await manager?.handleLLMNewToken(data.content);
      }
    }
  }
}

const llm = new HearthLLM({ maxTokens: 24, temperature: 0 });
const prompt = PromptTemplate.fromTemplate('What is the capital of {country}?');
const chain = prompt.pipe(llm).pipe(new StringOutputParser());

console.log('invoke:', await chain.invoke({ country: 'France' }));

process.stdout.write('stream: ');
for await (const piece of await chain.stream({ country: 'Italy' })) process.stdout.write(piece);
process.stdout.write('\n');

const answers = await chain.batch([{ country: 'Norway' }, { country: 'Japan' }]);
console.log('batch:', answers.length, 'answers');
