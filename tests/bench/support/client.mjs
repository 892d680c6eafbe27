// An HTTP client that notes when each token arrives. Times are performance.now() milliseconds.
import http from "node:http";

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

export function freePort() {
  return new Promise((resolve) => {
    const s = http.createServer().listen(0, "127.0.0.1", () => {
      const { port } = s.address();
      s.close(() => resolve(port));
    });
  });
}

// One whole request; resolves with { status, headers, body }, or null when nobody listens.
export function ask(port, method, path, body) {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve) => {
    const req = http.request({
      host: "127.0.0.1", port, method, path, agent: false,
      headers: text === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(text) },
    }, (res) => {
      let got = "";
      res.setEncoding("utf8");
      res.on("data", (d) => (got += d));
      res.on("end", () => resolve({ status: res.statusCode, headers: res.headers, body: got }));
      res.on("error", () => resolve(null));
    });
    req.on("error", () => resolve(null));
    req.end(text);
  });
}

export async function askJson(port, method, path, body) {
  const answer = await ask(port, method, path, body);
  if (!answer) throw new Error(`${method} ${path}: no answer`);
  if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${answer.body.slice(0, 300)}`);
  return JSON.parse(answer.body);
}

const textOf = (choice) => (choice.delta ? choice.delta.content ?? choice.delta.reasoning_content : choice.text) ?? "";

// A streamed generation. Returns at once; `.done` resolves with
//   { t0, first, last, times, text, prompt, cached, predicted, ttft, finish }
// where times are the arrivals of the chunks with text (plain: such a chunk is one token; a character
// beyond ASCII may be several, of which only the last one sends something); it rejects on an error of the server. leave()
// closes the connection: done then resolves with what there was, and left = true.
export function stream(port, path, body) {
  const text = JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } });
  const got = { t0: performance.now(), first: 0, last: 0, times: [], plain: [], text: "", usage: null, left: false, finish: null };
  let pending = "", status = 0, failed = null;
  const onEvent = (event, now) => {
    const line = event.split("\n").find((l) => l.startsWith("data: "));
    if (!line || line === "data: [DONE]") return;
    const chunk = JSON.parse(line.slice(6));
    if (chunk.error) failed = new Error(JSON.stringify(chunk.error));
    if (chunk.usage) got.usage = chunk.usage;
    const choice = chunk.choices?.[0];
    if (!choice) return;
    if (choice.finish_reason) got.finish = choice.finish_reason;
    const piece = textOf(choice);
    if (!piece) return;
    got.text += piece;
    got.times.push(now);
    got.plain.push(piece.charCodeAt(0) < 128);
    got.last = now;
    if (!got.first) got.first = now;
  };
  const result = () => ({
    ...got, ttft: got.first - got.t0, prompt: got.usage?.prompt_tokens ?? 0, predicted: got.usage?.completion_tokens ?? got.times.length,
    cached: got.usage?.prompt_tokens_details?.cached_tokens ?? 0,
  });
  let req;
  const done = new Promise((resolve, reject) => {
    const end = () => {
      if (got.left) resolve(result());
      else if (failed) reject(failed);
      else if (!got.usage) reject(new Error(`${path}: the stream ended early (status ${status}): ${pending.slice(0, 300)}`));
      else resolve(result());
    };
    req = http.request({
      host: "127.0.0.1", port, path, method: "POST", agent: false,
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text) },
    }, (res) => {
      status = res.statusCode;
      res.setEncoding("utf8");
      res.on("data", (d) => {
        const now = performance.now();
        pending += d;
        for (let at; (at = pending.indexOf("\n\n")) >= 0; pending = pending.slice(at + 2)) onEvent(pending.slice(0, at), now);
      });
      res.on("end", end);
      res.on("error", end);
    });
    req.on("error", (e) => (got.left ? resolve(result()) : reject(e)));
    req.setNoDelay(true);
    req.end(text);
  });
  done.catch(() => {}); // awaited later, or never by those who leave
  return {
    done, got,
    leave() {
      got.left = true;
      req.destroy();
      return done;
    },
  };
}
