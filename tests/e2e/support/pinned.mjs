// Calls of every surface, made so that the hub would want to ask a provider elsewhere if it might:
// by a model that is not here, by naming the provider or a route to it, by a picture at an address.
// For the tests of privacy; each is { name, path, body, method }.

const messages = [{ role: 'user', content: 'This must not leave: Brindlemoor.' }];
const away = 'no-such-model';

/** Calls that work on this machine alone, and are answered under any pin. */
export const answered = [
  { name: 'a chat', path: '/v1/chat/completions', body: { messages, max_tokens: 4 } },
  { name: 'a chat as a stream', path: '/v1/chat/completions', body: { messages, max_tokens: 4, stream: true } },
  { name: 'a completion', path: '/v1/completions', body: { prompt: 'Brindlemoor', max_tokens: 4 } },
  { name: 'an embedding', path: '/v1/embeddings', body: { input: 'Brindlemoor' } },
  { name: 'a rerank', path: '/v1/rerank', body: { query: 'Brindlemoor', documents: ['a', 'b'] } },
  { name: 'quality above all', path: '/v1/chat/completions', body: { messages, max_tokens: 4, optimization_goal: 'quality' } },
  { name: "the model server's chat", path: '/api/chat/completions', body: { messages, max_tokens: 4 } },
  { name: 'an answer of the Messages API', path: '/v1/messages', body: { model: '', messages, max_tokens: 4 } },
  { name: "Ollama's chat", path: '/api/chat', body: { model: 'hearth-tiny', messages, options: { num_predict: 4 } } },
  { name: "Ollama's generate", path: '/api/generate', body: { model: 'hearth-tiny', prompt: 'Brindlemoor', options: { num_predict: 4 } } },
  { name: "Ollama's embed", path: '/api/embed', body: { model: 'hearth-tiny-embed', input: 'Brindlemoor' } },
  { name: 'the models', path: '/v1/models', method: 'GET' },
];

/** Calls that only others could answer: they must fail, and go out nowhere. */
export const refused = [
  { name: 'a model that is not here', path: '/v1/chat/completions', body: { model: away, messages } },
  { name: 'the same as a stream', path: '/v1/chat/completions', body: { model: away, messages, stream: true } },
  { name: 'a provider before the model', path: '/v1/chat/completions', body: { model: 'cloud/large', messages } },
  { name: 'source', path: '/v1/chat/completions', body: { source: 'cloud', messages } },
  { name: 'model_source', path: '/v1/chat/completions', body: { model_source: 'cloud', messages } },
  { name: 'provider', path: '/v1/chat/completions', body: { provider: 'cloud', messages } },
  { name: 'route', path: '/v1/chat/completions', body: { route: 'away', messages } },
  { name: 'a picture at an address', path: '/v1/chat/completions', body: { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://203.0.113.7/x.png' } }] }] } },
  { name: 'a completion', path: '/v1/completions', body: { model: away, prompt: 'Brindlemoor' } },
  { name: 'an embedding', path: '/v1/embeddings', body: { source: 'cloud', input: 'Brindlemoor' } },
  { name: 'an embedding by a model that is not here', path: '/v1/embeddings', body: { model: away, input: 'Brindlemoor' } },
  { name: "the model server's chat", path: '/api/chat/completions', body: { model: away, messages } },
  { name: 'the Messages API', path: '/v1/messages', body: { model: away, messages, max_tokens: 4 } },
  { name: "Ollama's chat", path: '/api/chat', body: { model: away, messages } },
  { name: "Ollama's generate", path: '/api/generate', body: { model: away, prompt: 'Brindlemoor' } },
  { name: "Ollama's embed", path: '/api/embed', body: { model: away, input: 'Brindlemoor' } },
];

/** Makes one call; reads its answer to the end. */
export async function call(url, one, headers = {}) {
  const r = await fetch(`${url}${one.path}`, {
    method: one.method ?? 'POST',
    headers: { ...(one.body && { 'content-type': 'application/json' }), ...headers },
    ...(one.body && { body: JSON.stringify(one.body) }),
  });
  return { status: r.status, text: await r.text(), headers: r.headers };
}
