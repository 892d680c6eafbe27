// What checks the golden files finds what it is there to find: a field that is missing, one too many, a wrong type,
// a wrong order. No hub is needed.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { departures, readDeclarations } from '../support/declarations.mjs';
import { Shapes, checkStream, checkValues, parseType, readEvents, readLines } from '../support/golden.mjs';

const types = {
  Answer: {
    documented: 'a paper',
    fields: { id: '/^a-/', kind: "'answer'", n: 'count', parts: '(Text | Call)[+]', 'note?': 'string | null ; sometimes' },
    extensions: { 'took?': 'number ; when asked for' },
  },
  Text: { documented: 'a paper', fields: { type: "'text'", text: 'string' } },
  Call: { documented: 'a paper', fields: { type: "'call'", 'name?': 'string ; in the first piece', args: '{integer}' } },
};
const good = { id: 'a-1', kind: 'answer', n: 2, parts: [{ type: 'text', text: '' }, { type: 'call', name: 'f', args: { x: 1 } }] };
const check = (change, optional = ['parts[].name?']) => new Shapes(types).check({ ...good, ...change }, 'Answer', optional);
const without = (name) => {
  const { [name]: _, ...rest } = good;
  return new Shapes(types).check(rest, 'Answer', ['parts[].name?']);
};

test('what is right has no errors', () => {
  assert.deepEqual(check({}), []);
  assert.deepEqual(check({ note: null, took: 1.5 }, ['note', 'took', 'parts[].name?']), []);
});

test('a field that is missing', () => {
  for (const name of Object.keys(good)) {
    assert.deepEqual(without(name), [`${name}: is missing (Answer)`]);
  }
  assert.deepEqual(check({ parts: [{ type: 'text' }] }), ['parts[0].text: is missing (Text)']);
});

test('a field too many', () => {
  assert.deepEqual(check({ more: 1 }), ['more: is not documented: 1 (Answer)']);
  assert.deepEqual(check({ parts: [{ type: 'text', text: '', x: null }] }), ['parts[0].x: is not documented: null (Text)']);
});

test('an optional field: where the example has it, and only there', () => {
  assert.deepEqual(check({}, ['note', 'parts[].name?']), ['note: is missing (Answer)']);
  assert.deepEqual(check({ note: 'x' }), ['note: is there, but not in this example; it is there sometimes (Answer)']);
  assert.deepEqual(check({}, []), ['parts[1].name: is there, but not in this example; it is there in the first piece (Call)']);
  assert.deepEqual(check({ parts: [{ type: 'text', text: '' }] }, ['parts[].name']), ['parts[].name: must be there in this example']);
});

test('a wrong type', () => {
  const wrong = [
    [{ id: 'b-1' }, /^id: must be /], [{ id: 1 }, /^id: must be /], [{ kind: 'Answer' }, /^kind: must be "answer"/],
    [{ n: '2' }, /^n: must be count/], [{ n: -1 }, /^n: must be count/], [{ n: 2.5 }, /^n: must be count/], [{ n: null }, /^n: must be count/],
    [{ parts: {} }, /^parts: must be a list/], [{ parts: [] }, /^parts: must be a list that is not empty/],
    [{ parts: [null] }, /^parts\[0\]: must be an object/], [{ parts: [[]] }, /^parts\[0\]: must be an object/],
    [{ parts: [{ type: 'call', args: { x: '1' } }] }, /^parts\[0\]\.args\{x\}: must be integer/],
    [{ parts: [{ type: 'sound', text: '' }] }, /^parts\[0\]\.type: must be "text"/],
  ];
  for (const [change, message] of wrong) {
    const errors = check(change);
    assert.equal(errors.length, 1, errors.join('\n'));
    assert.match(errors[0], message);
  }
});

test('the words', () => {
  const shapes = new Shapes({});
  const rows = {
    string: [['', 'a'], [1, null, []]], text: [['a'], ['', 1]], integer: [[-1, 0], [0.5, '1']], number: [[0.5], ['1', null]],
    boolean: [[true, false], [0, null]], true: [[true], [false, 1]], null: [[null], [0, '']], object: [[{}], [[], null, '']],
    json: [['{"a":1}'], ['[1]', '{', '']], base64: [['aGk='], ['aGk', '?', '']], seconds: [[1763700000], [1763700000000, 1763700000.5, '1']],
    milliseconds: [[1763700000000], [1763700000]], time: [['2026-01-02T03:04:05Z', '2026-01-02T03:04:05.678+01:00'], ['2026-01-02', 1763700000]],
    "'a'": [['a'], ['b']], 7: [[7], [8, '7']], '{string}': [[{}, { a: 'b' }], [{ a: 1 }, []]], 'string | null': [['', null], [1]],
    '(integer | null)[]': [[[], [1, null]], [['1'], 1]],
  };
  for (const [type, [right, wrong]] of Object.entries(rows)) {
    for (const value of right) assert.deepEqual(shapes.check(value, type), [], `${type} ${JSON.stringify(value)}`);
    for (const value of wrong) assert.equal(shapes.check(value, type).length, 1, `${type} ${JSON.stringify(value)}`);
  }
  assert.throws(() => shapes.check(1, 'Nothing'), /no type Nothing/);
  for (const bad of ['', 'string |', '(string', '{string', 'string]', "'a"]) assert.throws(() => parseType(bad), new RegExp('.'), bad);
});

test('types that say too little are refused', () => {
  const one = (type) => () => new Shapes({ T: type });
  assert.throws(one({ fields: { 'a?': 'string' } }), /T\.a: when is it there/);
  assert.throws(one({ fields: { a: 'Other' } }), /no type Other/);
  assert.throws(one({ fields: { a: 'string' }, extensions: { a: 'string' } }), /there twice/);
  assert.throws(one({ fields: { a: 'string' }, never: { a: 'why' } }), /never there/);
});

test('what no example has shown', () => {
  const shapes = new Shapes(types);
  assert.deepEqual(shapes.unseen(), ['Answer: in no example', 'Text: in no example', 'Call: in no example']);
  shapes.check({ ...good, n: 'wrong' }, 'Answer', ['parts[].name?']);
  assert.equal(shapes.unseen().length, 3, 'an example that fails shows nothing');
  shapes.check(good, 'Answer', ['parts[].name?']);
  assert.deepEqual(shapes.unseen(), ['Answer.note: in no example', 'Answer.took: in no example', 'Call.name: in every example, so it is not optional']);
});

const piece = (text, more) => ({ event: 'piece', data: { type: 'text', text, ...more } });
const end = { event: 'end', data: { type: 'call', args: {} } };
const order = [
  { event: 'piece', is: 'Text', values: { text: 'first' } },
  { event: 'piece', is: 'Text', times: '+' },
  { event: 'note', is: 'string', times: '*' },
  { event: 'end', is: 'Call' },
];
const stream = (events) => checkStream(new Shapes(types), events, order);

test('a stream in its order', () => {
  assert.deepEqual(stream([piece('first'), piece('a'), end]), []);
  assert.deepEqual(stream([piece('first'), piece('a'), piece('b'), { event: 'note', data: 'x' }, end]), []);
});

test('a stream that is out of order, too short, too long, or whose events are wrong', () => {
  const wrong = [
    [[piece('a'), piece('first'), end], /^event 0/],
    [[piece('first'), end], /^event 1/],
    [[piece('first'), piece('a')], /^event 2/],
    [[piece('first'), piece('a'), end, end], /^event 3: must be the end/],
    [[piece('first'), end, piece('a')], /^event 1/],
    [[piece('first'), piece('a', { more: 1 }), end], /^event 1/],
    [[piece('first'), piece(7), end], /^event 1/],
    [[piece('first'), { data: piece('a').data }, end], /^event 1/],
    [[], /^event 0/],
  ];
  for (const [events, message] of wrong) {
    const errors = stream(events);
    assert.ok(errors.length > 0, JSON.stringify(events));
    assert.match(errors[0], message);
  }
  assert.match(stream([piece('first'), piece('a'), piece('b', { more: 1 }), end]).join('\n'), /more: is not documented/);
});

test('streams are read as they are written', () => {
  assert.deepEqual(readEvents(': queued\n\nevent: a\ndata: {"x":1}\n\ndata: [DONE]\n\n'), [{ event: 'a', data: { x: 1 } }, { data: '[DONE]' }]);
  assert.deepEqual(readLines('{"a":1}\n{"b":2}\n'), [{ data: { a: 1 } }, { data: { b: 2 } }]);
  assert.throws(() => readLines('{"a":1}\n{"b":2}'), /does not end/);
});

test('values', () => {
  const value = { a: [{ b: 'x' }, { b: null }], c: {} };
  assert.deepEqual(checkValues(value, { 'a.0.b': 'x', 'a.1.b': null, 'a.#': 2, c: {} }), []);
  assert.equal(checkValues(value, { 'a.0.b': 'y', 'a.#': 1, c: [], 'd.e': null }).length, 4);
});

const file = 'openai/resources/completions.d.ts';

test('declarations are read with their namespaces, aliases and parents', () => {
  const d = readDeclarations(`
    export interface A extends B, Shared.C { /** not; b: this */ a?: 'x;' | null; 'q': Array<A.D>; f(x: string): void; }
    export declare namespace A {
      interface D { m: { [key: string]: number }; }
      type E = 'k' | 'l';
    }
  `);
  assert.deepEqual([...d.keys()], ['A', 'A.D', 'A.E']);
  assert.deepEqual(d.get('A').parents, ['B', 'Shared.C']);
  assert.deepEqual(d.get('A').members, [{ name: 'a', optional: true, type: "'x;' | null" }, { name: 'q', optional: false, type: 'Array<A.D>' }]);
  assert.deepEqual(d.get('A.D').members, [{ name: 'm', optional: false, type: '{ [key: string]: number }' }]);
  assert.equal(d.get('A.E').alias, "'k' | 'l'");
});

test('types that depart from their declaration without a reason', () => {
  const right = {
    documented: `${file}#CompletionChoice`,
    fields: { finish_reason: "'stop' | 'length'", index: 'count', logprobs: 'X | null', text: 'string' },
  };
  assert.deepEqual(departures('T', right), []);
  const change = (fields, more) => departures('T', { ...right, fields: { ...right.fields, ...fields }, ...more });
  const { text: _, ...fewer } = right.fields;
  assert.deepEqual(departures('T', { ...right, fields: fewer }), ['T.text: is documented (string), and not here']);
  assert.deepEqual(change({ finish_reason: "'ended'" }).length, 1);
  assert.deepEqual(change({ finish_reason: 'string' }).length, 1);
  assert.deepEqual(change({ text: 'count' }), ['T.text: number is not string']);
  assert.deepEqual(change({ text: 'string | null' }), ['T.text: null is not string']);
  assert.deepEqual(change({ text: 'string | null' }, { deviations: { text: 'a reason' } }), []);
  assert.deepEqual(change({}, { deviations: { text: 'a reason' } }), ['T.text: does not depart (any more)']);
  assert.deepEqual(change({ more: 'string' }), ['T.more: is not documented, so it is an extension']);
  assert.deepEqual(change({}, { extensions: { more: 'string' } }), []);
  assert.deepEqual(departures('T', { ...right, fields: fewer, extensions: { text: 'string' } }), ['T.text: is documented, so it is no extension']);
  assert.deepEqual(departures('T', { ...right, fields: fewer, never: { text: 'why' } }), ['T.text: must be there']);
  assert.deepEqual(departures('T', { ...right, fields: { ...fewer, 'text?': 'string ; at times' } }), ['T.text: must always be there']);
  assert.deepEqual(departures('T', { fields: {} }), ['T: where is it documented?']);
});
