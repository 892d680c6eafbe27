// The model worker is killed, crashes, and can't start: the hub stays up, answers go on, nothing is
// left behind.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { root, sleep, startHub, tempDir, until } from './support/hearth.mjs';
import {
  descriptors, isAlive, killWorker, post, stream, workerPid, workers, zombies,
} from './support/worker.mjs';

// deterministic: the prompt is computed in the same steps whatever is cached or runs beside it, so
// that an answer can be compared with the undisturbed one.
const story = {
  messages: [{ role: 'user', content: 'Tell me a story about a river.' }],
  max_tokens: 200,
  temperature: 0,
  ignore_eos: true,
  deterministic: true,
};

test('an answer goes on after kill -9, and is the undisturbed one', async () => {
  const hub = await startHub();
  const calm = await stream(hub, story);
  assert.equal(calm.usage.completion_tokens, 200);
  for (const at of [1, 10, 50]) {
    const killed = await stream(hub, story, (n) => (n === at ? killWorker(hub) : null));
    assert.equal(killed.error, undefined);
    assert.equal(killed.text, calm.text, `killed after ${at} pieces`);
    assert.equal(killed.usage.completion_tokens, 200);
    assert.equal(killed.finish, 'length');
  }
  // A seed is a promise, too.
  const seeded = { ...story, temperature: 1, seed: 42 };
  const once = await stream(hub, seeded);
  const again = await stream(hub, seeded, (n) => (n === 30 ? killWorker(hub) : null));
  assert.equal(again.text, once.text);
  // Several times within one answer.
  let kills = 0;
  const often = await stream(hub, story, (n) => (n % 20 === 0 && kills++ < 4 ? killWorker(hub) : null));
  assert.equal(often.text, calm.text);
  assert.ok(workers(hub).length >= 8);
  assert.match(hub.log, /signal 9, Killed/);
  await hub.stop();
});

test('without deterministic, too, nothing that was told is taken back or told twice', async () => {
  const hub = await startHub();
  for (const at of [1, 15, 40, 90]) {
    let told = '';
    const r = await stream(hub, { ...story, deterministic: false }, (n, text) => {
      if (n !== at) return null;
      told = text;
      return killWorker(hub);
    });
    assert.equal(r.error, undefined);
    assert.equal(r.usage.completion_tokens, 200);
    assert.ok(r.text.startsWith(told));
    // The text is that of its tokens: as long as an undisturbed one of as many, within reason.
    assert.ok(r.text.length > 300, r.text);
  }
  await hub.stop();
});

test('what waits goes again; embeddings and lists too', async () => {
  const hub = await startHub({ args: ['--parallel', '1'] });
  await stream(hub, { ...story, max_tokens: 1 });
  const queued = [];
  const first = await stream(hub, story, async (n) => {
    if (n !== 5) return;
    for (let i = 0; i < 6; i++) queued.push(stream(hub, { ...story, max_tokens: 20 + i }));
    queued.push(post(hub, '/v1/embeddings', { input: ['one', 'two'] }));
    await sleep(30);
    await killWorker(hub);
  });
  assert.equal(first.error, undefined);
  const answers = await Promise.all(queued);
  answers.slice(0, 6).forEach((a, i) => {
    assert.equal(a.error, undefined);
    assert.equal(a.usage.completion_tokens, 20 + i);
  });
  assert.equal(answers[6].status, 200);
  assert.equal(answers[6].body.data.length, 2);
  assert.equal(answers[6].body.data[0].embedding.length, 256);
  await hub.stop();
});

test('log probabilities that were sent are not made up: a clear error instead', async () => {
  const hub = await startHub();
  const r = await stream(hub, { ...story, logprobs: true, top_logprobs: 2 },
    (n) => (n === 10 ? killWorker(hub) : null));
  assert.equal(r.error.code, 'worker_stopped');
  assert.match(r.error.message, /signal 9.*send the request again/);
  const next = await stream(hub, { ...story, logprobs: true });
  assert.equal(next.error, undefined);
  await hub.stop();
});

test('choices and JSON go on as well', async () => {
  const hub = await startHub();
  const ask = async (kill) => {
    const answers = ['', '', ''];
    const r = await fetch(`${hub.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ ...story, n: 3, temperature: 1, seed: 3, stream: true, max_tokens: 60 }),
    });
    let pieces = 0;
    const decoder = new TextDecoder();
    let rest = '';
    for await (const bytes of r.body) {
      rest += decoder.decode(bytes, { stream: true });
      const events = rest.split('\n\n');
      rest = events.pop();
      for (const e of events) {
        if (!e.startsWith('data: {')) continue;
        const data = JSON.parse(e.slice(6));
        assert.equal(data.error, undefined);
        for (const c of data.choices) {
          if (!c.delta.content) continue;
          answers[c.index] += c.delta.content;
          if (++pieces === 20 && kill) await killWorker(hub);
        }
      }
    }
    return answers;
  };
  assert.deepEqual(await ask(true), await ask(false));
  const schema = {
    type: 'object',
    properties: { name: { type: 'string' }, n: { type: 'array', items: { type: 'integer' } } },
    required: ['name', 'n'],
  };
  const json = await stream(hub, {
    messages: [{ role: 'user', content: 'A name and some numbers, please.' }],
    temperature: 0,
    max_tokens: 300,
    response_format: { type: 'json_schema', json_schema: { name: 'x', schema, strict: true } },
  }, (n) => (n === 4 ? killWorker(hub) : null));
  assert.equal(json.error, undefined);
  if (json.finish === 'stop') assert.equal(typeof JSON.parse(json.text).name, 'string');
  await hub.stop();
});

test('killed while it loads: the request gets its answer', async () => {
  const hub = await startHub({ args: ['--no-preload'] });
  assert.equal(workers(hub).length, 0, 'without work there is no worker');
  const answer = stream(hub, { ...story, max_tokens: 10 });
  await killWorker(hub);
  assert.equal((await answer).usage.completion_tokens, 10);
  await hub.stop();
});

test('an answer goes on with the adapter it began with, not with the one for all by then', async () => {
  const hub = await startHub();
  const choose = (adapter_name) => post(hub, '/adapters/load', { adapter_name });
  await choose('pirate');
  const calm = await stream(hub, story);
  assert.notEqual(calm.text, (await stream(hub, { ...story, adapter: 'base' })).text);
  const killed = await stream(hub, story, async (n) => {
    if (n !== 20) return;
    assert.equal((await choose('base')).status, 200);
    await killWorker(hub);
  });
  assert.equal(killed.error, undefined);
  assert.equal(killed.text, calm.text);
  await hub.stop();
});

test('what was let go does not come back with the next worker', async () => {
  const hub = await startHub();
  const state = async (id) => {
    const { data } = await (await fetch(`${hub.url}/v1/models`)).json();
    return data.find((m) => m.id === id).meta.state;
  };
  const load = (id, keep_alive) => post(hub, `/v1/models/${id}/load`, { keep_alive });
  assert.equal((await load('hearth-tiny-embed', '1h')).status, 200);
  assert.equal((await load('hearth-tiny-rerank', '100ms')).status, 200);
  await until(async () => await state('hearth-tiny-rerank') === 'on_disk', 30000, 'its time being over');
  await until(async () => await state('hearth-tiny') === 'ready', 30000, 'the preload');
  assert.equal((await post(hub, '/v1/models/hearth-tiny/unload', {})).status, 200);
  const first = await killWorker(hub);
  await until(() => workerPid(hub) !== first, 30000, 'the next worker');
  await until(async () => await state('hearth-tiny-embed') === 'ready', 30000, 'the wish');
  assert.equal(await state('hearth-tiny'), 'on_disk');
  assert.equal(await state('hearth-tiny-rerank'), 'on_disk');
  await hub.stop();
});

test('20 kills leave no descriptors, processes or threads behind', async () => {
  const hub = await startHub();
  await stream(hub, { ...story, max_tokens: 5 });
  assert.equal((await fetch(`${hub.url}/v1/route/log`)).status, 200); // the database of the log is open
  const threads = () => descriptors(hub.pid) >= 0 && hub.status('Threads');
  const before = descriptors(hub.pid);
  const threadsBefore = threads();
  for (let i = 0; i < 20; i++) {
    const r = await stream(hub, { ...story, max_tokens: 30 },
      (n) => (n === 3 ? killWorker(hub) : null));
    assert.equal(r.usage.completion_tokens, 30);
  }
  await until(() => descriptors(hub.pid) <= before + 1, 5000, 'the descriptors going back');
  assert.equal(zombies(hub.pid), 0);
  assert.equal(threads(), threadsBefore);
  const metrics = await (await fetch(`${hub.url}/metrics`)).text();
  assert.match(metrics, /^hearth_requests_running 0$/m);
  assert.match(metrics, /^hearth_models_loaded 1$/m);
  await hub.stop();
});

test('the worker ends with the hub, however that ends', async () => {
  const hub = await startHub();
  await stream(hub, { ...story, max_tokens: 5 });
  const pid = workerPid(hub);
  assert.ok(isAlive(pid));
  const running = stream(hub, { ...story, max_tokens: 900 }).catch(() => null);
  await sleep(100);
  await hub.stop('SIGKILL');
  await until(() => !isAlive(pid), 5000, 'the worker leaving');
  await running;
  const second = await startHub();
  await stream(second, { ...story, max_tokens: 5 });
  const its = workerPid(second);
  assert.equal((await second.stop()).code, 0);
  assert.ok(!isAlive(its));
});

test('signals of the terminal are for the hub, which lets answers end', async () => {
  const hub = await startHub();
  const r = await stream(hub, { ...story, max_tokens: 100 }, (n) => {
    if (n !== 3) return;
    process.kill(workerPid(hub), 'SIGINT');
    process.kill(workerPid(hub), 'SIGTERM');
    process.kill(hub.pid, 'SIGTERM');
  });
  assert.equal(r.usage.completion_tokens, 100);
  assert.equal((await hub.waitExit()).code, 0);
  assert.equal(workers(hub).length, 1);
});

test('the worker is back in under a second, and then loads its model', async (t) => {
  const hub = await startHub();
  await stream(hub, { ...story, max_tokens: 5 });
  for (let i = 0; i < 7; i++) {
    await killWorker(hub);
    await until(() => workers(hub).length === i + 2, 30000, 'another worker');
  }
  const at = (what) => [...hub.log.matchAll(new RegExp(`^(\\S+Z) .*the model worker ${what}`, 'gm'))].map((m) => Date.parse(m[1]));
  const [ended, runs] = [at('ended'), at('runs')];
  const took = ended.map((ms, i) => runs[i + 1] - ms).sort((a, b) => a - b);
  assert.equal(took.length, 7);
  t.diagnostic(`from its end to its being ready: ${took.join(', ')} ms`);
  assert.ok(took[0] >= 0 && took[3] < 1000, `${took.join(', ')} ms`); // of the seven, for the machine may be busy
  assert.equal((await stream(hub, { ...story, max_tokens: 5 })).usage.completion_tokens, 5);
  await hub.stop();
});

test('the worker has no rights', async () => {
  const hub = await startHub();
  await stream(hub, { ...story, max_tokens: 5 });
  assert.match(hub.log, /no network, no programs \(seccomp\)/);
  const status = hub.status('Seccomp', workerPid(hub));
  assert.equal(status, '2');
  assert.equal(hub.status('NoNewPrivs', workerPid(hub)), '1');
  await hub.stop();
});

const { EACCES, ENOENT, ENOTSOCK, EPERM } = constants.errno;

// Needs a build with faults.
test('what a worker that was taken over tries is refused', async (t) => {
  const tried = async (env) => {
    const hub = await startHub({ env: { HEARTH_FAULT: 'break_out:2', ...env } });
    assert.equal((await stream(hub, { ...story, max_tokens: 5 })).usage.completion_tokens, 5);
    const log = hub.log;
    await hub.stop();
    const line = /breaking out: (.*)/.exec(log)?.[1];
    return { log, said: line && Object.fromEntries(line.split(', ').map((one) => [one.split(' ')[0], Number(one.split(' ')[1])])) };
  };
  const free = await tried({ HEARTH_SANDBOX: 'false' });
  if (!free.said) return t.skip('this build has no faults');
  // Without the sandbox all of it works (there is no such program, and its standard input is no socket).
  assert.deepEqual(free.said, { socket: 0, connect: ENOTSOCK, open: 0, create: 0, execve: ENOENT, kill: 0 });
  const bound = await tried({});
  const files = /NOT restricted/.test(bound.log) ? 0 : EACCES; // a kernel without Landlock
  assert.deepEqual(bound.said, { socket: EPERM, connect: EPERM, open: files, create: files, execve: EPERM, kill: EPERM });
});

test('the worker asks for large pages, and what the person has set goes on to hold', async () => {
  // glibc ends each setting with a zero while it reads them.
  for (const [own, expected] of [
    [undefined, /\0GLIBC_TUNABLES=glibc\.malloc\.hugetlb=1\0/],
    ['glibc.malloc.arena_max=2', /\0GLIBC_TUNABLES=glibc\.malloc\.hugetlb=1[:\0]glibc\.malloc\.arena_max=2\0/],
    ['glibc.malloc.hugetlb=0', /\0GLIBC_TUNABLES=glibc\.malloc\.hugetlb=0\0/],
  ]) {
    const hub = await startHub(own ? { env: { GLIBC_TUNABLES: own } } : {});
    await until(() => workerPid(hub));
    const environ = readFileSync(`/proc/${workerPid(hub)}/environ`, 'utf8');
    assert.match(environ, expected);
    assert.equal(environ.split('GLIBC_TUNABLES=').length, 2);
    await hub.stop();
  }
});

test('in process there is no worker', async () => {
  const hub = await startHub({ args: ['--in-process'] });
  assert.equal((await stream(hub, { ...story, max_tokens: 5 })).usage.completion_tokens, 5);
  assert.equal(workers(hub).length, 0);
  await hub.stop();
});

test('what is linked in while it runs', async () => {
  const dir = tempDir();
  const models = join(dir, 'models');
  const adapters = join(dir, 'data', 'adapters');
  const away = tempDir();
  const tiny = join(root, 'models', 'hearth-tiny.gguf');
  mkdirSync(models, { recursive: true });
  mkdirSync(adapters, { recursive: true });
  copyFileSync(tiny, join(away, 'a.gguf'));
  copyFileSync(join(root, 'models', 'adapters', 'pirate.gguf'), join(away, 'l.gguf'));
  const hub = await startHub({ dir, env: { DEFAULT_MODEL: 'hearth-tiny' } });
  const ask = (more) => stream(hub, { ...story, max_tokens: 5, ...more });
  const adapterList = async () => (await (await fetch(`${hub.url}/adapters`)).json()).adapters;
  assert.equal((await ask({})).error, undefined);
  if (!/Landlock \d/.test(hub.log)) return hub.stop(); // it may read everything
  // An adapter, and what its list says of the folders of this machine.
  symlinkSync(join(away, 'l.gguf'), join(adapters, 'lnk.gguf'));
  const lnk = await until(async () => (await adapterList()).find((a) => a.name === 'lnk'));
  assert.match(lnk.error, /^it can't be read \(Permission denied\); .*linked.*first use/);
  let r = await ask({ adapter: 'lnk' });
  assert.equal(r.error, undefined);
  assert.equal(workers(hub).length, 2);
  assert.equal((await adapterList()).find((a) => a.name === 'lnk').error, null);
  // A model; what runs is not disturbed.
  const long = stream(hub, { ...story, max_tokens: 600 }, async (n) => {
    if (n !== 1) return;
    symlinkSync(join(away, 'a.gguf'), join(models, 'linked.gguf'));
    r = await ask({ model: 'linked' });
  });
  const told = await long;
  assert.equal(told.error, undefined);
  assert.equal(told.usage.completion_tokens, 600);
  if (!r.error) assert.fail('the long answer was over too soon');
  assert.equal(r.status, 503);
  assert.match(r.error.message, /no model "linked".*starts anew when nothing runs in it/);
  r = await ask({ model: 'linked' });
  assert.equal(r.error, undefined);
  assert.equal(workers(hub).length, 3);
  // A folder made anew, asked for by a load and by embeddings.
  rmSync(models, { recursive: true });
  mkdirSync(models);
  copyFileSync(tiny, join(models, 'anew.gguf'));
  const load = await post(hub, '/v1/models/anew/load', {});
  assert.equal(load.status, 200, JSON.stringify(load.body));
  rmSync(models, { recursive: true });
  mkdirSync(models);
  copyFileSync(tiny, join(models, 'newer.gguf'));
  const embedded = await post(hub, '/v1/embeddings', { model: 'newer', input: 'x' });
  assert.equal(embedded.status, 200, JSON.stringify(embedded.body));
  const before = workers(hub).length;
  for (let i = 0; i < 3; i++) assert.equal((await ask({ model: `no-${i}` })).status, 404);
  assert.equal(workers(hub).length, before);
  assert.doesNotMatch(hub.log, /ERROR/);
  await hub.stop();
});

test('an adapter chosen for all that has gone is left out, and that is told', async () => {
  const dir = tempDir();
  const adapters = join(dir, 'data', 'adapters');
  mkdirSync(adapters, { recursive: true });
  copyFileSync(join(root, 'models', 'adapters', 'pirate.gguf'), join(adapters, 'mine.gguf'));
  const hub = await startHub({ dir, env: { HEARTH_ADAPTER: 'mine' } });
  const health = async () => (await fetch(`${hub.url}/health`)).json();
  await until(async () => (await health()).adapter === 'mine');
  assert.equal((await health()).adapter_error, undefined);
  rmSync(join(adapters, 'mine.gguf'));
  await until(async () => (await health()).adapter === 'base');
  assert.match((await health()).adapter_error, /chosen for all requests is left out: there is no adapter "mine"/);
  assert.equal((await stream(hub, { ...story, max_tokens: 3 })).error, undefined);
  const refused = await stream(hub, { ...story, adapter: 'mine' });
  assert.equal(refused.error.code, 'adapter_not_found');
  assert.equal(hub.log.match(/WARN .*chosen for all requests is left out/g).length, 1);
  // What was chosen stays so, in the next worker too.
  copyFileSync(join(root, 'models', 'adapters', 'terse.gguf'), join(adapters, 'other.gguf'));
  await until(async () => (await post(hub, '/adapters/load', { adapter_name: 'other' })).status === 200);
  copyFileSync(join(root, 'models', 'adapters', 'pirate.gguf'), join(adapters, 'mine.gguf'));
  rmSync(join(adapters, 'other.gguf'));
  await killWorker(hub);
  await until(async () => /"other"/.test((await health()).adapter_error));
  copyFileSync(join(root, 'models', 'adapters', 'terse.gguf'), join(adapters, 'other.gguf'));
  await until(async () => (await health()).adapter === 'other');
  await hub.stop();
});

/** How often the log says that the worker ended like that. */
const deaths = (hub, how) => hub.log.split('\n')
  .filter((line) => line.endsWith(`the model worker ended: ${how}`)).length;

// Needs a build with faults (make test has them).
for (const [fault, doing, more] of [
  ['crash_load:1', 'loading'], ['crash_decode:2', 'running'], ['crash_sample:1', 'running'],
  ['crash_adapter:1', 'loading an adapter of', { adapter: 'pirate' }],
]) {
  test(`a model that ends the worker twice is quarantined (${fault})`, async (t) => {
    const hub = await startHub({ env: { HEARTH_FAULT: fault }, args: ['--no-preload'] });
    const r = await stream(hub, { ...story, max_tokens: 20, ...more });
    if (r.usage) return t.skip('this build has no faults');
    assert.equal(r.error.code, 'model_quarantined');
    assert.match(r.error.message, /hearth-tiny is in quarantine: .*force/);
    assert.equal(deaths(hub, `signal 6, Aborted, ${doing} hearth-tiny`), 2);
    assert.match(hub.log, /hearth-tiny has ended the model worker twice.*quarantine/);
    assert.equal(workers(hub).length, 3);
    // Other models are served by the same worker.
    if (fault.startsWith('crash_load')) {
      const list = await (await fetch(`${hub.url}/v1/models`)).json();
      const tiny = list.data.find((m) => m.id === 'hearth-tiny');
      assert.equal(tiny.meta.state, 'quarantined');
    }
    // Who insists gets another worker that dies, and the hub lives on.
    const forced = await post(hub, '/v1/models/hearth-tiny/load', { force: true });
    if (fault.startsWith('crash_load')) assert.equal(forced.body.error.code, 'worker_stopped');
    assert.equal((await fetch(`${hub.url}/health`)).status, 200);
    await hub.stop();
  });
}

test('the quarantine of embeddings is told by its model and ends by force', async (t) => {
  const hub = await startHub({ env: { HEARTH_FAULT: 'crash_decode:2' }, args: ['--no-preload'] });
  const embed = () => post(hub, '/v1/embeddings', { model: 'hearth-tiny', input: ['one', 'two'] });
  const tiny = async () => (await (await fetch(`${hub.url}/v1/models`)).json()).data
    .find((m) => m.id === 'hearth-tiny').meta;
  // A worker's second step kills it: one of its own goes well, and a request that has gone to two
  // that died is the last that is tried.
  let r;
  for (let i = 0; i < 8 && r?.status !== 503; i++) r = await embed();
  if (r.status === 200) return t.skip('this build has no faults');
  assert.equal(r.body.error.code, 'model_quarantined');
  assert.match(r.body.error.message,
    /^hearth-tiny is in quarantine for embeddings: .*`hearth load hearth-tiny --force`, or POST \/v1\/models\/hearth-tiny\/load with \{"force": true\}/);
  const listed = await tiny();
  assert.equal(listed.state, 'quarantined');
  assert.match(listed.error, /its embeddings ended .*`hearth load hearth-tiny --force`/);
  const ps = await hub.run(['ps']);
  assert.match(ps.stdout, /hearth-tiny .*quarantined/);
  // It goes on to generate, and its embeddings are not forgotten meanwhile.
  assert.equal((await stream(hub, { ...story, max_tokens: 1 })).error, undefined);
  assert.equal((await tiny()).state, 'ready');
  assert.match((await tiny()).error, /its embeddings/);
  assert.equal((await post(hub, '/v1/models/hearth-tiny/unload', {})).status, 200);
  await until(async () => (await tiny()).state === 'quarantined');
  assert.equal((await hub.run(['load', 'hearth-tiny'])).code, 0);
  assert.equal((await embed()).body.error.code, 'model_quarantined');
  const forced = await hub.run(['load', 'hearth-tiny', '--force']);
  assert.equal(forced.code, 0, forced.stderr);
  r = await embed(); // the worker that loaded it has made no step, or dies and is followed by one
  assert.equal(r.status, 200, JSON.stringify(r.body));
  await hub.stop();
});

test('a model in quarantine fits nowhere, and a terminal is told what to type', async (t) => {
  const hub = await startHub({ env: { HEARTH_FAULT: 'crash_load:1' }, args: ['--no-preload'] });
  const r = await stream(hub, { ...story, max_tokens: 1 });
  if (r.usage) return t.skip('this build has no faults');
  assert.equal(r.error.code, 'model_quarantined');
  const plan = await post(hub, '/v1/models/plan', { model: 'hearth-tiny' });
  assert.equal(plan.body.fits, false);
  assert.match(plan.body.reason, /hearth-tiny is in quarantine/);
  const load = await hub.run(['load', 'hearth-tiny']);
  assert.equal(load.code, 1);
  assert.match(load.stderr, /`hearth load hearth-tiny --force`/);
  const forced = await hub.run(['load', 'hearth-tiny', '--force']);
  assert.match(forced.stderr, /the model worker stopped/); // it was tried, and died of it
  await hub.stop();
});

// The worker that comes after a kill computes for another model first, then reads from disk what was
// kept of the prompt: before it has computed anything for the model that it dies of.
test('a model that ends the worker while a prefix is restored is the one to blame', async (t) => {
  const hub = await startHub({ env: { HEARTH_FAULT: 'crash_restore:1' } });
  const long = {
    messages: [{ role: 'user', content: 'The old lamp and the river. '.repeat(30) }],
    max_tokens: 3,
    temperature: 0,
  };
  assert.equal((await stream(hub, long)).error, undefined);
  await until(async () => (await (await fetch(`${hub.url}/v1/cache`)).json()).disk.entries > 0,
    30000, 'what was computed being on disk');
  await killWorker(hub);
  assert.equal((await post(hub, '/v1/embeddings', { input: 'one' })).status, 200);
  const r = await stream(hub, long);
  if (r.usage) {
    await hub.stop();
    return t.skip('this build has no faults');
  }
  assert.equal(r.error.code, 'model_quarantined');
  assert.equal(deaths(hub, 'signal 6, Aborted, running hearth-tiny'), 2);
  assert.equal((await post(hub, '/v1/embeddings', { input: 'one' })).status, 200);
  await hub.stop();
});

for (const [fault, why] of [
  ['hang_decode:3', /it hung: one step has taken \d\.\d s.*, running hearth-tiny/],
  ['hang_worker:1', /it hung: it has not answered for \d\.\d s/],
]) {
  test(`a worker that hangs is killed and started again (${fault})`, async (t) => {
    const hub = await startHub({
      env: { HEARTH_FAULT: fault, HEARTH_HANG_TIMEOUT: '1s' }, args: ['--no-preload'],
    });
    const first = stream(hub, { ...story, max_tokens: 100 });
    const r = await first;
    if (r.usage && workers(hub).length === 1) {
      await hub.stop();
      return t.skip('this build has no faults');
    }
    // Its workers hang again and again: at the end that is said.
    assert.match(r.error.code, fault.startsWith('hang_decode') ? /model_quarantined/ : /worker_stopped/);
    assert.match(hub.log, why);
    assert.ok(workers(hub).length >= 2);
    assert.equal(zombies(hub.pid), 0);
    assert.equal((await fetch(`${hub.url}/health`)).status, 200);
    await hub.stop();
  });
}

test('a worker that can not start is an error for the requests, not the end of the hub', async () => {
  const hub = await startHub({ env: { HEARTH_WORKER: '1' } }); // what a worker has in its environment
  const r = await stream(hub, { ...story, max_tokens: 5 });
  assert.equal(r.error.code, 'worker_stopped');
  assert.equal(r.status, 503);
  assert.equal((await fetch(`${hub.url}/health`)).status, 200);
  await hub.stop();
});
