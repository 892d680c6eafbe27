// Every API that apps speak, field by field against its documentation: the JSON files next to this one, one for each
// API (support/golden-run.mjs says what stands in them).
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { addMetadata } from '../support/gguf.mjs';
import { runGolden } from '../support/golden-run.mjs';
import { root, startHub, tempDir } from '../support/hearth.mjs';
import { startHubServer } from '../support/hub-server.mjs';
import { startUpstream } from '../support/upstream.mjs';

const TINY = join(root, 'models', 'hearth-tiny.gguf');

/** The built-in models, one that fills in code, and a server to pull from. */
async function plain() {
  const dir = tempDir();
  mkdirSync(join(dir, 'models'));
  addMetadata(TINY, join(dir, 'models', 'coder.gguf'), {
    'tokenizer.ggml.fim_pre_token_id': 2001,
    'tokenizer.ggml.fim_suf_token_id': 2002,
    'tokenizer.ggml.fim_mid_token_id': 2003,
  });
  const files = await startHubServer({ 'org/tiny': { 'tiny-pulled-Q8_0.gguf': readFileSync(TINY) } });
  const hub = await startHub({ dir, env: { HF_ENDPOINT: files.url, DEFAULT_MODEL: 'hearth-tiny' } });
  hub.files = files;
  return hub;
}

/** One with servers behind it that think, and fail, as they are told. */
async function remote() {
  const upstream = await startUpstream();
  const hub = await startHub({
    args: ['--no-preload'],
    env: {
      OPENAI_API_KEY: 'sk-1', OPENAI_BASE_URL: `${upstream.url}/v1`,
      ANTHROPIC_API_KEY: 'sk-ant-1', ANTHROPIC_BASE_URL: upstream.url, EMBEDDINGS_BASEURL: upstream.url,
    },
  });
  hub.upstream = upstream;
  return hub;
}

const guarded = () => startHub({ args: ['--no-preload'], env: { HEARTH_AUTH: 'on' } });

runGolden(join(root, 'tests', 'e2e', 'golden'), { plain, remote, guarded });
