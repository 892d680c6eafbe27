// Helpers for tests that kill the hub's model worker.
import { readdirSync, readFileSync } from 'node:fs';

import { until } from './hearth.mjs';

/** Process ids of the workers that the hub has started, in order. */
export function workers(hub) {
  return [...hub.log.matchAll(/the model worker runs \(process (\d+)/g)].map((m) => Number(m[1]));
}

export const workerPid = (hub) => workers(hub).at(-1);

export function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Kills the worker that runs now; its pid. Waits for it to have started. */
export async function killWorker(hub, signal = 'SIGKILL') {
  const pid = await until(() => {
    const now = workerPid(hub);
    return now && now !== hub.killedWorker && isAlive(now) ? now : null;
  }, 30000, 'a running worker');
  hub.killedWorker = pid; // for a moment it is a zombie, which is alive to kill()
  process.kill(pid, signal);
  return pid;
}

export const descriptors = (pid) => readdirSync(`/proc/${pid}/fd`).length;

/** Zombies among the children of a process. */
export function zombies(parent) {
  let n = 0;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (state === 'Z' && Number(ppid) === parent) n++;
    } catch { /* it has ended */ }
  }
  return n;
}

/**
 * A streamed chat. onPiece(n, text) is called for each piece of text.
 * @returns {Promise<{text, pieces, finish, usage, error, status}>}
 */
export async function stream(hub, body, onPiece = () => {}) {
  const r = await fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ stream: true, stream_options: { include_usage: true }, ...body }),
  });
  const out = { text: '', pieces: 0, status: r.status };
  if (r.status !== 200) {
    out.error = (await r.json()).error;
    return out;
  }
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of r.body) {
    rest += decoder.decode(bytes, { stream: true });
    const events = rest.split('\n\n');
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith('data: {')) continue;
      const data = JSON.parse(event.slice(6));
      if (data.error) out.error = data.error;
      if (data.usage) out.usage = data.usage;
      const choice = data.choices?.[0];
      if (choice?.finish_reason) out.finish = choice.finish_reason;
      if (!choice?.delta?.content) continue;
      out.text += choice.delta.content;
      await onPiece(++out.pieces, out.text);
    }
  }
  return out;
}

export async function post(hub, path, body) {
  const r = await fetch(`${hub.url}${path}`, { method: 'POST', body: JSON.stringify(body) });
  return { status: r.status, body: await r.json() };
}
