// A conversation of ten turns whose whole history is sent each time. The text of an answer may be
// other tokens than those that were generated; a server that compares tokens only then computes the
// answer again.
import { stream } from "../support/client.mjs";
import { words } from "../support/prompts.mjs";
import { median } from "../support/stats.mjs";

export const title = "chat of ten turns";

async function conversation(b, server, questions) {
  const messages = [{ role: "system", content: questions[0] }];
  const turns = [];
  for (const question of questions.slice(1)) {
    messages.push({ role: "user", content: question });
    const one = await stream(server.port, "/v1/chat/completions", { messages, max_tokens: b.size(96, 24), temperature: 0, ignore_eos: true, repeat_penalty: 1 }).done;
    const before = turns.at(-1);
    turns.push({ ttft: one.ttft, prompt: one.prompt, cached: one.cached, predicted: one.predicted, again: before ? before.prompt + before.predicted - one.cached : 0 });
    messages.push({ role: "assistant", content: one.text });
  }
  return turns.slice(1);
}

export async function run(b) {
  await b.both({ ctx: 4096 }, async (servers) => {
    const scripts = Array.from({ length: b.rounds(3) }, () => Array.from({ length: b.size(11, 5) }, () => words(20)));
    const got = await b.alternate(servers, scripts.length, (s, i) => conversation(b, s, scripts[i]));
    const all = (kind) => got[kind].flat();
    b.row({ what: "turns 2 to 10, TTFT p50", unit: "ms", better: "less", peer: median(all("peer").map((t) => t.ttft)), hearth: median(all("hearth").map((t) => t.ttft)), goal: { ratio: 1 } });
    // Turns where the peer had to compute more than a few tokens of its own last answer again.
    const again = all("peer").map((t, i) => ({ peer: t, hearth: all("hearth")[i] })).filter((p) => p.peer.again > 8);
    b.log(`${again.length} of ${all("peer").length} turns made the peer compute its answer again; Hearth: ${all("hearth").filter((t) => t.again > 8).length}`);
    if (again.length)
      b.row({ what: "turns whose answer tokenises differently", unit: "ms", better: "less", peer: median(again.map((p) => p.peer.ttft)), hearth: median(again.map((p) => p.hearth.ttft)), goal: { ratio: 1.5 } });
    b.note("turns", got);
  });
}
