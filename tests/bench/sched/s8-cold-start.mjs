// From the start of the process to the first answer on /health and the first token; the model's file
// is in the page cache.
import { ask, sleep, stream } from "../support/client.mjs";
import { median } from "../support/stats.mjs";

export const title = "cold start";

async function firstToken(b, server) {
  for (;;) {
    const answer = await ask(server.port, "GET", "/health");
    if (answer?.status === 200) break;
    await sleep(2);
  }
  const one = stream(server.port, "/v1/completions", { prompt: b.tokens(32), max_tokens: 4, temperature: 0 });
  return (await one.done).first;
}

export async function run(b) {
  const once = async (kind) => {
    let health = 0;
    const check = async (port) => {
      const ok = (await ask(port, "GET", "/health"))?.status === 200;
      if (ok) health = performance.now();
      return ok;
    };
    const server = await b.start(kind, { ready: { check, pollMs: 1 } });
    try {
      const first = await firstToken(b, server);
      return { health: (health - server.spawned) / 1000, first: (first - server.spawned) / 1000, rss: server.memory().rss };
    } finally {
      await server.stop();
    }
  };
  const got = { hearth: [], peer: [] };
  await once("peer"); // the page cache
  for (let i = 0; i < b.rounds(5); i++) {
    for (const kind of i % 2 ? ["peer", "hearth"] : ["hearth", "peer"]) got[kind].push(await once(kind));
  }
  const of = (kind, key) => median(got[kind].map((m) => m[key]));
  b.row({ what: "/health", unit: "s", better: "less", peer: of("peer", "health"), hearth: of("hearth", "health"), goal: { max: 0.05, was: 0.67 } });
  b.row({ what: "first token", unit: "s", better: "less", peer: of("peer", "first"), hearth: of("hearth", "first"), goal: { ratio: 1 / 0.9 } });
  b.row({ what: "memory then", unit: "MiB", better: "less", peer: of("peer", "rss"), hearth: of("hearth", "rss") });
  b.note("measured", got);
}
