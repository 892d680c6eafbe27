// Reads the declarations that come with the official clients (node_modules/**/*.d.ts), and says where a type of the
// golden files (golden.mjs) departs from the one that it names as its documentation:
//
//   "documented": "openai/resources/completions.d.ts#Completion"      (several: what they have together)
//
// A type whose documentation is no such file ("https://...", a README) is not compared. What departs on purpose
// stands under `deviations`, field by field, with its reason.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { parseField } from './golden.mjs';
import { root } from './hearth.mjs';

const files = new Map();

/** The index behind the bracket that closes the one at `at`. */
function closing(text, at) {
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    const c = text[i];
    if (c === "'" || c === '"' || c === '`') i = text.indexOf(c, i + 1);
    else if ('{(['.includes(c)) depth++;
    else if ('})]'.includes(c) && --depth === 0) return i + 1;
  }
  throw new Error('a bracket is not closed');
}

/** The members of an interface's body, [name, optional, type]. */
function membersOf(body) {
  const out = [];
  for (let at = 0; at < body.length;) {
    const m = /^\s*(?:readonly\s+)?['"]?([\w$]+)['"]?(\?)?:\s*/.exec(body.slice(at));
    let end = at + (m ? m[0].length : 0);
    while (end < body.length && body[end] !== ';') end = '{([\'"`'.includes(body[end]) ? skip(body, end) : end + 1;
    if (m) out.push({ name: m[1], optional: m[2] === '?', type: body.slice(at + m[0].length, end).replace(/\s+/g, ' ').trim() });
    at = end + 1;
  }
  return out;
}

const skip = (text, at) => ('{(['.includes(text[at]) ? closing(text, at) : text.indexOf(text[at], at + 1) + 1);

/** The declarations of a text: name with its namespaces -> {members, parents} or {alias}. */
export function readDeclarations(text) {
  const out = new Map();
  const walk = (part, prefix) => {
    const head = /(?:^|\n)\s*(?:export\s+)?(?:declare\s+)?(namespace|interface|type)\s+([\w$]+)(?:<[^>{]*>)?(?:\s+extends\s+([^{]+))?\s*([{=])/g;
    for (let m; (m = head.exec(part));) {
      const name = prefix ? `${prefix}.${m[2]}` : m[2];
      const open = m.index + m[0].length - 1;
      if (m[1] === 'type') {
        let end = open + 1;
        while (end < part.length && part[end] !== ';') end = '{([\'"`'.includes(part[end]) ? skip(part, end) : end + 1;
        out.set(name, { alias: part.slice(open + 1, end).replace(/\s+/g, ' ').trim() });
        head.lastIndex = end;
        continue;
      }
      const end = closing(part, open);
      const body = part.slice(open + 1, end - 1);
      if (m[1] === 'namespace') walk(body, name);
      else out.set(name, { members: membersOf(body), parents: (m[3] ?? '').split(',').map((p) => p.trim()).filter(Boolean) });
      head.lastIndex = end;
    }
  };
  walk(text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, ''), '');
  return out;
}

function declarations(file) {
  if (!files.has(file)) files.set(file, readDeclarations(readFileSync(join(root, 'node_modules', file), 'utf8')));
  return files.get(file);
}

/** The interface `name` of a file with what it inherits; a list of members. */
function interfaceOf(file, name) {
  const all = declarations(file);
  const found = all.get(name);
  if (!found?.members) throw new Error(`${file} declares no interface ${name}`);
  const members = new Map();
  for (const parent of found.parents) {
    // `Shared.Thing` is a Thing of another file, which the golden file has to name itself.
    const here = all.has(parent) ? parent : parent.split('.').slice(1).join('.');
    if (all.has(here)) for (const m of interfaceOf(file, here)) members.set(m.name, m);
  }
  for (const m of found.members) members.set(m.name, m);
  return [...members.values()];
}

/** The alternatives of a type, aliases of the same file resolved: `'a' | 'b' | null`. */
function alternatives(file, text, scope) {
  const parts = [];
  for (let at = 0, from = 0; at <= text.length; at++) {
    if (at < text.length && '{([\'"`'.includes(text[at])) at = skip(text, at) - 1;
    else if (at === text.length || text[at] === '|') {
      parts.push(text.slice(from, at).trim());
      from = at + 1;
    }
  }
  return parts.filter(Boolean).flatMap((part) => {
    if (!/^[\w$.]+$/.test(part)) return [part];
    const all = declarations(file);
    const names = [`${scope}.${part}`, part, part.split('.').slice(1).join('.')];
    const alias = names.map((n) => all.get(n)?.alias).find(Boolean);
    return alias && alias !== text ? alternatives(file, alias, scope) : [part];
  });
}

const kindOf = (type) => {
  if (type.kind === 'literal') return typeof type.value;
  if (type.kind === 'pattern') return 'string';
  if (type.kind === 'list') return 'list';
  if (type.kind === 'map' || type.kind === 'name') return 'object';
  const words = { integer: 'number', count: 'number', seconds: 'number', milliseconds: 'number', text: 'string', json: 'string', base64: 'string', time: 'string', true: 'boolean', false: 'boolean' };
  return words[type.name] ?? type.name;
};
const kindOfDeclared = (text) => {
  if (/^['"]/.test(text) || text === 'string') return 'string';
  if (/^-?\d/.test(text) || text === 'number') return 'number';
  if (/^(boolean|true|false)$/.test(text)) return 'boolean';
  if (/^Array<|\[\]$/.test(text)) return 'list';
  if (/^(null|undefined)$/.test(text)) return 'null';
  return text.startsWith('{') ? 'object' : null; // a name: not followed into other files
};

/** Where a field's type says something that its declaration does not allow. */
function typeDepartures(field, declared, file, scope) {
  const allowed = alternatives(file, declared, scope);
  const kinds = allowed.map(kindOfDeclared);
  const ours = field.type.kind === 'union' ? field.type.of : [field.type];
  const out = [];
  const literals = allowed.filter((a) => /^['"]/.test(a)).map((a) => a.slice(1, -1));
  const open = kinds.includes(null) || allowed.includes('string') || allowed.includes('unknown') || allowed.includes('any');
  for (const type of ours) {
    const kind = kindOf(type);
    if (kind === 'any' || allowed.includes('unknown') || allowed.includes('any')) continue;
    if (kind === 'null' ? !kinds.includes('null') : !kinds.includes(kind) && !kinds.includes(null)) out.push(`${kind} is not ${declared}`);
    else if (type.kind === 'literal' && kind === 'string' && !open && !literals.includes(type.value)) out.push(`'${type.value}' is not ${declared}`);
    else if (kind === 'string' && type.kind !== 'literal' && literals.length && !open) out.push(`any text is not ${declared}`);
  }
  return out;
}

/**
 * Where the type `name` of a golden file departs from its documentation without saying so.
 * @returns {string[]}
 */
export function departures(name, type) {
  const places = [type.documented].flat().filter((d) => /^[^\s:]+\.d\.m?ts#/.test(d ?? ''));
  if (!type.documented) return [`${name}: where is it documented?`];
  if (places.length === 0) return [];
  const known = new Map();
  for (const place of places) {
    const [file, scope] = place.split('#');
    for (const m of interfaceOf(file, scope)) known.set(m.name, { ...m, file, scope });
  }
  const deviations = { ...type.deviations };
  const out = [];
  const departs = (field, what) => {
    if (field in deviations) deviations[field] = null;
    else out.push(`${name}.${field}: ${what}`);
  };
  const fields = Object.entries(type.fields ?? {}).map(([key, text]) => parseField(key, text));
  const extensions = Object.keys(type.extensions ?? {}).map((key) => key.replace(/\?$/, ''));
  for (const m of known.values()) {
    const field = fields.find((f) => f.name === m.name);
    if (extensions.includes(m.name)) out.push(`${name}.${m.name}: is documented, so it is no extension`);
    else if (m.name in (type.never ?? {})) {
      if (!m.optional) departs(m.name, 'must be there');
    } else if (!field) out.push(`${name}.${m.name}: is documented (${m.type}), and not here`);
    else {
      if (field.optional && !m.optional) departs(m.name, 'must always be there');
      for (const what of typeDepartures(field, m.type, m.file, m.scope)) departs(m.name, what);
    }
  }
  for (const each of [...fields.map((f) => f.name), ...Object.keys(type.never ?? {})]) {
    if (!known.has(each)) out.push(`${name}.${each}: is not documented, so it is an extension`);
  }
  for (const [field, reason] of Object.entries(deviations)) {
    if (reason !== null) out.push(`${name}.${field}: does not depart (any more)`);
  }
  return out;
}
