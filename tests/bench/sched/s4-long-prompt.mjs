// Four streams are being read when a prompt of 3,000 tokens arrives: how long the readers wait for
// their next token, and how long the newcomer waits for its first one. The peer's batch size is its
// only knob; Hearth has a time budget for a step.
import { sleep } from "../support/client.mjs";

export const title = "a prompt of 3,000 tokens arrives while four streams decode";

const STREAMS = 4;

// Between two tokens of one stream, from the newcomer's arrival to its first token.
function longestGap({ times, plain }, from, to) {
  let gap = 0;
  for (let i = 1; i < times.length; i++) {
    if (times[i] > from && times[i - 1] < to && plain[i]) gap = Math.max(gap, times[i] - times[i - 1]);
  }
  return gap;
}

// What disturbs a run only makes it longer, so the better one of two counts, for both servers.
async function measure(b, kind, options) {
  const runs = [];
  for (let i = 0; i < b.rounds(2); i++) runs.push(await once(b, kind, options));
  return Object.fromEntries(Object.keys(runs[0]).map((key) => [key, Math.min(...runs.map((r) => r[key]))]));
}

async function once(b, kind, options) {
  const server = await b.start(kind, { slots: 8, ctx: 4096, ...options });
  try {
    await server.complete(16, 8).done;
    const readers = Array.from({ length: STREAMS }, () => server.complete(64, 3500));
    while (readers.some((r) => r.got.times.length < 5)) await sleep(20);
    const quietFrom = performance.now();
    await sleep(b.size(3000, 500));
    const arrival = performance.now();
    const long = await server.complete(b.size(3000, 600), 4).done;
    const result = {
      gap: Math.max(...readers.map((r) => longestGap(r.got, arrival, long.first))) / 1000,
      quiet: Math.max(...readers.map((r) => longestGap(r.got, quietFrom, arrival))) / 1000,
      ttft: long.ttft / 1000,
    };
    await Promise.all(readers.map((r) => r.leave()));
    return result;
  } finally {
    await server.stop();
  }
}

export async function run(b) {
  const untuned = await measure(b, "peer", {});
  const tuned = await measure(b, "peer", { args: ["-b", "64", "-ub", "64"] });
  const at = {};
  for (const ms of [600, 230]) at[ms] = await measure(b, "hearth", { env: { HEARTH_STEP_TARGET: String(ms) } });
  const byDefault = await measure(b, "hearth", {});
  const row = (what, hearth, key, peer, goal) => b.row({ what, unit: "s", better: "less", peer: peer[key], hearth: hearth[key], goal });
  row("by default: longest gap", byDefault, "gap", untuned);
  row("by default: long prompt's TTFT", byDefault, "ttft", untuned);
  row("600 ms: longest gap (peer: -b 64)", at[600], "gap", tuned, { max: 0.65, was: 0.86 });
  row("600 ms: long prompt's TTFT", at[600], "ttft", tuned, { max: 18, was: 27.4 });
  row("230 ms: longest gap", at[230], "gap", tuned, { max: 0.3, was: 0.86 });
  row("230 ms: long prompt's TTFT", at[230], "ttft", tuned, { max: 30, was: 27.4 });
  b.note("measured", { untuned, tuned, at, byDefault });
}
