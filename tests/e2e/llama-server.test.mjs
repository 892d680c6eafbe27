// llama-server's own paths, as editors' plug-ins call them: the requests are those of llama.vim and of the
// server's own documentation.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { addMetadata } from './support/gguf.mjs';
import { root, startHub, tempDir, until } from './support/hearth.mjs';

let hub;

before(async () => {
  const dir = tempDir();
  mkdirSync(join(dir, 'models'));
  // A model for code is one whose vocabulary has these tokens; here five that exist anyway.
  addMetadata(join(root, 'models', 'hearth-tiny.gguf'), join(dir, 'models', 'coder.gguf'), {
    'tokenizer.ggml.fim_pre_token_id': 2001,
    'tokenizer.ggml.fim_suf_token_id': 2002,
    'tokenizer.ggml.fim_mid_token_id': 2003,
    'tokenizer.ggml.fim_rep_token_id': 2004,
    'tokenizer.ggml.fim_sep_token_id': 2005,
  });
  hub = await startHub({ dir, env: { DEFAULT_MODEL: 'hearth-tiny' } });
});
after(() => hub?.stop());

async function post(path, body) {
  const r = await fetch(hub.url + path, { method: 'POST', body: JSON.stringify(body) });
  return { status: r.status, json: await r.json() };
}

async function ok(path, body) {
  const { status, json } = await post(path, body);
  assert.equal(status, 200, JSON.stringify(json));
  return json;
}

async function events(path, body) {
  const r = await fetch(hub.url + path, { method: 'POST', body: JSON.stringify({ ...body, stream: true }) });
  assert.equal(r.headers.get('content-type'), 'text/event-stream');
  const text = await r.text();
  return text.split('\n\n').filter((p) => p && !p.startsWith(':')).map((p) => JSON.parse(p.replace(/^data: /, '')));
}

test('tokens and back', async () => {
  const { tokens } = await ok('/tokenize', { content: 'Hello world äöü 🔥' });
  assert.ok(tokens.length > 4 && tokens.every(Number.isInteger));
  assert.equal((await ok('/detokenize', { tokens })).content, 'Hello world äöü 🔥');
  const pieces = (await ok('/tokenize', { content: 'Hello ä', with_pieces: true })).tokens;
  const bytes = pieces.flatMap(({ piece }) => (typeof piece === 'string' ? [...Buffer.from(piece)] : piece));
  assert.equal(Buffer.from(bytes).toString(), 'Hello ä');
  assert.deepEqual((await ok('/tokenize', { content: [tokens[0], ' world'] })).tokens, tokens.slice(0, 1).concat((await ok('/tokenize', { content: ' world' })).tokens));
  const mark = (await ok('/tokenize', { content: '<|im_start|>' })).tokens;
  assert.equal(mark.length, 1);
  assert.ok((await ok('/tokenize', { content: '<|im_start|>', parse_special: false })).tokens.length > 1);
  assert.deepEqual(await ok('/tokenize', {}), { tokens: [] });
  assert.deepEqual(await ok('/detokenize', {}), { content: '' });
});

test('the chat template', async () => {
  const { prompt } = await ok('/apply-template', { messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hi' }] });
  assert.match(prompt, /Be brief\.[\s\S]*Hi[\s\S]*assistant\n$/);
  const { tokens } = await ok('/tokenize', { content: prompt });
  const { input_tokens: n } = await ok('/v1/messages/count_tokens', { model: '', system: 'Be brief.', messages: [{ role: 'user', content: 'Hi' }] });
  assert.equal(tokens.length, n);
});

test('a completion, field by field', async () => {
  const r = await ok('/completion', { prompt: 'Hello', n_predict: 6, temperature: 0, return_tokens: true });
  assert.deepEqual(Object.keys(r), [
    'index', 'content', 'tokens', 'id_slot', 'stop', 'model', 'tokens_predicted', 'tokens_evaluated', 'generation_settings', 'prompt',
    'has_new_line', 'truncated', 'stop_type', 'stopping_word', 'tokens_cached', 'timings',
  ]);
  assert.equal(r.tokens.length, 6);
  assert.equal((await ok('/detokenize', { tokens: r.tokens })).content, r.content);
  assert.equal(r.tokens_predicted, 6);
  assert.equal(r.stop_type, 'limit');
  assert.equal(r.prompt, 'Hello');
  assert.equal(r.generation_settings.n_predict, 6);
  for (const name of ['cache_n', 'prompt_n', 'prompt_ms', 'prompt_per_token_ms', 'prompt_per_second', 'predicted_n', 'predicted_ms', 'predicted_per_token_ms', 'predicted_per_second']) {
    assert.equal(typeof r.timings[name], 'number', name);
  }
  assert.deepEqual((await ok('/completions', { prompt: 'Hello', n_predict: 6, temperature: 0 })).tokens, []);
});

test('a stream says the same in pieces, and ends with the numbers', async () => {
  const body = { prompt: 'Hello', n_predict: 6, temperature: 0 };
  const whole = await ok('/completion', { ...body, return_tokens: true });
  const pieces = await events('/completion', body);
  const last = pieces.pop();
  assert.ok(pieces.every((p) => p.stop === false && p.index === 0));
  assert.equal(pieces.map((p) => p.content).join(''), whole.content);
  assert.deepEqual(pieces.flatMap((p) => p.tokens), whole.tokens);
  assert.equal(last.stop, true);
  assert.equal(last.content, '');
  assert.equal(last.tokens_predicted, 6);
  assert.equal(last.stop_type, 'limit');
});

test('stop texts, several prompts, some members only', async () => {
  const { content } = await ok('/completion', { prompt: 'The sun', n_predict: 12, temperature: 0 });
  const stop = content.slice(2, 4);
  const cut = await ok('/completion', { prompt: 'The sun', n_predict: 12, temperature: 0, stop: ['never said', stop] });
  assert.equal(cut.stop_type, 'word');
  assert.equal(cut.stopping_word, stop);
  assert.equal(cut.content, content.slice(0, content.indexOf(stop)));
  const { tokens } = await ok('/tokenize', { content: 'The sun', add_special: true });
  const many = await ok('/completion', {
    prompt: ['The sun', tokens, { prompt_string: 'The sun' }, [tokens[0], ...(await ok('/detokenize', { tokens: tokens.slice(1) })).content.match(/[\s\S]+/g)]],
    n_predict: 12, temperature: 0, response_fields: ['content', 'index', 'timings/predicted_n', 'nothing'],
  });
  assert.deepEqual(many.map((r) => Object.keys(r)), Array(4).fill(['content', 'index', 'timings/predicted_n']));
  assert.deepEqual(many.map((r) => r.index), [0, 1, 2, 3]);
  assert.ok(many.every((r) => r.content === content), JSON.stringify(many));
});

test('probabilities, biases, grammars, schemas', async () => {
  const r = await ok('/completion', { prompt: 'Hello', n_predict: 3, temperature: 0, n_probs: 2 });
  assert.equal(r.completion_probabilities.length, 3);
  for (const p of r.completion_probabilities) {
    assert.equal(p.top_logprobs.length, 2);
    assert.ok(p.logprob <= 0 && p.top_logprobs[0].id === p.id);
    assert.equal(Buffer.from(p.bytes).toString(), p.token);
  }
  const first = r.completion_probabilities[0].id;
  const other = await ok('/completion', { prompt: 'Hello', n_predict: 1, temperature: 0, logit_bias: [[first, false]], return_tokens: true });
  assert.notEqual(other.tokens[0], first);
  assert.match((await ok('/completion', { prompt: 'Is it? ', n_predict: 8, grammar: 'root ::= "yes" | "no"' })).content, /^(yes|no)$/);
  const json = await ok('/completion', { prompt: 'Mood: ', n_predict: 40, json_schema: { type: 'object', required: ['ok'], properties: { ok: { type: 'boolean' } }, additionalProperties: false } });
  assert.equal(typeof JSON.parse(json.content).ok, 'boolean');
});

test('n_predict 0 computes the prompt and says nothing', async () => {
  const prompt = 'A prompt that is longer than those of the other tests, so that it is found again.';
  const warm = await ok('/completion', { prompt, n_predict: 0 });
  assert.equal(warm.content, '');
  assert.equal(warm.tokens_predicted, 0);
  const next = await ok('/completion', { prompt, n_predict: 2 });
  assert.ok(next.timings.cache_n > 0, JSON.stringify(next.timings));
});

test('filling in, as llama.vim asks for it', async () => {
  const request = {
    model: 'coder', input_prefix: 'int add(int a, int b)\n{\n', input_suffix: '\n}\n', prompt: '    return ',
    input_extra: [{ filename: 'a.h', text: 'int add(int a, int b);\n' }], n_predict: 8, stop: [], n_indent: 4, top_k: 40, top_p: 0.9,
    samplers: ['top_k', 'top_p', 'infill'], cache_prompt: true, t_max_prompt_ms: 500, t_max_predict_ms: 1000, seed: 4294967295,
  };
  const r = await ok('/infill', request);
  assert.equal(r.model, 'coder');
  assert.ok(r.tokens_evaluated > 20);
  const { tokens: before } = await ok('/tokenize', { model: 'coder', content: request.input_prefix });
  assert.ok(r.tokens_evaluated > before.length + 6);
  const pieces = await events('/infill', request);
  assert.equal(pieces.at(-1).stop, true);
  const some = await ok('/infill', { ...request, n_predict: 0, response_fields: ['content', 'timings/prompt_n'] });
  assert.deepEqual(Object.keys(some), ['content', 'timings/prompt_n']);
  const none = await post('/infill', { input_prefix: 'a', input_suffix: 'b', model: 'hearth-tiny' });
  assert.equal(none.status, 501);
  assert.equal(none.json.error.type, 'not_supported_error');
  const long = await ok('/infill', { ...request, input_prefix: 'x = 1;\n'.repeat(3000), n_predict: 4 });
  assert.ok(long.tokens_evaluated <= 1024, 'what is too long is cut, not refused');
});

test('filling in by the other surfaces: the same tokens', async () => {
  const gap = { input_prefix: 'x = [1, ', input_suffix: ', 9]\n' };
  const { content, tokens_evaluated: n } = await ok('/infill', { model: 'coder', ...gap, n_predict: 6, temperature: 0 });
  // OpenAI's completions.
  const body = { model: 'coder', prompt: gap.input_prefix, suffix: gap.input_suffix, max_tokens: 6, temperature: 0 };
  const r = await ok('/v1/completions', body);
  assert.deepEqual([r.choices[0].text, r.usage.prompt_tokens, r.model], [content, n, 'coder']);
  const echoed = await ok('/v1/completions', { ...body, echo: true, logprobs: 1 });
  assert.equal(echoed.choices[0].text, gap.input_prefix + content);
  assert.equal(echoed.choices[0].logprobs.text_offset[0], gap.input_prefix.length);
  assert.equal(echoed.choices[0].logprobs.tokens.length, 6);
  const two = await ok('/v1/completions', { ...body, prompt: [gap.input_prefix, 'def f():'], n: 2, echo: true });
  assert.deepEqual(two.choices.map((c) => c.text.startsWith(c.index < 2 ? gap.input_prefix : 'def f():')), Array(4).fill(true));
  assert.equal(two.choices[0].text, gap.input_prefix + content);
  const res = await fetch(`${hub.url}/v1/completions`, { method: 'POST', body: JSON.stringify({ ...body, echo: true, stream: true }) });
  const chunks = (await res.text()).split('\n\n').filter((l) => l.startsWith('data: {')).map((l) => JSON.parse(l.slice(6)));
  assert.equal(chunks[0].choices[0].text, gap.input_prefix);
  assert.equal(chunks.map((c) => c.choices[0].text).join(''), gap.input_prefix + content);
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'length');
  const refused = await post('/v1/completions', { ...body, model: 'hearth-tiny' });
  assert.deepEqual([refused.status, refused.json.error.param, refused.json.error.code], [400, '/model', 'unsupported']);
  assert.match(refused.json.error.message, /hearth-tiny can't fill in: its vocabulary has no prefix token/);
  assert.equal((await post('/v1/completions', { ...body, prompt: [1, 2] })).status, 400);
  assert.equal((await post('/v1/completions', { ...body, model: 'none' })).status, 404);
  // Ollama's generate.
  const ollama = { model: 'coder', prompt: gap.input_prefix, suffix: gap.input_suffix, stream: false, options: { num_predict: 6, temperature: 0 } };
  const g = await ok('/api/generate', ollama);
  assert.deepEqual([g.response, g.prompt_eval_count, g.eval_count, g.done_reason], [content, n, 6, 'length']);
  assert.ok(!('context' in g));
  const lines = (await (await fetch(`${hub.url}/api/generate`, { method: 'POST', body: JSON.stringify({ ...ollama, stream: true }) })).text()).trim().split('\n').map((l) => JSON.parse(l));
  assert.equal(lines.map((l) => l.response).join(''), content);
  const not = await post('/api/generate', { ...ollama, model: 'hearth-tiny:latest' });
  assert.deepEqual([not.status, not.json], [400, { error: 'hearth-tiny:latest does not support insert' }]);
  assert.deepEqual((await post('/api/generate', { ...ollama, model: 'none' })).json, { error: "model 'none' not found" });
  for (const more of [{ images: ['iVBORw0KGgo='] }, { template: '{{ .Prompt }}' }, { raw: true, system: 'x' }]) assert.equal((await post('/api/generate', { ...ollama, ...more })).status, 400);
  assert.deepEqual((await ok('/api/show', { model: 'coder' })).capabilities.includes('insert'), true);
  assert.ok(!(await ok('/api/show', { model: 'hearth-tiny' })).capabilities.includes('insert'));
  // A derived model keeps its parameters.
  await fetch(`${hub.url}/api/create`, { method: 'POST', body: JSON.stringify({ model: 'short-coder', from: 'coder', parameters: { num_predict: 3, temperature: 0 } }) });
  const { options, ...open } = ollama;
  const short = await ok('/api/generate', { ...open, model: 'short-coder' });
  assert.deepEqual([short.eval_count, content.startsWith(short.response)], [3, true], JSON.stringify(short));
  const own = await ok('/infill', { model: 'short-coder', ...gap });
  assert.deepEqual([own.tokens_predicted, own.model], [3, 'short-coder']);
});

test('props and slots', async () => {
  const props = await (await fetch(`${hub.url}/props`)).json();
  assert.equal(props.model_alias, 'hearth-tiny');
  assert.ok(props.total_slots >= 1);
  assert.ok(props.default_generation_settings.n_ctx >= 1024);
  assert.equal(props.default_generation_settings.params.top_k, 40);
  assert.match(props.chat_template, /im_start/);
  assert.equal(props.eos_token, '<|im_end|>');
  assert.deepEqual(props.modalities, { vision: false, audio: false });
  const coder = await (await fetch(`${hub.url}/props?model=coder`)).json();
  assert.equal(coder.supports_infill, true);
  assert.equal((await fetch(`${hub.url}/props?model=none`)).status, 404);
  const slots = await (await fetch(`${hub.url}/slots`)).json();
  assert.ok(slots.length >= props.total_slots);
  assert.deepEqual(slots.map((s) => s.id), slots.map((_, i) => i));
  const leave = new AbortController();
  const running = fetch(`${hub.url}/completion`, {
    method: 'POST', signal: leave.signal, body: JSON.stringify({ prompt: 'Hello', n_predict: 900, ignore_eos: true, stream: true }),
  });
  await running;
  await until(async () => (await (await fetch(`${hub.url}/slots`)).json()).some((s) => s.is_processing && s.next_token[0].n_decoded > 0), 20000, 'a busy slot');
  leave.abort();
  await until(async () => (await (await fetch(`${hub.url}/slots`)).json()).every((s) => !s.is_processing), 20000, 'idle slots');
});

test('errors are llama-server\'s', async () => {
  const cases = [
    ['/completion', { prompt: 7 }, 400, 'invalid_request_error'],
    ['/completion', {}, 400, 'invalid_request_error'],
    ['/completion', { prompt: [] }, 400, 'invalid_request_error'],
    ['/completion', { prompt: [1.5] }, 400, 'invalid_request_error'],
    ['/completion', { prompt: 'a', n_predict: -2 }, 400, 'invalid_request_error'],
    ['/completion', { prompt: 'a', logit_bias: [['word', 1]] }, 501, 'not_supported_error'],
    ['/completion', { prompt: 'a', logit_bias: [[1]] }, 400, 'invalid_request_error'],
    ['/completion', { prompt: 'a', response_fields: [1] }, 400, 'invalid_request_error'],
    ['/completion', { prompt: { prompt_string: 'a', multimodal_data: ['x'] } }, 501, 'not_supported_error'],
    ['/completion', { prompt: [1, 99999999] }, 400, 'invalid_request_error'],
    ['/completion', { prompt: ['a', 99999999] }, 400, 'invalid_request_error'],
    ['/completion', { prompt: 'a', model: 'none' }, 404, 'not_found_error'],
    ['/completion', { prompt: 'word '.repeat(5000) }, 400, 'exceed_context_size_error'],
    ['/infill', { input_prefix: 'a' }, 400, 'invalid_request_error'],
    ['/infill', { input_prefix: 'a', input_suffix: 'b', input_extra: [7] }, 400, 'invalid_request_error'],
    ['/tokenize', { content: 7 }, 400, 'invalid_request_error'],
    ['/tokenize', { content: 'a', model: 'none' }, 404, 'not_found_error'],
    ['/detokenize', { tokens: [-1] }, 400, 'invalid_request_error'],
    ['/apply-template', { messages: [] }, 400, 'invalid_request_error'],
  ];
  for (const [path, body, status, type] of cases) {
    const r = await post(path, body);
    const what = `${path} ${JSON.stringify(body).slice(0, 80)}: ${JSON.stringify(r.json)}`;
    assert.equal(r.status, status, what);
    assert.equal(r.json.error.code, status, what);
    assert.equal(r.json.error.type, type, what);
  }
});
