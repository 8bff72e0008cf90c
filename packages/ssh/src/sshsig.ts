/**
 * Signatures of messages (OpenSSH's PROTOCOL.sshsig), as `ssh-keygen -Y sign` makes and `-Y check-novalidate` reads
 * them: a key, a namespace that says what the signature is for, and the hash of the message. Verifying is strict:
 * version 1, no certificate as key, nothing in the reserved field, sha512 or sha256, no SHA-1 signature, user presence
 * for hardware keys. The result is the key that signed; whether anybody trusts it is for the caller to say.
 */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { SshError } from './error.ts';
import { decodePublicKey, type PublicKey } from './public-key.ts';
import { checkSignatureAlgorithm, type Signer, verifySignature, verifySignatureAside } from './signature.ts';
import { Reader, Writer } from './wire.ts';

export interface SignedMessage {
  /** The armoured text, or the raw blob. */
  readonly signature: string | Buffer;
  /** What the signature must be for; one for another purpose is refused. */
  readonly namespace: string;
  readonly message: Buffer;
}

const MAGIC = Buffer.from('SSHSIG');
const VERSION = 1;
const HASHES = ['sha512', 'sha256'] as const;
const MAX_SIGNATURE_BYTES = 16 * 1024;
const ARMOUR_WIDTH = 70;
const BEGIN = '-----BEGIN SSH SIGNATURE-----';
const END = '-----END SSH SIGNATURE-----';

/** Signs `message` for `namespace` with SHA-512; the result is the raw blob. */
export async function signMessage(signer: Signer, namespace: string, message: Buffer): Promise<Buffer> {
  if (namespace === '' || namespace.includes('\0')) {
    throw new SshError('sshsig-namespace', 'a signature needs a namespace without NUL');
  }
  const signature = await signer.sign(signedBytes(namespace, 'sha512', message));
  checkSignatureAlgorithm(signer.publicKey, signature);
  return new Writer()
    .raw(MAGIC)
    .uint32(VERSION)
    .string(signer.publicKey.blob)
    .string(namespace)
    .string('')
    .string('sha512')
    .string(signature)
    .toBuffer();
}

/** The key that signed the message. Throws `sshsig-*`, `signature-*`, `key-*` or `wire-*`. */
export function verifyMessage(signed: SignedMessage): PublicKey {
  const { key, bytes, signature } = readMessageSignature(signed);
  verifySignature(key, bytes, signature);
  return key;
}

/** {@link verifyMessage}, the arithmetic in another thread. */
export async function verifyMessageAside(signed: SignedMessage): Promise<PublicKey> {
  const { key, bytes, signature } = readMessageSignature(signed);
  await verifySignatureAside(key, bytes, signature);
  return key;
}

/** All of a message's signature but whether it holds: the key, the bytes that it is over, the signature itself. */
function readMessageSignature({ signature, namespace, message }: SignedMessage) {
  const blob = typeof signature === 'string' ? parseMessageSignature(signature) : signature;
  if (blob.length > MAX_SIGNATURE_BYTES) {
    throw new SshError('wire-too-long', `message signature: it is longer than ${MAX_SIGNATURE_BYTES} bytes`);
  }
  const reader = new Reader(blob, 'message signature');
  if (!reader.bytes('magic', MAGIC.length).equals(MAGIC) || reader.uint32('version') !== VERSION) {
    throw new SshError('sshsig-malformed', 'this is no SSH message signature of version 1');
  }
  const key = decodePublicKey(reader.string('public key'));
  const signedNamespace = reader.text('namespace');
  const reserved = reader.string('reserved');
  const hashName = reader.text('hash', 16);
  const signatureBlob = reader.string('signature');
  reader.end();
  if (reserved.length > 0) throw new SshError('sshsig-malformed', 'the reserved field is not empty');
  if (namespace === '' || signedNamespace !== namespace) {
    throw new SshError('sshsig-namespace', `the signature was not made for ${JSON.stringify(namespace)}`);
  }
  const hash = HASHES.find((name) => name === hashName);
  if (hash === undefined) {
    throw new SshError(
      'sshsig-hash',
      `the message was hashed with ${JSON.stringify(hashName)}; sign it with sha512`,
    );
  }
  return { key, bytes: signedBytes(namespace, hash, message), signature: signatureBlob };
}

/** The armoured text of a raw blob, with a newline at its end, as `ssh-keygen -Y sign` writes it. */
export function formatMessageSignature(blob: Buffer): string {
  const lines = blob.toString('base64').match(new RegExp(`.{1,${ARMOUR_WIDTH}}`, 'g')) ?? [];
  return [BEGIN, ...lines, END, ''].join('\n');
}

/** The raw blob of an armoured text. Throws `sshsig-malformed`. */
export function parseMessageSignature(text: string): Buffer {
  if (text.length > 2 * MAX_SIGNATURE_BYTES) {
    throw new SshError('wire-too-long', `message signature: it is longer than ${MAX_SIGNATURE_BYTES} bytes`);
  }
  const lines = (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n');
  const body = lines.slice(1, -1);
  const base64 = body.join('');
  const blob = Buffer.from(base64, 'base64');
  const isArmoured = lines.length > 2 && lines[0] === BEGIN && lines.at(-1) === END;
  const isBody =
    body.every((line) => line.length > 0 && line.length <= 76) && blob.toString('base64') === base64;
  if (!isArmoured || !isBody) {
    throw new SshError('sshsig-malformed', 'this is no armoured SSH signature');
  }
  return blob;
}

function signedBytes(namespace: string, hash: (typeof HASHES)[number], message: Buffer): Buffer {
  const digest = createHash(hash).update(message).digest();
  return new Writer().raw(MAGIC).string(namespace).string('').string(hash).string(digest).toBuffer();
}
