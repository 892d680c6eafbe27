// The scheduler's scenarios, Hearth beside llama-server on the same file with the same threads.
//
//   node tests/bench/sched/run.mjs --build build --peer <llama-server> [S1 S4 ...]
//        (or, to see the noise or to compare two versions, --peer <another hearth>)
//        [--model 0.5b-q4_k_m | file.gguf] [--threads 2] [--quick] [--json results.json]
//
// Prints a line for each result as it comes and a table at the end; exits with 1 if a scenario
// failed to run (a missed goal is a result, not a failure; --strict makes it one).
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

import { Bench, goalText, machine } from "./bench.mjs";

const { values: arg, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    build: { type: "string", default: "build" }, peer: { type: "string" }, model: { type: "string" }, threads: { type: "string", default: "2" },
    quick: { type: "boolean", default: false }, json: { type: "string" }, strict: { type: "boolean", default: false },
  },
});

const number = (file) => Number(/^s(\d+)-/.exec(file)[1]);
const files = readdirSync(import.meta.dirname).filter((f) => /^s\d+-.*\.mjs$/.test(f)).sort((a, b) => number(a) - number(b));
const wanted = positionals.map((p) => p.toUpperCase());
for (const w of wanted) {
  if (!files.some((f) => `S${number(f)}` === w)) throw new Error(`no such scenario: ${w} (S1 to S${number(files.at(-1))})`);
}

const show = (v) => (v === undefined || Number.isNaN(v) ? "" : Math.abs(v) >= 1000 ? v.toFixed(0) : Math.abs(v) >= 10 ? v.toFixed(1) : v.toFixed(3));
const verdict = (r) => (r.reached === undefined ? "" : r.reached ? "reached" : "MISSED");
const cells = (r) => [r.scenario, r.what, r.unit, show(r.peer), show(r.hearth), r.ratio === undefined ? "" : r.ratio.toFixed(2), goalText(r), verdict(r)];

function table(rows) {
  const lines = [["", "what", "unit", "llama-server", "hearth", "ratio", "goal", ""], ...rows.map(cells)];
  const widths = lines[0].map((_, i) => Math.max(...lines.map((l) => l[i].length)));
  return lines.map((l) => l.map((c, i) => (i >= 3 && i <= 5 ? c.padStart(widths[i]) : c.padEnd(widths[i]))).join("  ").trimEnd()).join("\n");
}

const model = arg.model ?? (arg.quick ? "tiny-q8_0" : "0.5b-q4_k_m");
const all = [], raw = {}, failed = [];
for (const file of files) {
  const name = `S${number(file)}`;
  if (wanted.length && !wanted.includes(name)) continue;
  const scenario = await import(`./${file}`);
  const b = new Bench({ build: arg.build, peer: path.resolve(arg.peer), model, threads: Number(arg.threads), quick: arg.quick });
  const t0 = performance.now();
  process.stderr.write(`${name} ${scenario.title}\n`);
  try {
    await scenario.run(b);
  } catch (e) {
    failed.push(name);
    process.stderr.write(`  FAILED: ${e.stack}\n`);
  }
  for (const r of b.rows) {
    all.push({ scenario: name, ...r });
    process.stderr.write(`  ${cells(all.at(-1)).slice(1).filter(Boolean).join("  ")}\n`);
  }
  raw[name] = { seconds: (performance.now() - t0) / 1000, rows: b.rows, measured: b.raw };
}

const { cpu, cores } = machine();
console.log(`${model}, ${arg.threads} threads, ${cores} x ${cpu}; ratio > 1: Hearth is better${arg.quick ? "; a quick run: the numbers mean nothing" : ""}`);
console.log(table(all));
if (failed.length) console.log(`failed to run: ${failed.join(", ")}`);
if (arg.json) {
  mkdirSync(path.dirname(path.resolve(arg.json)), { recursive: true });
  writeFileSync(arg.json, JSON.stringify({ model, threads: Number(arg.threads), machine: machine(), date: new Date().toISOString(), scenarios: raw }, null, 1));
}
process.exitCode = failed.length || (arg.strict && all.some((r) => r.reached === false)) ? 1 : 0;
