// A network namespace out of which only a wire leads: whatever a program in it wants to send to
// another machine goes over the wire, where the kernel counts it. Names are asked for over the wire,
// too. At its other end is nobody, or a provider in a second namespace.
//
//   if (whyNoWire()) ...                                        // it can't be done here
//   const r = await behindWire(process.execPath, [file]);       // { code, output, packets, ... }
//
// It needs `unshare`, `mount` and `ip` (Debian: util-linux, mount, iproute2) and a kernel that lets this
// user make namespaces.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sleep, tempDir, until } from './hearth.mjs';
import { startUpstream } from './upstream.mjs';

const self = fileURLToPath(import.meta.url);
const isRoot = process.getuid() === 0;
const HERE = '10.99.0.1';
const THERE = '10.99.0.2';
const PORT = 8099;
// Addresses for good, and known to the other end: nobody looks for neighbours, which would be packets.
const MAC = { wire0: '02:00:00:00:00:01', wire1: '02:00:00:00:00:02' };

/** The provider at the other end (openai), if behindWire was asked for one. */
export const providerThere = `http://${THERE}:${PORT}/v1`;

const run = (command, args) => {
  const r = spawnSync(command, args, { encoding: 'utf8' });
  if (r.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${r.stderr || r.error}`);
  return r.stdout;
};
const ip = (line) => run('ip', line.split(' '));
const set = (device, name, value) => writeFileSync(`/proc/sys/net/ipv6/conf/${device}/${name}`, String(value));

/** Root stays root, anybody else becomes root of a user namespace, and is the same user again within it. */
const NAMESPACES = isRoot ? '-nm' : '-rnm';
const asMyself = (options) => (options.uid === 0 ? [] : ['unshare', '-U', `--map-user=${options.uid}`, `--map-group=${options.gid}`, '--']);

/** Why no namespace with a wire can be made here; '' = it can. */
export function whyNoWire() {
  const r = spawnSync('unshare', [NAMESPACES, 'sh', '-c', 'ip link set lo up && ip link add wire0 type veth peer name wire1'], { encoding: 'utf8' });
  if (r.error) return `no unshare: ${r.error.code}`;
  return r.status === 0 ? '' : `no network namespaces here: ${r.stderr.trim()}`;
}

/** Packets that have gone out over the wire so far; for programs behind it. */
export function packetsOut() {
  const line = readFileSync('/proc/net/dev', 'utf8').split('\n').find((l) => l.trim().startsWith('wire0:'));
  return Number(line.split(':')[1].trim().split(/\s+/)[9]);
}

/**
 * Runs a program behind a wire to its end. What it leaves running is killed.
 * @param {{env?: object, provider?: boolean, timeoutMs?: number}} [options]
 *   provider: one listens at the other end (providerThere).
 * @returns {Promise<{code, signal, timedOut, packets, output}>} packets: that went out meanwhile.
 */
export async function behindWire(command, args, { env = process.env, provider = false, timeoutMs = 0 } = {}) {
  const dir = tempDir();
  const options = JSON.stringify({ dir, command, args, provider, timeoutMs, uid: process.getuid(), gid: process.getgid() });
  const child = spawn('unshare', [NAMESPACES, process.execPath, self, 'here', options], {
    env: { ...env, NODE_TEST_CONTEXT: undefined }, // it is no part of the test that watches it
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const stop = () => child.kill('SIGTERM');
  process.on('exit', stop);
  let output = '';
  let result = '';
  child.stdout.on('data', (d) => { output += d; });
  child.stderr.on('data', (d) => { output += d; });
  child.stdio[3].on('data', (d) => { result += d; });
  const code = await new Promise((done, fail) => child.on('error', fail).on('close', done));
  process.off('exit', stop);
  rmSync(dir, { recursive: true, force: true });
  if (code !== 0 || !result) throw new Error(`the namespace ended with ${code}:\n${output}`);
  return { ...JSON.parse(result), output };
}

// ---- behind the wire -----------------------------------------------------------------------------

/** Names are asked for at the other end of the wire, by nobody's cache outside of it. */
function layNames(dir) {
  const bind = (text, path) => {
    const file = join(dir, path.split('/').at(-1));
    writeFileSync(file, text);
    run('mount', ['--bind', file, path]);
  };
  if (existsSync('/etc/resolv.conf')) bind(`nameserver ${THERE}\noptions timeout:1 attempts:1\n`, '/etc/resolv.conf');
  if (existsSync('/etc/nsswitch.conf')) {
    bind(readFileSync('/etc/nsswitch.conf', 'utf8').replace(/^hosts:.*$/m, 'hosts: files dns'), '/etc/nsswitch.conf');
  }
  if (existsSync('/run/nscd')) run('mount', ['-t', 'tmpfs', 'none', '/run/nscd']);
}

async function layWire(provider) {
  ip('link set lo up');
  ip(`link add wire0 address ${MAC.wire0} type veth peer name wire1 address ${MAC.wire1}`);
  // IPv6 would announce itself, and ask who else is there.
  for (const [name, value] of Object.entries({ accept_dad: 0, dad_transmits: 0, accept_ra: 0, router_solicitations: 0, addr_gen_mode: 1, mldv2_unsolicited_report_interval: 1 })) set('wire0', name, value);
  const far = provider ? await startThere() : null;
  if (!far) {
    set('wire1', 'disable_ipv6', 1);
    ip('link set wire1 up');
  }
  ip('link set wire0 up');
  for (const [here, there, four] of [[`${HERE}/24`, THERE, true], ['fd99::1/64', 'fd99::2', false]]) {
    ip(`addr add ${here} dev wire0${four ? '' : ' nodad'}`);
    ip(`neigh replace ${there} lladdr ${MAC.wire1} nud permanent dev wire0`);
    ip(`${four ? '' : '-6 '}route add default via ${there}`);
  }
  await far?.listening;
  let before;
  do { // until the last of the kernel's own words is out
    before = packetsOut();
    await sleep(300);
  } while (packetsOut() !== before);
  return far;
}

async function here(options) {
  layNames(options.dir);
  const far = await layWire(options.provider);
  const before = packetsOut();
  const line = [...asMyself(options), options.command, ...options.args];
  const child = spawn(line[0], line.slice(1), { stdio: ['ignore', 'inherit', 'inherit'], detached: true });
  const kill = () => {
    try { process.kill(-child.pid, 'SIGKILL'); } catch { /* nobody is left */ }
  };
  process.on('exit', kill);
  let timedOut = false;
  const timer = options.timeoutMs && setTimeout(() => {
    timedOut = true;
    kill();
  }, options.timeoutMs);
  const [code, signal] = await new Promise((done, fail) => child.on('error', fail).on('exit', (...how) => done(how)));
  clearTimeout(timer);
  kill();
  far?.child.kill('SIGKILL');
  writeSync(3, JSON.stringify({ code, signal, timedOut, packets: packetsOut() - before }));
  process.exit(0); // whoever still holds its output is not waited for
}

// ---- the other end -------------------------------------------------------------------------------

/** Starts the other end; it gets its end of the wire once it is in a namespace of its own. */
async function startThere() {
  const child = spawn('unshare', ['-n', process.execPath, self, 'there'], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', (d) => { said += d; });
  const says = (word) => until(() => {
    if (child.exitCode !== null) throw new Error('the other end of the wire has ended');
    return said.includes(word);
  }, 20000, `the other end: ${word}`);
  await says('apart');
  ip(`link set wire1 netns ${child.pid}`);
  return { child, listening: says('listening') };
}

async function there() {
  process.stdout.write('apart\n');
  await until(() => { try { return ip('link show wire1'); } catch { return false; } }, 20000, 'the wire');
  set('wire1', 'disable_ipv6', 1);
  ip('link set lo up');
  ip(`addr add ${THERE}/24 dev wire1`);
  ip('link set wire1 up');
  ip(`neigh replace ${HERE} lladdr ${MAC.wire0} nud permanent dev wire1`);
  const up = await startUpstream({ host: THERE, port: PORT });
  up.answer = { text: 'From the other end.' };
  process.stdout.write('listening\n');
}

if (process.argv[1] === self) {
  process.on('SIGTERM', () => process.exit(1));
  if (process.argv[2] === 'here') await here(JSON.parse(process.argv[3]));
  else await there();
}
