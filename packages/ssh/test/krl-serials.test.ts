import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SshError } from '../src/error.ts';
import { isRevoked } from '../src/is-revoked.ts';
import { decodeKrl, encodeKrl } from '../src/krl.ts';
import {
  decodeSerials,
  encodeSerials,
  hasSerial,
  mergeSerials,
  type SerialRange,
} from '../src/krl-serials.ts';
import { RevocationLab } from './revocation-lab.ts';

let lab: RevocationLab;
beforeAll(() => {
  lab = new RevocationLab();
});
afterAll(() => lab.close());

const SEAL_BYTES = 41;
const list = (serials: readonly (bigint | SerialRange)[]): Buffer =>
  encodeKrl({
    version: 1n,
    generated: new Date(0),
    comment: '',
    authorities: [{ ca: lab.authorities[0]?.key ?? null, serials, keyIds: [] }],
  });
const sequence = (length: number, of: (index: number) => number): bigint[] =>
  Array.from({ length }, (_, index) => BigInt(of(index)));
/** A reproducible random serial below 2^48. */
const scattered = (index: number): number =>
  (Math.imul(index, 0x9e3779b1) >>> 0) * 65_536 + (index % 65_536) + 1;
const agree = (blob: Buffer): void => {
  const krl = decodeKrl(blob);
  expect(lab.verdicts(blob)).toEqual(lab.targets().map((target) => isRevoked(krl, target)));
};
const roundTrip = (ranges: readonly SerialRange[]): SerialRange[] => {
  const read: SerialRange[] = [];
  for (const section of encodeSerials(ranges)) {
    decodeSerials(section, read);
  }
  return mergeSerials(read);
};

describe('encodeSerials and decodeSerials', () => {
  test('K7: a hundred thousand serials in a row take 129 bytes and the seal', () => {
    const blob = list(sequence(100_000, (index) => index + 1));
    expect(blob).toHaveLength(129 + SEAL_BYTES);
    agree(blob);
  });

  test('K7: a hundred thousand scattered serials load in ssh-keygen', () => {
    const blob = list(sequence(100_000, scattered));
    expect(blob.length).toBeLessThan(810_000);
    agree(blob);
  });

  test('K7: a million scattered serials are written and read in seconds', () => {
    const serials = sequence(1_000_000, scattered);
    const start = process.cpuUsage();
    const krl = decodeKrl(list(serials));
    expect(process.cpuUsage(start).user / 1e6).toBeLessThan(20);
    const read = krl.authorities[0]?.serials ?? [];
    expect(serials.every((serial, index) => index % 7 !== 0 || hasSerial(read, serial))).toBe(true);
  });

  test('no bitmap is longer than OpenSSH reads, unlike those of ssh-keygen itself', () => {
    const everyOther = sequence(20_000, (index) => 2 * index + 1);
    agree(list(everyOther));
    const specification = everyOther.map((serial) => `serial: ${serial}\n`).join('');
    const theirs = lab.write([{ ca: lab.authorities[0]?.file ?? '', specification }]);
    expect(lab.verdicts(theirs)).toBeUndefined();
    expect(() => decodeKrl(theirs)).toThrow(SshError);
  });

  test.each([16_383, 16_384, 16_385])('a bitmap over %d serials loads in ssh-keygen', (span) => {
    const blob = list([5n, ...sequence(400, (index) => 5 + 40 * index + 1), BigInt(5 + span - 1)]);
    agree(blob);
  });

  test('no list is longer than the one that ssh-keygen writes for the same serials, but for a byte to each of its bitmaps', () => {
    const steps = fc.array(
      fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 300 }), fc.nat(1e9)),
      {
        minLength: 1,
        maxLength: 60,
      },
    );
    for (const gaps of fc.sample(steps, { numRuns: 40, seed: 5 })) {
      let last = 0n;
      const serials = gaps.map((gap) => {
        last += BigInt(gap) + 1n;
        return last;
      });
      const specification = serials.map((serial) => `serial: ${serial}\n`).join('');
      const theirs = lab.write([{ ca: lab.authorities[0]?.file ?? '', specification }]);
      // What a bitmap costs is counted in bits; it pays from two serials on.
      const rounding = Math.floor(serials.length / 2);
      expect(list(serials).length - SEAL_BYTES).toBeLessThanOrEqual(theirs.length + rounding);
    }
  });

  test('decode ∘ encode is the identity on generated sets, the ends of the number space included', () => {
    const edge = fc.constantFrom(1n, 2n, 2n ** 63n, 2n ** 64n - 2n, 2n ** 64n - 1n);
    const serial = fc.oneof(
      edge,
      fc.bigInt({ min: 1n, max: 60_000n }),
      fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
    );
    const range = fc
      .tuple(serial, serial)
      .map(([a, b]) => (a < b ? { first: a, last: b } : { first: b, last: a }));
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 8, arbitrary: serial }, range), { maxLength: 80 }),
        (entries) => {
          const merged = mergeSerials(entries);
          expect(roundTrip(merged)).toEqual(merged);
          for (const entry of entries) {
            expect(hasSerial(merged, typeof entry === 'bigint' ? entry : entry.first)).toBe(true);
          }
          for (const [index, { first }] of merged.entries()) {
            expect(hasSerial(merged, first - 1n)).toBe(false);
            expect(index === 0 || (merged[index - 1]?.last ?? 0n) + 1n < first).toBe(true);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test('refuses sections that are empty, uneven, padded, negative, too long, or run past 64 bits', () => {
    const bitmap = (offset: bigint, ...bytes: number[]): Buffer => {
      const data = Buffer.alloc(12);
      data.writeBigUInt64BE(offset, 0);
      data.writeUInt32BE(bytes.length, 8);
      return Buffer.concat([data, Buffer.from(bytes)]);
    };
    const reading = (type: number, data: Buffer) => () => decodeSerials({ type, data }, []);
    const refused = expect.objectContaining({ code: 'krl-malformed' });
    expect(reading(0x20, Buffer.alloc(0))).toThrow(refused);
    expect(reading(0x20, Buffer.alloc(9, 1))).toThrow(refused);
    expect(reading(0x21, Buffer.alloc(8, 1))).toThrow(refused);
    expect(reading(0x21, Buffer.alloc(32, 1))).toThrow(refused);
    expect(reading(0x22, bitmap(1n))).toThrow(refused);
    expect(reading(0x22, bitmap(1n, 0))).toThrow(refused);
    expect(reading(0x22, bitmap(1n, 0, 1))).toThrow(refused);
    expect(reading(0x22, bitmap(1n, 0x80))).toThrow(refused);
    expect(reading(0x22, bitmap(0n, 1))).toThrow(refused);
    expect(reading(0x22, bitmap(2n ** 64n - 1n, 2))).toThrow(refused);
    expect(reading(0x22, bitmap(1n, 1, ...Array.from({ length: 2048 }, () => 0)))).toThrow(refused);
    expect(reading(0x22, Buffer.concat([bitmap(1n, 1), Buffer.from([0])]))).toThrow(refused);
    expect(reading(0x22, bitmap(2n ** 64n - 1n, 1))).not.toThrow();
    expect(reading(0x22, bitmap(1n, 0, ...Array.from({ length: 2048 }, () => 255)))).not.toThrow();
  });
});
