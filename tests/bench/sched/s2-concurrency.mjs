// 1, 2, 4, 8 and 16 requests that arrive together: tokens per second of all of them, their prefill
// included, and how long they wait for their first token.
import { median } from "../support/stats.mjs";

export const title = "concurrency, 64 -> 64 tokens each";

const together = (predict) => async (server, n) => {
  const t0 = performance.now();
  const all = await Promise.all(Array.from({ length: n }, () => server.complete(64, predict).done));
  return { speed: all.reduce((sum, m) => sum + m.predicted, 0) / ((Math.max(...all.map((m) => m.last)) - t0) / 1000), ttft: median(all.map((m) => m.ttft)) };
};

export async function run(b) {
  const once = together(b.size(64, 16));
  await b.both({ slots: 16, ctx: 512 }, async (servers) => {
    for (const n of [1, 2, 4, 8, 16]) {
      const got = await b.alternate(servers, b.rounds(n < 8 ? 5 : 3), (s) => once(s, n));
      const of = (kind, what) => median(got[kind].map((m) => m[what]));
      b.row({ what: `${n} together`, unit: "tok/s", better: "more", peer: of("peer", "speed"), hearth: of("hearth", "speed"), goal: { ratio: n === 2 ? 1.25 : 1 } });
      if (n === 16) b.row({ what: "16 together, TTFT p50", unit: "ms", better: "less", peer: of("peer", "ttft"), hearth: of("hearth", "ttft"), goal: { ratio: 1.5 } });
      b.note(`together ${n}`, got);
    }
  });
}
