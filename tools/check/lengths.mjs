#!/usr/bin/env node
// Lengths: a function over 120 lines or a file over 1,500 fails; over 60 and 800 they are listed, as
// a hint that something wants a name. The sources are formatted (tools/check/format), so a function's
// body is what stands between a `{` and a `}` alone in the first column.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FUNCTION_MAX = 120, FUNCTION_WARN = 60, FILE_MAX = 1500, FILE_WARN = 800;

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '../..'));
const files = execFileSync('tools/check/sources', { encoding: 'utf8' }).trim().split('\n');
const hints = [];
let faults = 0;

function judge(where, lines, warn, max) {
  if (lines > max) {
    console.log(`${where}: ${lines} lines; the limit is ${max}`);
    faults++;
  } else if (lines > warn) {
    hints.push(`${where} (${lines})`);
  }
}

for (const file of files) {
  const lines = readFileSync(file, 'utf8').replace(/\n$/, '').split('\n');
  judge(file, lines.length, FILE_WARN, FILE_MAX);
  let start = -1;
  let name = '';
  lines.forEach((line, i) => {
    if (line === '{' && start < 0) {
      let head = i - 1;
      while (head > 0 && /^[\s)]/.test(lines[head])) head--; // a signature of several lines
      if (/^(namespace|class|struct|enum|union|extern|using)\b[^(]*$/.test(lines[head])) return;
      start = i;
      name = /([A-Za-z_]\w*)\s*\(/.exec(lines[head])?.[1] ?? '?';
    } else if (line === '}' && start >= 0) {
      judge(`${file}:${start + 1} ${name}`, i - start + 1, FUNCTION_WARN, FUNCTION_MAX);
      start = -1;
    }
  });
}
if (hints.length) console.log(`long, though within the limit: ${hints.join(', ')}`);
process.exit(faults ? 1 : 0);
