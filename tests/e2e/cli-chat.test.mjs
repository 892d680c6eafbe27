// `hearth chat` and `hearth run` with the built-in model: one question, pipes, a running hub or none,
// bad input, signals.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import test, { after, before } from 'node:test';

import { binary, cleanEnv, root, runHearth, startHub, tempDir } from './support/hearth.mjs';

// No hub of this machine's own is to be found at the default port.
const alone = { PORT: '1' };
const hi = ['--temperature', '0', '--max-tokens', '16'];

// Arguments whose answer is long, whatever the model would like to say.
function longAnswer() {
  const file = join(tempDir(), 'long.json');
  writeFileSync(file,
    JSON.stringify({ type: 'array', minItems: 150, maxItems: 150, items: { const: 'sea' } }));
  return ['--max-tokens', '900', '--json-schema', file, 'Sea?'];
}

let hub;
before(async () => {
  hub = await startHub();
});
after(async () => {
  await hub.stop();
});

for (const where of ['a running hub', 'this process']) {
  const run = (args, options = {}) => (where === 'a running hub'
    ? hub.run(args, options)
    : runHearth(args, { ...options, env: { ...alone, ...options.env } }));

  test(`chat in ${where}: a question as argument, and on standard input`, async () => {
    const asked = await run(['chat', ...hi, 'What is the capital of France?']);
    assert.equal(asked.code, 0, asked.stderr);
    assert.ok(asked.stdout.trim().length > 0);
    assert.ok(asked.stdout.endsWith('\n') && !asked.stdout.includes('\u001b'));
    const piped = await run(['chat', ...hi], { input: 'What is the capital of France?\n' });
    assert.equal(piped.stdout, asked.stdout);
    const words = await run(['chat', ...hi, 'What', 'is', 'the', 'capital', 'of', 'France?']);
    assert.equal(words.stdout, asked.stdout);
  });

  test(`chat in ${where}: a file on standard input is put behind the question`, async () => {
    const both = await run(['chat', ...hi, 'Say this:'], { input: 'hello\n' });
    const one = await run(['chat', ...hi, 'Say this:\n\nhello']);
    assert.equal(both.code, 0, both.stderr);
    assert.equal(both.stdout, one.stdout);
  });

  test(`chat in ${where}: the answer is JSON that a schema allows`, async () => {
    const dir = tempDir();
    const schema = {
      type: 'object', additionalProperties: false, required: ['city'],
      properties: { city: { enum: ['Paris', 'Rome'] } },
    };
    writeFileSync(join(dir, 's.json'), JSON.stringify(schema));
    const r = await run(['chat', '--json-schema', join(dir, 's.json'), 'The capital of France?']);
    assert.equal(r.code, 0, r.stderr);
    assert.ok(['Paris', 'Rome'].includes(JSON.parse(r.stdout).city));

    writeFileSync(join(dir, 's.json'), '{"type": 7}');
    const wrong = await run(['chat', '--json-schema', join(dir, 's.json'), 'x']);
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /schema|type/i);
  });

  test(`chat in ${where}: errors name the model and what to do`, async () => {
    const unknown = await run(['chat', '--model', 'no-such-model', 'x']);
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /no-such-model/);
    assert.equal(unknown.stdout, '');
    const known = await run(['chat', '--model', 'llama3.2:1b', 'x']);
    assert.equal(known.code, 1);
    assert.match(known.stderr, /hearth pull llama3\.2:1b/);
    const embedding = await run(['chat', '--model', 'hearth-tiny-embed', 'x']);
    assert.equal(embedding.code, 1);
    assert.match(embedding.stderr, /hearth-tiny-embed/);
  });

  test(`chat in ${where}: a question longer than the context says both numbers`, async () => {
    const r = await run(['chat'], { input: 'many words and more '.repeat(3000) });
    assert.equal(r.code, 1);
    assert.match(r.stderr, /\d+.*\d+/);
    assert.match(r.stderr, /context/);
  });

  test(`run in ${where}: goes on with a text`, async () => {
    const r = await run(['run', 'Once upon a time', '--max-tokens', '12', '--temperature', '0']);
    assert.equal(r.code, 0, r.stderr);
    assert.ok(r.stdout.trim().length > 0);
    const piped = await run(['run', '-n', '12', '-t', '0'], { input: 'Once upon a time' });
    assert.equal(piped.stdout, r.stdout);
    const echo = await run(['run', '-e', '-n', '12', '-t', '0', 'Once upon a time']);
    assert.ok(echo.stdout.startsWith('Once upon a time'));
  });

  test(`chat in ${where}: Ctrl-C stops the answer, status 130`, async () => {
    const r = await run(['chat', ...longAnswer()], { onOutput: (text, child) => child.kill('SIGINT') });
    assert.equal(r.code, 130, JSON.stringify(r));
    assert.ok(r.stdout.startsWith('[') && r.stdout.length < 1000, r.stdout);
    assert.equal(r.stderr, '');
  });

  test(`chat in ${where}: a reader that goes`, () => {
    const env = where === 'a running hub' ? hub.env : cleanEnv(tempDir(), alone);
    const r = spawnSync('bash', ['-c',
      '"$@" | head -c 4; echo "status ${PIPESTATUS[0]}"', 'sh', binary, 'chat', ...longAnswer()],
    { env, timeout: 60000 });
    assert.match(r.stdout.toString(), /status 1$/m);
    assert.equal(r.stderr.toString(), '');
  });
}

test('chat finds the hub by hub.json, by URL, and not with --no-hub', async () => {
  const requests = async () => {
    const text = await (await fetch(`${hub.url}/metrics`)).text();
    return [...text.matchAll(/^hearth_http_requests_total\S* (\d+)/gm)]
      .reduce((sum, m) => sum + Number(m[1]), 0);
  };
  // Each look at the metrics is a request too.
  const used = async (args, env = {}) => {
    const first = await requests();
    const r = await hub.run(['chat', ...hi, ...args, 'Hi'], { env: { ...alone, ...env } });
    assert.equal(r.code, 0, r.stderr);
    return (await requests()) - first - 1;
  };
  assert.ok((await used([])) > 0);
  assert.equal(await used(['--no-hub']), 0);
  const elsewhere = join(tempDir(), 'data');
  assert.equal(await used([], { HEARTH_DATA: elsewhere }), 0);
  assert.ok((await used(['--url', hub.url], { HEARTH_DATA: elsewhere })) > 0);
  assert.ok((await used(['--url', `${hub.url}/v1/`], { HEARTH_DATA: elsewhere })) > 0);
  assert.ok((await used([], { HEARTH_DATA: elsewhere, PORT: hub.port })) > 0);
});

test('a server on the port that is no hub is left alone', async () => {
  let asked = 0;
  const other = createServer((req, res) => {
    asked += 1;
    res.end('{"status":"ok"}');
  }).listen(0, '127.0.0.1');
  await new Promise((done) => other.on('listening', done));
  const r = await runHearth(['chat', ...hi, 'Hi'], { env: { PORT: other.address().port } });
  other.close();
  assert.equal(r.code, 0, r.stderr);
  assert.equal(asked, 1);
});

test('a hub that can not be reached, and no URL at all', async () => {
  const gone = await runHearth(['chat', '--url', 'http://127.0.0.1:1', 'Hi']);
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /127\.0\.0\.1/);
  const none = await runHearth(['chat', '--url', 'localhost:8000', 'Hi']);
  assert.equal(none.code, 1);
  assert.match(none.stderr, /http:\/\//);
});

test('a model by its path, also while a hub runs', async () => {
  const r = await hub.run(['chat', ...hi, '--model', join(root, 'models', 'hearth-tiny.gguf'), 'Hi']);
  assert.equal(r.code, 0, r.stderr);
  assert.ok(r.stdout.trim().length > 0);
});

test('model files that are none, truncated, or not there', async () => {
  const dir = tempDir();
  const path = join(dir, 'x.gguf');
  const chat = () => runHearth(['chat', '--model', path, 'Hi'], { dir, env: alone });
  const missing = await chat();
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /x\.gguf/);
  writeFileSync(path, 'not a model at all, but long enough to be looked at');
  const none = await chat();
  assert.equal(none.code, 1);
  assert.match(none.stderr, /x\.gguf/);
  copyFileSync(join(root, 'models', 'hearth-tiny.gguf'), path);
  truncateSync(path, 1000000);
  const cut = await chat();
  assert.equal(cut.code, 1);
  assert.match(cut.stderr, /x\.gguf/);
  assert.equal(cut.signal, null);
});

test('nothing asked, no text, closed standard streams', async () => {
  const env = alone;
  for (const input of [null, '', '  \n\n']) {
    const r = await runHearth(['chat'], { env, input });
    assert.equal(r.code, 2, JSON.stringify(r));
    assert.match(r.stderr, /nothing was given/);
  }
  const binaryInput = await runHearth(['chat'], { env, input: Buffer.from([0xff, 0xfe, 0, 1]) });
  assert.equal(binaryInput.code, 2);
  assert.match(binaryInput.stderr, /UTF-8/);

  const dir = tempDir();
  const closed = spawnSync('sh', ['-c', '"$0" chat -n 4 Hi <&- 2>&-', binary],
    { env: cleanEnv(dir, env), cwd: dir, timeout: 60000 });
  assert.equal(closed.status, 0);
  assert.ok(closed.stdout.toString().trim().length > 0);
  const noOut = spawnSync('sh', ['-c', '"$0" chat -n 4 Hi >&-', binary],
    { env: cleanEnv(dir, env), cwd: dir, timeout: 60000 });
  assert.equal(noOut.status, 1);
});

test('a hub that stops in the middle of an answer', async () => {
  const dying = await startHub({ env: { HEARTH_STOP_GRACE: '0' } });
  const r = await dying.run(['chat', ...longAnswer()], {
    onOutput: () => dying.child.kill('SIGKILL'),
  });
  await dying.stop();
  assert.equal(r.code, 1, JSON.stringify(r));
  assert.match(r.stderr, /^hearth: /);
  assert.ok(r.stdout.startsWith('['));
});

test('a hub that was killed, and one that hangs, are not waited for', async () => {
  const hung = await startHub({ args: ['--no-preload'] });
  hung.child.kill('SIGSTOP');
  const began = performance.now();
  const beside = await hung.run(['chat', ...hi, 'Hi'], { env: alone });
  assert.equal(beside.code, 0, beside.stderr);
  assert.ok(performance.now() - began < 10000);
  await hung.stop('SIGKILL');
  const without = await hung.run(['chat', ...hi, 'Hi'], { env: alone }); // hub.json is still there
  assert.equal(without.code, 0, without.stderr);
  assert.equal(without.stdout, beside.stdout);
});

test('eight questions at once to one hub', async () => {
  const answers = await Promise.all([...'abcdefgh'].map((c) =>
    hub.run(['chat', ...hi, `What is the capital of France? ${c}`])));
  for (const r of answers) {
    assert.equal(r.code, 0, r.stderr);
    assert.ok(r.stdout.trim().length > 0);
  }
});
