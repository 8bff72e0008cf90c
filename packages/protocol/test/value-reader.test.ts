import type { Json } from '@beacon/protocol/strict-json';
import { ValueReader } from '@beacon/protocol/value-reader';
import { describe, expect, it } from '@jest/globals';
import { refusalOf } from './refusal.ts';

const read = (value: Json): ValueReader => new ValueReader('allowlist-malformed', 'file', value);

describe('a value reader', () => {
  it('gives what is there, and nothing where an optional key is left out', () => {
    const { a, b, c } = read({ a: 'x', b: [1, true] }).members(['a', 'b'], ['c']);
    expect(a.text()).toBe('x');
    expect(b.list(2).map((entry) => entry.value)).toEqual([1, true]);
    expect(c).toBeUndefined();
  });

  it('takes nothing from the prototype of an object', () => {
    expect(refusalOf(() => read({}).members(['constructor']))).toBe('allowlist-malformed');
    expect(read({}).members([], ['toString']).toString).toBeUndefined();
  });

  it.each<[string, (reader: ValueReader) => unknown, Json]>([
    ['a text that is empty', (reader) => reader.text(), ''],
    ['a text of two lines', (reader) => reader.text(), 'a\nb'],
    ['a text that is too long', (reader) => reader.text(2), 'abc'],
    ['a number as a text', (reader) => reader.text(), 1],
    ['a text as a number', (reader) => reader.integer(0, 9), '1'],
    ['a number out of bounds', (reader) => reader.integer(0, 9), 10],
    ['a word as true', (reader) => reader.boolean(), 'true'],
    ['an object as a list', (reader) => reader.list(9), {}],
    ['a list as an object', (reader) => reader.members([]), []],
    ['null as an object', (reader) => reader.entries(9), null],
    ['too many entries', (reader) => reader.entries(1), { a: 1, b: 2 }],
    ['a name that is none', (reader) => reader.name('login'), 'Root'],
  ])('refuses %s', (_, take, value) => {
    expect(refusalOf(() => take(read(value)))).toBe('allowlist-malformed');
  });

  it('says where the value stands', () => {
    expect(() =>
      read({ a: [{ b: 1 }] })
        .members(['a'])
        .a.list(9)[0]
        ?.members(['b'])
        .b.text(),
    ).toThrow(/^file[.]a\[0\][.]b: /);
  });
});
