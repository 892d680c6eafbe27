// The programs of examples/, as people run them. Who adds one adds a line here.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';

import { cleanEnv, root, startHub, tempDir } from './support/hearth.mjs';

const CONTENT = /"content":"[^"]/;

// [file, what its output must show, program that runs it (by its suffix)]
const EXAMPLES = [
  ['curl/chat.sh', CONTENT],
  ['curl/stream.sh', /"finish_reason":"(stop|length)"[\s\S]*data: \[DONE\]/],
  ['curl/structured.sh', /\\"city\\"[\s\S]*\\"age\\"/],
  ['curl/embeddings.sh', /"object":"embedding","index":2/],
  ['curl/responses.sh', /"previous_response_id":"resp_[\s\S]*"deleted":true/],
  ['curl/batch.sh', /"status":"completed"[\s\S]*"custom_id":"Norway"[\s\S]*"custom_id":"Japan"/],
  ['javascript/chat.mjs', /\S/],
  ['javascript/stream.mjs', /\(\d+ tokens\)/],
  ['javascript/tools.mjs', /called: get_weather\((Oslo|Rome|Tokyo)\)/],
  ['javascript/structured.mjs', /city: '(London|Paris|Oslo)', age: \d+/],
  ['javascript/embeddings.mjs', /^0\.\d{3} {2}The cat sleeps\. {2}A kitten naps\./m],
  ['javascript/responses.mjs', /\(\d+ tokens read\)[\s\S]*\(\d+ tokens read\)/],
  ['javascript/background.mjs', /^resp_\w+ queued\n(completed|incomplete) \S/],
  ['javascript/batch.mjs', /completed \{ total: 3, completed: 3, failed: 0 \}\nNorway: [\s\S]*\nItaly: [\s\S]*\nJapan: /],
  ['ollama/chat.py', /\S/],
  ['ai-sdk/stream.mjs', /\(\d+ tokens read, \d+ written\)/],
  ['ai-sdk/tools.mjs', /weather of [\s\S]*: 7 degrees, rain\n2 steps; answer: /],
  ['ai-sdk/object.mjs', /kind: '(soup|stew|salad)', minutes: \d+/],
  ['ai-sdk/embeddings.mjs', /^0\.\d{3} The cat sleeps\./],
  ['ai-sdk/messages.mjs', /the prompt has \d+ tokens\n[\s\S]*\nended by \w+ after \d+ tokens/],
];
const RUNNERS = { sh: 'sh', mjs: process.execPath, py: 'python3' };

let hub;

before(async () => {
  hub = await startHub();
});
after(() => hub?.stop());

function run(program, args) {
  return new Promise((done, fail) => {
    const dir = tempDir();
    const env = { ...cleanEnv(dir), HEARTH_URL: hub.url, OLLAMA_HOST: hub.url, NODE_PATH: join(root, 'node_modules') };
    const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const out = [];
    child.stdout.on('data', (d) => out.push(d));
    child.stderr.on('data', (d) => out.push(d));
    const timer = setTimeout(() => child.kill('SIGKILL'), 120000);
    child.on('error', fail);
    child.on('close', (code) => {
      clearTimeout(timer);
      done({ code, output: Buffer.concat(out).toString() });
    });
  });
}

for (const [file, shows, runner] of EXAMPLES) {
  test(file, async () => {
    const { code, output } = await run(runner ?? RUNNERS[file.split('.').at(-1)], [join(root, 'examples', file)]);
    assert.equal(code, 0, output);
    assert.match(output, shows);
  });
}

test('every example is run', () => {
  const there = [];
  for (const folder of readdirSync(join(root, 'examples'), { withFileTypes: true })) {
    if (!folder.isDirectory()) continue;
    for (const file of readdirSync(join(root, 'examples', folder.name))) {
      if (RUNNERS[file.split('.').at(-1)]) there.push(`${folder.name}/${file}`);
    }
  }
  assert.deepEqual(there.sort(), EXAMPLES.map(([file]) => file).sort());
  for (const [file] of EXAMPLES) assert.ok(existsSync(join(root, 'examples', dirname(file))));
});
