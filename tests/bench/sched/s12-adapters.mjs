// Four streams with one adapter, and four streams that use two adapters in turn.
import { copyFileSync, mkdirSync } from "node:fs";
import path from "node:path";

import { dropFolder, newFolder } from "../support/process.mjs";
import { median, sum } from "../support/stats.mjs";

export const title = "two adapters of rank 16 on four streams";

const pick = { hearth: (i) => ({ adapter: ["a", "b"][i] }), "llama-server": (i) => ({ lora: [{ id: i, scale: 1 }] }) };

async function four(b, server, adapters) {
  const t0 = performance.now();
  const all = await Promise.all(adapters.map((i) => server.complete(64, b.size(64, 16), pick[server.speaks](i)).done));
  return {
    speed: sum(all.map((m) => m.predicted)) / ((Math.max(...all.map((m) => m.last)) - t0) / 1000), slowest: Math.max(...all.map((m) => m.ttft)) / 1000,
  };
}

// A server that ignores the field would be very fast.
async function mustDiffer(b, server) {
  const prompt = b.tokens(64);
  const [first, second] = await Promise.all([0, 1].map((i) => server.complete(prompt, 16, pick[server.speaks](i)).done));
  if (first.text === second.text) throw new Error(`${server.kind}: both adapters give the same answer`);
}

export async function run(b) {
  const files = [b.adapter(2), b.adapter(3)], folder = newFolder();
  const adapters = path.join(folder, "adapters");
  mkdirSync(adapters, { recursive: true });
  files.forEach((f, i) => copyFileSync(f, path.join(adapters, `${"ab"[i]}.gguf`)));
  try {
    const options = {
      ctx: 512, hearth: { env: { HEARTH_ADAPTERS: adapters } },
      peer: { args: ["--lora", files[0], "--lora", files[1], "--lora-init-without-apply"] },
    };
    await b.both(options, async (servers) => {
      for (const s of Object.values(servers)) await mustDiffer(b, s);
      const got = await b.alternate(servers, b.rounds(5), async (s) => ({ one: await four(b, s, [0, 0, 0, 0]), mixed: await four(b, s, [0, 1, 0, 1]) }));
      const part = (kind) => median(got[kind].map((m) => m.mixed.speed / m.one.speed));
      b.row({ what: "mixed", unit: "of one adapter", better: "more", peer: part("peer"), hearth: part("hearth"), goal: { min: 0.8 } });
      const of = (kind, which, what) => median(got[kind].map((m) => m[which][what]));
      b.row({ what: "mixed, slowest TTFT", unit: "s", better: "less", peer: of("peer", "mixed", "slowest"), hearth: of("hearth", "mixed", "slowest"), goal: { max: 0.7, was: 3.3 } });
      b.row({ what: "one adapter", unit: "tok/s", better: "more", peer: of("peer", "one", "speed"), hearth: of("hearth", "one", "speed"), goal: { ratio: 1 } });
      b.row({ what: "mixed", unit: "tok/s", better: "more", peer: of("peer", "mixed", "speed"), hearth: of("hearth", "mixed", "speed") });
      b.note("measured", got);
    });
  } finally {
    dropFolder(folder);
  }
}
