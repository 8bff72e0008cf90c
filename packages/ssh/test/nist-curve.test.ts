import { describe, expect, test } from '@jest/globals';
import { generateKey } from '../src/key.ts';
import { isOnCurve, type NistCurve } from '../src/nist-curve.ts';
import { keyParts } from '../src/public-key.ts';

const CURVES: readonly (readonly [NistCurve, number])[] = [
  ['nistp256', 32],
  ['nistp384', 48],
  ['nistp521', 66],
];

function freshPoint(curve: NistCurve): Buffer {
  const parts = keyParts(generateKey(`ecdsa-sha2-${curve}`).publicKey);
  if (parts.family !== 'ecdsa') throw new Error('not an ECDSA key');
  return parts.point;
}

describe('isOnCurve', () => {
  test.each(CURVES)('takes the points of fresh keys of %s and of no other curve', (curve) => {
    for (let count = 0; count < 20; count += 1) {
      const point = freshPoint(curve);
      expect(CURVES.map(([other]) => isOnCurve(other, point))).toEqual(
        CURVES.map(([other]) => other === curve),
      );
    }
  });

  test.each(CURVES)('refuses the origin, another length and another form on %s', (curve, width) => {
    const point = freshPoint(curve);
    const origin = Buffer.alloc(1 + 2 * width);
    origin[0] = 4;
    const hybrid = Buffer.from(point);
    hybrid[0] = 6;
    for (const bytes of [
      origin,
      hybrid,
      point.subarray(1),
      Buffer.concat([point, Buffer.alloc(1)]),
      Buffer.alloc(0),
    ]) {
      expect(isOnCurve(curve, bytes)).toBe(false);
    }
  });

  test('refuses a coordinate that is not below the prime, though the equation holds', () => {
    const point = freshPoint('nistp521');
    const x = BigInt(`0x${point.toString('hex', 1, 67)}`) + 2n ** 521n - 1n;
    const shifted = Buffer.concat([
      Buffer.from([4]),
      Buffer.from(x.toString(16).padStart(132, '0'), 'hex'),
      point.subarray(67),
    ]);
    expect(isOnCurve('nistp521', shifted)).toBe(false);
  });
});
