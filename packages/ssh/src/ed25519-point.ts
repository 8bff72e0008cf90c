/**
 * Whether 32 bytes may stand for an Ed25519 public key (RFC 8032 §5.1.2): canonical, and not one of the points of
 * small order. OpenSSH accepts those too; but whoever "has" such a key needs no private key to sign, so that a
 * certificate for it would be everybody's. That the point lies on the curve is found out by whoever verifies with it.
 */
import { Buffer } from 'node:buffer';

/** The y coordinates of the eight points of small order, little-endian as on the wire. */
const SMALL_ORDER_Y: ReadonlySet<string> = new Set([
  '0100000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
]);

const ED25519_PRIME = 2n ** 255n - 19n;

/** Whether the bytes are a key that one person alone can sign with. */
export function isEd25519Point(point: Buffer): boolean {
  const last = point[31];
  if (point.length !== 32 || last === undefined) return false;
  const y = Buffer.from(point);
  y[31] = last & 0x7f;
  if (SMALL_ORDER_Y.has(y.toString('hex'))) return false;
  return y[31] !== 0x7f || BigInt(`0x${y.reverse().toString('hex')}`) < ED25519_PRIME;
}
