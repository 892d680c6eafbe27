// Inputs of 128 tokens in requests of 1, 8 and 32, and the most memory that took; then what four
// streams of a chat model in the same hub lose while somebody embeds.
import { askJson, sleep } from "../support/client.mjs";
import { healthy } from "../support/process.mjs";
import { median, sum } from "../support/stats.mjs";

export const title = "embeddings, inputs of 128 tokens";

const LENGTH = 128;

async function embed(b, server, n, batch, model) {
  const t0 = performance.now();
  for (let i = 0; i < n; i += batch) {
    const input = Array.from({ length: Math.min(batch, n - i) }, () => b.tokens(LENGTH));
    const answer = await askJson(server.port, "POST", "/v1/embeddings", { input, ...(model ? { model } : {}) });
    if (answer.data.length !== input.length) throw new Error("not all inputs have a vector");
  }
  return n / ((performance.now() - t0) / 1000);
}

async function speedAndMemory(b) {
  const n = b.size(64, 16);
  const options = {
    slots: 4, ctx: 2048,
    hearth: { hearthArgs: ["--no-preload", "--embed-model", b.embedModel], ready: { check: healthy } },
    peer: { model: b.embedModel, args: ["--embeddings", "--pooling", "mean", "-ub", "2048"] },
  };
  const servers = {};
  const results = {};
  try {
    for (const kind of ["hearth", "peer"]) servers[kind] = await b.start(kind, { ...options, ...options[kind] });
    for (const kind of ["hearth", "peer"]) await embed(b, servers[kind], 2, 1);
    for (const batch of [1, 8, 32]) {
      const got = await b.alternate(servers, b.rounds(3), (s) => embed(b, s, Math.max(n / 2, batch), batch));
      results[batch] = got;
      b.row({ what: `batches of ${batch}`, unit: "inputs/s", better: "more", peer: median(got.peer), hearth: median(got.hearth), goal: { ratio: 1 } });
    }
    const peak = (kind) => servers[kind].memory().peak;
    b.row({ what: "most memory", unit: "MiB", better: "less", peer: peak("peer"), hearth: peak("hearth"), goal: { ratio: 2 } });
    results.peak = { peer: peak("peer"), hearth: peak("hearth") };
  } finally {
    await Promise.all(Object.values(servers).map((s) => s.stop()));
  }
  b.note("speed", results);
}

const rate = (streams, from, to) => sum(streams.map((s) => s.got.times.filter((t) => t >= from && t <= to).length)) / ((to - from) / 1000);

async function besideStreams(b) {
  const server = await b.start("hearth", { slots: 4, ctx: 4096, hearthArgs: ["--embed-model", b.embedModel] });
  try {
    await embed(b, server, 1, 1, b.embedModel); // both models are in memory
    await server.complete(16, 8).done;
    const streams = Array.from({ length: 4 }, () => server.complete(32, 3900));
    while (streams.some((s) => s.got.times.length < 5)) await sleep(20);
    const seconds = b.size(10, 1), rates = { alone: [], beside: [] };
    let embedded = 0, over = false, work = Promise.resolve();
    const embedAll = async () => {
      for (; !over; embedded++) await embed(b, server, 1, 1, b.embedModel);
    };
    for (let i = 0; i < b.rounds(3); i++) {
      for (const kind of ["alone", "beside"]) {
        over = kind === "alone";
        await work; // what was asked before is answered
        if (!over) work = embedAll();
        const from = performance.now();
        await sleep(seconds * 1000);
        rates[kind].push(rate(streams, from, performance.now()));
      }
    }
    over = true;
    await Promise.all(streams.map((s) => s.leave()));
    await work;
    b.row({ what: "rate of four streams while embedding", unit: "of alone", better: "more", hearth: median(rates.beside) / median(rates.alone), goal: { min: 0.9 } });
    b.row({ what: "inputs embedded beside them", unit: "inputs/s", better: "more", hearth: embedded / (seconds * b.rounds(3)) });
    b.note("beside streams", rates);
  } finally {
    await server.stop();
  }
}

export async function run(b) {
  await speedAndMemory(b);
  await besideStreams(b);
}
