// An answer held to a JSON schema, beside a free one in the same hub. Random weights are the worst
// case: the model never prefers what the grammar allows.
import { stream } from "../support/client.mjs";
import { median, sum } from "../support/stats.mjs";

export const title = "JSON schema";

const person = {
  type: "object",
  properties: { name: { type: "string", maxLength: 24 }, age: { type: "integer", minimum: 0, maximum: 130 }, role: { enum: ["admin", "editor", "viewer", "guest"] } },
  required: ["name", "age", "role"], additionalProperties: false,
};
const schema = {
  type: "object",
  properties: {
    title: { type: "string", maxLength: 40 }, state: { enum: ["open", "closed", "in progress", "waiting for somebody else"] }, urgent: { type: "boolean" },
    owner: person, people: { type: "array", items: person, minItems: 3, maxItems: 5 },
    place: { type: "object", properties: { latitude: { type: "number" }, longitude: { type: "number" } }, required: ["latitude", "longitude"], additionalProperties: false },
    tags: { type: "array", items: { enum: ["red", "green", "blue", "black", "white"] }, minItems: 4, maxItems: 12 },
  },
  required: ["title", "state", "urgent", "owner", "people", "place", "tags"], additionalProperties: false,
};
const format = { type: "json_schema", json_schema: { name: "ticket", schema, strict: true } };

export async function run(b) {
  const predict = b.size(192, 48);
  const ask = (server, more) => stream(server.port, "/v1/chat/completions", {
    messages: [{ role: "user", content: `a ticket, please: ${Math.floor(performance.now())}` }], max_tokens: predict, temperature: 0, ...more,
  }).done;
  await b.both({}, async (servers) => {
    for (const s of Object.values(servers)) await ask(s, { response_format: format }); // compiles what is compiled once
    const got = await b.alternate(servers, b.rounds(7), async (s) => ({ schema: await ask(s, { response_format: format }), free: await ask(s, { ignore_eos: true }) }));
    const speed = (list) => sum(list.map((m) => m.predicted - 1)) / (sum(list.map((m) => m.last - m.first)) / 1000);
    const part = (kind) => speed(got[kind].map((m) => m.schema)) / speed(got[kind].map((m) => m.free));
    b.row({ what: "speed with schema", unit: "of free", better: "more", peer: part("peer"), hearth: part("hearth"), goal: { min: 0.9 } });
    b.row({ what: "tokens with schema", unit: "tok/s", better: "more", peer: speed(got.peer.map((m) => m.schema)), hearth: speed(got.hearth.map((m) => m.schema)) });
    const ttft = (kind) => median(got[kind].map((m) => m.schema.ttft));
    b.row({ what: "TTFT with schema", unit: "ms", better: "less", peer: ttft("peer"), hearth: ttft("hearth") });
    const wrong = got.hearth.filter((m) => m.schema.finish === "stop" && !parses(m.schema.text)).length;
    if (wrong) throw new Error(`${wrong} of Hearth's whole answers are no JSON`);
    b.note("answers", got);
  });
}

function parses(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
