import { compilePattern } from '@beacon/protocol/pattern';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refusalOf } from './refusal.ts';

const matches = (pattern: string, value: string): boolean => compilePattern(pattern).matches(value);

/** Patterns that mean the same to RegExp, over a small alphabet so that values often match. */
const atom = fc.constantFrom('a', 'b', '[ab]', '[^a]', '[a-c]', '.', '\\.', 'c');
const quantifier = fc.constantFrom('', '', '?', '*', '+', '{2}', '{0,2}', '{1,}');
const simple = fc.array(
  fc.tuple(atom, quantifier).map((parts) => parts.join('')),
  { maxLength: 2 },
);
const grouped = (inner: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .tuple(fc.array(inner, { minLength: 1, maxLength: 3 }), quantifier, atom)
    .map(([branches, times, after]) => `(${branches.join('|')})${times}${after}`);
const flat = simple.map((parts) => parts.join(''));
const pattern = fc.oneof(
  flat.filter((source) => source !== ''),
  grouped(flat),
  grouped(fc.oneof(flat, grouped(flat))),
);
const value = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '.', 'é', '😀'), maxLength: 8 });

describe('a pattern', () => {
  it('means what the same regular expression means, anchored at both ends', () => {
    fc.assert(
      fc.property(pattern, value, (source, text) => {
        expect(matches(source, text)).toBe(new RegExp(`^(?:${source})$`, 'u').test(text));
      }),
      { numRuns: 1000 },
    );
  });

  it('P6: takes time in proportion to the value, whatever is repeated', () => {
    const long = 'a'.repeat(10_000);
    for (const source of ['(a+)+b', '(a|a)*b', '(a*)*b', 'a*a*a*a*a*b', '((a?){20})*b', '(a|aa)+b'])
      expect(matches(source, long)).toBe(false);
    expect(matches('(a|aa)+', long)).toBe(true);
  });

  it('G12: lets a value begin with a dash only where it says so with a dash by itself', () => {
    for (const source of ['.*', '[a-z-]+', '[^a]+', '[!-~]+', '(.|x)o'])
      expect(matches(source, '-o')).toBe(false);
    for (const source of ['-o', '-?[a-z]+', '[-]o', '(-|x)o', '-.']) expect(matches(source, '-o')).toBe(true);
    expect(matches('[a-z-]+', 'o-o')).toBe(true);
  });

  it('R9: matches no value with a control character, whatever it says', () => {
    for (const value of ['a\n', 'a\0', '\ta', 'a\u007f', 'a\u0085']) expect(matches('.*', value)).toBe(false);
    expect(matches('[^b]*', 'a\nb')).toBe(false);
    expect(matches('.*', 'aé😀 ')).toBe(true);
  });

  it('refuses values that are too long before it looks at them', () => {
    expect(matches('a*', 'a'.repeat(16_384))).toBe(true);
    expect(matches('a*', 'a'.repeat(16_385))).toBe(false);
  });

  it.each([
    '',
    'a'.repeat(513),
    '(',
    ')',
    'a)',
    '[',
    '[]',
    '[z-a]',
    'a**',
    'a+?',
    '*a',
    '{2}',
    'a{',
    'a{2,1}',
    'a{0}',
    'a{2000}',
    '^a',
    'a$',
    '\\d',
    '\\-',
    'a\\',
    '(?=a)',
    '(?<n>a)',
    '[[:alpha:]]',
    'é',
    'a\n',
    '(((((((((a)))))))))',
    '((a{1000}){1000}){1000}',
    '((){1000}){1000}',
    '(((|a){0,1000}){0,1000}){0,1000}',
  ])('refuses %j', (source) => {
    expect(refusalOf(() => compilePattern(source))).toBe('pattern-malformed');
  });

  it('is refused or compiled, whatever its text', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), (source) => {
        expect(['accepted', 'pattern-malformed']).toContain(refusalOf(() => compilePattern(source)));
      }),
    );
  });
});
