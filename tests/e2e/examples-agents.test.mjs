// The larger programs of examples/, each in a folder of its own, as people run them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { cleanEnv, root, startHub, tempDir } from './support/hearth.mjs';

let hub;
before(async () => {
  hub = await startHub();
});
after(() => hub?.stop());

function run(file, ...args) {
  return new Promise((done, fail) => {
    const env = { ...cleanEnv(tempDir()), HEARTH_URL: hub.url };
    const child = spawn(process.execPath, [join(root, 'examples', file), ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (d) => { output += d; });
    child.stderr.on('data', (d) => { output += d; });
    child.on('error', fail);
    child.on('close', (code) => done({ code, output }));
  });
}

test('a language model for LangChain, made by hand', async () => {
  const { code, output } = await run('langchain/custom-llm/llm.mjs');
  assert.equal(code, 0, output);
  assert.match(output, /^invoke: .*Paris/m);
  assert.match(output, /^stream: .*Rome/m);
  assert.match(output, /^batch: 2 answers$/m);
});

test('an agent that looks up sports results', async () => {
  const { code, output } = await run('agents/sports/agent.mjs', 'Who leads the table?');
  assert.equal(code, 0, output);
  assert.match(output, /^question: Who leads the table\?$/m);
  assert.match(output, /^looked up: (standings|last_result|next_match)\(\{.*\}\) -> [[{]/m);
});
