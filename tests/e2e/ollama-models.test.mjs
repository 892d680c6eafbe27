// Models made from others: Modelfiles through the command line and the API, blobs, copies, what is removed and what is
// not; and the models of an Ollama on the same machine, used where they lie. Every surface knows them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { addMetadata } from './support/gguf.mjs';
import { root, runHearth, startHub, tempDir, until } from './support/hearth.mjs';
import { startHubServer } from './support/hub-server.mjs';

const TINY = join(root, 'models', 'hearth-tiny.gguf');
const bytes = readFileSync(TINY);
const sha = (data) => createHash('sha256').update(data).digest('hex');
const HI = [{ role: 'user', content: 'hi' }];

let dir;
let hub;
let files; // a server that plays Hugging Face
before(async () => {
  dir = tempDir();
  files = await startHubServer({ 'org/tiny': { 'tiny-pulled-Q8_0.gguf': bytes } });
  hub = await startHub({ dir, env: { HF_ENDPOINT: files.url, HEARTH_ADAPTERS: join(dir, 'adapters') } });
});
after(async () => {
  await hub?.stop();
  await files?.close();
});

async function call(method, path, body, headers = {}) {
  const raw = Buffer.isBuffer(body);
  const r = await fetch(hub.url + path, { method, headers, body: body === undefined ? undefined : raw ? body : JSON.stringify(body) });
  const text = await r.text();
  const lines = text.trim().split('\n').map((l) => { try { return JSON.parse(l); } catch { return l; } });
  return { status: r.status, text, lines, json: lines[0] };
}
const chat = async (model, messages = HI, options) => {
  const r = await call('POST', '/api/chat', { model, messages, stream: false, options });
  assert.equal(r.status, 200, r.text);
  return r.json;
};
const statuses = (r) => r.lines.map((l) => l.status);
const names = async () => (await call('GET', '/api/tags')).json.models.map((m) => m.name);
const remove = (model) => call('DELETE', '/api/delete', { model });

test('create: system prompt and parameters, on every surface', async () => {
  const made = await call('POST', '/api/create', { model: 'mario', from: 'hearth-tiny', system: 'You are a pirate.', parameters: { temperature: 0, num_predict: 5 } });
  assert.equal(made.status, 200, made.text);
  assert.deepEqual(statuses(made), ['writing manifest', 'success']);
  const same = await chat('hearth-tiny', [{ role: 'system', content: 'You are a pirate.' }, ...HI], { temperature: 0, num_predict: 5 });
  const plain = await chat('hearth-tiny', HI, { temperature: 0, num_predict: 5 });
  assert.notEqual(same.prompt_eval_count, plain.prompt_eval_count);
  const ask = async (path, body, headers) => (await call('POST', path, body, headers)).json;
  const seen = {};
  for (const model of ['mario', 'mario:latest', 'MARIO']) {
    const r = await chat(model);
    seen[model] = [r.message.content, r.prompt_eval_count, r.eval_count];
    assert.equal(r.model, model);
  }
  const generated = await ask('/api/generate', { model: 'mario', prompt: 'hi', stream: false });
  seen.generate = [generated.response, generated.prompt_eval_count, generated.eval_count];
  const openai = await ask('/v1/chat/completions', { model: 'mario', messages: HI });
  assert.equal(openai.model, 'mario');
  seen.openai = [openai.choices[0].message.content, openai.usage.prompt_tokens, openai.usage.completion_tokens];
  const anthropic = await ask('/v1/messages', { model: 'mario', max_tokens: 5, messages: HI });
  seen.anthropic = [anthropic.content[0].text, same.prompt_eval_count, anthropic.usage.output_tokens];
  for (const [where, what] of Object.entries(seen)) assert.deepEqual(what, [same.message.content, same.prompt_eval_count, 5], where);
  // What the request says goes before what the model says.
  const own = await call('POST', '/v1/chat/completions', { model: 'mario', messages: [{ role: 'system', content: 'Be kind.' }, ...HI], max_tokens: 2 });
  assert.equal(own.json.usage.completion_tokens, 2);
  assert.notEqual(own.json.usage.prompt_tokens, same.prompt_eval_count);
  assert.equal((await chat('mario', HI, { num_predict: 3 })).eval_count, 3);
  // What counts tokens and shows prompts sees what it is made of, too.
  const counted = await ask('/v1/messages/count_tokens', { model: 'mario', messages: HI });
  assert.equal(counted.input_tokens, same.prompt_eval_count);
  const { prompt } = await ask('/apply-template', { model: 'mario', messages: HI });
  assert.match(prompt, /You are a pirate\.[\s\S]*hi/);
  assert.equal((await ask('/v1/messages/count_tokens', { model: 'mario', system: 'x', messages: HI })).input_tokens,
    (await ask('/v1/messages/count_tokens', { model: 'hearth-tiny', system: 'x', messages: HI })).input_tokens, 'the request has one of its own');
  assert.equal((await call('GET', '/props?model=mario')).json.model_alias, 'mario');
  // It is in the lists, and shares the memory of the other one.
  assert.ok((await names()).includes('mario:latest'));
  const listed = (await call('GET', '/v1/models')).json.data.map((m) => m.id);
  assert.ok(listed.includes('mario'), listed.join());
  assert.deepEqual((await call('GET', '/api/ps')).json.models.map((m) => m.name), ['hearth-tiny:latest']);
  const show = (await call('POST', '/api/show', { model: 'mario' })).json;
  assert.equal(show.system, 'You are a pirate.');
  assert.equal(show.parameters, 'temperature 0\nnum_predict 5\n');
  assert.equal(show.details.parent_model, 'hearth-tiny');
  assert.match(show.modelfile, /^FROM mario:latest$/m);
  assert.match(show.modelfile, /^SYSTEM """You are a pirate."""$/m);
});

test('made from one that was made: the newer words count', async () => {
  const made = await call('POST', '/api/create', {
    model: 'luigi:v1', from: 'mario', parameters: { num_predict: 3 }, stream: false,
    messages: [{ role: 'user', content: 'Who are you?' }, { role: 'assistant', content: 'Luigi!' }],
  });
  assert.deepEqual(made.json, { status: 'success' });
  const r = await chat('luigi:v1');
  const whole = await chat('hearth-tiny', [
    { role: 'system', content: 'You are a pirate.' }, { role: 'user', content: 'Who are you?' }, { role: 'assistant', content: 'Luigi!' }, ...HI,
  ], { temperature: 0, num_predict: 3 });
  assert.deepEqual([r.message.content, r.prompt_eval_count, r.eval_count], [whole.message.content, whole.prompt_eval_count, 3]);
  const show = (await call('POST', '/api/show', { model: 'luigi:v1' })).json;
  assert.equal(show.details.parent_model, 'hearth-tiny');
  assert.equal(show.messages.length, 2);
});

test('with an adapter behind its name it is what it is, with that adapter', async () => {
  const made = await call('POST', '/api/create', {
    model: 'sailor', from: 'hearth-tiny', system: 'You are a sailor.', template: '{{ .System }} {{ .Prompt }}',
    parameters: { temperature: 0, num_predict: 6 }, stream: false,
  });
  assert.equal(made.status, 200, made.text);
  const ask = async (model, extra) => {
    const r = await call('POST', '/v1/chat/completions', { model, messages: HI, ...extra });
    assert.equal(r.status, 200, r.text);
    const { data: [record] } = (await call('GET', '/v1/requests?limit=1')).json;
    return [r.json.model, r.json.choices[0].message.content, r.json.usage.prompt_tokens, r.json.usage.completion_tokens, record.adapter];
  };
  const field = await ask('sailor', { adapter: 'pirate' });
  assert.deepEqual(await ask('sailor:pirate'), field);
  assert.equal(field[0], 'sailor');
  assert.equal(field[4], 'pirate');
  assert.deepEqual(await ask('sailor:base'), await ask('sailor'));
  const count = async (model) => (await call('POST', '/v1/messages/count_tokens', { model, messages: HI })).json.input_tokens;
  assert.equal(await count('sailor:pirate'), await count('sailor'));
  const wrong = await call('POST', '/v1/chat/completions', { model: 'sailor:privateer', messages: HI });
  assert.equal(wrong.status, 404, wrong.text);
  assert.match(wrong.text, /pirate, terse/);
  assert.equal((await call('POST', '/v1/chat/completions', { model: 'sailor:pirate', adapter: 'terse', messages: HI })).status, 400);
  assert.equal((await remove('sailor')).status, 200);
});

test('a Modelfile through the command line; seen at once by the hub that runs', async () => {
  writeFileSync(join(dir, 'Modelfile'), [
    '# a comment', 'FROM hearth-tiny', 'PARAMETER temperature 0', 'PARAMETER stop "<end>"', 'parameter num_predict 4',
    'SYSTEM """You are', 'a pirate."""', 'LICENSE MIT', '',
  ].join('\n'));
  const r = await hub.run(['create', 'ns/kind:v2']);
  assert.equal(r.code, 0, r.stderr);
  assert.match(r.stdout, /hearth chat --model ns\/kind:v2/);
  const said = await chat('ns/kind:v2');
  assert.equal(said.eval_count, 4);
  const show = (await call('POST', '/api/show', { model: 'ns/kind:v2' })).json;
  assert.equal(show.system, 'You are\na pirate.');
  assert.equal(show.license, 'MIT');
  assert.equal(show.parameters, 'temperature 0\nstop "<end>"\nnum_predict 4\n');
  // The same text through the API, as older clients send it.
  const old = await call('POST', '/api/create', { name: 'old', modelfile: readFileSync(join(dir, 'Modelfile'), 'utf8') });
  assert.equal(old.status, 200, old.text);
  assert.equal((await chat('old')).message.content, said.message.content);
  for (const [text, words] of [['SYSTEM x', /no FROM/], ['FROM a\nCOOK it', /line 2.*command must be one of/], ['FROM hearth-tiny\nPARAMETER heat 1', /line 2.*unknown parameter 'heat'/],
    ['FROM hearth-tiny\nSYSTEM """x', /no end/], ['FROM hearth-tiny\nTEMPLATE {{ if .System }}', /block has no end/], ['FROM nobody-has-this', /nobody-has-this/]]) {
    const bad = await hub.run(['create', 'bad', '-f', '-'], { input: text });
    assert.equal(bad.code, 1, text);
    assert.match(bad.stderr, words);
  }
  assert.ok(!(await names()).includes('bad:latest'));
});

test('templates in Go\'s language give the prompt that the model\'s own one gives', async () => {
  const both = `{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}<|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ end }}
{{- end }}`;
  const older = `{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ .Response }}<|im_end|>
`;
  const talks = [HI, [{ role: 'system', content: 'Be kind.' }, ...HI], [...HI, { role: 'assistant', content: 'Hello!' }, { role: 'user', content: 'bye' }]];
  const options = { temperature: 0, num_predict: 6 };
  for (const [name, template] of Object.entries({ both, older })) {
    assert.equal((await call('POST', '/api/create', { model: `t-${name}`, from: 'hearth-tiny', template })).status, 200);
    for (const messages of talks) {
      const own = await chat('hearth-tiny', messages, options);
      const r = await chat(`t-${name}`, messages, options);
      assert.deepEqual([r.prompt_eval_count, r.message.content], [own.prompt_eval_count, own.message.content], `${name} ${messages.length}`);
    }
  }
  const once = await call('POST', '/api/generate', { model: 'hearth-tiny', prompt: 'hi', stream: false, options, template: older });
  assert.equal(once.json.response, (await chat('hearth-tiny', HI, options)).message.content);
  const broken = await call('POST', '/api/generate', { model: 'hearth-tiny', prompt: 'hi', stream: false, template: '{{ frobnicate . }}' });
  assert.equal(broken.status, 400);
  assert.match(broken.json.error, /line 1/);
  const jinja = await call('POST', '/api/create', { model: 'jinja', from: 'hearth-tiny', template: '{% for m in messages %}{{ m.content }}\n{% endfor %}' });
  assert.equal(jinja.status, 200, jinja.text);
  assert.ok((await chat('jinja', HI, options)).prompt_eval_count < 6);
  assert.equal((await call('POST', '/apply-template', { model: 'jinja', messages: HI })).json.prompt, 'hi\n');
  assert.match((await call('GET', '/props?model=jinja')).json.chat_template, /^{% for m in messages/);
});

test('blobs: sent, checked, made into a model, and gone with the last one', async () => {
  const digest = `sha256:${sha(bytes)}`;
  const blob = join(dir, 'models', 'blobs', digest.replace(':', '-'));
  assert.equal((await call('HEAD', `/api/blobs/${digest}`)).status, 404);
  for (let i = 0; i < 40; i++) {
    const wrong = await call('POST', `/api/blobs/sha256:${'0'.repeat(64)}`, bytes);
    assert.equal(wrong.status, 400);
    assert.match(wrong.json.error, /^digest mismatch/);
    assert.deepEqual(readdirSync(join(dir, 'models', 'blobs')), [], `nothing of it stays, not even for a moment (${i})`);
  }
  assert.equal((await call('POST', `/api/blobs/${digest}`, bytes)).status, 201);
  assert.equal((await call('POST', `/api/blobs/${digest}`, bytes)).status, 200);
  assert.equal((await call('HEAD', `/api/blobs/${digest}`)).status, 200);
  for (const bad of ['sha256:xyz', 'md5:1', '..%2F..%2Fetc%2Fpasswd']) assert.equal((await call('POST', `/api/blobs/${bad}`, bytes)).status, 400, bad);
  const page = await call('POST', `/api/blobs/${digest}`, bytes, { origin: 'http://localhost:8000', 'content-type': 'text/plain' });
  assert.equal(page.status, 415, 'a web page can\'t send one unasked');
  const made = await call('POST', '/api/create', { model: 'own', files: { 'tiny.gguf': digest } });
  assert.deepEqual(statuses(made), [`using existing layer ${digest}`, 'writing manifest', 'success']);
  assert.match((await chat('own', HI, { num_predict: 3 })).message.content, /\S/);
  assert.equal((await call('POST', '/api/create', { model: 'x', files: { a: `sha256:${'1'.repeat(64)}` } })).status, 404);
  assert.equal((await call('POST', '/api/copy', { source: 'own', destination: 'other' })).status, 200);
  assert.match((await chat('other', HI, { num_predict: 3 })).message.content, /\S/);
  assert.equal((await remove('own')).status, 409, 'another one has its weights');
  assert.equal((await remove('other')).status, 200);
  assert.ok(existsSync(blob));
  assert.equal((await remove('own')).status, 200);
  assert.ok(!existsSync(blob));
  assert.deepEqual((await remove('own')).json, { error: "model 'own' not found" });
  assert.equal((await call('POST', '/api/copy', { source: 'own', destination: 'y' })).status, 404);
});

test('made anew over its own name: the new weights answer, at once', async () => {
  const coder = join(dir, 'coder.gguf'); // the same but for what it says of itself
  addMetadata(TINY, coder, { 'tokenizer.ggml.fim_pre_token_id': 2001, 'tokenizer.ggml.fim_suf_token_id': 2002, 'tokenizer.ggml.fim_mid_token_id': 2003 });
  const fills = async () => (await call('GET', '/props?model=anew')).json.supports_infill;
  const weights = [bytes, readFileSync(coder)];
  for (let round = 0; round < 4; round++) {
    const data = weights[round % 2];
    const digest = `sha256:${sha(data)}`;
    await call('POST', `/api/blobs/${digest}`, data);
    const made = await call('POST', '/api/create', { model: 'anew', files: { 'a.gguf': digest } });
    assert.equal(made.status, 200, made.text);
    assert.match((await chat('anew', HI, { num_predict: 2 })).message.content, /\S/);
    assert.equal(await fills(), round % 2 === 1, `round ${round}`);
    const { status } = await call('POST', '/infill', { model: 'anew', input_prefix: 'a', input_suffix: 'b', n_predict: 1 });
    assert.equal(status, round % 2 === 1 ? 200 : 501);
  }
  // Through the command line, which is another process.
  writeFileSync(join(dir, 'Anew'), `FROM ${TINY}\n`);
  assert.equal((await hub.run(['create', 'anew', '-f', join(dir, 'Anew')])).code, 0);
  await chat('anew', HI, { num_predict: 2 });
  assert.equal(await fills(), false);
  assert.equal((await remove('anew')).status, 200);
  assert.deepEqual(readdirSync(join(dir, 'models', 'blobs')), []);
});

test('adapters that came as blobs go with the last model that has them', async () => {
  const data = readFileSync(join(root, 'models', 'adapters', 'pirate.gguf'));
  const digest = `sha256:${sha(data)}`;
  const adapter = join(dir, 'adapters', 'corsair.gguf');
  const here = () => [existsSync(join(dir, 'models', 'blobs', digest.replace(':', '-'))), existsSync(adapter)];
  const make = (model, more) => call('POST', '/api/create', { model, from: 'hearth-tiny', ...more });
  assert.equal((await call('POST', `/api/blobs/${digest}`, data)).status, 201);
  // What does not fit leaves nothing behind that stands in the way.
  const unfit = await call('POST', '/api/create', { model: 'corsair', from: 'hearth-tiny-embed', adapters: { 'a.gguf': digest } });
  assert.equal(unfit.status, 400, unfit.text);
  assert.deepEqual(here(), [true, false]);
  assert.equal((await make('corsair', { adapters: { 'a.gguf': digest } })).status, 200);
  const said = (await chat('corsair', HI, { temperature: 0, num_predict: 8 })).message.content;
  assert.notEqual(said, (await chat('hearth-tiny', HI, { temperature: 0, num_predict: 8 })).message.content);
  assert.equal((await make('second', { from: 'corsair' })).status, 200);
  assert.equal((await make('third', { adapter: 'corsair' })).status, 200);
  assert.equal((await remove('corsair')).status, 200);
  assert.deepEqual(here(), [true, true], 'others have it');
  assert.equal((await chat('second', HI, { temperature: 0, num_predict: 8 })).message.content, said);
  assert.equal((await make('second')).status, 200); // made anew, without it
  assert.deepEqual(here(), [true, true]);
  assert.equal((await remove('third')).status, 200);
  assert.deepEqual(here(), [false, false]);
  assert.equal((await remove('second')).status, 200);
});

test('what may not be', async () => {
  assert.equal((await remove('hearth-tiny')).status, 403, 'it is built in');
  assert.equal((await call('POST', '/api/create', { model: 'hearth-tiny', from: 'mario' })).status, 409, 'a file has that name');
  for (const model of ['', '../x', 'a b', 'a/b/c/d', 'x:', '.x', `${'x'.repeat(200)}`]) {
    assert.equal((await call('POST', '/api/create', { model, from: 'hearth-tiny' })).status, 400, model);
  }
  for (const more of [{ parameters: { heat: 1 } }, { parameters: { temperature: 'hot' } }, { messages: [{ role: 'judge', content: 'x' }] }, { quantize: 'q4_0' }, { template: 7 }]) {
    const r = await call('POST', '/api/create', { model: 'bad', from: 'hearth-tiny', ...more });
    assert.equal(r.status, 400, JSON.stringify(more) + r.text);
  }
  assert.deepEqual((await call('POST', '/api/create', { model: 'bad', from: 'nothing' })).json, { error: "model 'nothing' not found" });
  assert.deepEqual((await call('POST', '/api/create', { model: 'bad' })).json, { error: "neither 'from' or 'files' was specified" });
  // A record that somebody broke is left out, and said so.
  writeFileSync(join(dir, 'models', 'derived', 'broken.json'), '{"name":"broken"}');
  await until(async () => {
    assert.equal((await call('POST', '/api/show', { model: 'broken' })).status, 404);
    return /left out .*broken\.json: it must have either/.test(hub.log);
  }, 20000, 'the warning');
});

test('pull: progress line by line, and again', async () => {
  const r = await call('POST', '/api/pull', { model: 'org/tiny:tiny-pulled-Q8_0.gguf' });
  assert.equal(r.status, 200, r.text);
  const said = statuses(r);
  assert.equal(said[0], 'pulling manifest');
  assert.equal(said.at(-1), 'success');
  const pieces = r.lines.filter((l) => l.digest);
  assert.ok(pieces.length > 0 && pieces.at(-1).total === bytes.length && pieces.at(-1).completed === bytes.length);
  assert.match((await chat('tiny-pulled-Q8_0', HI, { num_predict: 3 })).message.content, /\S/);
  assert.deepEqual((await call('POST', '/api/pull', { name: 'org/tiny:tiny-pulled-Q8_0.gguf', stream: false })).json, { status: 'success' });
  files.faults.status = 500;
  const failed = await call('POST', '/api/pull', { model: 'org/other:x.gguf' });
  assert.ok(failed.status >= 400 || failed.lines.at(-1).error, failed.text);
  assert.equal((await remove('tiny-pulled-Q8_0')).status, 200);
  assert.ok(!existsSync(join(dir, 'models', 'tiny-pulled-Q8_0.gguf')));
});

test('the models of an Ollama: found, used where they lie, removed without their file', async () => {
  const store = join(tempDir(), 'ollama-models');
  const library = join(store, 'manifests', 'registry.ollama.ai', 'library', 'pirate');
  mkdirSync(join(store, 'blobs'), { recursive: true });
  mkdirSync(library, { recursive: true });
  const layer = (type, data) => {
    writeFileSync(join(store, 'blobs', `sha256-${sha(data)}`), data);
    return { mediaType: `application/vnd.ollama.image.${type}`, digest: `sha256:${sha(data)}`, size: data.length };
  };
  const weights = join(store, 'blobs', `sha256-${sha(bytes)}`);
  cpSync(TINY, weights);
  const layers = [
    { mediaType: 'application/vnd.ollama.image.model', digest: `sha256:${sha(bytes)}`, size: bytes.length },
    layer('system', 'You are a pirate.'), layer('params', '{"temperature":0,"num_predict":5,"from_the_future":1}'), layer('template', '{{ .Prompt }}'),
  ];
  writeFileSync(join(library, '1b'), JSON.stringify({ schemaVersion: 2, layers }));
  writeFileSync(join(library, 'gone'), JSON.stringify({ layers: [{ ...layers[0], digest: `sha256:${'2'.repeat(64)}` }] }));
  const env = { OLLAMA_MODELS: store };
  const first = await hub.run(['models', 'import', 'ollama'], { env });
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /^imported pirate:1b$/m);
  assert.match(first.stdout, /^left out pirate:gone: /m);
  assert.match((await hub.run(['models', 'import', 'ollama'], { env })).stdout, /^known +pirate:1b$/m);
  const nowhere = await hub.run(['models', 'import', 'ollama'], { env: { OLLAMA_MODELS: join(store, 'no') } });
  assert.equal(nowhere.code, 1);
  // A worker's rights are settled when it starts: this one knows the folder.
  const other = await startHub({ dir: tempDir(), env: { ...env, HEARTH_MODELS: join(dir, 'models') } });
  const body = JSON.stringify({ model: 'pirate:1b', messages: HI, stream: false });
  const r = await (await fetch(`${other.url}/api/chat`, { method: 'POST', body })).json();
  const same = await chat('mario');
  assert.deepEqual([r.message?.content, r.eval_count], [same.message.content, 5], JSON.stringify(r));
  assert.equal((await (await fetch(`${other.url}/api/delete`, { method: 'DELETE', body: '{"model":"pirate:1b"}' })).status), 200);
  await other.stop();
  assert.ok(existsSync(weights), 'the file is Ollama\'s');
  assert.equal((await runHearth(['models', 'show', 'pirate:1b'], { dir })).code, 1);
});
