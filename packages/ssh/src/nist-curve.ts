/**
 * Whether bytes are an uncompressed point of a NIST curve (SEC 1 §2.3.4, FIPS 186-5): the first of its bytes is 4,
 * both coordinates are below the prime, and y² = x³ − 3x + b. The curves have cofactor 1, so that nothing more is
 * to be checked; what the point's owner signs is node's business.
 */
import type { Buffer } from 'node:buffer';

export type NistCurve = 'nistp256' | 'nistp384' | 'nistp521';

interface CurveNumbers {
  readonly width: number;
  readonly prime: bigint;
  readonly b: bigint;
}

const CURVES: Readonly<Record<NistCurve, CurveNumbers>> = {
  nistp256: {
    width: 32,
    prime: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
  },
  nistp384: {
    width: 48,
    prime: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
  },
  nistp521: {
    width: 66,
    prime: 2n ** 521n - 1n,
    b: 0x0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
  },
};

/** Whether `point` is the uncompressed form of a point of `curve` (the point at infinity has no such form). */
export function isOnCurve(curve: NistCurve, point: Buffer): boolean {
  const { width, prime, b } = CURVES[curve];
  if (point.length !== 1 + 2 * width || point[0] !== 4) return false;
  const x = BigInt(`0x${point.toString('hex', 1, 1 + width)}`);
  const y = BigInt(`0x${point.toString('hex', 1 + width)}`);
  return x < prime && y < prime && (y * y - (x * x - 3n) * x - b) % prime === 0n;
}
