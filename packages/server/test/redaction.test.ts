import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { redact, redactText } from '../src/redaction.ts';

test('turns anything into something that JSON can write, and ends', () => {
  const circle: Record<string, unknown> = {};
  circle['self'] = circle;
  expect(JSON.stringify(redact(circle))).toContain('[deeper]');
  expect(redact(new Date(Number.NaN))).toBe('[no time]');
  expect(redact(new Map([[{ toString: 0 }, 1]]))).toEqual({ '[object]': 1 });
  const unreadable = {
    get field() {
      throw new Error('no');
    },
  };
  expect(redact({ note: 'kept', unreadable })).toEqual({ note: 'kept', unreadable: '[unreadable]' });
  fc.assert(
    fc.property(
      fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true }),
      (value) => {
        JSON.stringify(redact(value));
      },
    ),
  );
});

test('leaves a line of JSON a line of JSON', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.constantFrom(
          '-----BEGIN PRIVATE KEY-----',
          '\n',
          '"',
          '\\',
          '/a?b',
          'https://a/?',
          'gho_0123456789abcdefghij',
          'Bearer 0123456789',
          'x',
          "'",
          '#',
        ),
      ),
      (parts) => {
        const line = JSON.stringify({
          note: parts.join(''),
          nested: JSON.stringify({ note: parts.join('') }),
        });
        expect(JSON.parse(redactText(line))).toHaveProperty('nested');
      },
    ),
    { numRuns: 2_000 },
  );
});

test('is quick on long texts', () => {
  // The processor's time, of which a fraction of a second is needed where it is linear; what is quadratic takes minutes.
  const start = process.cpuUsage();
  for (const text of [
    '/'.repeat(100_000),
    'eyJ'.repeat(30_000),
    'eyJaaaaaaaa-'.repeat(9_000),
    'a?'.repeat(50_000),
    'Bearer '.repeat(9_000),
    '-----BEGIN '.repeat(9_000),
    `/${'a'.repeat(100_000)}`,
  ]) {
    redactText(text);
  }
  expect(process.cpuUsage(start).user / 1_000_000).toBeLessThan(10);
});
