// A scripted server that plays the other side of the providers: OpenAI and everything compatible,
// Anthropic, Ollama, Cohere, and Keycloak's token endpoint. It speaks the real protocols, streams
// what the test says, and misbehaves on command.
//
//   const up = await startUpstream();                  // or { tls: { key, cert } }
//   up.answer = { text: 'Hello there.', reasoning: 'Hm.', toolCalls: [{ name, arguments: {} }] };
//   up.faults.push({ kind: 'status', status: 429, headers: { 'Retry-After': '1' } });
//   ... the hub asks `${up.url}/v1/chat/completions`, `/v1/messages`, `/api/chat`, `/v2/chat` ...
//   up.requests                                        // [{ method, path, headers, body }]
//   await up.close();
//
// Faults are used up in their order, one by each request that generates or embeds (of `path`, if
// the fault names one); { always: true } stays. `after` counts pieces of the stream that go out
// before it happens.
//
//   status     { status, headers, body }   an error; without a body the protocol's own
//   slow       { ms }                      the answer begins late
//   silent                                 it never does
//   stall      { after }                   the stream stops and stays open
//   cut        { after }                   the connection is closed in mid-stream
//   half       { after }                   half an event, then the body ends in good order
//   early      { after }                   the body ends in good order before its end
//   bad-json   { after }                   an event that is no JSON
//   error      { after, message, type }    an error told inside the stream
//   wrong-type { type, body }              200, and a web page
//   endless    { ms }                      text for ever, every ms
//   pings      { ms }                      comments (or empty lines) for ever, and no text
//   giant      { bytes }                   one line of that many bytes
//   refuse                                 the connection is closed without an answer
//   garbage                                bytes that are no HTTP
//   whole                                  no stream, though one was asked for
//
// tokenFaults are those of the requests that sign in: status, slow, silent, wrong-type, giant,
// refuse and garbage.
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

import { seen } from './seen.mjs';

const dims = 8;

/** The vector of a text: the same for the same text. */
export function vectorOf(text) {
  const v = new Array(dims).fill(0);
  for (let i = 0; i < text.length; i++) v[text.charCodeAt(i) % dims] += 1;
  return v;
}

const words = (text) => text.match(/\s*\S+\s*$|\s*\S+/g) ?? (text ? [text] : []);
const usageOf = (up) => ({ prompt: 11, cached: 0, completion: 7, reasoning: 0, ...up.answer.usage });
const calls = (up) => up.answer.toolCalls ?? [];
const sse = (data, event) =>
  `${event ? `event: ${event}\n` : ''}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
const line = (data) => `${JSON.stringify(data)}\n`;
const argumentsOf = (call) =>
  typeof call.arguments === 'string' ? call.arguments : JSON.stringify(call.arguments ?? {});
/** Cuts a text into two pieces, so that nobody gets it whole. */
const halves = (s) => (s.length > 1 ? [s.slice(0, s.length >> 1), s.slice(s.length >> 1)] : [s]);

// ---- OpenAI --------------------------------------------------------------------------------------

const openai = {
  type: 'text/event-stream',
  comment: ': still here\n\n',
  finish(up) {
    return up.answer.finish ?? (calls(up).length ? 'tool_calls' : 'stop');
  },
  usage(up) {
    const u = usageOf(up);
    return {
      prompt_tokens: u.prompt,
      completion_tokens: u.completion,
      total_tokens: u.prompt + u.completion,
      prompt_tokens_details: { cached_tokens: u.cached },
      completion_tokens_details: { reasoning_tokens: u.reasoning },
    };
  },
  stream(up, body, path) {
    const raw = path.endsWith('/completions') && !path.endsWith('/chat/completions');
    const n = body.n ?? 1;
    const head = {
      id: 'chatcmpl-up',
      object: raw ? 'text_completion' : 'chat.completion.chunk',
      created: 1700000000,
      model: up.answer.model ?? body.model,
    };
    const chunk = (index, delta, finish = null) => sse({
      ...head,
      choices: [raw
        ? { index, text: delta.content ?? '', logprobs: null, finish_reason: finish }
        : { index, delta, logprobs: null, finish_reason: finish }],
    });
    const pieces = [];
    for (let i = 0; i < n; i++) {
      if (!raw) pieces.push(chunk(i, { role: 'assistant', content: '' }));
      for (const w of words(up.answer.reasoning ?? '')) pieces.push(chunk(i, { reasoning_content: w }));
      for (const w of words(up.answer.text ?? '')) pieces.push(chunk(i, { content: w }));
      calls(up).forEach((call, index) => {
        pieces.push(chunk(i, {
          tool_calls: [{
            index, id: call.id ?? `call_${index}`, type: 'function',
            function: { name: call.name, arguments: '' },
          }],
        }));
        for (const part of halves(argumentsOf(call))) {
          pieces.push(chunk(i, { tool_calls: [{ index, function: { arguments: part } }] }));
        }
      });
      pieces.push(chunk(i, {}, openai.finish(up)));
    }
    if (body.stream_options?.include_usage) {
      pieces.push(sse({ ...head, choices: [], usage: openai.usage(up) }));
    }
    pieces.push(sse('[DONE]'));
    return pieces;
  },
  whole(up, body, path) {
    const raw = path.endsWith('/completions') && !path.endsWith('/chat/completions');
    const choices = Array.from({ length: body.n ?? 1 }, (_, index) => (raw
      ? { index, text: up.answer.text ?? '', logprobs: null, finish_reason: openai.finish(up) }
      : {
        index,
        message: {
          role: 'assistant',
          content: up.answer.text ?? null,
          ...(up.answer.reasoning && { reasoning_content: up.answer.reasoning }),
          ...(calls(up).length && {
            tool_calls: calls(up).map((call, i) => ({
              id: call.id ?? `call_${i}`, type: 'function',
              function: { name: call.name, arguments: argumentsOf(call) },
            })),
          }),
        },
        logprobs: null,
        finish_reason: openai.finish(up),
      }));
    return {
      id: 'chatcmpl-up', object: raw ? 'text_completion' : 'chat.completion',
      created: 1700000000, model: up.answer.model ?? body.model, choices, usage: openai.usage(up),
    };
  },
  error: (message, type = 'server_error', code = null) => ({ error: { message, type, param: null, code } }),
  errorPiece: (fault) => sse(openai.error(fault.message ?? 'It broke.', fault.type)),
};

// ---- Anthropic -----------------------------------------------------------------------------------

const anthropic = {
  type: 'text/event-stream; charset=utf-8',
  comment: sse({ type: 'ping' }, 'ping'),
  finish(up) {
    return up.answer.finish ?? (calls(up).length ? 'tool_use' : 'end_turn');
  },
  stream(up, body) {
    const u = usageOf(up);
    const ev = (data) => sse(data, data.type);
    const pieces = [
      ev({
        type: 'message_start',
        message: {
          id: 'msg_up', type: 'message', role: 'assistant', content: [],
          model: up.answer.model ?? body.model, stop_reason: null, stop_sequence: null,
          usage: {
            input_tokens: u.prompt - u.cached, cache_read_input_tokens: u.cached,
            cache_creation_input_tokens: 0, output_tokens: 1,
          },
        },
      }),
    ];
    let index = 0;
    const block = (start, deltas) => {
      pieces.push(ev({ type: 'content_block_start', index, content_block: start }));
      if (index === 0) pieces.push(ev({ type: 'ping' }));
      for (const delta of deltas) pieces.push(ev({ type: 'content_block_delta', index, delta }));
      pieces.push(ev({ type: 'content_block_stop', index }));
      index++;
    };
    if (up.answer.reasoning) {
      block({ type: 'thinking', thinking: '', signature: '' }, [
        ...words(up.answer.reasoning).map((thinking) => ({ type: 'thinking_delta', thinking })),
        { type: 'signature_delta', signature: up.answer.signature ?? 'c2lnbmVk' },
      ]);
    }
    if (up.answer.text) {
      block({ type: 'text', text: '' },
        words(up.answer.text).map((text) => ({ type: 'text_delta', text })));
    }
    for (const call of calls(up)) {
      block({ type: 'tool_use', id: call.id ?? `toolu_${index}`, name: call.name, input: {} }, [
        { type: 'input_json_delta', partial_json: '' },
        ...halves(argumentsOf(call)).map((partial_json) => ({ type: 'input_json_delta', partial_json })),
      ]);
    }
    pieces.push(ev({
      type: 'message_delta',
      delta: { stop_reason: anthropic.finish(up), stop_sequence: up.answer.stopSequence ?? null },
      usage: { output_tokens: u.completion },
    }));
    pieces.push(ev({ type: 'message_stop' }));
    return pieces;
  },
  whole(up, body) {
    const u = usageOf(up);
    const content = [];
    if (up.answer.reasoning) {
      content.push({ type: 'thinking', thinking: up.answer.reasoning, signature: up.answer.signature ?? 'c2lnbmVk' });
    }
    if (up.answer.text) content.push({ type: 'text', text: up.answer.text });
    calls(up).forEach((call, i) => content.push({
      type: 'tool_use', id: call.id ?? `toolu_${i}`, name: call.name, input: JSON.parse(argumentsOf(call)),
    }));
    return {
      id: 'msg_up', type: 'message', role: 'assistant', model: up.answer.model ?? body.model, content,
      stop_reason: anthropic.finish(up), stop_sequence: up.answer.stopSequence ?? null,
      usage: { input_tokens: u.prompt, output_tokens: u.completion },
    };
  },
  error: (message, type = 'api_error') => ({ type: 'error', error: { type, message } }),
  errorPiece: (fault) =>
    sse(anthropic.error(fault.message ?? 'It broke.', fault.type ?? 'overloaded_error'), 'error'),
};

// ---- Ollama --------------------------------------------------------------------------------------

const ollama = {
  type: 'application/x-ndjson',
  comment: '\n',
  end(up, model) {
    const u = usageOf(up);
    return {
      model, created_at: '2026-01-01T00:00:00.000000Z', message: { role: 'assistant', content: '' },
      done_reason: up.answer.finish ?? 'stop', done: true, total_duration: 5000000, load_duration: 1000000,
      prompt_eval_count: u.prompt, prompt_eval_duration: 2000000, eval_count: u.completion,
      eval_duration: 2000000,
    };
  },
  message: (up) => calls(up).map((call) => ({
    function: { name: call.name, arguments: JSON.parse(argumentsOf(call)) },
  })),
  stream(up, body) {
    const model = up.answer.model ?? body.model;
    const piece = (message) => line({
      model, created_at: '2026-01-01T00:00:00.000000Z',
      message: { role: 'assistant', content: '', ...message }, done: false,
    });
    const pieces = [];
    for (const thinking of words(up.answer.reasoning ?? '')) pieces.push(piece({ thinking }));
    for (const content of words(up.answer.text ?? '')) pieces.push(piece({ content }));
    for (const call of ollama.message(up)) pieces.push(piece({ tool_calls: [call] }));
    pieces.push(line(ollama.end(up, model)));
    return pieces;
  },
  whole(up, body) {
    const end = ollama.end(up, up.answer.model ?? body.model);
    end.message.content = up.answer.text ?? '';
    if (up.answer.reasoning) end.message.thinking = up.answer.reasoning;
    if (calls(up).length) end.message.tool_calls = ollama.message(up);
    return end;
  },
  error: (message) => ({ error: message }),
  errorPiece: (fault) => line({ error: fault.message ?? 'It broke.' }),
};

// ---- Cohere --------------------------------------------------------------------------------------

const cohere = {
  type: 'text/event-stream',
  comment: ': still here\n\n',
  finish(up) {
    return up.answer.finish ?? (calls(up).length ? 'TOOL_CALL' : 'COMPLETE');
  },
  usage(up) {
    const u = usageOf(up);
    const tokens = { input_tokens: u.prompt, output_tokens: u.completion };
    return { billed_units: tokens, tokens };
  },
  stream(up) {
    const ev = (data) => sse(data, data.type);
    const pieces = [ev({
      type: 'message-start', id: 'up',
      delta: { message: { role: 'assistant', content: [], tool_plan: '', tool_calls: [], citations: [] } },
    })];
    let index = 0;
    const content = (type, field, text) => {
      pieces.push(ev({ type: 'content-start', index, delta: { message: { content: { type, [field]: '' } } } }));
      for (const w of words(text)) {
        pieces.push(ev({ type: 'content-delta', index, delta: { message: { content: { [field]: w } } } }));
      }
      pieces.push(ev({ type: 'content-end', index }));
      index++;
    };
    if (up.answer.reasoning) content('thinking', 'thinking', up.answer.reasoning);
    if (up.answer.text) content('text', 'text', up.answer.text);
    calls(up).forEach((call, i) => {
      pieces.push(ev({
        type: 'tool-call-start', index: i,
        delta: {
          message: {
            tool_calls: {
              id: call.id ?? `${call.name}_${i}`, type: 'function',
              function: { name: call.name, arguments: '' },
            },
          },
        },
      }));
      for (const part of halves(argumentsOf(call))) {
        pieces.push(ev({
          type: 'tool-call-delta', index: i,
          delta: { message: { tool_calls: { function: { arguments: part } } } },
        }));
      }
      pieces.push(ev({ type: 'tool-call-end', index: i }));
    });
    pieces.push(ev({
      type: 'message-end', id: 'up', delta: { finish_reason: cohere.finish(up), usage: cohere.usage(up) },
    }));
    return pieces;
  },
  whole(up) {
    const content = [];
    if (up.answer.reasoning) content.push({ type: 'thinking', thinking: up.answer.reasoning });
    if (up.answer.text) content.push({ type: 'text', text: up.answer.text });
    return {
      id: 'up', finish_reason: cohere.finish(up), usage: cohere.usage(up),
      message: {
        role: 'assistant', content,
        ...(calls(up).length && {
          tool_calls: calls(up).map((call, i) => ({
            id: call.id ?? `${call.name}_${i}`, type: 'function',
            function: { name: call.name, arguments: argumentsOf(call) },
          })),
        }),
      },
    };
  },
  error: (message) => ({ id: 'up', message }),
  errorPiece: (fault) => sse({
    type: 'message-end', delta: { error: fault.message ?? 'It broke.', finish_reason: 'ERROR' },
  }, 'message-end'),
};

// ---- answers that don't stream --------------------------------------------------------------------

const texts = (input) => (Array.isArray(input) ? input : [input]);

function embeddings(up, path, body) {
  if (path.endsWith('/embeddings') && path.startsWith('/api')) return { embedding: vectorOf(body.prompt) };
  if (path.endsWith('/embeddings')) {
    return {
      object: 'list', model: body.model,
      data: texts(body.input).map((t, index) => ({ object: 'embedding', index, embedding: vectorOf(t) })),
      usage: { prompt_tokens: 5, total_tokens: 5 },
    };
  }
  if (path === '/api/embed') {
    return {
      model: body.model, embeddings: texts(body.input).map(vectorOf), total_duration: 1000000,
      load_duration: 1000, prompt_eval_count: 5,
    };
  }
  return {
    id: 'up', texts: body.texts, embeddings: { float: body.texts.map(vectorOf) },
    meta: { billed_units: { input_tokens: 5 } }, response_type: 'embeddings_by_type',
  };
}

function rerank(body) {
  const shared = (t) => t.split(/\W+/).filter((w) => w && body.query.includes(w)).length;
  const results = body.documents
    .map((d, index) => ({ index, relevance_score: Math.min(1, shared(typeof d === 'string' ? d : d.text) / 10) }))
    .sort((a, b) => b.relevance_score - a.relevance_score);
  return { id: 'up', results, meta: { billed_units: { search_units: 1 } } };
}

function models(up, path, headers) {
  if (path === '/api/tags') {
    return {
      models: up.models.map((name) => ({
        name, model: name, modified_at: '2026-01-01T00:00:00Z', size: 2019393189, digest: 'a'.repeat(64),
        details: {
          parent_model: '', format: 'gguf', family: 'llama', families: ['llama'],
          parameter_size: '3.2B', quantization_level: 'Q4_K_M',
        },
      })),
    };
  }
  if (headers['anthropic-version']) {
    return {
      data: up.models.map((id) => ({ type: 'model', id, display_name: id, created_at: '2025-01-01T00:00:00Z' })),
      has_more: false, first_id: up.models[0], last_id: up.models.at(-1),
    };
  }
  if (up.cohereModels) {
    return { models: up.models.map((name) => ({ name, endpoints: ['chat'], context_length: 128000 })) };
  }
  return {
    object: 'list',
    data: up.models.map((id) => ({ id, object: 'model', created: 1700000000, owned_by: 'up' })),
  };
}

function show(up, body) {
  const model = body.model ?? body.name;
  if (!up.models.includes(model)) return { status: 404, value: ollama.error(`model '${model}' not found`) };
  return {
    value: {
      modelfile: `FROM ${model}`, parameters: 'num_ctx 4096', template: '{{ .Prompt }}',
      details: { format: 'gguf', family: 'llama', parameter_size: '3.2B', quantization_level: 'Q4_K_M' },
      model_info: { 'general.architecture': 'llama', 'llama.context_length': 131072, 'llama.embedding_length': dims },
      capabilities: ['completion', 'tools', ...(up.answer.reasoning ? ['thinking'] : [])],
    },
  };
}

const keycloak = {
  type: 'application/json',
  error: (message) => ({ error: 'invalid_grant', error_description: message }),
};

// Keycloak: by password or client credentials; tokens are "token-1", "token-2", ...
function token(up, text) {
  const form = new URLSearchParams(text);
  up.tokens.push(Object.fromEntries(form));
  const good = form.get('grant_type') === 'password'
    ? form.get('username') === up.oauth.username && form.get('password') === up.oauth.password
    : form.get('grant_type') === 'client_credentials' && form.get('client_secret') === up.oauth.clientSecret;
  if (!good || form.get('client_id') !== up.oauth.clientId) {
    return { status: 401, value: { error: 'invalid_grant', error_description: 'Invalid user credentials' } };
  }
  up.token = `token-${up.tokens.length}`;
  up.good.add(up.token);
  return { value: { access_token: up.token, expires_in: up.oauth.expiresIn, token_type: 'Bearer' } };
}

// ---- the server ------------------------------------------------------------------------------------

function speaker(path) {
  if (/\/(chat\/)?completions$/.test(path)) return openai;
  if (path.endsWith('/v1/messages')) return anthropic;
  if (path === '/api/chat' || path === '/api/generate') return ollama;
  if (path === '/v2/chat') return cohere;
  return null;
}

function speakerOf(path) {
  return speaker(path) ?? (path.startsWith('/api/') ? ollama : path.startsWith('/v2/') ? cohere : openai);
}

function sendJson(res, value, status = 200, headers = {}) {
  const text = JSON.stringify(value);
  res.writeHead(status, {
    'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text), ...headers,
  });
  res.end(text);
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function takeFault(faults, path) {
  const i = faults.findIndex((f) => !f.path || f.path === path);
  if (i < 0) return null;
  return faults[i].always ? faults[i] : faults.splice(i, 1)[0];
}

/** Faults that leave nothing of the answer; true: it was one. */
async function failAtOnce(fault, req, res, proto) {
  switch (fault?.kind) {
    case 'status': {
      const body = fault.body ?? proto.error(fault.message ?? `status ${fault.status}`, fault.type, fault.code);
      if (typeof body !== 'string') sendJson(res, body, fault.status, fault.headers);
      else res.writeHead(fault.status, { 'Content-Type': 'text/plain', ...fault.headers }).end(body);
      return true;
    }
    case 'slow':
      await pause(fault.ms);
      return false;
    case 'silent':
      return true;
    case 'wrong-type':
      res.writeHead(200, { 'Content-Type': fault.type ?? 'text/html' });
      res.end(fault.body ?? '<html><body>Welcome to the proxy.</body></html>');
      return true;
    case 'refuse':
      req.socket.destroy();
      return true;
    case 'garbage':
      req.socket.end('SSH-2.0-OpenSSH_9.2\r\n');
      return true;
    case 'giant':
      res.writeHead(200, { 'Content-Type': proto.type });
      await giant(res, fault.bytes ?? 64 << 20, proto);
      return true;
    default:
      return false;
  }
}

async function write(res, text) {
  if (res.destroyed) return false;
  if (!res.write(text)) {
    await new Promise((done) => {
      const go = () => {
        res.off('drain', go).off('close', go);
        done();
      };
      res.on('drain', go).on('close', go);
    });
  }
  return !res.destroyed;
}

async function giant(res, bytes, proto) {
  const chunk = 'x'.repeat(1 << 16);
  if (proto !== ollama) await write(res, 'data: ');
  for (let sent = 0; sent < bytes; sent += chunk.length) {
    if (!(await write(res, chunk))) return;
  }
  res.end('\n\n');
}

async function forever(up, res, fault, proto, pieces) {
  const text = pieces.find((p) => /Hello|content|text/.test(p)) ?? pieces[0];
  for (;;) {
    if (!(await write(res, fault.kind === 'pings' ? proto.comment : text))) return;
    await pause(fault.ms ?? 5);
  }
}

/** At piece number `after`; true: the stream is over. */
async function failMidStream(up, fault, res, proto, pieces, i) {
  switch (fault.kind) {
    case 'stall':
      return true;
    case 'cut':
      await pause(20); // what was written should arrive first
      res.destroy();
      return true;
    case 'early':
      res.end();
      return true;
    case 'half':
      res.end(pieces[i].slice(0, pieces[i].length >> 1));
      return true;
    case 'bad-json':
      await write(res, proto === ollama ? '{"model": oops\n' : 'data: {"choices": [oops\n\n');
      return false;
    case 'error':
      await write(res, proto.errorPiece(fault));
      res.end();
      return true;
    case 'endless':
    case 'pings':
      await forever(up, res, fault, proto, pieces);
      return true;
    default:
      return false;
  }
}

async function stream(up, fault, res, proto, pieces) {
  res.writeHead(200, { 'Content-Type': proto.type, 'Cache-Control': 'no-cache' });
  const at = fault ? fault.after ?? 0 : -1;
  res.flushHeaders(); // so that the head is not kept for the first piece
  for (let i = 0; i < pieces.length; i++) {
    if (i === at && (await failMidStream(up, fault, res, proto, pieces, i))) return;
    if (!(await write(res, pieces[i]))) return;
    if (up.gapMs) await pause(up.gapMs);
  }
  res.end();
}

async function generate(up, req, res, path, body) {
  const proto = speaker(path);
  const fault = takeFault(up.faults, path);
  if (await failAtOnce(fault, req, res, proto)) return;
  const streams = proto === ollama ? body.stream !== false : body.stream === true;
  if (!streams || fault?.kind === 'whole') sendJson(res, proto.whole(up, body, path));
  else await stream(up, fault, res, proto, proto.stream(up, body, path));
}

async function handle(up, req, res, text) {
  const path = new URL(req.url, 'http://up').pathname;
  let body = null;
  try {
    body = text && /json/.test(req.headers['content-type'] ?? '') ? JSON.parse(text) : null;
  } catch {
    sendJson(res, { error: { message: 'the body is no JSON' } }, 400);
    return;
  }
  up.requests.push({ method: req.method, path, headers: req.headers, body, text });
  if (path.endsWith('/openid-connect/token')) {
    if (await failAtOnce(takeFault(up.tokenFaults, path), req, res, keycloak)) return;
    const { value, status } = token(up, text);
    sendJson(res, value, status);
    return;
  }
  if (up.key && !authorized(up, req)) {
    sendJson(res, speakerOf(path).error('the key is wrong', 'authentication_error', 'invalid_api_key'), 401);
    return;
  }
  if (req.method === 'POST' && speaker(path)) {
    await generate(up, req, res, path, body);
    return;
  }
  const fault = takeFault(up.faults, path);
  if (await failAtOnce(fault, req, res, speakerOf(path))) return;
  if (/\/embed(dings)?$/.test(path)) sendJson(res, embeddings(up, path, body));
  else if (path === '/v2/rerank') sendJson(res, rerank(body));
  else if (path === '/v1/messages/count_tokens') sendJson(res, { input_tokens: 11 });
  else if (path.endsWith('/models') || path === '/api/tags') sendJson(res, models(up, path, req.headers));
  else if (path === '/api/show') {
    const { value, status } = show(up, body);
    sendJson(res, value, status);
  } else if (path === '/api/version') sendJson(res, { version: '0.12.0' });
  else if (path === '/') res.writeHead(200, { 'Content-Type': 'text/plain' }).end('Ollama is running');
  else sendJson(res, { error: { message: `no such path: ${path}`, type: 'invalid_request_error' } }, 404);
}

function authorized(up, req) {
  const { authorization, 'x-api-key': key } = req.headers;
  return key === up.key || authorization === `Bearer ${up.key}`
    || up.good.has(authorization?.replace('Bearer ', ''));
}

/**
 * @param {{tls?: {key: string|Buffer, cert: string|Buffer}, port?: number, host?: string}} [options]
 * @returns an object whose fields may be changed at any time:
 *   answer {text, reasoning, toolCalls, usage, finish, model}, models, faults, tokenFaults, gapMs,
 *   key (null = nobody asks for one), oauth {clientId, clientSecret, username, password, expiresIn},
 *   good (the tokens that are as good as the key: clear() takes all back);
 *   and which tells: requests, tokens, token (the newest), connections (all so far), open (now), url.
 */
export async function startUpstream(options = {}) {
  const up = {
    answer: { text: 'Hello there, this is upstream.' },
    models: ['up-small', 'up-large'],
    faults: [], tokenFaults: [], requests: [], tokens: [], token: null, good: new Set(), key: null, gapMs: 0,
    oauth: { clientId: 'hearth', clientSecret: 'hush', username: 'ada', password: 'lovelace', expiresIn: 300 },
    connections: 0, open: 0,
  };
  const host = options.host ?? '127.0.0.1';
  const onRequest = (req, res) => {
    const parts = [];
    req.on('data', (d) => parts.push(d));
    req.on('end', () => {
      handle(up, req, res, Buffer.concat(parts).toString()).catch((e) => {
        process.stderr.write(`# upstream: ${e.stack}\n`);
        res.destroy();
      });
    });
    res.on('error', () => {});
  };
  const server = options.tls ? createTlsServer(options.tls, onRequest) : createServer(onRequest);
  server.keepAliveTimeout = 60000;
  server.on('connection', (socket) => {
    up.connections++;
    up.open++;
    socket.on('close', () => up.open--);
    socket.on('error', () => {});
  });
  server.on('tlsClientError', () => {});
  await new Promise((done) => server.listen(options.port ?? 0, host, 4096, done));
  up.port = server.address().port;
  seen({ server: 'provider', port: up.port });
  up.url = `${options.tls ? 'https' : 'http'}://${host}:${up.port}`;
  up.close = () => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  };
  return up;
}
