#!/usr/bin/env node
// No function or variable is visible to other files without one of them using it: it should be
// static, or it is dead. And none has a name that the inference library has, or may have in its next
// version: whichever is found first would be called by both. Read from the object files of a build
// with tests, so that what only a test uses counts as used.
// usage: globals <build folder>
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ENTRY_POINTS = new Set(['main', 'LLVMFuzzerTestOneInput', 'LLVMFuzzerInitialize']);

// hnswlib's headers define functions that are not inline; one file includes them.
const FOREIGN = /^_Z(N7hnswlib|10AVXCapablev|13AVX512Capablev|5cpuidPiii|6xgetbvj)/;

// The inference library's names, whatever it exports today.
const THEIRS = /^(llama|ggml)_/;

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const build = resolve(process.argv[2] ?? join(root, 'build-test'));
const objects = new Map(); // object -> source
for (const unit of JSON.parse(readFileSync(join(build, 'compile_commands.json'), 'utf8'))) {
  const object = join(unit.directory, unit.output ?? / -o (\S+)/.exec(unit.command)[1]);
  if (existsSync(object)) objects.set(object, relative(root, unit.file));
}
if (objects.size === 0) {
  console.log(`${build} holds no object files; build it first`);
  process.exit(1);
}

const defined = []; // {symbol, object}
const users = new Map(); // symbol -> count of objects that need it
const nm = execFileSync('nm', ['-A', '--extern-only', '--format=posix', ...objects.keys()],
  { encoding: 'utf8', maxBuffer: 1 << 28 });
for (const line of nm.split('\n')) {
  const match = /^(.*?): (\S+) ([A-Za-z])/.exec(line);
  if (!match) continue;
  const [, object, symbol, type] = match;
  if ('TDBRC'.includes(type)) defined.push({ symbol, object });
  else if (type === 'U') users.set(symbol, (users.get(symbol) ?? 0) + 1);
}

const libraries = readdirSync(join(build, 'lib/hearth')).filter((name) => /^lib.*\.so$/.test(name))
  .map((name) => join(build, 'lib/hearth', name));
const exported = new Set(execFileSync('nm', ['-D', '--defined-only', '--format=posix', ...libraries],
  { encoding: 'utf8', maxBuffer: 1 << 28 }).split('\n').map((line) => line.split(' ')[0]));
if (!exported.has('llama_decode')) {
  console.log(`${build}/lib/hearth holds no inference library`);
  process.exit(1);
}

const ours = defined.filter(({ symbol, object }) => !FOREIGN.test(symbol) && !objects.get(object).startsWith('..'));
const faults = ours
  .filter(({ symbol }) => !users.has(symbol) && !ENTRY_POINTS.has(symbol))
  .map(({ symbol, object }) => `${objects.get(object)}: ${symbol} is used in this file only; make it static or remove it`);
for (const { symbol, object } of ours) {
  if (THEIRS.test(symbol) || exported.has(symbol)) {
    faults.push(`${objects.get(object)}: ${symbol} is a name of the inference library's; choose another`);
  }
}
if (faults.length) console.log([...new Set(faults)].sort().join('\n'));
process.exit(faults.length ? 1 : 0);
