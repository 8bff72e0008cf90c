import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { plainText } from '../src/index.ts';

describe('text from a server', () => {
  it('I12: cannot drive a terminal', () => {
    expect(plainText('a\u001b[2Jb\r\nc\u009bd\u202ee')).toBe('a\\u001b[2Jb\\u000d\\u000ac\\u009bd\\u202ee');
  });

  it('stays as it is where it is harmless', () => {
    expect(plainText('Grüße, 世界 – 🙂 "x" \\')).toBe('Grüße, 世界 – 🙂 "x" \\');
  });

  it('is cut where it is long, and says so', () => {
    expect(plainText('x'.repeat(2000))).toBe(`${'x'.repeat(1000)} … (cut)`);
  });

  it('never holds a control, and keeps JSON the same JSON', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(plainText(text, 10_000)).not.toMatch(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u);
        expect(JSON.parse(plainText(JSON.stringify(text), 100_000))).toBe(text);
      }),
    );
  });
});
