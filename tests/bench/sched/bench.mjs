// What every scenario is given: the two servers, prompts of exact length, pairs of measurements, and
// a table to put results into. The machine may be noisy and change its speed from minute to minute,
// so the two servers answer in turn while the other one is idle, and medians are compared.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import path from "node:path";

import { sleep, stream } from "../support/client.mjs";
import { healthy, modelReady, startServer } from "../support/process.mjs";
import { tokens } from "../support/prompts.mjs";

const root = path.resolve(import.meta.dirname, "../../..");

// llama-server's threads look for the next token in a busy loop after the last one; for some hundred
// milliseconds they would take the processor from whoever is measured next.
const SETTLE_MS = 600;

export class Bench {
  constructor({ build, peer, model, threads, quick, keep }) {
    Object.assign(this, { build: path.resolve(build), peer, threads, quick, keep, rows: [], raw: {} });
    this.hearth = path.join(this.build, "hearth");
    this.modelName = model;
    this.vocab = /tiny/.test(path.basename(model)) ? 4000 : 100000; // ids of prompts are below
  }

  // ---- files

  // Random weights, made at first use: "0.5b-q4_k_m", "0.5b-q4_k_m-embed", "0.5b-lora2" (seed 2).
  file(name) {
    if (name.endsWith(".gguf")) return path.resolve(name);
    const out = path.join(this.build, "bench", `random-${name}.gguf`);
    if (existsSync(out)) return out;
    const [shape, type, extra] = name.split("-");
    const vocab = shape === "tiny" ? path.join(root, "models/hearth-tiny.gguf") : this.vocabularyFile();
    const args = type.startsWith("lora") ? ["--lora", "16", "--seed", type.slice(4)] : ["--type", type, "--vocab-from", vocab];
    if (extra === "embed") args.push("--pooling", "mean");
    mkdirSync(path.dirname(out), { recursive: true });
    this.log(`writing ${path.basename(out)}`);
    const made = spawnSync(path.join(this.build, "gguf-random"), ["--shape", shape, ...args, `${out}.part`], { stdio: ["ignore", "inherit", "inherit"] });
    if (made.status !== 0) throw new Error("gguf-random failed");
    renameSync(`${out}.part`, out);
    return out;
  }
  // Qwen's own vocabulary lies in llama.cpp's source archive, which the peer is built from.
  vocabularyFile() {
    const file = path.join(this.build, "bench/llama.cpp/models/ggml-vocab-qwen2.gguf");
    if (!existsSync(file)) throw new Error(`${file} is missing; tools/bench/build-llama-server fetches it`);
    return file;
  }
  get model() {
    return this.file(this.modelName);
  }
  // The same shape in another role: "embed", or the adapter made with that seed.
  get embedModel() {
    return this.file(`${this.modelName}-embed`);
  }
  adapter(seed) {
    return this.file(`${this.modelName.split("-")[0]}-lora${seed}`);
  }

  // ---- servers

  // options: slots, ctx (of one slot), model, env and hearthArgs (of a Hearth), args (of llama-server),
  // home, ready. The peer may be another Hearth (a binary of that name): this one shows the noise.
  async start(kind, { slots = 4, ctx = 2048, model, env = {}, args = [], hearthArgs = [], home, ready } = {}) {
    const file = model ?? this.model;
    const speaks = kind === "hearth" || path.basename(this.peer) === "hearth" ? "hearth" : "llama-server";
    const command = {
      hearth: (port, folder) => ({
        command: kind === "hearth" ? this.hearth : this.peer,
        args: ["serve", "--host", "127.0.0.1", "--port", String(port), "--model", file, ...hearthArgs],
        env: {
          ...process.env, HEARTH_DATA: folder, HEARTH_ENGINE_THREADS: String(this.threads), LLAMA_CPP_N_CTX: String(ctx),
          HEARTH_PARALLEL: String(slots), LOG_LEVEL: process.env.LOG_LEVEL ?? "WARNING", ...env,
        },
      }),
      "llama-server": (port) => ({
        command: this.peer,
        args: ["-m", file, "--host", "127.0.0.1", "--port", String(port), "-t", String(this.threads), "-tb", String(this.threads),
          "-c", String(ctx * slots), "-np", String(slots), "--jinja", ...args],
        env: process.env,
      }),
    }[speaks];
    const server = await startServer(command, { home, ready: ready ?? { check: speaks === "hearth" ? modelReady : healthy } });
    Object.assign(server, { kind, speaks });
    server.complete = (n, predict, more = {}) => this.complete(server, n, predict, more);
    return server;
  }
  // Both side by side, warmed, for as long as fn runs. Only one of them ever has work.
  async both(options, fn) {
    const servers = {};
    try {
      for (const kind of ["hearth", "peer"]) servers[kind] = await this.start(kind, { ...options, ...options[kind] });
      for (const kind of ["hearth", "peer"]) await servers[kind].complete(16, 8).done; // pages in the weights
      return await fn(servers);
    } finally {
      await Promise.all(Object.values(servers).map((s) => s.stop()));
    }
  }
  // fn(server, round) in turn; what goes first changes. -> { hearth: [...], peer: [...] }
  async alternate(servers, rounds, fn) {
    const results = Object.fromEntries(Object.keys(servers).map((k) => [k, []]));
    for (let i = 0; i < rounds; i++) {
      const kinds = Object.keys(servers);
      for (const kind of i % 2 ? kinds.reverse() : kinds) {
        await sleep(this.quick ? 10 : SETTLE_MS);
        results[kind].push(await fn(servers[kind], i));
      }
    }
    return results;
  }
  rounds(n) {
    return this.quick ? 1 : n;
  }
  // A number of tokens or seconds that a quick run makes smaller.
  size(full, quick) {
    return this.quick ? quick : full;
  }

  // ---- requests

  tokens(n) {
    return tokens(n, this.vocab);
  }
  // prompt: a number of fresh tokens, or the tokens
  complete(server, prompt, predict, more = {}) {
    return stream(server.port, "/v1/completions", {
      prompt: typeof prompt === "number" ? this.tokens(prompt) : prompt, max_tokens: predict, temperature: 0, ignore_eos: true, ...more,
    });
  }

  // ---- results

  // { scenario, what, unit, peer, hearth, better: "more" | "less", goal }
  // goal: { ratio } (Hearth must be that many times as good), { max } or { min } (of Hearth's value),
  // and with { max, was }, was = what the peer took where the goal was set: a slower machine may miss
  // `max` and still reach the ratio that it stands for. No goal: for information.
  row(r) {
    const ratio = r.peer === undefined ? undefined : r.better === "less" ? r.peer / r.hearth : r.hearth / r.peer;
    this.rows.push({ ...r, ratio, reached: reached(r, ratio) });
  }
  note(name, values) {
    this.raw[name] = values;
  }
  log(text) {
    process.stderr.write(`  ${text}\n`);
  }
}

function reached({ hearth, goal }, ratio) {
  if (!goal) return undefined;
  if (goal.ratio !== undefined) return ratio >= goal.ratio;
  if (goal.min !== undefined) return hearth >= goal.min;
  if (hearth <= goal.max) return true;
  return goal.was !== undefined && ratio >= goal.was / goal.max;
}

export function goalText({ goal, unit }) {
  if (!goal) return "";
  if (goal.ratio !== undefined) return `>= ${goal.ratio.toFixed(2)}x`;
  if (goal.min !== undefined) return `>= ${goal.min} ${unit}`;
  return `<= ${goal.max} ${unit}${goal.was === undefined ? "" : ` or ${(goal.was / goal.max).toFixed(1)}x`}`;
}

export const machine = () => {
  const cpu = /model name\s*: (.*)/.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "unknown";
  const cores = readFileSync("/proc/cpuinfo", "utf8").match(/^processor/gm)?.length ?? 0;
  return { cpu, cores, node: process.version };
};
