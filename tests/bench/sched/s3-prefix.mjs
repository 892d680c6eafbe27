// A long system prompt that many requests share: asked for again and again, by four at once, after a
// restart of the server, and six of them in turn.
import { sleep } from "../support/client.mjs";
import { dropFolder, newFolder } from "../support/process.mjs";
import { median } from "../support/stats.mjs";

export const title = "shared prefix of 1,500 tokens";

const QUESTION = 24, ANSWER = 16;

async function sequential(b, servers, prefixLength) {
  const prefix = b.tokens(prefixLength);
  const got = await b.alternate(servers, b.size(31, 5), (s) => s.complete([...prefix, ...b.tokens(QUESTION)], ANSWER).done);
  const first = (kind) => got[kind][0].ttft, later = (kind) => median(got[kind].slice(1).map((m) => m.ttft));
  b.row({ what: "a: first question", unit: "ms", better: "less", peer: first("peer"), hearth: first("hearth") });
  b.row({ what: "a: later questions, TTFT p50", unit: "ms", better: "less", peer: later("peer"), hearth: later("hearth"), goal: { ratio: 1 } });
  b.note("a", got);
}

async function arrivingTogether(b, servers, prefixLength) {
  const got = await b.alternate(servers, b.rounds(3), async (s) => {
    const one = await s.complete(prefixLength + QUESTION, ANSWER).done;
    const prefix = b.tokens(prefixLength);
    const four = await Promise.all(Array.from({ length: 4 }, () => s.complete([...prefix, ...b.tokens(QUESTION)], ANSWER).done));
    return { one: one.ttft, p50: median(four.map((m) => m.ttft)), max: Math.max(...four.map((m) => m.ttft)) };
  });
  const inPrefills = (kind, what) => median(got[kind].map((m) => m[what] / m.one));
  b.row({ what: "b: four together, TTFT p50", unit: "prefills", better: "less", peer: inPrefills("peer", "p50"), hearth: inPrefills("hearth", "p50"), goal: { max: 1.2 } });
  b.row({ what: "b: four together, slowest", unit: "prefills", better: "less", peer: inPrefills("peer", "max"), hearth: inPrefills("hearth", "max"), goal: { max: 1.2 } });
  b.note("b", got);
}

async function afterRestart(b, prefixLength) {
  const got = { hearth: [], peer: [] };
  for (let i = 0; i < b.rounds(2); i++) {
    for (const kind of ["hearth", "peer"]) {
      const home = newFolder(), prefix = b.tokens(prefixLength);
      try {
        for (const again of [false, true]) {
          const server = await b.start(kind, { home });
          try {
            await server.complete(16, 8).done;
            const one = await server.complete([...prefix, ...b.tokens(QUESTION)], ANSWER).done;
            if (again) got[kind].push({ ttft: one.ttft, cached: one.cached });
            else await sleep(300); // a user thinks; what is kept is written in the background
          } finally {
            await server.stop();
          }
        }
      } finally {
        dropFolder(home);
      }
    }
  }
  const of = (kind) => median(got[kind].map((m) => m.ttft));
  b.row({ what: "c: after a restart, TTFT", unit: "ms", better: "less", peer: of("peer"), hearth: of("hearth"), goal: { max: 300, was: 5900 } });
  b.note("c", got);
}

async function sixInTurn(b, servers, prefixLength) {
  const prefixes = Array.from({ length: b.size(6, 3) }, () => b.tokens(prefixLength));
  const got = {};
  for (const kind of ["hearth", "peer"]) {
    const rounds = [[], []];
    for (const round of rounds) {
      for (const p of prefixes) round.push((await servers[kind].complete([...p, ...b.tokens(QUESTION)], ANSWER).done).ttft);
    }
    got[kind] = { rounds, memory: servers[kind].memory().rss };
  }
  b.row({ what: "d: six prefixes, round 2, TTFT p50", unit: "ms", better: "less", peer: median(got.peer.rounds[1]), hearth: median(got.hearth.rounds[1]), goal: { ratio: 1 } });
  b.row({ what: "d: memory then", unit: "MiB", better: "less", peer: got.peer.memory, hearth: got.hearth.memory, goal: { ratio: 1 } });
  b.note("d", got);
}

export async function run(b) {
  const length = b.size(1500, 300);
  await b.both({}, async (servers) => {
    await sequential(b, servers, length);
    await arrivingTogether(b, servers, length);
  });
  await afterRestart(b, length);
  await b.both({}, (servers) => sixInTurn(b, servers, length));
}
