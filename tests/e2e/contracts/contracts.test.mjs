// The contracts that Hearth keeps with apps that exist: every path of their tables that is served over HTTP, field by
// field. The JSON files next to this one hold the tables (support/golden-run.mjs says what stands in them).
import assert from 'node:assert/strict';
import { join } from 'node:path';

import { runGolden } from '../support/golden-run.mjs';
import { root, runHearth, startHub, tempDir } from '../support/hearth.mjs';
import { startUpstream } from '../support/upstream.mjs';

/** A hub with an admin. */
async function start(options) {
  const dir = tempDir();
  const made = await runHearth(['users', 'create', 'root', '--admin'], { dir, input: 'correct horse\n' });
  assert.equal(made.code, 0, made.stderr);
  return startHub({ dir, ...options });
}

const plain = () => start({});
const server = () => startHub({ args: ['--no-preload'], env: { DEFAULT_MAX_TOKENS: 7, DEFAULT_TEMPERATURE: 0, ALLOWED_ORIGINS: 'https://app.example' } });

/** One with a server behind it. */
async function remote() {
  const upstream = await startUpstream();
  const hub = await start({ args: ['--no-preload'], env: {
    OPENAI_API_KEY: 'sk-1', OPENAI_BASE_URL: `${upstream.url}/v1`, ANTHROPIC_API_KEY: 'sk-ant-1', ANTHROPIC_BASE_URL: upstream.url, EMBEDDINGS_BASEURL: upstream.url,
  } });
  hub.upstream = upstream;
  return hub;
}

runGolden(join(root, 'tests', 'e2e', 'contracts'), { plain, server, remote });
