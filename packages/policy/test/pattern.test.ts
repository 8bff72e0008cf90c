import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compilePattern, longestValue, PatternRefused } from '../src/pattern.ts';

function refusalOf(source: string): string {
  try {
    compilePattern(source);
  } catch (error) {
    if (error instanceof PatternRefused) return error.message;
    throw error;
  }
  return '';
}

describe('patterns of parameters', () => {
  test.each([
    ['[a-z0-9][a-z0-9-]{0,62}', ['a', 'a-1'], ['', '-a', 'a_', 'A', 'a\n', 'a'.repeat(64)]],
    ['[0-9]+[.][0-9]+[.][0-9]+', ['2.330.0'], ['2.330', '2.330.0.', '2x330x0']],
    ['[0-9a-f]{64}', ['ab'.repeat(32)], ['ab'.repeat(31), 'AB'.repeat(32)]],
    ['[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?', ['a', 'a.b'], ['a.', '.a']],
    ['https://[a-z.]+/[^/?#]+', ['https://a.b/c d'], ['https://a.b/', 'http://a.b/c', 'https://a.b/c/d']],
    ['a|bc|d?', ['a', 'bc', 'd', ''], ['ab', 'b']],
    ['v(?:1|2)\\.x', ['v1.x'], ['v1ax', 'xv1.x', 'v1.xx']],
    ['.*', ['', 'ä😀'], ['a\nb']],
  ])('%s matches whole values only', (source, matching, others) => {
    const matches = compilePattern(source);
    for (const value of matching) expect([value, matches(value)]).toEqual([value, true]);
    for (const value of others) expect([value, matches(value)]).toEqual([value, false]);
  });

  test.each([
    '(a+)+',
    '(a*)*b',
    '(a|a)*',
    '(a|aa)+',
    '([a-z]+)*',
    '(.*)*',
    '(a?){30}a{30}',
    '(a{1,100}){1,100}',
    'a*a*a*a*a*b',
    '.*.*=.*',
    '[a-z]*[a-y]*[a-x]*1',
    '(x|a*)(y|a*)b',
    '(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)b',
    'a?a?a?a?a?a?a?a?a?a?a?a?a?aaaaaaaaaaaaab',
  ])('P6: refuses %s, which can take long', (source) => {
    expect(refusalOf(source)).not.toBe('');
  });

  test.each([
    ['', 'empty'],
    ['^a', 'anchored'],
    ['a$', 'anchored'],
    ['a**', 'quantifiers'],
    ['a+?', 'quantifiers'],
    ['*', 'stands alone'],
    ['a{2,1}', 'repetitions'],
    ['a{,3}', 'repetitions'],
    ['a{1025}', 'repetitions'],
    ['(a', 'not closed'],
    ['a)', 'closes nothing'],
    ['[a', 'not closed'],
    ['[]', 'empty'],
    ['[z-a]', 'backwards'],
    ['\\d', 'not known'],
    ['\\1', 'not known'],
    ['(?=a)', 'look-around'],
    ['(?<!a)', 'look-around'],
    ['(?<n>a)', 'look-around'],
    ['a\\', 'not known'],
    ['ä', 'ASCII'],
    ['a\nb', 'ASCII'],
    ['\\-', 'written "-"'],
    ['[[a]', '\\['],
    ['((((((((((a))))))))))', 'deeper'],
    ['a'.repeat(513), 'longer'],
  ])('refuses %j: %s', (source, why) => {
    expect(refusalOf(source)).toContain(why);
  });

  test('P6: whatever is accepted matches the longest values in under a second', () => {
    const piece = fc.tuple(
      fc.constantFrom('a', '[a-c]', '[^b]', '.', 'b', '(a|b)', '(ab|a)', '(a|[ab]c*)'),
      fc.constantFrom('', '?', '*', '+', '{0,9}', '{2,60}', '{1,1024}'),
    );
    const source = fc
      .array(
        piece.map(([atom, quantifier]) => atom + quantifier),
        { minLength: 1, maxLength: 8 },
      )
      .map((pieces) => pieces.join(''));
    const values = ['a', 'ab', 'aab', 'abc'].flatMap((unit) =>
      ['', 'b', '!'].map((end) => unit.repeat(longestValue).slice(0, longestValue - 1) + end),
    );
    let accepted = 0;
    let slowest = 0;
    fc.assert(
      fc.property(source, (text) => {
        if (refusalOf(text) !== '') return;
        const matches = compilePattern(text);
        accepted += 1;
        for (const value of values) {
          // Time of the processor, not of the clock: a busy machine is no slow pattern.
          const start = process.cpuUsage();
          matches(value);
          slowest = Math.max(slowest, process.cpuUsage(start).user / 1000);
        }
      }),
      { numRuns: 600 },
    );
    // Some 125 are; and each takes a few milliseconds, where what looks back takes minutes.
    expect(accepted).toBeGreaterThan(40);
    expect(slowest).toBeLessThan(1_000);
  });

  test('refuses or compiles any text, and never fails otherwise', () => {
    const character = fc.constantFrom(...'ab09-^$\\.*+?()[]{}|/,:=<!é');
    fc.assert(
      fc.property(fc.string({ unit: character, maxLength: 24 }), (source) => {
        try {
          compilePattern(source)('aab');
        } catch (error) {
          expect(error).toBeInstanceOf(PatternRefused);
        }
      }),
      { numRuns: 5000 },
    );
  });
});
