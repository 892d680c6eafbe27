// Eight clients keep a hub of four slots busy, four of them always waiting; every two seconds somebody
// asks a short question with priority 1.
import { sleep } from "../support/client.mjs";
import { median, quantile, sum } from "../support/stats.mjs";

export const title = "interactive requests under load";

const BACKGROUND = 8;

async function measure(b, kind, slots) {
  const server = await b.start(kind, { slots, ctx: 512 });
  const seconds = b.size(60, 6), every = b.size(2000, 1000);
  let over = false;
  const running = new Set(), arrivals = [];
  const client = async () => {
    while (!over) {
      const s = server.complete(64, 128);
      running.add(s);
      const done = await s.done;
      running.delete(s);
      if (!done.left) arrivals.push(...done.times.map((t) => ({ t, n: done.predicted / done.times.length })));
    }
  };
  try {
    await server.complete(16, 8).done;
    const clients = Array.from({ length: BACKGROUND }, client);
    await sleep(b.size(5000, 500));
    const from = performance.now(), short = [];
    while (performance.now() < from + seconds * 1000) {
      short.push(server.complete(16, 16, { priority: 1 }));
      await sleep(every);
    }
    const to = performance.now();
    const answered = await Promise.all(short.map((s) => s.done));
    over = true;
    for (const s of running) {
      arrivals.push(...s.got.times.map((t) => ({ t, n: 1 })));
      void s.leave();
    }
    await Promise.all(clients);
    b.log(`${kind}, ${slots} slots: ${answered.length} short requests answered, TTFT p50 ${median(answered.map((m) => m.ttft)).toFixed(0)} ms`);
    const ttft = answered.map((m) => m.ttft / 1000);
    return {
      p50: median(ttft), p95: quantile(ttft, 0.95), total: median(answered.map((m) => (m.last - m.t0) / 1000)),
      background: sum(arrivals.filter((a) => a.t >= from && a.t <= to).map((a) => a.n)) / ((to - from) / 1000),
    };
  } finally {
    await server.stop();
  }
}

export async function run(b) {
  const peer = await measure(b, "peer", 4);
  const hearth = await measure(b, "hearth", 4);
  const wide = await measure(b, "peer", 16);
  const row = (what, key, goal, p = peer) => b.row({ what, unit: "s", better: "less", peer: p[key], hearth: hearth[key], goal });
  row("TTFT p50", "p50", { max: 0.25, was: 12.7 });
  row("TTFT p95", "p95", { max: 0.5, was: 16 });
  row("total p50", "total", { max: 0.7, was: 13.8 });
  b.row({ what: "background", unit: "tok/s", better: "more", peer: peer.background, hearth: hearth.background, goal: { ratio: 0.9 } });
  row("TTFT p50, peer with 16 slots", "p50", undefined, wide);
  row("total p50, peer with 16 slots", "total", undefined, wide);
  b.note("measured", { peer, hearth, wide });
}
