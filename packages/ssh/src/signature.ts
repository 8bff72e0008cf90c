/**
 * Signature blobs, verified and made with node's crypto: Ed25519 (RFC 8709 §6), ECDSA with the curve's own hash
 * (RFC 5656 §3.1.2), RSA with SHA-512 or SHA-256 (RFC 8332 §3), and hardware keys (OpenSSH's PROTOCOL.u2f), which
 * sign a hash of their application, flags and a counter besides the message. A signature without the flag for user
 * presence is refused, SHA-1 is recognised and refused unless the caller names it. WebAuthn signatures are unknown.
 */
import { Buffer } from 'node:buffer';
import { createHash, type KeyObject, sign, type VerifyKeyObjectInput, verify } from 'node:crypto';
import { promisify } from 'node:util';
import { SshError } from './error.ts';
import { type KeyParts, keyObject, keyParts, type PublicKey, publicKeyFromKeyObject } from './public-key.ts';
import { Reader, Writer } from './wire.ts';

/** What an RSA key may sign as (RFC 8332); SHA-1 is not among it. */
export type RsaAlgorithm = 'rsa-sha2-512' | 'rsa-sha2-256';

/** Makes signature blobs with one key; where the key is kept is its own business. */
export interface Signer {
  readonly publicKey: PublicKey;
  /** `algorithm` is for RSA keys alone, `rsa-sha2-512` unless given; other keys have one of their own. */
  sign(data: Buffer, algorithm?: RsaAlgorithm): Buffer | Promise<Buffer>;
  /** Resolves when the key can be reached now. Absent where the key is in this process. */
  ready?(): Promise<void>;
}

export interface VerifySignatureOptions {
  /** Accepts RSA with SHA-1 (`ssh-rsa`). For showing old things only, never for trusting them. */
  readonly allowSha1?: boolean;
}

const RSA_HASH: Readonly<Record<string, string>> = {
  'rsa-sha2-512': 'sha512',
  'rsa-sha2-256': 'sha256',
  'ssh-rsa': 'sha1',
};

const ECDSA_HASH = { nistp256: 'sha256', nistp384: 'sha384', nistp521: 'sha512' } as const;

const MAX_SIGNATURE_BYTES = 4096;
const USER_PRESENT = 0x01;

/**
 * Verifies `signature`, a blob of algorithm and value, by `key` over `data`, and returns the algorithm's name.
 * Throws `signature-*` or `wire-*`.
 */
export function verifySignature(
  key: PublicKey,
  data: Buffer,
  signature: Buffer,
  options: VerifySignatureOptions = {},
): string {
  const { algorithm, reader } = openSignature(key, signature, options);
  let cause: unknown;
  try {
    const { hash, signed, by, value } = readSigned(key, algorithm, data, reader);
    if (verify(hash, signed, by, value)) return algorithm;
  } catch (error) {
    cause = causeOf(error);
  }
  throw wrong(cause);
}

/** {@link verifySignature}, the arithmetic in another thread: for a server, which has others to answer meanwhile. */
export async function verifySignatureAside(
  key: PublicKey,
  data: Buffer,
  signature: Buffer,
  options: VerifySignatureOptions = {},
): Promise<string> {
  const { algorithm, reader } = openSignature(key, signature, options);
  let cause: unknown;
  try {
    const { hash, signed, by, value } = readSigned(key, algorithm, data, reader);
    if (await verifyAside(hash, signed, by, value)) return algorithm;
  } catch (error) {
    cause = causeOf(error);
  }
  throw wrong(cause);
}

const verifyAside = promisify(
  (
    hash: string | undefined,
    signed: Buffer,
    by: KeyObject | VerifyKeyObjectInput,
    value: Buffer,
    done: (error: Error | null, holds: boolean) => void,
  ) => verify(hash, signed, by, value, done),
);

/** OpenSSL may refuse numbers that have the form of a key and are none; nobody has signed with those either. */
function causeOf(error: unknown): unknown {
  if (error instanceof SshError) throw error;
  return error;
}

function wrong(cause: unknown): SshError {
  return new SshError('signature-wrong', 'the signature is not by this key over these bytes', { cause });
}

/** Refuses a signature blob that names an algorithm which `key` cannot have used, or SHA-1. */
export function checkSignatureAlgorithm(key: PublicKey, signature: Buffer): void {
  openSignature(key, signature, {});
}

/**
 * A signer for a private key that node holds: Ed25519, ECDSA with the curve's hash, RSA as `rsa-sha2-512` unless the other is asked for.
 * Throws `key-type-unsupported` for any other kind.
 */
export function createSigner(privateKey: KeyObject): Signer {
  if (privateKey.type !== 'private') {
    throw new SshError('key-type-unsupported', 'only a private key can sign');
  }
  const publicKey = publicKeyFromKeyObject(privateKey);
  const parts = keyParts(publicKey);
  return {
    publicKey,
    sign(data, algorithm = 'rsa-sha2-512') {
      switch (parts.family) {
        case 'ed25519':
          return blob(publicKey.type, sign(null, data, privateKey));
        case 'ecdsa': {
          const value = sign(ECDSA_HASH[parts.curve], data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
          const half = value.length / 2;
          const pair = new Writer().mpint(value.subarray(0, half)).mpint(value.subarray(half));
          return blob(publicKey.type, pair.toBuffer());
        }
        case 'rsa':
          return blob(algorithm, sign(RSA_HASH[algorithm], data, privateKey));
      }
    },
  };
}

function blob(algorithm: string, value: Buffer): Buffer {
  return new Writer().string(algorithm).string(value).toBuffer();
}

function openSignature(
  key: PublicKey,
  signature: Buffer,
  { allowSha1 = false }: VerifySignatureOptions,
): { algorithm: string; reader: Reader } {
  if (signature.length > MAX_SIGNATURE_BYTES) {
    throw new SshError('wire-too-long', `signature: it is longer than ${MAX_SIGNATURE_BYTES} bytes`);
  }
  const reader = new Reader(signature, 'signature');
  const algorithm = reader.text('algorithm', 64);
  const fits = key.type === 'ssh-rsa' ? Object.hasOwn(RSA_HASH, algorithm) : algorithm === key.type;
  if (!fits) {
    throw new SshError(
      'signature-algorithm',
      `a key of type ${key.type} does not sign as ${JSON.stringify(algorithm)}`,
    );
  }
  if (algorithm === 'ssh-rsa' && !allowSha1) {
    throw new SshError('signature-sha1', 'the signature uses SHA-1; sign again with rsa-sha2-512');
  }
  return { algorithm, reader };
}

/** What node's crypto is asked: whether `value` is the signature of `signed`. */
interface SignedBytes {
  readonly hash: string | undefined;
  readonly signed: Buffer;
  readonly by: KeyObject | VerifyKeyObjectInput;
  readonly value: Buffer;
}

function readSigned(key: PublicKey, algorithm: string, data: Buffer, reader: Reader): SignedBytes {
  const parts: KeyParts = keyParts(key);
  if (parts.family === 'rsa') {
    const value = reader.string('value', 2048);
    reader.end();
    // RFC 8332 §3: as long as the modulus; OpenSSH pads shorter ones, and so would make two blobs of one signature.
    if (value.length !== parts.modulus.length) {
      throw new SshError('signature-malformed', 'the RSA signature is not as long as the modulus');
    }
    return { hash: RSA_HASH[algorithm], signed: data, by: keyObject(key), value };
  }
  const value =
    parts.family === 'ed25519'
      ? readEd25519Value(reader)
      : readEcdsaValue(reader, (parts.point.length - 1) / 2);
  const signed = parts.application === undefined ? data : readHardwareSigned(reader, parts.application, data);
  reader.end();
  return parts.family === 'ed25519'
    ? { hash: undefined, signed, by: keyObject(key), value }
    : {
        hash: ECDSA_HASH[parts.curve],
        signed,
        by: { key: keyObject(key), dsaEncoding: 'ieee-p1363' },
        value,
      };
}

function readEd25519Value(reader: Reader): Buffer {
  const value = reader.string('value', 64);
  if (value.length !== 64) throw new SshError('signature-malformed', 'an Ed25519 signature has 64 bytes');
  return value;
}

/** RFC 5656 §3.1.2: a string that holds r and s as mpints; node wants both in full width. */
function readEcdsaValue(reader: Reader, width: number): Buffer {
  const pair = new Reader(reader.string('value', 2 * width + 10), 'ECDSA signature');
  const r = pair.mpint('r', width);
  const s = pair.mpint('s', width);
  pair.end();
  const value = Buffer.alloc(2 * width);
  r.copy(value, width - r.length);
  s.copy(value, 2 * width - s.length);
  return value;
}

/** PROTOCOL.u2f, "SSH U2F signatures": what the hardware signed for `data`. */
function readHardwareSigned(reader: Reader, application: string, data: Buffer): Buffer {
  const flags = reader.uint8('flags');
  const counter = reader.uint32('counter');
  if ((flags & USER_PRESENT) === 0) {
    throw new SshError('signature-no-presence', 'nobody touched the hardware key for this signature');
  }
  return new Writer().raw(sha256(application)).uint8(flags).uint32(counter).raw(sha256(data)).toBuffer();
}

function sha256(data: Buffer | string): Buffer {
  return createHash('sha256').update(data).digest();
}
