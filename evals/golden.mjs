// Runs the golden set against a hub with the built-in model, greedily, and prints the score.
//
//   node evals/golden.mjs [--hearth build/hearth] [--model NAME] [--fail] [--min N] [golden.jsonl]
//
// keywords: every item must hold; a string must occur (case-insensitive); a list means any of them;
// a string that starts with '!' must not occur. Special: '@json' the reply parses as JSON,
// '@tool:NAME' exactly one call of NAME, '@notool' no call.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { parseArgs } from "node:util";
import { startHub } from "../tests/e2e/support/hearth.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const { values: arg, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    hearth: { type: "string", default: path.join(here, "../build/hearth") },
    model: { type: "string" },
    fail: { type: "boolean", default: false },
    min: { type: "string", default: "0" },
  },
});
process.env.HEARTH_BIN ??= path.resolve(arg.hearth);

const isJson = (text) => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

function holds(keyword, text, calls, everything) {
  if (Array.isArray(keyword)) return keyword.some((k) => holds(k, text, calls, everything));
  if (keyword === "@json") return isJson(text);
  if (keyword === "@notool") return calls.length === 0 && !text.includes("<tool_call>");
  if (keyword.startsWith("@tool:")) return calls.length === 1 && calls[0].function.name === keyword.slice(6);
  if (keyword.startsWith("!")) return !everything.includes(keyword.slice(1).toLowerCase());
  return everything.includes(keyword.toLowerCase());
}

const questions = readFileSync(positionals[0] ?? path.join(here, "golden.jsonl"), "utf8")
  .split("\n").filter(Boolean).map((line) => JSON.parse(line));
const hub = await startHub(arg.model ? { args: ["--model", arg.model] } : {});
const score = new Map();
try {
  for (const q of questions) {
    const answer = await fetch(`${hub.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ messages: q.messages, tools: q.tools, temperature: 0, max_tokens: 200 }),
    });
    const body = await answer.json();
    const message = body.choices?.[0]?.message ?? { content: `error: ${body.error?.message}` };
    const text = message.content ?? "", calls = message.tool_calls ?? [];
    const everything = (text + calls.map((c) => ` CALL ${c.function.name} ${c.function.arguments}`).join("")).toLowerCase();
    const hit = q.keywords.every((k) => holds(k, text, calls, everything));
    const row = score.get(q.category) ?? [0, 0];
    score.set(q.category, [row[0] + hit, row[1] + 1]);
    if (arg.fail && !hit) console.log(`miss ${q.id}: ${q.messages.at(-1).content.slice(-100)} => ${everything.slice(0, 160)}`);
  }
} finally {
  await hub.stop();
}
let hits = 0;
for (const [category, [hit, of]] of score) {
  hits += hit;
  console.log(`${category.padEnd(12)} ${String(hit).padStart(3)}/${of}`);
}
console.log(`golden set: ${hits}/${questions.length} (${((100 * hits) / questions.length).toFixed(1)} %)`);
if (hits < Number(arg.min)) {
  console.error(`the score is below ${arg.min}`);
  process.exit(1);
}
