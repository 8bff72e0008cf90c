import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Reader, Writer } from '../src/wire.ts';
import { codeOf } from './raw-certificate.ts';

const read = (hex: string): Reader => new Reader(Buffer.from(hex, 'hex'), 'test');

describe('Reader', () => {
  test('reads every kind of value that a writer wrote', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 255 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 0xffff_ffff }),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.uint8Array({ maxLength: 64 }),
        fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0') && text.isWellFormed()),
        fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }),
        (small, flag, number, long, bytes, text, magnitude) => {
          const digits = magnitude.toString(16);
          const writer = new Writer()
            .uint8(small)
            .boolean(flag)
            .uint32(number)
            .uint64(long)
            .string(Buffer.from(bytes))
            .string(text)
            .mpint(Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex'));
          const reader = new Reader(writer.toBuffer(), 'test');
          expect(reader.uint8('a')).toBe(small);
          expect(reader.boolean('b')).toBe(flag);
          expect(reader.uint32('c')).toBe(number);
          expect(reader.uint64('d')).toBe(long);
          expect(reader.string('e')).toEqual(Buffer.from(bytes));
          expect(reader.text('f')).toBe(text);
          expect(BigInt(`0x0${reader.mpint('g', 32).toString('hex')}`)).toBe(magnitude);
          reader.end();
        },
      ),
    );
  });

  test('reads the examples of RFC 4251 section 5', () => {
    expect(read('00000000').mpint('n', 8).toString('hex')).toBe('');
    expect(read('0000000809a378f9b2e332a7').mpint('n', 8).toString('hex')).toBe('09a378f9b2e332a7');
    expect(read('000000020080').mpint('n', 8).toString('hex')).toBe('80');
    expect(read('0000000774657374696e67').text('s')).toBe('testing');
  });

  test.each([
    ['wire-malformed', 'a negative mpint', '00000002edcc', (r: Reader) => r.mpint('n', 8)],
    ['wire-malformed', 'an mpint with a zero too many', '000000020001', (r: Reader) => r.mpint('n', 8)],
    ['wire-malformed', 'an mpint of one zero byte', '0000000100', (r: Reader) => r.mpint('n', 8)],
    ['wire-too-long', 'an mpint longer than asked for', '00000003010203', (r: Reader) => r.mpint('n', 2)],
    ['wire-too-long', 'a length over the bound', 'ffffffff', (r: Reader) => r.string('s', 100)],
    ['wire-truncated', 'a length past the end', '0000000474', (r: Reader) => r.string('s')],
    ['wire-truncated', 'a uint64 of seven bytes', '00000000000000', (r: Reader) => r.uint64('n')],
    ['wire-malformed', 'text that is not UTF-8', '00000001ff', (r: Reader) => r.text('s')],
    ['wire-malformed', 'text that ends in a NUL', '000000026100', (r: Reader) => r.text('s')],
    ['wire-malformed', 'a boolean of two', '02', (r: Reader) => r.boolean('b')],
    ['wire-trailing', 'bytes left over', '00', (r: Reader) => r.end()],
  ])('refuses with %s %s', async (code, _, hex, use) => {
    expect(await codeOf(() => use(read(hex)))).toBe(code);
  });
});

describe('Writer', () => {
  test.each([
    ['a uint8 of 256', () => new Writer().uint8(256)],
    ['a uint32 below zero', () => new Writer().uint32(-1)],
    ['a fraction', () => new Writer().uint32(1.5)],
    ['a uint64 of 2^64', () => new Writer().uint64(2n ** 64n)],
  ])('refuses %s', async (_, write) => {
    expect(await codeOf(write)).toBe('wire-unencodable');
  });
});
