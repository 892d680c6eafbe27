// Markdown to DOM nodes, for what models write: paragraphs, headings, lists, quotes, tables, fenced
// code, and inline code, emphasis and links. Text only ever becomes text nodes, so nothing a model
// says can become markup; links are limited to http and https.

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*).*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const TABLE_LINE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const NESTING_MAX = 12;

function element(tag, ...children) {
  const e = document.createElement(tag);
  e.append(...children);
  return e;
}

// Code first: nothing inside it is markup. Then links, strong, emphasis, struck text.
const INLINE = /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)|\[([^\]\n]+)\]\(([^\s()]+(?:\([^\s()]*\)[^\s()]*)?)\)|\*\*(\S(?:[\s\S]*?\S)?)\*\*|__(\S(?:[\s\S]*?\S)?)__|\*([^\s*](?:[^*]*[^\s*])?)\*|\b_([^\s_](?:[^_]*[^\s_])?)_\b|~~(\S(?:[\s\S]*?\S)?)~~|(https?:\/\/[^\s<>"')\]]+[^\s<>"')\].,;:!?])/;

function link(text, href, depth) {
  let url;
  try {
    url = new URL(href);
  } catch {
    return null;
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return null;
  const a = element('a', ...inline(text, depth + 1));
  a.href = url.href;
  a.rel = 'noopener noreferrer nofollow';
  a.target = '_blank';
  return a;
}

function inline(text, depth = 0) {
  const nodes = [];
  while (text) {
    const m = depth < NESTING_MAX ? INLINE.exec(text) : null;
    if (!m) {
      nodes.push(text);
      break;
    }
    if (m.index) nodes.push(text.slice(0, m.index));
    const [all, , code, label, href, strong1, strong2, em1, em2, struck, bare] = m;
    if (code !== undefined) nodes.push(element('code', code.replace(/^ (.*) $/s, '$1')));
    else if (label !== undefined) nodes.push(link(label, href, depth) ?? all);
    else if (bare !== undefined) nodes.push(link(bare, bare, NESTING_MAX) ?? all);
    else if (strong1 ?? strong2) nodes.push(element('strong', ...inline(strong1 ?? strong2, depth + 1)));
    else if (em1 ?? em2) nodes.push(element('em', ...inline(em1 ?? em2, depth + 1)));
    else nodes.push(element('s', ...inline(struck, depth + 1)));
    text = text.slice(m.index + all.length);
  }
  return nodes;
}

function cells(line) {
  return line.trim().replace(/^\|/, '').replace(/\|$/, '').split('|').map((c) => c.trim());
}

class Blocks {
  constructor(lines, depth) {
    this.lines = lines;
    this.at = 0;
    this.depth = depth;
    this.out = [];
  }

  get line() {
    return this.lines[this.at];
  }

  fence(m) {
    const end = new RegExp(`^ {0,3}${m[1][0]}{${m[1].length},}\\s*$`);
    const body = [];
    for (this.at++; this.at < this.lines.length && !end.test(this.line); this.at++) body.push(this.line);
    this.at++;
    this.out.push(element('pre', element('code', body.join('\n'))));
  }

  quote() {
    const body = [];
    for (; this.at < this.lines.length && QUOTE.test(this.line); this.at++) body.push(this.line.replace(QUOTE, ''));
    this.out.push(element('blockquote', ...blocks(body, this.depth + 1)));
  }

  table() {
    const row = (tag, line) => element('tr', ...cells(line).map((c) => element(tag, ...inline(c))));
    const head = element('thead', row('th', this.line));
    const body = element('tbody');
    for (this.at += 2; this.at < this.lines.length && this.line.includes('|'); this.at++) body.append(row('td', this.line));
    this.out.push(element('table', head, body));
  }

  // An item's further lines are those indented past its mark; empty lines between items are fine.
  list(m) {
    const ordered = /\d/.test(m[2]);
    const indent = m[1].length;
    const list = element(ordered ? 'ol' : 'ul');
    if (ordered && parseInt(m[2], 10) !== 1) list.start = parseInt(m[2], 10);
    while (this.at < this.lines.length) {
      const item = ITEM.exec(this.line);
      if (!item || item[1].length > indent + 3 || item[1].length < indent || /\d/.test(item[2]) !== ordered) break;
      const body = [item[3]];
      for (this.at++; this.at < this.lines.length; this.at++) {
        const blank = !this.line.trim();
        const deeper = /^\s*/.exec(this.line)[0].length > indent + 1;
        if (blank ? !/^\s{2,}\S/.test(this.lines[this.at + 1] ?? '') : !deeper) break;
        body.push(this.line.slice(indent + 2));
      }
      while (this.at < this.lines.length && !this.line.trim() && ITEM.test(this.lines[this.at + 1] ?? '')) this.at++;
      const tight = body.every((l) => l.trim());
      const children = blocks(body, this.depth + 1);
      list.append(element('li', ...(tight ? children.flatMap((n) => (n.tagName === 'P' ? [...n.childNodes] : [n])) : children)));
    }
    this.out.push(list);
  }

  paragraph() {
    const body = [];
    const special = (l) => FENCE.test(l) || HEADING.test(l) || QUOTE.test(l) || ITEM.test(l) || RULE.test(l);
    do body.push(this.lines[this.at++].trim());
    while (this.at < this.lines.length && this.line.trim() && !special(this.line));
    const p = element('p');
    body.forEach((line, i) => {
      if (i) p.append(element('br'));
      p.append(...inline(line));
    });
    this.out.push(p);
  }

  all() {
    while (this.at < this.lines.length) {
      let m;
      if (!this.line.trim()) this.at++;
      else if (this.depth >= NESTING_MAX) this.paragraph();
      else if ((m = FENCE.exec(this.line))) this.fence(m);
      else if ((m = HEADING.exec(this.line))) {
        this.out.push(element(`h${Math.min(6, m[1].length + 1)}`, ...inline(m[2])));
        this.at++;
      } else if (RULE.test(this.line)) {
        this.out.push(element('hr'));
        this.at++;
      } else if (QUOTE.test(this.line)) this.quote();
      else if (this.line.includes('|') && TABLE_LINE.test(this.lines[this.at + 1] ?? '')) this.table();
      else if ((m = ITEM.exec(this.line))) this.list(m);
      else this.paragraph();
    }
    return this.out;
  }
}

function blocks(lines, depth) {
  return new Blocks(lines, depth).all();
}

/** The nodes of a Markdown text. */
export function markdown(text) {
  return blocks(text.replace(/\r\n?/g, '\n').replace(/\t/g, '    ').split('\n'), 0);
}
