import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SshError } from '../src/error.ts';
import { formatPrincipalsLine, type PrincipalsLine, parsePrincipalsLine } from '../src/principals.ts';

const principal = 'web@build-01';
const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof SshError) return error.code;
    throw error;
  }
  return 'none';
};

describe('formatPrincipalsLine and parsePrincipalsLine', () => {
  test.each<[PrincipalsLine, string]>([
    [{ principal, restrict: false }, 'web@build-01'],
    [{ principal, restrict: true }, 'restrict web@build-01'],
    [{ principal, restrict: true, command: 'gate AAAA' }, 'restrict,command="gate AAAA" web@build-01'],
    [{ principal, restrict: false, command: 'say "a b" \\n' }, 'command="say \\"a b\\" \\n" web@build-01'],
    [{ principal, restrict: true, command: '\\"' }, 'restrict,command="\\\\"" web@build-01'],
  ])('%j is %j', (value, line) => {
    expect(formatPrincipalsLine(value)).toBe(line);
    expect(parsePrincipalsLine(`${line}\n`)).toEqual(value);
  });

  test('a command may be as long as a certificate in base64', () => {
    const value = { principal, restrict: true, command: `gate ${'A'.repeat(400_000)}` };
    expect(parsePrincipalsLine(formatPrincipalsLine(value))).toEqual(value);
  });

  test('parse ∘ format is the identity, or both refuse', () => {
    const command = fc.string({ unit: fc.constantFrom('"', '\\', ' ', 'a', ',', '=', '#', '\n', 'é') });
    fc.assert(
      fc.property(command, fc.boolean(), (text, restrict) => {
        const value = { principal, restrict, command: text };
        const refused = text === '' || text.endsWith('\\') || /[#\n]/.test(text);
        expect(codeOf(() => formatPrincipalsLine(value))).toBe(refused ? 'principals-malformed' : 'none');
        if (!refused) {
          expect(parsePrincipalsLine(formatPrincipalsLine(value))).toEqual(value);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test.each(['', 'a b', 'a,b', '#a', 'a"b', '-a', 'a\n', 'a\0', '*', 'ä', `a${'b'.repeat(256)}`])(
    'refuses to write the principal %j',
    (name) => {
      expect(codeOf(() => formatPrincipalsLine({ principal: name, restrict: true }))).toBe(
        'principals-malformed',
      );
    },
  );

  test.each(['', 'a\nb', 'a\0b', 'a\rb', 'a # b', 'a\\', '\ud800', 'a'.repeat(600_000)])(
    'refuses to write a forced command: %#',
    (command) => {
      expect(codeOf(() => formatPrincipalsLine({ principal, restrict: true, command }))).toBe(
        'principals-malformed',
      );
    },
  );

  test.each([
    '',
    '\n',
    ' web@build-01',
    'web@build-01 ',
    'web@build-01\n\n',
    'web@build-01 other@build-01',
    'web@build-01 # comment',
    '# comment',
    'restrict,web@build-01',
    'restrict command="x" web@build-01',
    'command="x",restrict web@build-01',
    'restrict,restrict web@build-01',
    'no-pty web@build-01',
    'command=x web@build-01',
    'command="" web@build-01',
    'command="x\\" web@build-01',
    'command="x"web@build-01',
    'command="x" y" web@build-01',
    'Restrict web@build-01',
  ])('refuses to read %j', (line) => {
    expect(codeOf(() => parsePrincipalsLine(line))).toBe('principals-malformed');
  });

  test('every cut and every flipped bit is refused or reads as what it then says', () => {
    const line = Buffer.from('restrict,command="exec \\"/usr/bin/env\\" -i AAAA" web@build-01');
    const check = (bytes: Buffer): void => {
      const text = bytes.toString('latin1');
      if (codeOf(() => parsePrincipalsLine(text)) === 'none') {
        expect(`${formatPrincipalsLine(parsePrincipalsLine(text))}`).toBe(text.replace(/\n$/, ''));
      }
    };
    for (let length = 0; length < line.length; length++) {
      check(line.subarray(0, length));
    }
    for (let bit = 0; bit < line.length * 8; bit++) {
      const flipped = Buffer.from(line);
      flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      check(flipped);
    }
  });
});
