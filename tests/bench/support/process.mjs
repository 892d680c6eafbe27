// Starts a server on a free port in a folder of its own, and ends it; its memory out of /proc.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, openSync, closeSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { ask, freePort, sleep } from "./client.mjs";

export const newFolder = () => mkdtempSync(path.join(tmpdir(), "hearth-bench-"));
export const dropFolder = (folder) => rmSync(folder, { recursive: true, force: true });

// Servers that run: a bench that is interrupted takes them along, or they would weigh on the next one.
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
for (const [signal, number] of [["SIGINT", 2], ["SIGTERM", 15]]) process.once(signal, () => process.exit(128 + number));

function children(pid) {
  const all = [pid];
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    for (const child of readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ").filter(Boolean)) {
      all.push(...children(Number(child)));
    }
  }
  return all;
}

// MiB of a process and its children together: { rss, peak }. Pages that they share count twice.
export function memory(pid) {
  const total = { rss: 0, peak: 0 };
  for (const p of children(pid)) {
    try {
      const status = readFileSync(`/proc/${p}/status`, "utf8");
      total.rss += Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
      total.peak += Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
    } catch { /* it has just ended */ }
  }
  return total;
}

// Anonymous memory and what was really read of mapped files both count; a peak is a sum of peaks.
export function workers(pid) {
  return children(pid).filter((p) => p !== pid);
}

// commandFor(port, home) -> { command, args, env }. home: kept if given, else made and removed.
export async function startServer(commandFor, { home, ready, timeoutMs = 120000 }) {
  const port = await freePort();
  const folder = home ?? newFolder();
  const { command, args, env } = commandFor(port, folder);
  const log = path.join(folder, "server.log");
  const fd = openSync(log, "a");
  const spawned = performance.now();
  const child = spawn(command, args, { env, stdio: ["ignore", fd, fd], cwd: folder });
  closeSync(fd);
  running.add(child);
  const ended = new Promise((r) => child.once("exit", r));
  ended.then(() => running.delete(child));
  const server = {
    port, pid: child.pid, log, spawned,
    memory: () => memory(child.pid),
    async stop() {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 15000);
      await ended;
      clearTimeout(late);
      if (!home) dropFolder(folder);
    },
  };
  for (const until = spawned + timeoutMs; ; await sleep(ready.pollMs ?? 20)) {
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}:\n${tail(log)}`);
    if (await ready.check(port)) break;
    if (performance.now() > until) {
      await server.stop();
      throw new Error(`${command} was not ready within ${timeoutMs} ms`);
    }
  }
  return server;
}

export function tail(log, lines = 15) {
  try {
    return readFileSync(log, "utf8").split("\n").slice(-lines).join("\n");
  } catch {
    return "";
  }
}

export const healthy = async (port) => (await ask(port, "GET", "/health"))?.status === 200;
export async function modelReady(port) {
  const answer = await ask(port, "GET", "/health");
  return answer?.status === 200 && JSON.parse(answer.body).model_state === "ready";
}
