// Which text is closest to another one?
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { cosineSimilarity, embed, embedMany } from 'ai';

const hub = process.env.HEARTH_URL ?? 'http://127.0.0.1:8000';
const hearth = createOpenAICompatible({ name: 'hearth', baseURL: `${hub}/v1`, apiKey: process.env.HEARTH_API_KEY ?? 'any' });
const model = hearth.textEmbeddingModel(process.env.HEARTH_EMBED_MODEL ?? 'hearth-tiny-embed');

const values = ['The cat sleeps.', 'Interest rates rise again.', 'It will rain tomorrow.'];
const { embeddings } = await embedMany({ model, values });
const { embedding } = await embed({ model, value: 'A kitten naps.' });
const ranked = values
  .map((text, i) => ({ text, score: cosineSimilarity(embedding, embeddings[i]) }))
  .sort((a, b) => b.score - a.score);
for (const { text, score } of ranked) console.log(score.toFixed(3), text);
