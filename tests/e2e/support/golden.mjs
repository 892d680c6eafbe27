// Checks values against documented shapes, field by field. The shapes stand in JSON files (tests/e2e/golden/,
// tests/e2e/contracts/), one for each API:
//
//   "types": {
//     "Choice": {
//       "documented": "openai/resources/chat/completions/completions.d.ts#ChatCompletion.Choice",
//       "fields": { "index": "count", "finish_reason": "'stop' | 'length'", "logprobs": "Logprobs | null",
//                   "note?": "string ; only when something is to be noted" },
//       "extensions": { "timings?": "Timings ; when the request asks for them" },
//       "never": { "audio": "no model speaks" }
//     }
//   }
//
// A field is always there, unless its name ends in `?`; then what stands behind ` ; ` says when it is, and each
// example names under `with` which of these it has: one that is named and missing, or there and not named, is an
// error. Every field that is in no list is one as well. `never` are documented fields that are not sent, and
// `extensions` those of ours that the documentation does not know (declarations.mjs compares both with the
// documentation).
//
// A type is one of the words below, 'a literal', a number, /a pattern/, T[] (T[+]: not empty), {T} (an object
// whose keys are names of the user's), the name of a type of the file, or several with | between them.

const WORDS = {
  any: () => true,
  null: (v) => v === null,
  string: (v) => typeof v === 'string',
  text: (v) => typeof v === 'string' && v.length > 0,
  integer: (v) => Number.isInteger(v),
  count: (v) => Number.isInteger(v) && v >= 0,
  number: (v) => typeof v === 'number',
  boolean: (v) => typeof v === 'boolean',
  true: (v) => v === true,
  false: (v) => v === false,
  object: (v) => v !== null && typeof v === 'object' && !Array.isArray(v),
  /** JSON text of an object. */
  json: (v) => {
    try {
      return WORDS.object(JSON.parse(v));
    } catch {
      return false;
    }
  },
  base64: (v) => typeof v === 'string' && v.length > 0 && Buffer.from(v, 'base64').toString('base64') === v,
  /** Unix time: a number of milliseconds is no such number of seconds. */
  seconds: (v) => Number.isInteger(v) && v > 1e9 && v < 1e11,
  milliseconds: (v) => Number.isInteger(v) && v > 1e12 && v < 1e14,
  /** RFC 3339. */
  time: (v) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(v),
};

/** The type that `text` names: a tree of {kind, ...}. Throws where it can't be read. */
export function parseType(text) {
  let rest = text.trim();
  const take = (pattern) => {
    const found = pattern.exec(rest);
    if (!found) return null;
    rest = rest.slice(found[0].length).trimStart();
    return found;
  };
  const primary = () => {
    let m;
    if (take(/^\(/)) {
      const inner = union();
      if (!take(/^\)/)) throw new Error(`no ) in "${text}"`);
      return inner;
    }
    if (take(/^\{/)) {
      const of = union();
      if (!take(/^\}/)) throw new Error(`no } in "${text}"`);
      return { kind: 'map', of };
    }
    if ((m = take(/^'([^']*)'/))) return { kind: 'literal', value: m[1] };
    if ((m = take(/^\/((?:[^/\\]|\\.)+)\//))) return { kind: 'pattern', pattern: new RegExp(m[1]) };
    if ((m = take(/^-?\d+(\.\d+)?/))) return { kind: 'literal', value: Number(m[0]) };
    if ((m = take(/^[A-Za-z]\w*/))) return { kind: m[0] in WORDS ? 'word' : 'name', name: m[0] };
    throw new Error(`no type at "${rest}" in "${text}"`);
  };
  const term = () => {
    let type = primary();
    for (let m; (m = take(/^\[(\+?)\]/));) type = { kind: 'list', of: type, some: m[1] === '+' };
    return type;
  };
  const union = () => {
    const of = [term()];
    while (take(/^\|/)) of.push(term());
    return of.length === 1 ? of[0] : { kind: 'union', of };
  };
  const type = union();
  if (rest) throw new Error(`"${rest}" is left of "${text}"`);
  return type;
}

const shown = (value) => {
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
};

/** Reads one field of a file: {name, optional, type, when}. */
export function parseField(key, text) {
  const optional = key.endsWith('?');
  const at = text.indexOf(' ; ');
  return {
    name: optional ? key.slice(0, -1) : key,
    optional,
    type: parseType(at < 0 ? text : text.slice(0, at)),
    when: at < 0 ? null : text.slice(at + 3).trim(),
  };
}

function namesIn(type) {
  if (type.kind === 'name') return [type.name];
  if (type.kind === 'union') return type.of.flatMap(namesIn);
  return type.of ? namesIn(type.of) : [];
}

/** The types of one file; remembers what of them was seen. */
export class Shapes {
  constructor(types) {
    this.types = new Map();
    this.seen = new Set(); // "Type", "Type.field", "Type.field-" (absent)
    for (const [name, type] of Object.entries(types)) {
      const fields = [];
      for (const list of [type.fields ?? {}, type.extensions ?? {}]) {
        for (const [key, text] of Object.entries(list)) {
          const field = parseField(key, text);
          if (fields.some((f) => f.name === field.name)) throw new Error(`${name}.${field.name} is there twice`);
          if (field.optional && !field.when) throw new Error(`${name}.${field.name}: when is it there?`);
          if (field.name in (type.never ?? {})) throw new Error(`${name}.${field.name} is never there, and there`);
          fields.push(field);
        }
      }
      this.types.set(name, fields);
    }
    for (const [name, fields] of this.types) {
      for (const f of fields) {
        for (const other of namesIn(f.type)) {
          if (!this.types.has(other)) throw new Error(`${name}.${f.name}: no type ${other}`);
        }
      }
    }
  }

  /**
   * What is wrong with `value`; nothing, when it is what `text` says. `optional`: the paths of the optional fields
   * that are there (`choices[].message.tool_calls`; with a ? at the end they may be missing in some elements).
   * @returns {string[]}
   */
  check(value, text, optional = []) {
    const type = parseType(text);
    for (const name of namesIn(type)) if (!this.types.has(name)) throw new Error(`no type ${name}`);
    const left = new Set(optional.filter((path) => !path.endsWith('?')));
    const { errors, seen } = this.#check(value, type, '', '', { optional: new Set(optional), left });
    if (errors.length === 0) {
      for (const path of left) errors.push(`${path}: must be there in this example`);
    }
    if (errors.length === 0) for (const s of seen) this.seen.add(s);
    return errors;
  }

  /** What of these types no example has shown: the type, optional fields that never were there, or always. */
  unseen(names = [...this.types.keys()]) {
    const out = [];
    for (const name of names) {
      const fields = this.types.get(name);
      if (!this.seen.has(name)) {
        out.push(`${name}: in no example`);
        continue;
      }
      for (const f of fields) {
        if (!f.optional) continue;
        if (!this.seen.has(`${name}.${f.name}`)) out.push(`${name}.${f.name}: in no example`);
        if (!this.seen.has(`${name}.${f.name}-`)) out.push(`${name}.${f.name}: in every example, so it is not optional`);
      }
    }
    return out;
  }

  #check(value, type, path, general, context) {
    const at = path || 'the answer';
    const wrong = (what) => ({ errors: [`${at}: must be ${what}, is ${shown(value)}`], seen: [] });
    const right = { errors: [], seen: [] };
    switch (type.kind) {
      case 'word':
        return WORDS[type.name](value) ? right : wrong(type.name);
      case 'literal':
        return value === type.value ? right : wrong(shown(type.value));
      case 'pattern':
        return typeof value === 'string' && type.pattern.test(value) ? right : wrong(String(type.pattern));
      case 'list':
        if (!Array.isArray(value)) return wrong('a list');
        if (type.some && value.length === 0) return wrong('a list that is not empty');
        return joined(value.map((v, i) => this.#check(v, type.of, `${path}[${i}]`, `${general}[]`, context)));
      case 'map':
        if (!WORDS.object(value)) return wrong('an object');
        return joined(Object.entries(value).map(([k, v]) => this.#check(v, type.of, `${path}{${k}}`, `${general}{}`, context)));
      case 'union':
        return this.#union(value, type, path, general, context);
      default:
        return WORDS.object(value) ? this.#object(value, type.name, path, general, context) : wrong(`an object (${type.name})`);
    }
  }

  /** The alternative that fits, or that fits best. */
  #union(value, type, path, general, context) {
    let best = null;
    for (const each of type.of) {
      const left = new Set(context.left);
      const r = this.#check(value, each, path, general, { ...context, left });
      if (best && best.errors.length <= r.errors.length) continue;
      best = { ...r, left };
      if (r.errors.length === 0) break;
    }
    for (const each of context.left) if (!best.left.has(each)) context.left.delete(each);
    return best;
  }

  #object(value, name, path, general, context) {
    const fields = this.types.get(name);
    const results = [{ errors: [], seen: [name] }];
    const error = (field, what) => results.push({ errors: [`${path ? `${path}.` : ''}${field}: ${what} (${name})`], seen: [] });
    for (const f of fields) {
      const here = general ? `${general}.${f.name}` : f.name;
      const may = context.optional.has(`${here}?`);
      const must = !f.optional || context.optional.has(here);
      if (!Object.hasOwn(value, f.name)) {
        if (must) error(f.name, 'is missing');
        else results[0].seen.push(`${name}.${f.name}-`);
        continue;
      }
      if (!must && !may) {
        error(f.name, `is there, but not in this example; it is there ${f.when}`);
        continue;
      }
      context.left.delete(here);
      results[0].seen.push(`${name}.${f.name}`);
      results.push(this.#check(value[f.name], f.type, path ? `${path}.${f.name}` : f.name, here, context));
    }
    for (const key of Object.keys(value)) {
      if (!fields.some((f) => f.name === key)) error(key, `is not documented: ${shown(value[key])}`);
    }
    return joined(results);
  }
}

function joined(results) {
  return { errors: results.flatMap((r) => r.errors), seen: results.flatMap((r) => r.seen) };
}

/** The value at a path like `choices.0.message.content`; undefined where there is none. */
export function valueAt(value, path) {
  return path.split('.').reduce((v, key) => (v === undefined || v === null ? undefined : key === '#' ? v.length : v[key]), value);
}

const same = (a, b) => {
  if (a === b || typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  const keys = Object.keys(a);
  return Array.isArray(a) === Array.isArray(b) && keys.length === Object.keys(b).length
    && keys.every((k) => Object.hasOwn(b, k) && same(a[k], b[k]));
};

/** What of `values` (path: value; `a.#` is the length of a list) is not so. */
export function checkValues(value, values = {}) {
  return Object.entries(values)
    .filter(([path, wanted]) => !same(valueAt(value, path), wanted))
    .map(([path, wanted]) => `${path}: must be ${shown(wanted)}, is ${shown(valueAt(value, path))}`);
}

function checkEvent(shapes, event, wanted) {
  if (typeof wanted.is !== 'string') throw new Error(`what is ${shown(wanted)}?`);
  if ((event.event ?? null) !== (wanted.event ?? null)) {
    return [`must be event ${wanted.event ?? '(none)'}, is ${event.event ?? '(none)'}: ${shown(event.data)}`];
  }
  const errors = checkValues(event.data, wanted.values);
  return errors.length ? errors : shapes.check(event.data, wanted.is, wanted.with);
}

/**
 * What is wrong with a stream. `wanted`: the events in their order, each {is, event, with, values, times} with times
 * `+` (one or more, as many as fit), `*` (none or more) or absent (one).
 * @param {{event?: string, data: any}[]} events
 * @returns {string[]}
 */
export function checkStream(shapes, events, wanted) {
  let at = 0;
  let tried = []; // why the events before this one did not go on
  for (const each of wanted) {
    const start = at;
    let errors = [];
    do {
      if (at === events.length) {
        errors = [`the stream is over, ${each.event ?? each.is} ${shown(each.values ?? '')} is missing`];
        break;
      }
      errors = checkEvent(shapes, events[at], each);
      if (errors.length === 0) at++;
    } while (errors.length === 0 && (each.times === '+' || each.times === '*'));
    if (at === start && each.times !== '*') {
      return [`event ${at}: ${shown(events[at]?.data)}`, ...errors.map((e) => `  ${e}`), ...tried.map((e) => `  nor more of those before: ${e}`)];
    }
    tried = at === start ? [...tried, ...errors] : errors;
  }
  if (at === events.length) return [];
  return [`event ${at}: must be the end of the stream, is ${shown(events[at])}`, ...tried.map((e) => `  nor more of those before: ${e}`)];
}

/** The events of a body of text/event-stream; `data` that is JSON is read. Comments are no events. */
export function readEvents(text) {
  const events = [];
  for (const block of text.split('\n\n')) {
    const event = {};
    for (const line of block.split('\n')) {
      const [, name, value] = /^(\w*):? ?(.*)$/.exec(line);
      if (name === 'data') event.data = value.startsWith('{') || value.startsWith('[{') ? JSON.parse(value) : value;
      else if (name) event[name] = value;
    }
    if (Object.keys(event).length) events.push(event);
  }
  return events;
}

/** The lines of a body of application/x-ndjson: every line ends. */
export function readLines(text) {
  if (text && !text.endsWith('\n')) throw new Error(`the last line does not end: ${shown(text.slice(-80))}`);
  return text.split('\n').slice(0, -1).map((line) => ({ data: JSON.parse(line) }));
}
