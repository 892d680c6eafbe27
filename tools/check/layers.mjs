#!/usr/bin/env node
// Who may include whom, as tools/layers.txt says: folders of ours, and outside headers that only one
// folder may see. Every folder of src/ must be in the table, and x_int.h is for its own folder only.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
process.chdir(root);

const allowed = new Map(); // folder -> set of folders
const outside = []; // {pattern: RegExp, folders: string[]}
for (const line of readFileSync('tools/layers.txt', 'utf8').split('\n')) {
  const [first, ...rest] = line.replace(/#.*/, '').trim().split(/\s+/);
  if (!first) continue;
  if (first.startsWith('!')) {
    const pattern = first.slice(1).replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*');
    outside.push({ name: first.slice(1), pattern: new RegExp(`^${pattern}$`), folders: rest });
  } else {
    for (const folder of rest) {
      if (!allowed.has(folder)) fault('tools/layers.txt', 0, `${first} may not include ${folder}: it comes later or is unknown`);
    }
    allowed.set(first, new Set([first, ...rest]));
  }
}

let faults = 0;
function fault(file, line, text) {
  console.log(`${file}:${line}: ${text}`);
  faults++;
}

for (const entry of readdirSync('src', { withFileTypes: true })) {
  if (!entry.isDirectory()) fault(`src/${entry.name}`, 0, 'a source belongs in a folder of src/');
  else if (!allowed.has(entry.name)) fault(`src/${entry.name}`, 0, 'this folder is not in tools/layers.txt');
}

const files = execFileSync('tools/check/sources', ['src'], { encoding: 'utf8' }).trim().split('\n');
for (const file of files) {
  const folder = file.split('/')[1];
  readFileSync(file, 'utf8').split('\n').forEach((text, i) => {
    const include = /^\s*#\s*include\s+(["<])([^">]+)[">]/.exec(text);
    if (!include) return;
    const [, quote, name] = include;
    const theirs = outside.find((o) => o.pattern.test(name));
    if (theirs) {
      if (!theirs.folders.includes(folder)) {
        fault(file, i + 1, `<${name}> is for ${theirs.folders.join(', ')} only`);
      }
      return;
    }
    if (quote === '<') return;
    if (!name.includes('/') && existsSync(join(dirname(file), name))) return; // beside the file
    const target = name.split('/')[0];
    if (!allowed.has(target)) {
      fault(file, i + 1, `"${name}" is no path from src/ (write "folder/file.h"), nor an outside header of tools/layers.txt`);
    } else if (!existsSync(join('src', name))) {
      fault(file, i + 1, `src/${name} does not exist`);
    } else if (!allowed.get(folder)?.has(target)) {
      fault(file, i + 1, `${folder} may not include ${target} (tools/layers.txt)`);
    } else if (/_int\.h(pp)?$/.test(name) && target !== folder) {
      fault(file, i + 1, `${name} is internal to ${target}`);
    }
  });
}
process.exit(faults ? 1 : 0);
