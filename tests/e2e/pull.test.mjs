// `hearth pull` against a server that speaks the hub's paths and misbehaves: what arrives, what is
// said, what is left on the disk, and that the pulled model is one to talk to.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import { join } from 'node:path';
import test, { after, before, beforeEach } from 'node:test';

import { binary, cleanEnv, root, runHearth, tempDir } from './support/hearth.mjs';
import { startHubServer } from './support/hub-server.mjs';

const tiny = readFileSync(join(root, 'models', 'hearth-tiny.gguf'));
const embed = readFileSync(join(root, 'models', 'hearth-tiny-embed.gguf'));
const llama = 'bartowski/Llama-3.2-1B-Instruct-GGUF';

let hub;
let dir;

before(async () => {
  hub = await startHubServer({
    [llama]: { 'Llama-3.2-1B-Instruct-Q4_K_M.gguf': tiny, 'Llama-3.2-1B-Instruct-Q8_0.gguf': embed },
    'org/many': { 'a-Q2_K.gguf': tiny, 'a-Q8_0.gguf': tiny, 'mmproj-a-f16.gguf': embed },
    'org/page': { 'page.gguf': Buffer.from('<!DOCTYPE html><html>please log in</html>') },
  });
});
after(() => hub.close());
beforeEach(() => {
  hub.faults = {};
  hub.requests.length = 0;
  hub.tokenAtStorage = false;
  dir = tempDir();
});

const run = (args, env = {}) => runHearth(args, { dir, env: { HF_ENDPOINT: hub.url, ...env } });
const pull = (spec, env) => run(['pull', spec], env);
const inModels = () => readdirSync(join(dir, 'models')).sort();
const storageRequests = () => hub.requests.filter((r) => r.path.startsWith('/storage/'));

async function refused(spec, words, env) {
  const r = await pull(spec, env);
  assert.equal(r.code, 1, r.stderr || r.stdout);
  assert.match(r.stderr, words);
  return r;
}

test('a known name: through the redirect, checked, listed, talked to, removed', async () => {
  const r = await pull('llama3.2:1b');
  assert.equal(r.code, 0, r.stderr);
  const file = join(dir, 'models', 'Llama-3.2-1B-Instruct-Q4_K_M.gguf');
  assert.deepEqual(readFileSync(file), tiny);
  const about = JSON.parse(readFileSync(`${file}.json`, 'utf8'));
  assert.equal(about.catalog, 'llama3.2:1b');
  assert.equal(about.repo, llama);
  assert.equal(about.revision, 'c'.repeat(40));
  assert.deepEqual(inModels().filter((f) => f.includes('.part')), []);

  const list = JSON.parse((await run(['models', 'list', '--json'])).stdout);
  const model = list.models.find((m) => m.id === 'Llama-3.2-1B-Instruct-Q4_K_M');
  assert.equal(model.bytes, tiny.length);
  const chat = await run(['chat', '--model', 'llama3.2:1b', '-n', '4', 'Hi'], { PORT: 1 });
  assert.equal(chat.code, 0, chat.stderr);

  hub.requests.length = 0;
  const again = await pull('llama3.2:1b'); // there: nobody is asked
  assert.equal(again.code, 0, again.stderr);
  assert.equal(hub.requests.length, 0);
  const gone = await run(['models', 'rm', '--yes', 'llama3.2:1b']);
  assert.equal(gone.code, 0, gone.stderr);
  assert.deepEqual(inModels(), []);
});

test('a repository with a quantisation, and its choices when none is clear', async () => {
  const r = await pull(`${llama}:q8_0`);
  assert.equal(r.code, 0, r.stderr);
  assert.ok(existsSync(join(dir, 'models', 'Llama-3.2-1B-Instruct-Q8_0.gguf')));
  const choices = await refused('org/many', /a-Q2_K\.gguf \(5\.8 MiB\), a-Q8_0\.gguf \(5\.8 MiB\)/);
  assert.doesNotMatch(choices.stderr, /mmproj/);
  await refused('org/many:Q4_0', /has no Q4_0/);
});

test('cut connections are resumed where they broke', async () => {
  Object.assign(hub.faults, { cuts: 2, cutAfter: 2_000_000 });
  const r = await pull('llama3.2:1b');
  assert.equal(r.code, 0, r.stderr);
  assert.match(r.stderr, /connection was cut; trying again/);
  assert.deepEqual(readFileSync(join(dir, 'models', 'Llama-3.2-1B-Instruct-Q4_K_M.gguf')), tiny);
  const asked = storageRequests();
  assert.equal(asked.length, 3);
  assert.equal(asked[0].headers.range, undefined);
  assert.match(asked[2].headers.range, /^bytes=\d{7}-$/);
  assert.ok(asked[2].headers['if-range']);
});

test('a killed pull is resumed by the next one', async () => {
  hub.faults.slow = 40_000;
  const killed = await runHearth(['pull', 'llama3.2:1b'], {
    dir,
    env: { HF_ENDPOINT: hub.url },
    onStart: (child) => setTimeout(() => child.kill('SIGKILL'), 1500),
  });
  assert.equal(killed.signal, 'SIGKILL');
  assert.ok(!existsSync(join(dir, 'models', 'Llama-3.2-1B-Instruct-Q4_K_M.gguf')));
  hub.faults = {};
  hub.requests.length = 0;
  const r = await pull('llama3.2:1b');
  assert.equal(r.code, 0, r.stderr);
  assert.match(storageRequests()[0].headers.range, /^bytes=\d+-$/);
  assert.deepEqual(readFileSync(join(dir, 'models', 'Llama-3.2-1B-Instruct-Q4_K_M.gguf')), tiny);
});

test('a wrong hash, a web page, and the hub\'s refusals leave nothing behind', async () => {
  hub.faults = { wrongHash: true };
  await refused('llama3.2:1b', /came damaged.*deleted; pull it again/);
  hub.faults = {};
  await refused('org/page', /not a GGUF/);
  await refused('no/such', /no\/such is not there \(404\)/);
  await refused(`${llama}:Q3_K_S`, /has no Q3_K_S/);
  await refused('llama3.2:1b:q6_k', /not there/); // known, but not at this server
  hub.faults = { status: 500 };
  await refused('llama3.2:1b', /answered 500/);
  hub.faults = { status: 429, headers: { 'Retry-After': '900' } };
  await refused('llama3.2:1b', /asked too often/);
  assert.deepEqual(inModels(), []);
});

test('a gated repository wants a token, which stays with the hub', async () => {
  hub.faults = { token: 'hf_right' };
  const r = await refused('llama3.2:1b', /HF_TOKEN=hf_\.\.\. hearth pull llama3\.2:1b/);
  assert.match(r.stderr, new RegExp(`licence at ${hub.url}/${llama}`));
  const wrong = await refused('llama3.2:1b', /licence to be accepted/, { HF_TOKEN: 'hf_wrong' });
  assert.doesNotMatch(wrong.stderr, /hf_wrong/);
  const ok = await pull('llama3.2:1b', { HF_TOKEN: 'hf_right' });
  assert.equal(ok.code, 0, ok.stderr);
  assert.equal(hub.tokenAtStorage, false);
});

test('a disk that is too small is told before, one that fills up keeps what came', async (t) => {
  const models = join(dir, 'small');
  mkdirSync(models);
  // A file system of its own, in a mount namespace of its own: nothing to clean up.
  const inSmallDisk = (mib, script) => spawnSync(
    'unshare',
    ['-rm', 'sh', '-c', `mount -t tmpfs -o size=${mib}m tmpfs "$1" && ${script}`, 'sh', models, binary],
    { encoding: 'utf8', env: cleanEnv(dir, { HEARTH_MODELS: models }), timeout: 60000 },
  );
  if (inSmallDisk(1, 'true').status !== 0) return t.skip('no mount namespaces here');
  // The server is in this process, which must not wait: a second one.
  const port = await forkedServer();
  const endpoint = `HF_ENDPOINT=http://127.0.0.1:${port.number}`;
  try {
    const before = inSmallDisk(50, `${endpoint} "$2" pull llama3.2:1b; echo "status $?"; ls "$1"`);
    assert.match(before.stderr, /not enough disk space for .*: needs 69\.8 MiB, 50\.0 MiB are free/);
    assert.match(before.stdout, /^status 1\n$/); // and nothing is in the folder
    const full = inSmallDisk(80, `mkdir "$1/m"; export HEARTH_MODELS="$1/m" ${endpoint}
      (sleep 1; dd if=/dev/zero of="$1/fill" bs=1M 2>/dev/null) & "$2" pull llama3.2:1b:q8_0
      echo "status $?"; rm "$1/fill"; "$2" pull llama3.2:1b:q8_0; echo "status $?"; ls "$1/m"`);
    assert.match(full.stderr, /the disk is full; make room and run the same command again/);
    assert.match(full.stdout, /status 1\n[^]*is ready[^]*status 0\n[^]*Q8_0\.gguf\n/);
  } finally {
    port.child.kill();
  }
});

// The same server in another process: for tests that block this one. Its Q8_0 comes slowly.
async function forkedServer() {
  const { fork } = await import('node:child_process');
  const file = join(dir, 'server.mjs');
  writeFileSync(file, `
    import { readFileSync } from 'node:fs';
    import { startHubServer } from ${JSON.stringify(join(root, 'tests/e2e/support/hub-server.mjs'))};
    const tiny = readFileSync(${JSON.stringify(join(root, 'models', 'hearth-tiny.gguf'))});
    const hub = await startHubServer({ ${JSON.stringify(llama)}: {
      'Llama-3.2-1B-Instruct-Q4_K_M.gguf': tiny, 'Llama-3.2-1B-Instruct-Q8_0.gguf': tiny } });
    hub.faults.slow = 30000;
    process.send(hub.port);`);
  const child = fork(file, { stdio: 'ignore' });
  const number = await new Promise((done, fail) => {
    child.once('message', done);
    child.once('exit', fail);
  });
  return { child, number };
}

// A TLS server with a certificate of its own; its files: /m.gguf, and /down.gguf, which leads to http.
async function tlsServer() {
  const key = join(dir, 'key.pem');
  const cert = join(dir, 'cert.pem');
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert,
    '-days', '2', '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'], { stdio: 'ignore' });
  const tls = { cert, served: [] };
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (req, res) => {
    tls.served.push(req.url);
    if (req.url !== '/down.gguf') return res.end(tiny);
    res.writeHead(302, { Location: `${hub.url}/storage/${llama}/Llama-3.2-1B-Instruct-Q4_K_M.gguf` });
    return res.end();
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  tls.url = `https://127.0.0.1:${server.address().port}`;
  tls.close = () => new Promise((done) => {
    server.closeAllConnections();
    server.close(done);
  });
  return tls;
}

// Runs `hearth pull` where only `cert` is a trusted authority: a mount namespace of its own.
function pullTrusting(cert, url) {
  return new Promise((done) => {
    const child = spawn('unshare', ['-rm', 'sh', '-c',
      'mount --bind "$1" /etc/ssl/certs/ca-certificates.crt || exit 99; exec "$2" pull "$3"', 'sh', cert, binary, url],
    { env: cleanEnv(dir, { HF_ENDPOINT: hub.url }), stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (d) => { stderr += d; });
    child.on('close', (code) => done({ code, stderr }));
  });
}

test('URLs: only https, certificates are checked, and no way leads back to http', async (t) => {
  await refused('http://example.org/m.gguf', /is not https/);
  const tls = await tlsServer();
  try {
    await refused(`${tls.url}/m.gguf`, /no secure connection to .*certificate/);
    assert.deepEqual(tls.served, []);
    const trusted = await pullTrusting(tls.cert, `${tls.url}/m.gguf`);
    if (trusted.code === 99 || /unshare/.test(trusted.stderr)) return t.skip('no mount namespaces here');
    assert.equal(trusted.code, 0, trusted.stderr);
    assert.ok(existsSync(join(dir, 'models', 'm.gguf')));
    const down = await pullTrusting(tls.cert, `${tls.url}/down.gguf`);
    assert.equal(down.code, 1);
    assert.match(down.stderr, /redirects from https to http|redirects to something that is not https/);
    assert.equal(storageRequests().length, 0);
  } finally {
    await tls.close();
  }
});
