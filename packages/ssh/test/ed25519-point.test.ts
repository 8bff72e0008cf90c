import { describe, expect, test } from '@jest/globals';
import { isEd25519Point } from '../src/ed25519-point.ts';
import { generateKey } from '../src/key.ts';

const point = (hex: string): Buffer => Buffer.from(hex, 'hex');

describe('isEd25519Point', () => {
  test('takes the keys that node makes', () => {
    for (let count = 0; count < 100; count += 1) {
      expect(isEd25519Point(generateKey('ssh-ed25519').publicKey.blob.subarray(-32))).toBe(true);
    }
  });

  test.each([
    ['the neutral point', `01${'00'.repeat(31)}`],
    ['the neutral point with the other sign', `01${'00'.repeat(30)}80`],
    ['the point of order 2', `ec${'ff'.repeat(30)}7f`],
    ['a point of order 4', '00'.repeat(32)],
    ['a point of order 8', 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa'],
    ['the prime', `ed${'ff'.repeat(30)}7f`],
    ['a number above the prime', `ee${'ff'.repeat(31)}`],
    ['31 bytes', '02'.repeat(31)],
    ['33 bytes', '02'.repeat(33)],
  ])('refuses %s', (_, hex) => {
    expect(isEd25519Point(point(hex))).toBe(false);
  });

  test('takes the largest number below the prime that has no small order', () => {
    expect(isEd25519Point(point(`eb${'ff'.repeat(30)}7f`))).toBe(true);
  });
});
