// What health checks and model lists cost: wrk with 64 connections.
import { spawnSync } from "node:child_process";

import { median } from "../support/stats.mjs";

export const title = "cheap endpoints, wrk with 64 connections";

function wrk(port, target, seconds) {
  const out = spawnSync("wrk", ["-t1", "-c64", `-d${seconds}s`, `http://127.0.0.1:${port}${target}`], { encoding: "utf8" });
  if (out.error || out.status !== 0) throw new Error(`wrk: ${out.error?.message ?? out.stderr}`);
  if (/Non-2xx/.test(out.stdout)) throw new Error(`wrk: ${out.stdout}`);
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(out.stdout)[1]);
}

export async function run(b) {
  await b.both({}, async (servers) => {
    for (const target of ["/health", "/v1/models"]) {
      const got = await b.alternate(servers, b.rounds(3), async (s) => wrk(s.port, target, b.size(5, 1)));
      b.row({ what: target, unit: "per s", better: "more", peer: median(got.peer), hearth: median(got.hearth), goal: { ratio: 1 } });
      b.note(target, got);
    }
  });
}
