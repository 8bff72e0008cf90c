import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { placeAt, positionOfByte, splitPolicies } from '../src/policy-text.ts';

describe('the text of a policy file', () => {
  test('is cut at the semicolons that end policies, not at those in strings and comments', () => {
    const pieces = fc.constantFrom(
      'permit(principal, action, resource);',
      '@id("a;b\\"; // x") forbid(principal, action, resource) when { 4 / 2 == "ü;" };',
    );
    const talk = fc.constantFrom(
      '',
      '\n',
      ' // permit(principal, action, resource);\n',
      '// "unclosed ;\n',
      '\r\n\t',
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(talk, pieces)), talk, (parts, end) => {
        const text = parts.flat().join('') + end;
        const cut = splitPolicies(text);
        expect(cut.map((each) => each.text)).toEqual(parts.map(([, policy]) => policy));
        for (const each of cut) expect(text.startsWith(each.text, each.start)).toBe(true);
      }),
    );
  });

  test('counts lines and columns from one, in characters, and converts byte offsets', () => {
    const text = 'ab\n€😀x';
    expect(placeAt('f', text, 0)).toEqual({ file: 'f', line: 1, column: 1 });
    expect(placeAt('f', text, text.indexOf('x'))).toEqual({ file: 'f', line: 2, column: 3 });
    expect(positionOfByte(text, Buffer.byteLength('ab\n€😀'))).toBe(text.indexOf('x'));
  });
});
