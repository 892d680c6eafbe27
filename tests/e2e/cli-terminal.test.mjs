// `hearth chat` on a terminal: prompt, commands, keys, signals.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import test from 'node:test';

import { startHub, tempDir } from './support/hearth.mjs';
import { Session } from './support/terminal.mjs';

const alone = { PORT: '1' };
const options = ['--temperature', '0', '--max-tokens', '16'];

function open(extra = [], env = {}) {
  const dir = tempDir();
  const session = new Session(['chat', ...options, ...extra], { dir, env: { ...alone, ...env } });
  session.dir = dir;
  return session;
}

test('a conversation: greeting, answer, history of its own, Ctrl-D', async () => {
  const s = open();
  await s.expect(/hearth-tiny, in this process/);
  await s.enter('What is the capital of France?');
  await s.enter('/stats');
  await s.expect(/answer +\d+ tokens/);
  await s.enter('/save talk.json');
  await s.expect(/saved to talk\.json/);
  await s.expect(/> /);
  s.send('\u0004');
  assert.equal((await s.end()).code, 0);
  const saved = JSON.parse(readFileSync(join(s.dir, 'talk.json'), 'utf8'));
  assert.deepEqual(saved.messages.map((m) => m.role), ['user', 'assistant']);
  assert.equal(saved.messages[0].content, 'What is the capital of France?');
  assert.ok(saved.messages[1].content.length > 0);
  const history = join(s.dir, 'data', 'chat_history');
  assert.equal(statSync(history).mode & 0o777, 0o600);
  assert.match(readFileSync(history, 'utf8'), /^What is the capital of France\?$/m);
});

test('HEARTH_NO_HISTORY keeps none', async () => {
  const s = open([], { HEARTH_NO_HISTORY: '1' });
  await s.enter('Hello');
  await s.enter('/exit');
  assert.equal((await s.end()).code, 0);
  assert.equal(existsSync(join(s.dir, 'data', 'chat_history')), false);
});

test('commands', async () => {
  const s = open();
  await s.enter('/hlep');
  await s.expect(/did you mean \/help\?/);
  await s.enter('/help');
  await s.expect(/\/retry/);
  await s.enter('/models');
  await s.expect(/hearth-tiny-embed/);
  await s.enter('/model nix');
  await s.expect(/nix/);
  await s.enter('/model hearth-tiny');
  await s.expect(/hearth-tiny answers from now on/);
  await s.enter('/system Answer in one word.');
  await s.expect(/system prompt set/);
  await s.enter('/set temperature hot');
  await s.expect(/'hot' is no value for temperature/);
  await s.enter('/set temperature 0.2');
  await s.expect(/temperature +0\.2/);
  await s.enter('/undo');
  await s.expect(/conversation is empty/);
  await s.enter('/retry');
  await s.expect(/nothing was asked yet/);
  await s.enter('Hello');
  await s.enter('/retry');
  await s.enter('/undo');
  await s.expect(/removed: Hello/);
  await s.enter('/load missing.json');
  await s.expect(/missing\.json/);
  await s.enter('/new');
  await s.expect(/new conversation; the system prompt stays/);
  await s.enter('/exit');
  assert.equal((await s.end()).code, 0);
});

test('texts of many lines: backslash, quotes, paste', async () => {
  const s = open();
  await s.enter('one\\');
  await s.expect(/\. /);
  s.send('two\r');
  await s.enter('"""three');
  await s.expect(/" /);
  s.send('four"""\r');
  await s.expect(/> (?:\u001b\[[0-9;?]*[a-zA-Z])*$/);
  s.send('\u001b[200~five\rsix\u001b[201~');
  s.send('\r');
  await s.enter('/save talk.json');
  await s.enter('/exit');
  assert.equal((await s.end()).code, 0);
  const { messages } = JSON.parse(readFileSync(join(s.dir, 'talk.json'), 'utf8'));
  assert.deepEqual(messages.filter((m) => m.role === 'user').map((m) => m.content),
    ['one\ntwo', 'three\nfour', 'five\nsix']);
});

test('keys: accents, wide characters, history with the arrow, also in the next session', async () => {
  const s = open();
  await s.enter('/system \u00e9t\u00e9 \u65e5\u672c');
  await s.expect(/system prompt set/);
  await s.enter('/system');
  await s.expect(/2004l\u00e9t\u00e9 \u65e5\u672c/);
  await s.expect(/> (?:\u001b\[[0-9;?]*[a-zA-Z])*$/);
  s.send('\u001b[A\u001b[A'); // up, up: the first line again
  await s.expect(/\u65e5\u672c/);
  s.send('\u007f\u007f?\r'); // two characters back
  await s.expect(/system prompt set/);
  await s.enter('/system');
  await s.expect(/2004l\u00e9t\u00e9 \?/);
  await s.enter('/exit');
  await s.end();
  const next = new Session(['chat', ...options], { dir: s.dir, env: alone });
  await next.expect(/> (?:\u001b\[[0-9;?]*[a-zA-Z])*$/);
  next.send('\u001b[A\r'); // /exit of the session before
  assert.equal((await next.end()).code, 0);
});

test('Ctrl-C: clears a line, hints at an empty one, stops an answer and not the program', async () => {
  const s = open(['--max-tokens', '900']);
  await s.expect(/> /);
  s.send('half a thought');
  await s.expect(/thought/);
  s.send('\u0003');
  await s.expect(/\^C/);
  await s.expect(/> /);
  s.send('\u0003');
  await s.expect(/\/exit or Ctrl-D ends/);
  await s.enter('Write a very long story about the sea and its many fish.');
  await s.expect(/fish\.\r\n[^]*[a-z]/);
  s.send('\u0003');
  await s.enter('/exit'); // the answer was stopped, or whole: the prompt is back
  assert.equal((await s.end()).code, 0);
});

test('Ctrl-C as a signal from elsewhere does the same at the prompt', async () => {
  const s = open();
  await s.expect(/> /);
  const { execSync } = await import('node:child_process');
  const pid = execSync(`pgrep -P ${s.child.pid}`).toString().trim();
  process.kill(Number(pid), 'SIGINT');
  await s.expect(/\/exit or Ctrl-D ends/);
  process.kill(Number(pid), 'SIGTERM'); // ends it, with the terminal in order
  assert.notEqual((await s.end()).code, 0);
});

test('the hub is used when one runs, and its end is no end of the chat', async () => {
  const hub = await startHub();
  const s = new Session(['chat', ...options], { dir: hub.dir, env: alone });
  await s.expect(new RegExp(`The hub at ${hub.url}`));
  await s.enter('Hello');
  await s.enter('/stats');
  await s.expect(/model +hearth-tiny/);
  await hub.stop();
  await s.enter('Are you there?');
  await s.expect(/nothing is lost; \/retry asks again/);
  await s.enter('/exit');
  assert.equal((await s.end()).code, 0);
});

test('a conversation that outgrows the context can be gone on with', async () => {
  const s = open();
  await s.enter(`"""${'many words '.repeat(700)}`);
  await s.expect(/" (?:\u001b\[[0-9;?]*[a-zA-Z])*$/);
  s.send('"""\r');
  await s.expect(/\/new starts over/);
  await s.enter('Hello');
  await s.enter('/save talk.json');
  await s.expect(/saved/);
  await s.enter('/exit');
  await s.end();
  const { messages } = JSON.parse(readFileSync(join(s.dir, 'talk.json'), 'utf8'));
  assert.deepEqual(messages.map((m) => m.role), ['user', 'assistant']);
  assert.equal(messages[0].content, 'Hello');
});

test('no colours, and no escape sequences where the terminal knows none', async () => {
  const dumb = open([], { TERM: 'dumb' });
  await dumb.enter('Hello');
  await dumb.enter('/exit');
  await dumb.end();
  assert.doesNotMatch(dumb.text, /\u001b\[[0-9;]*m/);
});

// A server that streams what a test wants to see on a terminal, in pieces of three characters.
async function scripted({ text, thoughts = '', error }) {
  const http = createServer((req, res) => {
    req.resume();
    res.setHeader('content-type', 'text/event-stream');
    const event = (data) => res.write(`data: ${JSON.stringify(data)}\n\n`);
    const delta = (d) => event({ model: 'scripted', choices: [{ index: 0, delta: d }] });
    for (let i = 0; i < thoughts.length; i += 3) delta({ reasoning_content: thoughts.slice(i, i + 3) });
    const characters = [...text];
    for (let i = 0; i < characters.length; i += 3) delta({ content: characters.slice(i, i + 3).join('') });
    if (error) event({ error });
    event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
    res.end('data: [DONE]\n\n');
  }).listen(0, '127.0.0.1');
  await new Promise((done) => http.on('listening', done));
  return { url: `http://127.0.0.1:${http.address().port}`, close: () => http.close() };
}

async function shown(answer, env = {}) {
  const server = await scripted(answer);
  const s = new Session(['chat', '--url', server.url, 'Say it'], { dir: tempDir(), env });
  const { code } = await s.end();
  server.close();
  return { text: s.text.replaceAll('\r\n', '\n'), code };
}

test('Markdown and thoughts are rendered for the width of the terminal', async () => {
  const { text, code } = await shown({
    thoughts: 'The user wants to see a little of everything, so this thought is longer than a line.',
    text: '# Title\n\nSome **bold** text.\n\n- item\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```c\nint x;\n```\n',
  });
  assert.equal(code, 0);
  assert.ok(text.includes('\u001b[2mlittle\u001b[0m'));
  assert.ok(text.includes('\u001b[1;4mTitle\u001b[0m\n'));
  assert.ok(text.includes('Some \u001b[1mbold\u001b[0m text.\n'));
  assert.ok(text.includes('\u2022 item\n'));
  assert.ok(text.includes('1 \u2502 2\n'));
  assert.ok(text.includes('int x;'));
  // eslint-disable-next-line no-control-regex
  for (const line of text.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, '').split('\n')) {
    assert.ok([...line].length <= 80, line);
  }
});

test('NO_COLOR leaves out colours', async () => {
  const { text } = await shown({ text: 'a `code` and **bold**\n' }, { NO_COLOR: '1' });
  assert.ok(text.includes('`code`') && text.includes('\u001b[1mbold'));
  assert.doesNotMatch(text, /\u001b\[[0-9;]*3[0-9]m/);
});

test('what a model says can not steer the terminal', async () => {
  const evil = '\u001b]0;owned\u0007 \u001b[2J \u009b31m \r \u0008 \u0090x\u009c fin';
  for (const env of [{}, { TERM: 'dumb' }]) {
    const { text } = await shown({ text: evil, thoughts: evil }, env);
    assert.match(text, /fin/);
    assert.doesNotMatch(text, /\u001b\]|\u001b\[2J|[\u0007\u0008\u0080-\u009f]/);
  }
  const { text } = await shown({ text: 'a', error: { message: `bad ${evil}`, code: 'engine_error' } });
  assert.match(text, /bad/);
  assert.doesNotMatch(text, /\u001b\]|\u001b\[2J|[\u0007\u0008\u0080-\u009f]/);
});

test('an error in the middle of an answer: what came is shown, status 1', async () => {
  const { text, code } = await shown({
    text: 'Half an answer', error: { message: 'the engine fell over', code: 'engine_error' },
  });
  assert.match(text, /Half an answer\n/);
  assert.match(text, /hearth: the engine fell over/);
  assert.equal(code, 1);
});
