// Privacy, down to the packets: a hub in a network namespace whose only way out is a wire to
// another namespace, where a provider waits. With pins on, not one packet goes over that wire while
// calls of every surface are made; without them they do, so that the wire is known to work.
//
// It needs `unshare` and `ip` (Debian: util-linux, iproute2) and a kernel that lets this user make
// namespaces; where it may not, the test says so and is skipped.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sleep, startHub, tempDir, until } from './support/hearth.mjs';
import { answered, call, refused } from './support/pinned.mjs';
import { startUpstream } from './support/upstream.mjs';

const HERE = '10.99.0.1';
const THERE = '10.99.0.2';
const PORT = 8099;
const self = fileURLToPath(import.meta.url);

const run = (command, args) => {
  const r = spawnSync(command, args, { encoding: 'utf8' });
  if (r.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${r.stderr || r.error}`);
  return r.stdout;
};
const ip = (line) => run('ip', line.split(' '));

/** Packets that have gone out over the wire, and connections of the hub as it counts them. */
function wire() {
  const line = readFileSync('/proc/net/dev', 'utf8').split('\n').find((l) => l.trim().startsWith('wire0:'));
  return Number(line.split(':')[1].trim().split(/\s+/)[9]);
}
async function counted(hub) {
  const text = await (await fetch(`${hub.url}/metrics`)).text();
  const of = (name) => Number(new RegExp(`^\\S*${name} (\\d+)`, 'm').exec(text)?.[1]);
  return of('outgoing_connections_total') - of('outgoing_local_connections_total');
}

// ---- the other end of the wire: a provider -----------------------------------------------------

async function there() {
  await until(() => { try { return ip('link show wire1'); } catch { return false; } }, 20000, 'the wire');
  ip('link set lo up');
  ip(`addr add ${THERE}/24 dev wire1`);
  ip('link set wire1 up');
  const up = await startUpstream({ host: THERE, port: PORT });
  up.answer = { text: 'From the other end.' };
  process.stdout.write('listening\n');
  process.on('SIGTERM', () => process.exit(0));
}

// ---- this end: the hub -------------------------------------------------------------------------

async function lay(child) {
  ip('link set lo up');
  ip('link add wire0 type veth peer name wire1');
  writeFileSync('/proc/sys/net/ipv6/conf/wire0/disable_ipv6', '1'); // it would look for neighbours by itself
  ip(`link set wire1 netns ${child.pid}`);
  ip(`addr add ${HERE}/24 dev wire0`);
  ip('link set wire0 up');
  ip(`route add default via ${THERE}`);
  let said = '';
  child.stdout.on('data', (d) => { said += d; });
  await until(() => said.includes('listening'), 20000, 'the provider');
  // An address that is known for good: neither asked for nor refreshed.
  await (await fetch(`http://${THERE}:${PORT}/`, { headers: { connection: 'close' } })).text();
  await sleep(200);
  const mac = /lladdr (\S+)/.exec(ip(`neigh show ${THERE}`))[1];
  ip(`neigh replace ${THERE} lladdr ${mac} nud permanent dev wire0`);
}

async function everything(hub, headers) {
  for (const one of answered) {
    const r = await call(hub.url, one, headers);
    assert.equal(r.status, 200, `${one.name}: ${r.text}`);
  }
  for (const one of refused) {
    const r = await call(hub.url, one, headers);
    assert.ok(r.status >= 400 && r.status < 500, `${one.name}: ${r.status} ${r.text}`);
  }
}

async function quiet(what, hub, work) {
  const packets = wire();
  const connections = await counted(hub);
  await work();
  await sleep(300); // what was on its way
  assert.equal(wire(), packets, `${what}: packets went out`);
  assert.equal(await counted(hub), connections, `${what}: the hub connected to somebody`);
}

async function here() {
  const child = spawn('unshare', ['-n', process.execPath, self], { env: { ...process.env, HEARTH_WIRE: 'there' }, stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => child.kill('SIGKILL'));
  await lay(child);
  const dir = tempDir();
  const file = join(dir, 'providers.json');
  writeFileSync(file, JSON.stringify({
    providers: {
      cloud: { kind: 'openai', base_url: `http://${THERE}:${PORT}/v1`, model: 'large', retries: 0 },
      named: { kind: 'openai', base_url: 'http://cloud.example/v1', model: 'large', retries: 0 },
    },
    routes: { default: { chain: ['local', 'cloud', 'named'] }, away: { chain: ['cloud', 'named'] } },
  }));
  const env = { HEARTH_PROVIDERS: file };
  const hub = await startHub({ dir, env });
  await quiet('a hub that starts', hub, () => sleep(500));
  await quiet('calls that are pinned by a header', hub, () => everything(hub, { 'x-hearth-local': 'true' }));
  const pinned = await startHub({ env: { ...env, HEARTH_PRIVACY: 'local' } });
  await quiet('a hub that is pinned', pinned, () => everything(pinned, {}));
  await pinned.stop();
  // And without a pin the same call does use the wire.
  const packets = wire();
  const connections = await counted(hub);
  const r = await call(hub.url, refused[0]);
  assert.equal(r.status, 200, r.text);
  assert.match(r.text, /From the other end/);
  assert.ok(wire() > packets, 'the wire counts nothing');
  assert.equal(await counted(hub), connections + 1);
  await hub.stop();
  child.kill('SIGTERM');
}

// ---- the test ----------------------------------------------------------------------------------

/** Why it can't be done here; '' = it can. */
function missing() {
  const r = spawnSync('unshare', ['-rn', 'sh', '-c', 'ip link set lo up && ip link add wire0 type veth peer name wire1'], { encoding: 'utf8' });
  if (r.error) return `no unshare: ${r.error.code}`;
  return r.status === 0 ? '' : `no network namespaces here: ${r.stderr.trim()}`;
}

if (process.env.HEARTH_WIRE === 'there') await there();
else if (process.env.HEARTH_WIRE === 'here') await here();
else {
  const why = missing();
  test('with pins on, no packet leaves the machine', { skip: why || false }, async () => {
    const child = spawn('unshare', ['-rn', process.execPath, self], { env: { ...process.env, HEARTH_WIRE: 'here', NODE_TEST_CONTEXT: '' }, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stdout.on('data', (d) => { said += d; });
    child.stderr.on('data', (d) => { said += d; });
    const code = await new Promise((done) => child.on('close', done));
    assert.equal(code, 0, said);
  });
}
