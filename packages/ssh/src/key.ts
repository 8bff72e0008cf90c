/**
 * Private keys: OpenSSH's private key files (PROTOCOL.key), plain or protected by a passphrase (bcrypt), read and
 * written through sshpk, and fresh keys from node. Inside the program a private key is node's `KeyObject`. sshpk is
 * loaded when the first file is read or written and is given nothing but key files: it knows no `sk-` keys, and its
 * certificate code is not used (it does not verify signatures). Other formats than OpenSSH's are refused.
 */
import { Buffer } from 'node:buffer';
import { createPrivateKey, generateKeyPairSync, type JsonWebKey, type KeyObject } from 'node:crypto';
import { SshError } from './error.ts';
import { type PublicKey, publicKeyFromKeyObject } from './public-key.ts';
import { createSigner, type Signer } from './signature.ts';
import { Reader } from './wire.ts';

export interface OpenedPrivateKey {
  readonly privateKey: KeyObject;
  readonly publicKey: PublicKey;
  readonly signer: Signer;
  readonly comment: string;
}

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: PublicKey;
}

export interface FormatPrivateKeyOptions {
  /** Protects the file with bcrypt and aes256-ctr. Left out, the file is plain. */
  readonly passphrase?: string;
  readonly comment?: string;
}

/** The key types that are made here. */
export type GeneratedKeyType =
  | 'ssh-ed25519'
  | 'ecdsa-sha2-nistp256'
  | 'ecdsa-sha2-nistp384'
  | 'ecdsa-sha2-nistp521'
  | 'ssh-rsa';

/** A number of a key as sshpk names it. */
interface KeyPart {
  readonly name: string;
  readonly data: Buffer;
}

/** What the clear part of a key file says. */
interface KeyFileHeader {
  readonly isEncrypted: boolean;
  readonly publicBlob: Buffer;
}

const BEGIN = '-----BEGIN OPENSSH PRIVATE KEY-----';
const END = '-----END OPENSSH PRIVATE KEY-----';
const MAGIC = Buffer.from('openssh-key-v1\0');
const MAX_FILE_CHARACTERS = 64 * 1024;
/** ssh-keygen writes 16 or 24 rounds; a hundred take about a second, and a hostile number would take for ever. */
const MAX_ROUNDS = 256;
const CIPHERS: ReadonlySet<string> = new Set([
  'aes128-ctr',
  'aes192-ctr',
  'aes256-ctr',
  'aes128-cbc',
  'aes192-cbc',
  'aes256-cbc',
]);
const CURVES = {
  'ecdsa-sha2-nistp256': 'P-256',
  'ecdsa-sha2-nistp384': 'P-384',
  'ecdsa-sha2-nistp521': 'P-521',
} as const;

/**
 * Opens the text of an OpenSSH private key file. Throws `private-key-passphrase-missing` where the file is protected
 * and no passphrase was given, `private-key-passphrase-wrong`, `private-key-unsupported` (another format, cipher or
 * key type) and `private-key-malformed`. No error carries the passphrase or the text.
 */
export async function openPrivateKey(text: string, passphrase?: string): Promise<OpenedPrivateKey> {
  const header = readHeader(decodeArmour(text));
  if (header.isEncrypted && (passphrase === undefined || passphrase === '')) {
    throw new SshError('private-key-passphrase-missing', 'the key file is protected; give its passphrase');
  }
  const { default: sshpk } = await import('sshpk');
  let opened: { parts: KeyPart[]; comment: string };
  try {
    const key = sshpk.parsePrivateKey(
      text,
      'ssh-private',
      passphrase === undefined || !header.isEncrypted ? {} : { passphrase },
    );
    opened = { parts: key.parts, comment: key.comment ?? '' };
  } catch (error) {
    throw openingError(error, header);
  }
  const privateKey = nodeKey(opened.parts);
  const signer = createSigner(privateKey);
  if (!signer.publicKey.blob.equals(header.publicBlob)) {
    throw new SshError('private-key-malformed', 'the two halves of the key file belong to different keys');
  }
  return { privateKey, publicKey: signer.publicKey, signer, comment: opened.comment };
}

/** The text of an OpenSSH private key file for `privateKey`, as `ssh` and `ssh-keygen` read it. */
export async function formatPrivateKey(
  privateKey: KeyObject,
  { passphrase, comment = '' }: FormatPrivateKeyOptions = {},
): Promise<string> {
  if (passphrase === '') {
    throw new SshError(
      'private-key-passphrase-missing',
      'an empty passphrase protects nothing; leave it out or give one',
    );
  }
  if (/[\u0000-\u001f\u007f]/u.test(comment)) {
    throw new SshError('private-key-malformed', 'the comment has control characters');
  }
  publicKeyFromKeyObject(privateKey);
  const { default: sshpk } = await import('sshpk');
  const key = sshpk.parsePrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' }), 'pkcs8');
  key.comment = comment;
  // Without the cipher sshpk would take aes128-ctr; ssh-keygen's own is aes256-ctr.
  const options = passphrase === undefined ? {} : { passphrase, cipher: 'aes256-ctr' as const };
  return key.toBuffer('ssh-private', options).toString('latin1');
}

/** A fresh key pair from node's generator; RSA keys have 3,072 bits. */
export function generateKey(type: GeneratedKeyType): KeyPair {
  const privateKey = generate(type);
  return { privateKey, publicKey: publicKeyFromKeyObject(privateKey) };
}

function generate(type: GeneratedKeyType): KeyObject {
  switch (type) {
    case 'ssh-ed25519':
      return generateKeyPairSync('ed25519').privateKey;
    case 'ssh-rsa':
      return generateKeyPairSync('rsa', { modulusLength: 3072 }).privateKey;
    default:
      return generateKeyPairSync('ec', { namedCurve: CURVES[type] }).privateKey;
  }
}

function decodeArmour(text: string): Buffer {
  if (text.length > MAX_FILE_CHARACTERS) {
    throw new SshError('private-key-malformed', 'the key file is longer than any private key');
  }
  const lines = text.trimEnd().split(/\r?\n/);
  if (lines[0] !== BEGIN || lines.at(-1) !== END) {
    throw new SshError(
      'private-key-unsupported',
      'this is no OpenSSH private key file; convert it with ssh-keygen -p -f FILE',
    );
  }
  const base64 = lines.slice(1, -1).join('');
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.toString('base64') !== base64) {
    throw new SshError('private-key-malformed', 'the base64 of the key file is not exact');
  }
  return bytes;
}

/** PROTOCOL.key §1; sshpk reads the rest. */
function readHeader(bytes: Buffer): KeyFileHeader {
  const reader = new Reader(bytes, 'private key file');
  if (!reader.bytes('magic', MAGIC.length).equals(MAGIC)) {
    throw new SshError('private-key-malformed', 'the key file does not begin as an OpenSSH private key');
  }
  const cipher = reader.text('cipher', 64);
  const kdf = reader.text('key derivation', 64);
  const isEncrypted = cipher !== 'none' || kdf !== 'none';
  if (isEncrypted && !(CIPHERS.has(cipher) && kdf === 'bcrypt')) {
    throw new SshError(
      'private-key-unsupported',
      'the key file is protected in a way that is not supported; protect it anew with ssh-keygen -p -Z aes256-ctr',
    );
  }
  const kdfOptions = new Reader(reader.string('key derivation options', 256), 'key derivation options');
  if (reader.uint32('number of keys') !== 1) {
    throw new SshError('private-key-unsupported', 'the key file holds more than one key');
  }
  const publicBlob = reader.string('public key', 4096);
  reader.string('private key');
  reader.end();
  if (!isEncrypted) {
    kdfOptions.end();
    return { isEncrypted: false, publicBlob };
  }
  kdfOptions.string('salt', 64);
  const rounds = kdfOptions.uint32('rounds');
  kdfOptions.end();
  if (rounds === 0 || rounds > MAX_ROUNDS) {
    throw new SshError(
      'private-key-unsupported',
      `the key file asks for more than ${MAX_ROUNDS} bcrypt rounds`,
    );
  }
  return { isEncrypted: true, publicBlob };
}

/** sshpk has no codes: a protected file that does not open was, as its own message says, given a wrong passphrase. */
function openingError(error: unknown, header: KeyFileHeader): SshError {
  if (header.isEncrypted && error instanceof Error && /incorrect passphrase/i.test(error.message)) {
    return new SshError('private-key-passphrase-wrong', 'the passphrase does not open the key file');
  }
  const type = new Reader(header.publicBlob, 'public key').text('type', 64);
  if (type.startsWith('sk-')) {
    return new SshError('private-key-unsupported', 'the key lives in hardware; use it through ssh-agent');
  }
  return new SshError('private-key-malformed', 'the private part of the key file cannot be read');
}

/**
 * Node's key made of sshpk's numbers. (Its PKCS#8 writer is not used: it shortens Ed25519 seeds that begin with a
 * zero byte, one in 512, to files that nobody opens.)
 */
function nodeKey(parts: readonly KeyPart[]): KeyObject {
  try {
    return createPrivateKey({ key: jsonWebKey(parts), format: 'jwk' });
  } catch {
    throw new SshError('private-key-malformed', 'the numbers in the key file are no private key');
  }
}

function jsonWebKey(parts: readonly KeyPart[]): JsonWebKey {
  const numbers = new Map(parts.map(({ name, data }) => [name, data]));
  const bytes = (name: string): Buffer => numbers.get(name) ?? Buffer.alloc(0);
  const seed = numbers.get('k');
  if (seed !== undefined) {
    return { kty: 'OKP', crv: 'Ed25519', d: base64url(seed, 32), x: base64url(bytes('A'), 32) };
  }
  const crv = CURVES[`ecdsa-sha2-${bytes('curve').toString('latin1')}` as keyof typeof CURVES];
  if (crv !== undefined) {
    const point = bytes('Q');
    const width = (point.length - 1) / 2;
    return {
      kty: 'EC',
      crv,
      d: base64url(bytes('d'), width),
      x: base64url(point.subarray(1, 1 + width), width),
      y: base64url(point.subarray(1 + width), width),
    };
  }
  const [d, p, q] = ['d', 'p', 'q'].map((name) => BigInt(`0x0${bytes(name).toString('hex')}`));
  if (d === undefined || p === undefined || q === undefined || p < 3n || q < 3n) {
    throw new SshError('private-key-malformed', 'the key file holds no private key that we know');
  }
  return {
    kty: 'RSA',
    n: base64url(bytes('n')),
    e: base64url(bytes('e')),
    d: base64url(bytes('d')),
    p: base64url(bytes('p')),
    q: base64url(bytes('q')),
    dp: base64url(fromNumber(d % (p - 1n))),
    dq: base64url(fromNumber(d % (q - 1n))),
    qi: base64url(bytes('iqmp')),
  };
}

/** A number in exactly `width` bytes, or in as few as it needs. */
function base64url(magnitude: Buffer, width = 0): string {
  let start = 0;
  while (start < magnitude.length - 1 && magnitude.length - start > width && magnitude[start] === 0)
    start += 1;
  const digits = magnitude.subarray(start);
  return Buffer.concat([Buffer.alloc(Math.max(width - digits.length, 0)), digits]).toString('base64url');
}

function fromNumber(value: bigint): Buffer {
  const digits = value.toString(16);
  return Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
}
