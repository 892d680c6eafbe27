// `make privacy`: every test of the suite behind a wire that counts what leaves the machine
// (e2e/support/wire.mjs), with every hub pinned to this machine and its connect log read.
//
//   node tests/privacy/suite.mjs <build folder> [regular expression of tests]
//
// Prints a row for each test file and ends with 0 if nothing left, nobody outside was connected to,
// and no pinned hub asked a provider. A test that must reach a provider (table.mjs) is run as it is,
// and once more pinned: then it fails, and still nobody is asked. First of all a hub without a pin has to be
// caught. Where there are no network namespaces it says so and ends with 77.
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { left, runWatched, unpinned } from '../e2e/support/watch.mjs';
import { whyNoWire } from '../e2e/support/wire.mjs';
import { elsewhere, others, packets } from './table.mjs';

const [build, pattern = '.'] = process.argv.slice(2);
const control = fileURLToPath(new URL('../e2e/privacy-packets.test.mjs', import.meta.url));
let wrong = 0;
const sum = { files: 0, hubs: 0, pinned: 0, connects: 0, asked: 0, packets: 0 };
const isProvider = (c) => c.to === 'provider';

// ---- what there is to run ------------------------------------------------------------------------

function suite() {
  const r = spawnSync('ctest', ['--test-dir', build, '--show-only=json-v1'], { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (r.status !== 0) throw new Error(`no tests in ${build}: ${r.stderr}`);
  return JSON.parse(r.stdout).tests.filter((t) => /^(unit|e2e)\//.test(t.name)).map((t) => {
    const property = (name) => t.properties.find((p) => p.name === name)?.value;
    return {
      name: t.name, command: t.command, seconds: property('TIMEOUT'), alone: property('PROCESSORS') > 1,
      env: Object.fromEntries(property('ENVIRONMENT').map((e) => [e.slice(0, e.indexOf('=')), e.slice(e.indexOf('=') + 1)])),
    };
  });
}

const watch = (one, pinned, seconds = one.seconds) => runWatched(one.command[0], one.command.slice(1), {
  env: { ...process.env, ...one.env }, pinned, timeoutMs: seconds * 1000,
});

// ---- rows ----------------------------------------------------------------------------------------

/** Of node's test runner, or cmocka. */
function tally({ output, timedOut }) {
  const of = (...forms) => Number(forms.map((f) => f.exec(output)?.[1]).find((n) => n !== undefined) ?? 0);
  const n = {
    passed: of(/^(?:#|ℹ) pass (\d+)/m, /\[ *PASSED *\] (\d+) test/),
    failed: of(/^(?:#|ℹ) fail (\d+)/m, /\[ *FAILED *\] .*?(\d+) test/),
    skipped: of(/^(?:#|ℹ) skipped (\d+)/m, /\[ *SKIPPED *\] .*?(\d+) test/),
  };
  const text = Object.entries(n).filter(([, count]) => count).map(([what, count]) => `${count} ${what}`).join(', ');
  return timedOut ? `${text} ended by time`.trim() : text || 'none';
}

function connectsOf(r) {
  const counts = new Map();
  for (const c of r.connects) {
    const key = c.local ? `${c.to} (${c.by})` : c.address;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([key, n]) => `${n} ${key}`).join(', ') || '-';
}

const row = (name, ...cells) => console.log(`| ${[name.padEnd(38), ...cells].join(' | ')} |`);

function report(name, how, r, faults) {
  sum.hubs += r.hubs.length;
  sum.connects += r.connects.length;
  sum.packets += r.packets;
  if (how === 'pinned') {
    sum.pinned += r.hubs.length;
    sum.asked += r.connects.filter(isProvider).length;
  }
  row(name, how, tally(r), r.hubs.length || '-', connectsOf(r), r.packets, faults.length ? 'WRONG' : 'ok');
  if (!faults.length) return;
  wrong++;
  console.log(faults.map((f) => `  ${name}: ${f}\n`).join(''));
}

function failed(r) {
  if (r.code !== 0) return [`its tests fail:\n${r.output.slice(-4000)}`];
  return tally(r) === 'none' ? [`it ran no test:\n${r.output.slice(-4000)}`] : [];
}

async function one(test) {
  sum.files++;
  if (test.name.startsWith('unit/')) {
    const r = await watch(test, false);
    return report(test.name, '', r, [...failed(r), ...(packets[test.name] ? [] : left(r))]);
  }
  if (!elsewhere[test.name]) {
    const r = await watch(test, true);
    return report(test.name, 'pinned', r, [...failed(r), ...left(r), ...unpinned(r, { others: others[test.name] })]);
  }
  const open = await watch(test, false);
  report(test.name, 'open', open, [...failed(open), ...left(open)]);
  const pinned = await watch(test, true, test.seconds / 3); // much in it waits in vain
  return report(test.name, 'pinned', pinned, [
    ...(pinned.code === 0 ? ['it passes with everything pinned: its line in table.mjs is not needed'] : []),
    ...left(pinned), ...unpinned(pinned, { others: others[test.name] }),
  ]);
}

/** A hub without a pin has to be caught by each of the ways. */
async function proof() {
  const r = await runWatched(process.execPath, [control], { env: { ...process.env, HEARTH_BIN: `${build}/hearth`, HEARTH_BEHIND_WIRE: 'control' }, pinned: true, provider: true });
  const found = [...left(r), ...unpinned(r)];
  row('(a hub that is not pinned)', 'control', r.code === 0 ? 'answered' : 'failed', r.hubs.length, connectsOf(r), r.packets, found.length === 4 ? 'caught' : 'WRONG');
  if (found.length === 4 && r.code === 0) return;
  console.log(`  the control was not caught (${found.join('; ')}): nothing below proves anything\n${r.output}`);
  wrong++;
}

const why = whyNoWire();
if (why) {
  console.log(`make privacy: SKIPPED, NOTHING WAS TESTED: ${why}`);
  process.exit(77);
}
const all = suite();
const stale = [elsewhere, others, packets].flatMap(Object.keys).filter((name) => !all.some((t) => t.name === name));
if (stale.length) throw new Error(`table.mjs names tests that are not there: ${stale.join(', ')}`);
const began = performance.now();
row('test', 'hubs are', 'tests', 'hubs', 'connections tried', 'packets out', '');
row('---', ...new Array(6).fill('---'));
await proof();
const chosen = all.filter((t) => new RegExp(pattern).test(t.name));
const queue = chosen.filter((t) => !t.alone).values();
await Promise.all(Array.from({ length: availableParallelism() }, async () => {
  for (const test of queue) await one(test);
}));
for (const test of chosen.filter((t) => t.alone)) await one(test);
console.log(`
${sum.files} test files in ${Math.round((performance.now() - began) / 1000)} s. ${sum.hubs} hubs, ${sum.pinned} of them where all must be pinned; ${sum.connects} connections tried, \
${sum.asked} of them to a provider under a pin. Packets that left: ${sum.packets}. ${wrong ? `${wrong} WRONG, see above.` : 'Nothing is wrong.'}`);
process.exit(wrong ? 1 : 0);
