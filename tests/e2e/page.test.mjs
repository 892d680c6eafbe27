// The pages for browsers: what the hub serves, and the page's Markdown over a document of our own
// (no browser is needed).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

import { root, startHub } from './support/hearth.mjs';

let hub;
before(async () => {
  hub = await startHub({ args: ['--no-preload'] });
});
after(() => hub?.stop());

const BROWSER = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };
const get = (path, headers = {}) => fetch(`${hub.url}${path}`, { headers });

test('/ is a page for browsers and the health for everything else', async () => {
  const page = await get('/', BROWSER);
  assert.match(page.headers.get('content-type'), /^text\/html/);
  assert.match(await page.text(), /<title>Hearth<\/title>/);
  const other = await get('/');
  assert.equal((await other.json()).status, 'healthy');
});

test('pages bring everything themselves and allow no inline script', async () => {
  for (const path of ['/', '/docs', '/redoc']) {
    const r = await get(path, BROWSER);
    assert.equal(r.status, 200);
    const policy = r.headers.get('content-security-policy');
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy.match(/script-src[^;]*/)[0], /unsafe|http/);
    assert.equal(r.headers.get('x-content-type-options'), 'nosniff');
    const html = await r.text();
    for (const [, url] of html.matchAll(/(?:src|href)="([^"]+)"/g)) {
      if (url.startsWith('data:')) continue;
      assert.ok(url.startsWith('/'), `${path} loads ${url}`);
      assert.equal((await get(url)).status, 200, url);
    }
  }
});

test('parts of pages are not sent twice', async () => {
  const first = await get('/assets/hub.js');
  assert.match(first.headers.get('content-type'), /^text\/javascript/);
  const again = await get('/assets/hub.js', { 'if-none-match': first.headers.get('etag') });
  assert.equal(again.status, 304);
});

test('a web page of another origin cannot post', async () => {
  const post = (headers) => fetch(`${hub.url}/v1/chat/completions`, {
    method: 'POST', headers, body: JSON.stringify({ messages: [] }),
  });
  assert.equal((await post({ origin: 'http://evil.example', 'content-type': 'text/plain' })).status, 415);
  assert.equal((await post({ 'content-type': 'application/x-www-form-urlencoded' })).status, 400);
});

// ---- Markdown

class Node {
  constructor(tag) {
    this.tagName = tag.toUpperCase();
    this.childNodes = [];
  }

  append(...children) {
    this.childNodes.push(...children);
  }
}
const escape = (s) => s.replace(/&/g, '&amp;').replace(/</g, '&lt;');
function html(n) {
  if (typeof n === 'string') return escape(n);
  const tag = n.tagName.toLowerCase();
  const href = n.href ? ` href="${n.href}"` : '';
  const start = n.start ? ` start="${n.start}"` : '';
  return `<${tag}${href}${start}>${n.childNodes.map(html).join('')}</${tag}>`;
}

async function render(text) {
  globalThis.document = { createElement: (tag) => new Node(tag) };
  const { markdown } = await import(pathToFileURL(join(root, 'src/api/hub/pages/markdown.mjs')));
  return markdown(text).map(html).join('');
}

test('Markdown', async () => {
  const cases = [
    ['a\nb\n\nc', '<p>a<br></br>b</p><p>c</p>'],
    ['# One\n### Three ###', '<h2>One</h2><h4>Three</h4>'],
    ['**b** __b__ *e* _e_ ~~s~~ `c`', '<p><strong>b</strong> <strong>b</strong> <em>e</em> <em>e</em> <s>s</s> <code>c</code></p>'],
    ['snake_case_name 2*3*4', '<p>snake_case_name 2<em>3</em>4</p>'],
    ['`**not bold**` ``a`b``', '<p><code>**not bold**</code> <code>a`b</code></p>'],
    ['```js\nlet a = "<b>";\n\n# no\n```\nx', '<pre><code>let a = "&lt;b>";\n\n# no</code></pre><p>x</p>'],
    ['```\nunfinished', '<pre><code>unfinished</code></pre>'],
    ['- a\n- b\n  - c\n\n- d', '<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>'],
    ['3. a\n4. b', '<ol start="3"><li>a</li><li>b</li></ol>'],
    ['> a\n> > b', '<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>'],
    ['---', '<hr></hr>'],
    ['a | b\n--|--\n1 | **2**\n\nx', '<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td><strong>2</strong></td></tr></tbody></table><p>x</p>'],
    ['[x](https://a.b/c)', '<p><a href="https://a.b/c">x</a></p>'],
    ['see https://a.b/c.', '<p>see <a href="https://a.b/c">https://a.b/c</a>.</p>'],
  ];
  for (const [text, expected] of cases) assert.equal(await render(text), expected, text);
});

test('what a model writes never becomes markup or a script', async () => {
  assert.equal(await render('<img src=x onerror=alert(1)>'), '<p>&lt;img src=x onerror=alert(1)></p>');
  for (const url of ['javascript:alert(1)', 'JaVaScRiPt:alert(1)', 'data:text/html,x', 'vbscript:x', '/relative', 'file:///etc/passwd']) {
    assert.doesNotMatch(await render(`[x](${url})`), /<a/, url);
  }
});

test('hostile text takes bounded time', async () => {
  const n = 20000;
  for (const piece of ['*', '**a ', '_a ', '`', '` `` ', '[', '[a](', '> ', '- ', '  - ', '|', '~~a ', 'https://', '#', '1. ', '\n>', '```\n']) {
    const start = performance.now();
    await render(piece.repeat(n / piece.length));
    const ms = performance.now() - start;
    assert.ok(ms < 5000, `${JSON.stringify(piece)} took ${ms.toFixed(0)} ms`);
  }
});
