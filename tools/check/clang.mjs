#!/usr/bin/env node
// clang accepts every file of ours without a warning, with the flags of the build: it sees other
// things than gcc, and some people build with it.
// usage: clang.mjs <build folder>
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '../..'));
const build = process.argv[2] ?? 'build-test';
const JOBS = 2;

const commands = new Map(); // file -> shell command
for (const unit of JSON.parse(readFileSync(join(build, 'compile_commands.json'), 'utf8'))) {
  if (!unit.file.startsWith(`${process.cwd()}/`)) continue; // generated
  const flags = unit.command
    .replace(/^\S+/, '')
    .replace(/ -M(D|T \S+|F \S+)/g, '') // write no dependencies
    .replace(/ -Wno-format-truncation/g, ''); // gcc's
  const clang = unit.file.endsWith('.cpp') ? 'clang++' : 'clang';
  commands.set(unit.file, `${clang} ${flags} -O0 -U_FORTIFY_SOURCE -Werror -fsyntax-only`);
}

const waiting = [...commands.values()];
if (waiting.length === 0) {
  console.log(`${build}/compile_commands.json names no file of ours`);
  process.exit(1);
}
let failed = false;
function next() {
  const command = waiting.shift();
  if (!command) return;
  spawn('sh', ['-c', `cd '${build}' && exec ${command}`], { stdio: 'inherit' }).on('close', (code) => {
    if (code !== 0) failed = true;
    next();
  });
}
for (let i = 0; i < JOBS; i++) next();
process.on('exit', () => { if (failed) process.exitCode = 1; });
