// One stream alone: nothing of what the scheduler does for many may cost a single user anything.
import { median } from "../support/stats.mjs";

export const title = "single stream, 32 -> 128 tokens";

export async function run(b) {
  const predict = b.size(128, 32);
  const got = await b.both({}, (servers) => b.alternate(servers, b.rounds(9), (s) => s.complete(32, predict).done));
  const speed = (m) => (m.predicted - 1) / ((m.last - m.first) / 1000);
  const of = (kind, what) => median(got[kind].map(what));
  b.row({ what: "decode", unit: "tok/s", better: "more", peer: of("peer", speed), hearth: of("hearth", speed), goal: { ratio: 0.98 } });
  b.row({ what: "TTFT", unit: "ms", better: "less", peer: of("peer", (m) => m.ttft), hearth: of("hearth", (m) => m.ttft), goal: { ratio: 0.98 } });
  b.note("streams", got);
}
