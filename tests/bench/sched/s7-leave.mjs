// A client closes its connection: how long until the server gives the next one its first token.
import { sleep } from "../support/client.mjs";
import { median } from "../support/stats.mjs";

export const title = "a client leaves; time until the next request's first token";

const next = async (server) => (await server.complete(8, 2).done).ttft / 1000;

const cases = {
  "while its prompt is computed": {
    goal: { max: 0.3, was: 7.8 },
    async run(b, server) {
      const long = server.complete(b.size(3000, 800), 16);
      await sleep(b.size(700, 20));
      void long.leave();
      return next(server);
    },
  },
  "while it is answered": {
    goal: { max: 0.1, was: 0.08 },
    async run(b, server) {
      const one = server.complete(32, 1500);
      while (one.got.times.length < 10) await sleep(5);
      void one.leave();
      return next(server);
    },
  },
  "four running and three queued": {
    goal: { max: 0.15, was: 0.75 },
    async run(b, server) {
      const running = Array.from({ length: 4 }, () => server.complete(32, 1500));
      while (running.some((r) => r.got.times.length < 5)) await sleep(5);
      const queued = Array.from({ length: 3 }, () => server.complete(32, 1500));
      await sleep(200);
      for (const s of [...queued, ...running]) void s.leave();
      return next(server);
    },
  },
};

export async function run(b) {
  await b.both({ ctx: 4096 }, async (servers) => {
    for (const [what, c] of Object.entries(cases)) {
      const got = await b.alternate(servers, b.rounds(5), async (s) => {
        const seconds = await c.run(b, s);
        await sleep(b.size(500, 100)); // what was left behind is over
        return seconds;
      });
      b.row({ what, unit: "s", better: "less", peer: median(got.peer), hearth: median(got.hearth), goal: c.goal });
      b.note(what, got);
    }
  });
}
