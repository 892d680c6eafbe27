// Privacy, down to the packets: hubs behind a wire (support/wire.mjs) at whose other end a provider
// waits. With pins on, not one packet goes over that wire while calls of every surface are made;
// without them they do, so that the wire, and what watches it, are known to work.
//
// Where no network namespaces can be made the test says so and is skipped. `make privacy` does the same with
// the whole suite.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sleep, startHub, tempDir } from './support/hearth.mjs';
import { answered, call, refused } from './support/pinned.mjs';
import { left, runWatched, unpinned } from './support/watch.mjs';
import { behindWire, packetsOut, providerThere, whyNoWire } from './support/wire.mjs';

const self = fileURLToPath(import.meta.url);
const role = process.env.HEARTH_BEHIND_WIRE;

// ---- behind the wire -----------------------------------------------------------------------------

/** Connections to other machines, as the hub counts them. */
async function counted(hub) {
  const text = await (await fetch(`${hub.url}/metrics`)).text();
  const of = (name) => Number(new RegExp(`^\\S*${name} (\\d+)`, 'm').exec(text)?.[1]);
  return of('outgoing_connections_total') - of('outgoing_local_connections_total');
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
  const packets = packetsOut();
  const connections = await counted(hub);
  await work();
  await sleep(300); // what was on its way
  assert.equal(packetsOut(), packets, `${what}: packets went out`);
  assert.equal(await counted(hub), connections, `${what}: the hub connected to somebody`);
}

function providersFile() {
  const file = join(tempDir(), 'providers.json');
  writeFileSync(file, JSON.stringify({
    providers: {
      cloud: { kind: 'openai', base_url: providerThere, model: 'large', retries: 0 },
      named: { kind: 'openai', base_url: 'http://cloud.example/v1', model: 'large', retries: 0 },
    },
    routes: { default: { chain: ['local', 'cloud', 'named'] }, away: { chain: ['cloud', 'named'] } },
  }));
  return file;
}

async function pins() {
  const env = { HEARTH_PROVIDERS: providersFile() };
  const hub = await startHub({ env });
  await quiet('a hub that starts', hub, () => sleep(500));
  await quiet('calls that are pinned by a header', hub, () => everything(hub, { 'x-hearth-local': 'true' }));
  const pinned = await startHub({ env: { ...env, HEARTH_PRIVACY: 'local' } });
  await quiet('a hub that is pinned', pinned, () => everything(pinned, {}));
  await pinned.stop();
  // And without a pin the same call does use the wire.
  const packets = packetsOut();
  const connections = await counted(hub);
  const r = await call(hub.url, refused[0]);
  assert.equal(r.status, 200, r.text);
  assert.match(r.text, /From the other end/);
  assert.ok(packetsOut() > packets, 'the wire counts nothing');
  assert.equal(await counted(hub), connections + 1);
  await hub.stop();
}

/** What must not happen under watch: a hub that is not pinned asks somebody else. */
async function control() {
  const hub = await startHub({ env: { HEARTH_PROVIDERS: providersFile(), HEARTH_PRIVACY: undefined } });
  const r = await call(hub.url, refused[0]);
  assert.equal(r.status, 200, r.text);
  await hub.stop();
}

// ---- the tests -----------------------------------------------------------------------------------

// What is told to a watcher of this file would be about other wires than the watcher's.
const inside = (as) => ({ provider: true, env: { ...process.env, HEARTH_BEHIND_WIRE: as, HEARTH_TEST_WATCH: '', HEARTH_TEST_PRIVACY: '' } });

if (role === 'pins') await pins();
else if (role === 'control') await control();
else {
  const skip = whyNoWire() || false;
  test('with pins on, no packet leaves the machine', { skip }, async () => {
    const r = await behindWire(process.execPath, [self], inside('pins'));
    assert.equal(r.code, 0, r.output);
  });

  test('a hub that is not pinned does not escape the watch over the whole suite', { skip }, async () => {
    const r = await runWatched(process.execPath, [self], { ...inside('control'), pinned: true });
    assert.equal(r.code, 0, r.output);
    assert.match(left(r).join('\n'), /^\d+ packets went out\nconnected to 10\.99\.0\.2:8099$/);
    assert.match(unpinned(r).join('\n'), /^1 of 1 hubs were not pinned\nasked a provider 1 times: 10\.99\.0\.2:8099$/);
  });
}
