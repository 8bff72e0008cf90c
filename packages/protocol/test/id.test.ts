import { createId, idTime, isId } from '@beacon/protocol/id';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refusalOf } from './refusal.ts';

const LAST_MS = 2 ** 48 - 1;
const bytes = (hex: string) => () => Buffer.from(hex, 'hex');
const time = fc.integer({ min: 0, max: LAST_MS });
const random = fc.uint8Array({ minLength: 10, maxLength: 10 }).map((b) => Buffer.from(b));

describe('ids', () => {
  it('spell 48 bits of time and 80 random bits in 26 characters', () => {
    expect(createId(0, bytes('00'.repeat(10)))).toBe('0'.repeat(26));
    expect(createId(0, bytes(`${'00'.repeat(9)}ff`))).toBe(`${'0'.repeat(24)}7z`);
    expect(createId(1, bytes('00'.repeat(10)))).toBe(`0000000001${'0'.repeat(16)}`);
    expect(createId(LAST_MS, bytes('ff'.repeat(10)))).toBe(`7${'z'.repeat(25)}`);
  });

  it('ask for ten random bytes', () => {
    let asked = 0;
    createId(0, (length) => {
      asked = length;
      return Buffer.alloc(length);
    });
    expect(asked).toBe(10);
  });

  it('sort as text in the order of their times', () => {
    fc.assert(
      fc.property(time, time, random, random, (a, b, ra, rb) => {
        const [first, second] = [createId(a, () => ra), createId(b, () => rb)];
        if (a < b) expect(first < second).toBe(true);
        if (a > b) expect(first > second).toBe(true);
        if (a === b) expect(first < second).toBe(ra.compare(rb) < 0);
      }),
    );
  });

  it('give back the time that they were made at', () => {
    fc.assert(
      fc.property(time, random, (ms, r) => {
        const id = createId(ms, () => r);
        expect(isId(id)).toBe(true);
        expect(idTime(id)).toBe(ms);
      }),
    );
  });

  it('differ when made in the same millisecond', () => {
    const ids = new Set(Array.from({ length: 1000 }, () => createId(1_767_323_045_678)));
    expect(ids.size).toBe(1000);
  });

  for (const ms of [-1, 0.5, 2 ** 48, Number.NaN, Number.POSITIVE_INFINITY]) {
    it(`are not made at ${ms}`, () => {
      expect(refusalOf(() => createId(ms))).toBe('id-malformed');
    });
  }

  const good = createId(1_767_323_045_678);
  for (const [what, text] of [
    ['nothing', ''],
    ['25 characters', good.slice(1)],
    ['27 characters', `${good}0`],
    ['upper case', good.toUpperCase()],
    ['a newline after it', `${good}\n`],
    ['a space before it', ` ${good.slice(1)}`],
    ['the letter i', `${good.slice(0, 25)}i`],
    ['the letter l', `${good.slice(0, 25)}l`],
    ['the letter o', `${good.slice(0, 25)}o`],
    ['the letter u', `${good.slice(0, 25)}u`],
    ['more than 128 bits', `8${good.slice(1)}`],
    ['a character beyond ASCII', `${good.slice(0, 25)}é`],
    ['a comma', `${good.slice(0, 25)},`],
  ] as const) {
    it(`are refused with ${what}`, () => {
      expect(isId(text)).toBe(false);
      expect(refusalOf(() => idTime(text))).toBe('id-malformed');
    });
  }
});
