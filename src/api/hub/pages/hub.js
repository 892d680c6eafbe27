// The first page: the hub's state, and a chat over the same API that every other client uses.
import { markdown } from './markdown.mjs';

const $ = (id) => document.getElementById(id);
const STATUS_MS = 2000;

/** Messages so far, as the API takes them. Kept in the tab, so that a reload doesn't lose them. */
const KEY = 'hearth-conversation';
let messages = [];
let running = null; // AbortController of the answer being written

// ---- state of the hub

async function refresh() {
  try {
    const h = await (await fetch('/health', { cache: 'no-store' })).json();
    $('hub').textContent = `${h.status}, ${h.version}`;
    $('hub').className = '';
    const loading = h.model_state === 'loading' ? ` ${Math.round(h.load_progress * 100)} %` : '';
    $('model').textContent = h.model ? `${h.model} (${h.model_state}${loading})` : 'none loaded yet';
    $('running').textContent = h.running;
    $('waiting').textContent = h.waiting;
  } catch {
    $('hub').textContent = 'not reachable';
    $('hub').className = 'error';
    for (const id of ['model', 'running', 'waiting']) $(id).textContent = '–';
  }
}

async function listModels() {
  const { data } = await (await fetch('/v1/models')).json();
  for (const m of data) {
    if (m.meta.kind !== 'chat') continue;
    const option = document.createElement('option');
    option.value = option.textContent = m.id;
    $('models').append(option);
  }
}

// ---- the conversation on the page

function atBottom() {
  const log = $('log');
  return log.scrollHeight - log.scrollTop - log.clientHeight < 60;
}

function show(role) {
  const article = document.createElement('article');
  article.className = role;
  $('hello').hidden = true;
  $('log').append(article);
  $('log').scrollTop = $('log').scrollHeight;
  return article;
}

/** An answer that grows: drawn at most once a frame, however fast the tokens come. */
class Answer {
  constructor() {
    this.text = '';
    this.thought = '';
    this.article = show('assistant');
    this.article.classList.add('waiting');
    this.body = document.createElement('div');
    this.article.append(this.body);
    this.pending = false;
  }

  add(text, thought) {
    this.text += text;
    this.thought += thought;
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    const follow = atBottom();
    this.pending = false;
    if (this.thought && !this.details) {
      this.details = document.createElement('details');
      const summary = document.createElement('summary');
      summary.textContent = 'Reasoning';
      this.thoughts = document.createElement('div');
      this.details.append(summary, this.thoughts);
      this.article.prepend(this.details);
    }
    if (this.thoughts) this.thoughts.textContent = this.thought;
    this.body.replaceChildren(...markdown(this.text));
    if (follow) $('log').scrollTop = $('log').scrollHeight;
  }

  note(text, bad) {
    const p = document.createElement('p');
    p.textContent = text;
    if (bad) {
      p.className = 'error';
      p.setAttribute('role', 'alert');
    }
    this.article.append(p);
  }

  end() {
    this.article.classList.remove('waiting');
    this.draw();
  }
}

function redraw() {
  for (const m of messages) {
    const article = show(m.role);
    if (m.role === 'user') article.textContent = m.content;
    else article.append(...markdown(m.content));
  }
}

function save() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(messages));
  } catch {
    // Too long for the store, or none: the page still works.
  }
}

// ---- asking

/** The data of server-sent events, one by one. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n\n');
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split('\n').filter((l) => l.startsWith('data:')).map((l) => l.slice(5).trimStart()).join('\n');
      if (data) yield data;
    }
  }
}

async function failure(response) {
  const body = await response.json().catch(() => null);
  return new Error(body?.error?.message ?? `The hub answered with status ${response.status}.`);
}

async function ask(answer) {
  const response = await fetch('/v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ model: $('models').value, messages, stream: true, timings: true }),
    signal: running.signal,
  });
  if (!response.ok) throw await failure(response);
  for await (const data of events(response)) {
    if (data === '[DONE]') return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    const choice = chunk.choices[0];
    if (choice) answer.add(choice.delta.content ?? '', choice.delta.reasoning_content ?? '');
    if (choice?.finish_reason === 'length') answer.note('(The answer was cut: no room for more tokens.)');
    if (chunk.timings) $('speed').textContent = `${chunk.timings.predicted_n} tokens, ${chunk.timings.predicted_per_second.toFixed(1)} per second`;
  }
  throw new Error('The connection ended before the answer did.');
}

function busy(on) {
  $('send').hidden = on;
  $('stop').hidden = !on;
  $('clear').disabled = on;
}

async function send(text) {
  messages.push({ role: 'user', content: text });
  show('user').textContent = text;
  const answer = new Answer();
  running = new AbortController();
  busy(true);
  try {
    await ask(answer);
  } catch (e) {
    if (e.name === 'AbortError') answer.note('(Stopped.)');
    else answer.note(e.message, true);
  }
  running = null;
  answer.end();
  // A question without an answer would confuse the next turn, but it stays on the page.
  if (answer.text) messages.push({ role: 'assistant', content: answer.text });
  else messages.pop();
  save();
  busy(false);
  $('input').focus();
}

// ---- events of the page

function grow() {
  const input = $('input');
  input.style.height = 'auto';
  input.style.height = `${input.scrollHeight + 2}px`;
}

$('form').addEventListener('submit', (e) => {
  e.preventDefault();
  const text = $('input').value.trim();
  if (!text || running) return;
  $('input').value = '';
  grow();
  send(text);
});
$('input').addEventListener('input', grow);
$('input').addEventListener('keydown', (e) => {
  if (e.key !== 'Enter' || e.shiftKey || e.isComposing) return;
  e.preventDefault();
  $('form').requestSubmit();
});
$('stop').addEventListener('click', () => running?.abort());
document.addEventListener('keydown', (e) => {
  if (e.key === 'Escape') running?.abort();
});
$('clear').addEventListener('click', () => {
  messages = [];
  save();
  for (const article of document.querySelectorAll('#log article')) article.remove();
  $('hello').hidden = false;
  $('speed').textContent = '';
  $('input').focus();
});

try {
  messages = JSON.parse(sessionStorage.getItem(KEY) ?? '[]');
} catch {
  messages = [];
}
redraw();
refresh();
setInterval(() => {
  if (!document.hidden) refresh();
}, STATUS_MS);
listModels().catch(() => {}); // the default model still works
