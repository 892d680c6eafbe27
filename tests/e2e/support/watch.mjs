// Runs a program of the tests behind a wire (support/wire.mjs) and watches it: which hubs it starts,
// which connections they and the verbs of `hearth` try (their connect log), what leaves over the wire.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { tempDir } from './hearth.mjs';
import { behindWire } from './wire.mjs';

const lines = (file) => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : []);

/**
 * @param {{env?: object, pinned?: boolean, provider?: boolean, timeoutMs?: number}} [options]
 *   pinned: every hub that is started is (HEARTH_PRIVACY=local), unless the test itself says otherwise.
 * @returns what behindWire says, and hubs [{ pid, pinned }], connects [{ by, to, address, local }]
 *   (by: hub, verb; to: provider, models, hub or unknown, as the test told).
 */
export async function runWatched(command, args, { env = process.env, pinned = false, provider = false, timeoutMs = 0 } = {}) {
  const dir = tempDir();
  const r = await behindWire(command, args, {
    env: { ...env, HEARTH_TEST_WATCH: dir, HEARTH_TEST_PRIVACY: pinned ? 'local' : '' }, provider, timeoutMs,
  });
  const told = lines(join(dir, 'seen')).map((l) => JSON.parse(l));
  const hubs = told.filter((t) => t.hub).map((t) => ({ pid: t.hub, pinned: t.pinned }));
  const playedAt = (port) => told.filter((t) => t.server && t.port === port).map((t) => t.server);
  const connects = lines(join(dir, 'connects')).map((line) => {
    const [, pid, address, where] = line.split(' ');
    const servers = playedAt(Number(address.split(':').at(-1)));
    return {
      by: hubs.some((h) => h.pid === Number(pid)) ? 'hub' : 'verb',
      to: servers.includes('provider') ? 'provider' : servers.at(-1) ?? 'unknown', // ports are used again
      address, local: where === 'local',
    };
  });
  rmSync(dir, { recursive: true, force: true });
  return { ...r, hubs, connects };
}

const unique = (list) => [...new Set(list)].join(', ');

/** What has left this machine, or tried to. */
export function left(r) {
  const faults = [];
  if (r.packets) faults.push(`${r.packets} packets went out`);
  const outside = r.connects.filter((c) => !c.local);
  if (outside.length) faults.push(`connected to ${unique(outside.map((c) => c.address))}`);
  return faults;
}

/** What was asked although everything was pinned. `others`: connections to others than providers are known. */
export function unpinned(r, { others = false } = {}) {
  const faults = [];
  const open = r.hubs.filter((h) => !h.pinned).length;
  if (open) faults.push(`${open} of ${r.hubs.length} hubs were not pinned`);
  const asked = r.connects.filter((c) => c.to === 'provider');
  if (asked.length) faults.push(`asked a provider ${asked.length} times: ${unique(asked.map((c) => c.address))}`);
  const unknown = r.connects.filter((c) => c.local && c.to !== 'provider' && !(c.by === 'verb' && c.to === 'hub'));
  if (unknown.length && !others) faults.push(`connected to ${unique(unknown.map((c) => `${c.address} (${c.to}, by a ${c.by})`))}`);
  return faults;
}
