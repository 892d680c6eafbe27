// The command line without a hub: help, versions, settings, completions, and wrong calls.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';

import { runHearth, tempDir } from './support/hearth.mjs';

const verbs = ['serve', 'chat', 'run', 'pull', 'models', 'config', 'doctor', 'version', 'help',
  'completion'];

test('help lists every verb, and each verb has help of its own', async () => {
  const overview = await runHearth(['help']);
  assert.equal(overview.code, 0);
  for (const verb of verbs) {
    assert.match(overview.stdout, new RegExp(`^  ${verb} `, 'm'));
    const help = await runHearth([verb, '--help']);
    assert.equal(help.code, 0, verb);
    assert.match(help.stdout, new RegExp(`^Usage: hearth ${verb} `));
    assert.equal((await runHearth(['help', verb])).stdout, help.stdout);
    assert.equal(help.stderr, '');
  }
  assert.equal((await runHearth(['--help'])).stdout, overview.stdout);
});

test('no verb at all shows the help and is a usage error', async () => {
  const r = await runHearth([]);
  assert.equal(r.code, 2);
  assert.match(r.stdout, /Usage: hearth VERB/);
});

test('wrong calls end with status 2 and say what was meant', async () => {
  for (const [args, words] of [
    [['sevre'], /no verb 'sevre'; did you mean `hearth serve`/],
    [['xyzzy'], /no verb 'xyzzy'; `hearth help` lists them/],
    [['serve', '--prot', '1'], /unknown option --prot; did you mean --port\?/],
    [['serve', '--port'], /--port wants a value/],
    [['serve', 'now'], /unexpected argument 'now'/],
    [['pull'], /an argument is missing: hearth pull MODEL/],
    [['version', '--json=1'], /takes no value/],
    [['config', '--set', 'PROT=1'], /did you mean PORT/],
    [['config', 'get', 'PROT'], /did you mean PORT/],
    [['config', 'put', 'PORT'], /hearth config get KEY/],
    [['models', 'shwo', 'x'], /show NAME/],
    [['completion', 'fish'], /not for 'fish'/],
    [['help', 'sevre'], /no verb 'sevre'/],
    [['chat', '--temperature', 'hot', 'x'], /'hot' is not a number from 0 to 100/],
    [['run', '--max-tokens', '0', 'x'], /'0' is not a whole number from 1/],
  ]) {
    const r = await runHearth(args);
    assert.equal(r.code, 2, args.join(' '));
    assert.match(r.stderr, words);
    assert.equal(r.stdout, '');
  }
});

test('version names the inference library', async () => {
  const r = await runHearth(['version']);
  assert.equal(r.code, 0);
  assert.match(r.stdout, /^hearth \d+\.\d+\.\d+ \(llama\.cpp v0\.5\.0\)\n$/);
  assert.equal((await runHearth(['--version'])).stdout, r.stdout);
  const json = JSON.parse((await runHearth(['version', '--json'])).stdout);
  assert.match(json.engine, /llama\.cpp/);
});

test('config says what is in effect and where it came from', async () => {
  const dir = tempDir();
  writeFileSync(join(dir, '.env'), 'PORT=8123\nSOMEBODY_ELSE=1\n');
  const get = async (key, options = {}, args = []) =>
    (await runHearth(['config', 'get', key, ...args], { dir, ...options })).stdout.trim();
  assert.equal(await get('PORT'), '8123');
  assert.equal(await get('HEARTH_PORT'), '8123');
  assert.equal(await get('PORT', { env: { PORT: '8124' } }), '8124');
  assert.equal(await get('PORT', { env: { PORT: '8124' } }, ['--set', 'PORT=8125']), '8125');
  assert.equal(await get('HF_TOKEN', { env: { HF_TOKEN: 'hf_secret' } }), '(set)');

  const all = await runHearth(['config'], { dir, env: { HF_TOKEN: 'hf_secret' } });
  assert.equal(all.code, 0);
  assert.match(all.stdout, /PORT/);
  assert.doesNotMatch(all.stdout, /hf_secret/);
  const json = await runHearth(['config', '--json'], { dir, env: { HF_TOKEN: 'hf_secret' } });
  assert.doesNotMatch(json.stdout, /hf_secret/);
  JSON.parse(json.stdout);
});

test('a wrong setting stops every verb that uses settings, with its name and value', async () => {
  for (const args of [['serve'], ['chat', 'x'], ['models'], ['config']]) {
    const r = await runHearth(args, { env: { PORT: 'eighty' } });
    assert.equal(r.code, 1, args.join(' '));
    assert.match(r.stderr, /PORT/);
    assert.match(r.stderr, /eighty/);
  }
  // But not those that don't.
  for (const args of [['version'], ['help'], ['serve', '--help']]) {
    assert.equal((await runHearth(args, { env: { PORT: 'eighty' } })).code, 0);
  }
});

test('generated texts: Markdown, man page, completions', async () => {
  const markdown = (await runHearth(['help', '--markdown'])).stdout;
  for (const verb of verbs) assert.match(markdown, new RegExp(`^## hearth ${verb}$`, 'm'));
  assert.match((await runHearth(['help', '--man'])).stdout, /^\.TH HEARTH 1/m);
  assert.match((await runHearth(['completion', 'bash'])).stdout, /complete -F _hearth hearth/);
  assert.match((await runHearth(['completion', 'zsh'])).stdout, /^#compdef hearth/);
});

test('a full disk behind standard output is an error', { skip: process.platform !== 'linux' },
  async () => {
    const { spawnSync } = await import('node:child_process');
    const { binary } = await import('./support/hearth.mjs');
    const r = spawnSync('sh', ['-c', '"$0" help >/dev/full', binary]);
    assert.equal(r.status, 1);
    assert.match(r.stderr.toString(), /standard output/);
  });
