#!/usr/bin/env node
// package-lock.json: no download addresses (they would tie every build to one registry), an
// integrity hash for each package, exact versions in package.json, and the two in agreement.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '../..'));
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const own = JSON.parse(readFileSync('package.json', 'utf8'));
const faults = [];

if (lock.lockfileVersion !== 3) faults.push(`lockfileVersion is ${lock.lockfileVersion}, not 3 (npm 7 and later)`);
for (const [path, entry] of Object.entries(lock.packages)) {
  if (!path) continue;
  if ('resolved' in entry) faults.push(`${path} has a download address; install with this repository's .npmrc`);
  if (!entry.integrity) faults.push(`${path} has no integrity hash`);
}
for (const kind of ['dependencies', 'devDependencies', 'overrides']) {
  for (const [name, version] of Object.entries(own[kind] ?? {})) {
    if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) faults.push(`package.json: ${name} ${version} is no exact version`);
    if (kind !== 'overrides' && lock.packages[''][kind]?.[name] !== version) {
      faults.push(`package.json asks for ${name} ${version}, the lockfile for ${lock.packages[''][kind]?.[name]}`);
    }
    if (lock.packages[`node_modules/${name}`]?.version !== version) {
      faults.push(`the lockfile holds ${name} ${lock.packages[`node_modules/${name}`]?.version}, not ${version}`);
    }
  }
}
if (faults.length) console.log(faults.join('\n'));
process.exit(faults.length ? 1 : 0);
