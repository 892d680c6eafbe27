// Start-up and idle memory: how soon `hearth serve` answers /health with no model, how long the
// built-in model takes to be ready, and the resident memory of a hub with no model.
//
//   node tests/bench/start.mjs [--hearth build/hearth] [--rounds 15]
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

const { values: arg } = parseArgs({
  options: { hearth: { type: "string", default: "build/hearth" }, rounds: { type: "string", default: "15" } },
});

const freePort = () =>
  new Promise((resolve) => {
    const s = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = s.address();
      s.close(() => resolve(port));
    });
  });

// One GET over a bare socket: a client library would cost more than what is measured.
function get(port, target) {
  return new Promise((resolve) => {
    const s = net.connect(port, "127.0.0.1");
    let text = "";
    s.on("connect", () => s.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`));
    s.on("data", (d) => (text += d));
    s.on("error", () => resolve(null));
    s.on("close", () => resolve(text.startsWith("HTTP/1.1 200") ? text.slice(text.indexOf("\r\n\r\n") + 4) : null));
  });
}

async function once(preload) {
  const port = await freePort();
  const home = mkdtempSync(path.join(tmpdir(), "hearth-start-"));
  const t0 = performance.now();
  const child = spawn(path.resolve(arg.hearth), ["serve", "--port", String(port), ...(preload ? [] : ["--no-preload"])],
    { env: { ...process.env, HEARTH_DATA: home, LOG_LEVEL: "WARNING" }, stdio: "ignore", cwd: home });
  const ended = new Promise((r) => child.once("exit", r));
  const result = {};
  try {
    while (!(await get(port, "/health"))) {
      if (performance.now() - t0 > 10000) throw new Error("no answer on /health within 10 s");
      await new Promise((r) => setTimeout(r, 1));
    }
    result.health = performance.now() - t0;
    if (preload) {
      const loaded = async () => JSON.parse(await get(port, "/health"))?.model_state === "ready";
      while (!(await loaded())) await new Promise((r) => setTimeout(r, 2));
      result.ready = performance.now() - t0;
    } else {
      await new Promise((r) => setTimeout(r, 200));
      result.rss = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))[1]) / 1024;
    }
  } finally {
    child.kill("SIGTERM");
    await ended;
    rmSync(home, { recursive: true, force: true });
  }
  return result;
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor((list.length - 1) / 2)];
const rounds = Number(arg.rounds), empty = [], loaded = [];
await once(false);
for (let i = 0; i < rounds; i++) {
  empty.push(await once(false));
  loaded.push(await once(true));
}
const line = (name, values, unit, limit) =>
  console.log(`${name.padEnd(44)} ${median(values).toFixed(1).padStart(7)} ${unit}  (${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)}; wanted: ${limit})`);
console.log(`start-up, median of ${rounds}`);
line("process start to /health, no model", empty.map((r) => r.health), "ms", "50 or less");
line("process start to the built-in model ready", loaded.map((r) => r.ready), "ms", "300 or less");
line("resident memory, no model", empty.map((r) => r.rss), "MiB", "15 or less");
