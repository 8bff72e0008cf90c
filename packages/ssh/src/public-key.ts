/**
 * Public keys as OpenSSH writes them: the blob (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4, OpenSSH's PROTOCOL.u2f),
 * the one line `type base64 comment`, the fingerprint, and node's own key for verifying. Decoding is strict: a point
 * lies on its curve, numbers are in their shortest form, RSA moduli have 1,024 to 16,384 bits, nothing is left over.
 * Whether a key is strong enough to be certified is decided in `certificate.ts`. Private keys live in `key.ts`.
 */
import { Buffer } from 'node:buffer';
import { createHash, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { isEd25519Point } from './ed25519-point.ts';
import { SshError } from './error.ts';
import { joinKeyLine, splitKeyLine } from './key-line.ts';
import { isOnCurve, type NistCurve } from './nist-curve.ts';
import { Reader, Writer } from './wire.ts';

/** The key types that this package knows. DSA is gone from OpenSSH and unknown here. */
export const PUBLIC_KEY_TYPES = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'ssh-rsa',
  'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-sha2-nistp256@openssh.com',
] as const;

export type PublicKeyType = (typeof PUBLIC_KEY_TYPES)[number];

/** A public key: its type and its blob, byte for byte as it is compared, hashed and written. */
export interface PublicKey {
  readonly type: PublicKeyType;
  readonly blob: Buffer;
}

/** The parts of a decoded key by family; `application` is the name that a hardware key signs for. */
export type KeyParts =
  | { readonly family: 'ed25519'; readonly point: Buffer; readonly application?: string }
  | {
      readonly family: 'ecdsa';
      readonly curve: NistCurve;
      readonly point: Buffer;
      readonly application?: string;
    }
  | { readonly family: 'rsa'; readonly exponent: Buffer; readonly modulus: Buffer };

const MAX_KEY_BYTES = 4096;
const MAX_RSA_BITS = 16_384;
const MIN_RSA_BITS = 1024;

const CURVE_OF: Readonly<Record<string, NistCurve>> = {
  'ecdsa-sha2-nistp256': 'nistp256',
  'ecdsa-sha2-nistp384': 'nistp384',
  'ecdsa-sha2-nistp521': 'nistp521',
  'sk-ecdsa-sha2-nistp256@openssh.com': 'nistp256',
};

const JWK_CURVE: Readonly<Record<NistCurve, string>> = {
  nistp256: 'P-256',
  nistp384: 'P-384',
  nistp521: 'P-521',
};

const partsOf = new WeakMap<PublicKey, KeyParts>();
const keyObjects = new WeakMap<PublicKey, KeyObject>();
const fingerprints = new WeakMap<PublicKey, string>();

/** Whether `type` names a key type that this package knows (a certificate's type is none). */
export function isPublicKeyType(type: string): type is PublicKeyType {
  return (PUBLIC_KEY_TYPES as readonly string[]).includes(type);
}

/** Decodes a key blob; the result owns its bytes. Throws `key-*` or `wire-*`. */
export function decodePublicKey(blob: Buffer): PublicKey {
  if (blob.length > MAX_KEY_BYTES) {
    throw new SshError('wire-too-long', `public key: it is longer than ${MAX_KEY_BYTES} bytes`);
  }
  const own = Buffer.from(blob);
  const reader = new Reader(own, 'public key');
  const type = reader.text('type', 64);
  if (!isPublicKeyType(type)) {
    throw new SshError('key-type-unsupported', `the key type ${JSON.stringify(type)} is not supported here`);
  }
  const parts = readKeyParts(reader, type);
  reader.end();
  return remember(type, own, parts);
}

/**
 * Reads the parts of a key of `type` where they stand inside another value, as they do in a certificate between
 * nonce and serial (OpenSSH's PROTOCOL.certkeys).
 */
export function readKeyParts(reader: Reader, type: PublicKeyType): KeyParts {
  switch (type) {
    case 'ssh-ed25519':
      return { family: 'ed25519', point: readEd25519Point(reader) };
    case 'sk-ssh-ed25519@openssh.com':
      return { family: 'ed25519', point: readEd25519Point(reader), application: readApplication(reader) };
    case 'ecdsa-sha2-nistp256':
    case 'ecdsa-sha2-nistp384':
    case 'ecdsa-sha2-nistp521':
      return { family: 'ecdsa', ...readEcdsaPoint(reader, type) };
    case 'sk-ecdsa-sha2-nistp256@openssh.com':
      return { family: 'ecdsa', ...readEcdsaPoint(reader, type), application: readApplication(reader) };
    case 'ssh-rsa':
      return readRsa(reader);
  }
}

/** Writes the parts of a key as `readKeyParts` reads them. */
export function writeKeyParts(writer: Writer, parts: KeyParts): void {
  switch (parts.family) {
    case 'ed25519':
      writer.string(parts.point);
      break;
    case 'ecdsa':
      writer.string(parts.curve).string(parts.point);
      break;
    case 'rsa':
      writer.mpint(parts.exponent).mpint(parts.modulus);
      return;
  }
  if (parts.application !== undefined) writer.string(parts.application);
}

/** The key whose parts these are. */
export function keyFromParts(type: PublicKeyType, parts: KeyParts): PublicKey {
  const writer = new Writer().string(type);
  writeKeyParts(writer, parts);
  return remember(type, writer.toBuffer(), parts);
}

/** The decoded parts of a key. */
export function keyParts(key: PublicKey): KeyParts {
  const known = partsOf.get(key);
  if (known !== undefined) return known;
  const decoded = decodePublicKey(key.blob);
  const parts = partsOf.get(decoded);
  if (parts === undefined || decoded.type !== key.type) {
    throw new SshError('key-malformed', `the key says ${key.type} but its blob holds ${decoded.type}`);
  }
  partsOf.set(key, parts);
  return parts;
}

/** Takes the one line of an `authorized_keys` or `.pub` file without options; one newline may end it. */
export function parsePublicKeyLine(line: string): { readonly key: PublicKey; readonly comment: string } {
  const { type, blob, comment } = splitKeyLine(line);
  const key = decodePublicKey(blob);
  if (key.type !== type) {
    throw new SshError('key-line-malformed', `the line says ${type} but the key in it is ${key.type}`);
  }
  return { key, comment };
}

/** The line `type base64 comment`, without a newline. */
export function formatPublicKeyLine(key: PublicKey, comment = ''): string {
  return joinKeyLine(key.type, key.blob, comment);
}

/** `SHA256:…`, as `ssh-keygen -l` and sshd's log print it. */
export function fingerprint(key: PublicKey): string {
  const known = fingerprints.get(key);
  if (known !== undefined) return known;
  const made = `SHA256:${createHash('sha256').update(key.blob).digest('base64').replace(/=+$/, '')}`;
  fingerprints.set(key, made);
  return made;
}

/** Node's key for verifying; for an `sk-` key it is the key inside, which signs more than the message. */
export function keyObject(key: PublicKey): KeyObject {
  const known = keyObjects.get(key);
  if (known !== undefined) return known;
  const made = createPublicKey({ key: jsonWebKey(keyParts(key)), format: 'jwk' });
  keyObjects.set(key, made);
  return made;
}

/** The SSH public key of a node key, public or private. Throws `key-type-unsupported`, `key-malformed`. */
export function publicKeyFromKeyObject(key: KeyObject): PublicKey {
  const { kty, crv, x, y, n, e } = (key.type === 'private' ? createPublicKey(key) : key).export({
    format: 'jwk',
  });
  const number = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64url');
  if (kty === 'OKP' && crv === 'Ed25519') {
    return decodePublicKey(new Writer().string('ssh-ed25519').string(number(x)).toBuffer());
  }
  if (kty === 'RSA') {
    return decodePublicKey(new Writer().string('ssh-rsa').mpint(number(e)).mpint(number(n)).toBuffer());
  }
  for (const curve of ['nistp256', 'nistp384', 'nistp521'] as const) {
    if (kty !== 'EC' || crv !== JWK_CURVE[curve]) continue;
    const point = Buffer.concat([Buffer.from([4]), number(x), number(y)]);
    return decodePublicKey(new Writer().string(`ecdsa-sha2-${curve}`).string(curve).string(point).toBuffer());
  }
  throw new SshError('key-type-unsupported', 'OpenSSH has no form for a key of this kind');
}

/** The bits of an RSA key's modulus; `undefined` for any other key. */
export function rsaBits(key: PublicKey): number | undefined {
  const parts = keyParts(key);
  return parts.family === 'rsa' ? bitLength(parts.modulus) : undefined;
}

/** Whether two keys are the same key. Both are public, so the comparison need not hide its time. */
export function isSameKey(a: PublicKey, b: PublicKey): boolean {
  return a.blob.equals(b.blob);
}

function remember(type: PublicKeyType, blob: Buffer, parts: KeyParts): PublicKey {
  const key: PublicKey = { type, blob };
  partsOf.set(key, parts);
  return key;
}

function jsonWebKey(parts: KeyParts): JsonWebKey {
  switch (parts.family) {
    case 'ed25519':
      return { kty: 'OKP', crv: 'Ed25519', x: parts.point.toString('base64url') };
    case 'ecdsa': {
      const width = (parts.point.length - 1) / 2;
      return {
        kty: 'EC',
        crv: JWK_CURVE[parts.curve],
        x: parts.point.subarray(1, 1 + width).toString('base64url'),
        y: parts.point.subarray(1 + width).toString('base64url'),
      };
    }
    case 'rsa':
      return {
        kty: 'RSA',
        n: parts.modulus.toString('base64url'),
        e: parts.exponent.toString('base64url'),
      };
  }
}

function readEd25519Point(reader: Reader): Buffer {
  const point = reader.string('Ed25519 key', 32);
  if (!isEd25519Point(point)) {
    throw new SshError('key-malformed', 'the Ed25519 key is not canonical, or anybody could sign with it');
  }
  return point;
}

function readEcdsaPoint(reader: Reader, type: PublicKeyType): { curve: NistCurve; point: Buffer } {
  const curve = CURVE_OF[type];
  if (curve === undefined || reader.text('curve', 16) !== curve) {
    throw new SshError('key-malformed', `the curve named in the key is not that of ${type}`);
  }
  const point = reader.string('point', 133);
  if (!isOnCurve(curve, point)) {
    throw new SshError('key-malformed', `the key is no uncompressed point of ${curve}`);
  }
  return { curve, point };
}

function readApplication(reader: Reader): string {
  const application = reader.text('application', 1024);
  if (application === '') throw new SshError('key-malformed', 'the hardware key names no application');
  return application;
}

function readRsa(reader: Reader): KeyParts {
  // OpenSSL refuses exponents of more than 64 bits for moduli above 3,072 bits; nobody uses them below either.
  const exponent = reader.mpint('exponent', 8);
  const modulus = reader.mpint('modulus', MAX_RSA_BITS / 8);
  const bits = bitLength(modulus);
  if (bits < MIN_RSA_BITS) {
    throw new SshError(
      'key-too-small',
      `the RSA key has ${bits} bits; OpenSSH refuses fewer than ${MIN_RSA_BITS}`,
    );
  }
  if (!isOdd(modulus) || !isOdd(exponent) || (exponent.length === 1 && exponent[0] === 1)) {
    throw new SshError('key-malformed', 'the numbers of the RSA key cannot be those of an RSA key');
  }
  return { family: 'rsa', exponent, modulus };
}

function bitLength(magnitude: Buffer): number {
  const [first] = magnitude;
  return first === undefined ? 0 : magnitude.length * 8 - Math.clz32(first) + 24;
}

function isOdd(magnitude: Buffer): boolean {
  return ((magnitude.at(-1) ?? 0) & 1) === 1;
}
