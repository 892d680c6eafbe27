// Starts Hearth and llama-server on the same GGUF with the same threads, and compares what a client
// sees: prefill and decode of one stream, and eight streams together. The machine may be noisy and
// change its speed from minute to minute, so the two answer in turn, request by request, while the
// other one is idle; the ratio of each pair is taken, and the median ratio is the result (Hearth /
// llama-server, more is better), with the quartiles to show how noisy it was.
//
//   node tests/bench/servers.mjs --hearth build/hearth --peer <llama-server> --model x.gguf
//        [--threads 2] [--rounds 15] [--prompt 512] [--predict 128] [--streams 8] [--json]
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

const { values: arg } = parseArgs({
  options: {
    hearth: { type: "string", default: "build/hearth" },
    peer: { type: "string" },
    model: { type: "string" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "15" },
    prompt: { type: "string", default: "512" },
    predict: { type: "string", default: "128" },
    streams: { type: "string", default: "8" },
    json: { type: "boolean", default: false },
  },
});
const number = (name) => Number.parseInt(arg[name], 10);
const nThreads = number("threads"), nRounds = number("rounds");
const nPrompt = number("prompt"), nPredict = number("predict"), nStreams = number("streams");

const freePort = () =>
  new Promise((resolve) => {
    const s = http.createServer().listen(0, "127.0.0.1", () => {
      const { port } = s.address();
      s.close(() => resolve(port));
    });
  });

// llama-server's threads look for the next token in a busy loop for some hundred milliseconds after the
// last one; until then they would take the processor from whoever is measured next.
const SETTLE_MS = 600;

const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

async function waitHealthy(port, child) {
  for (let i = 0; i < 1200; i++) {
    if (child.exitCode !== null) throw new Error(`server ended with ${child.exitCode}`);
    const ok = await new Promise((resolve) => {
      http.get({ host: "127.0.0.1", port, path: "/health" }, (r) => {
        r.resume();
        resolve(r.statusCode === 200);
      }).on("error", () => resolve(false));
    });
    if (ok) return;
    await sleep(50);
  }
  throw new Error("the server did not become healthy in 60 s");
}

const contextTokens = nStreams * (nPrompt + nPredict + 64);

const servers = {
  hearth: (port, home) => ({
    command: path.resolve(arg.hearth),
    args: ["serve", "--host", "127.0.0.1", "--port", String(port), "--model", path.resolve(arg.model)],
    env: {
      ...process.env, HEARTH_DATA: home, HEARTH_ENGINE_THREADS: arg.threads,
      LLAMA_CPP_N_CTX: String(contextTokens / nStreams), HEARTH_PARALLEL: String(nStreams), LOG_LEVEL: "WARNING",
    },
  }),
  peer: (port) => ({
    command: path.resolve(arg.peer),
    args: ["-m", path.resolve(arg.model), "--host", "127.0.0.1", "--port", String(port), "-t", arg.threads,
      "-tb", arg.threads, "-c", String(contextTokens), "-np", String(nStreams), "--jinja"],
    env: process.env,
  }),
};

async function start(kind) {
  const port = await freePort();
  const home = mkdtempSync(path.join(tmpdir(), "hearth-bench-"));
  const { command, args, env } = servers[kind](port, home);
  const child = spawn(command, args, { env, stdio: ["ignore", "ignore", "ignore"], cwd: home });
  const ended = new Promise((r) => child.once("exit", r));
  const stop = async () => {
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), 10000);
    await ended;
    clearTimeout(late);
    rmSync(home, { recursive: true, force: true });
  };
  await waitHealthy(port, child);
  return { port, stop, pid: child.pid };
}

// A prompt that no cache has seen: words differ from the first one on.
let salt = 0;
function words(n) {
  let text = `${process.pid} ${++salt} `;
  for (let i = 0; i < n; i++) text += ["the", "fire", "in", "a", "hearth", "is", "warm", "and"][(i * 7 + salt) % 8] + " ";
  return text;
}

// One streamed completion; resolves with arrival times (ms) of first and last token and the counts.
function stream(port, prompt, maxTokens) {
  const body = JSON.stringify({
    prompt, max_tokens: maxTokens, stream: true, temperature: 0, ignore_eos: true, cache_prompt: false,
    stream_options: { include_usage: true },
  });
  return new Promise((resolve, reject) => {
    const t0 = performance.now();
    const req = http.request({
      host: "127.0.0.1", port, path: "/v1/completions", method: "POST", agent: false,
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
    }, (res) => {
      let pending = "", first = 0, last = 0, usage = null;
      res.setEncoding("utf8");
      res.on("data", (d) => {
        pending += d;
        let end;
        while ((end = pending.indexOf("\n\n")) >= 0) {
          const event = pending.slice(0, end);
          pending = pending.slice(end + 2);
          if (!event.startsWith("data: ") || event === "data: [DONE]") continue;
          const chunk = JSON.parse(event.slice(6));
          if (chunk.error) return reject(new Error(JSON.stringify(chunk.error)));
          if (chunk.usage) usage = chunk.usage;
          if (!chunk.choices?.length) continue;
          last = performance.now();
          if (!first) first = last;
        }
      });
      res.on("end", () => {
        if (!usage) return reject(new Error(`no usage (status ${res.statusCode}): ${pending.slice(0, 300)}`));
        resolve({ t0, first, last, prompt: usage.prompt_tokens, predicted: usage.completion_tokens });
      });
    });
    req.on("error", reject);
    req.end(body);
  });
}

// What is measured, each as tokens per second of one run against the server at `port`.
const measures = {
  prefill: async (port) => {
    const one = await stream(port, words(nPrompt), 2);
    return one.prompt / ((one.first - one.t0) / 1000);
  },
  decode: async (port) => {
    const one = await stream(port, words(16), nPredict);
    return (one.predicted - 1) / ((one.last - one.first) / 1000);
  },
  together: async (port) => {
    const t0 = performance.now();
    const many = await Promise.all(Array.from({ length: nStreams }, () => stream(port, words(16), nPredict)));
    return many.reduce((n, m) => n + m.predicted, 0) / ((Math.max(...many.map((m) => m.last)) - t0) / 1000);
  },
};

const quantile = (list, q) => [...list].sort((a, b) => a - b)[Math.round((list.length - 1) * q)];
const median = (list) => quantile(list, 0.5);

async function run() {
  const started = { hearth: await start("hearth"), peer: await start("peer") };
  const runs = Object.fromEntries(Object.keys(measures).map((name) => [name, []]));
  try {
    for (const kind of Object.keys(started)) await stream(started[kind].port, words(16), 16); // page in the weights
    for (let i = 0; i < nRounds; i++) {
      for (const [name, measure] of Object.entries(measures)) {
        const pair = {};
        for (const kind of i % 2 ? ["peer", "hearth"] : ["hearth", "peer"]) {
          await sleep(SETTLE_MS);
          pair[kind] = await measure(started[kind].port);
        }
        runs[name].push(pair);
      }
    }
  } finally {
    await Promise.all(Object.values(started).map((s) => s.stop()));
  }
  return runs;
}

const names = { prefill: "prefill, one stream", decode: "decode, one stream", together: `${nStreams} streams together` };
const report = Object.entries(await run()).map(([key, pairs]) => {
  const ratios = pairs.map((p) => p.hearth / p.peer);
  return {
    name: names[key], hearth: median(pairs.map((p) => p.hearth)), peer: median(pairs.map((p) => p.peer)),
    ratio: median(ratios), low: quantile(ratios, 0.25), high: quantile(ratios, 0.75),
  };
});
if (arg.json) console.log(JSON.stringify(report));
else {
  console.log(`${path.basename(arg.model)}, ${nThreads} threads, ${nRounds} pairs, medians (tokens/s)`);
  console.log("what                     hearth   llama-server   ratio   quartiles of the ratio");
  for (const r of report)
    console.log(`${r.name.padEnd(22)} ${r.hearth.toFixed(1).padStart(8)} ${r.peer.toFixed(1).padStart(14)} ${r.ratio.toFixed(3).padStart(7)}   ${r.low.toFixed(3)} to ${r.high.toFixed(3)}`);
}
