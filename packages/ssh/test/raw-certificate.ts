/** Certificates with any field at will, truly signed: those that our encoder and ssh-keygen refuse to make. */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { generateKey } from '../src/key.ts';
import { keyParts, type PublicKey, publicKeyFromKeyObject, writeKeyParts } from '../src/public-key.ts';
import { createSigner, type Signer } from '../src/signature.ts';
import { Writer } from '../src/wire.ts';

export interface RawFields {
  readonly type: string;
  readonly nonce: Buffer;
  readonly publicKey: PublicKey;
  readonly serial: bigint;
  readonly kind: number;
  readonly keyId: Buffer | string;
  readonly principals: readonly string[];
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  readonly criticalOptions: Buffer;
  readonly extensions: Buffer;
  readonly reserved: Buffer;
  /** Replaces the CA's key blob, while the signer signs as before. */
  readonly caBlob: Buffer;
  /** Put between the CA's key and the signature, and signed. */
  readonly junk: Buffer;
  /** Put after the signature. */
  readonly tail: Buffer;
}

export const subject = generateKey('ssh-ed25519').publicKey;
export const authority: Signer = createSigner(generateKey('ssh-ed25519').privateKey);

/** A certificate of ours with `changes`, signed by `signer`. */
export async function rawCertificate(
  changes: Partial<RawFields> = {},
  signer: Signer = authority,
): Promise<Buffer> {
  const none = Buffer.alloc(0);
  const fields: RawFields = {
    type: 'ssh-ed25519-cert-v01@openssh.com',
    nonce: Buffer.alloc(32, 7),
    publicKey: subject,
    serial: 7n,
    kind: 1,
    keyId: 'beacon/0123456789abcdefghjkmnpqrs/github:583231',
    principals: ['deploy@build-01'],
    validAfter: 1_767_225_600n,
    validBefore: 1_767_229_200n,
    criticalOptions: none,
    extensions: none,
    reserved: none,
    caBlob: signer.publicKey.blob,
    junk: none,
    tail: none,
    ...changes,
  };
  const writer = new Writer().string(fields.type).string(fields.nonce);
  writeKeyParts(writer, keyParts(fields.publicKey));
  const unsigned = writer
    .uint64(fields.serial)
    .uint32(fields.kind)
    .string(fields.keyId)
    .string(fields.principals.reduce((list, name) => list.string(name), new Writer()).toBuffer())
    .uint64(fields.validAfter)
    .uint64(fields.validBefore)
    .string(fields.criticalOptions)
    .string(fields.extensions)
    .string(fields.reserved)
    .string(fields.caBlob)
    .raw(fields.junk)
    .toBuffer();
  return new Writer()
    .raw(unsigned)
    .string(await signer.sign(unsigned))
    .raw(fields.tail)
    .toBuffer();
}

/** The inside of an options field: names with data as they are. */
export function rawOptions(...options: readonly (readonly [name: string, data: Buffer | string])[]): Buffer {
  return options.reduce((list, [name, data]) => list.string(name).string(data), new Writer()).toBuffer();
}

/** The data of a text option: one inner string. */
export function inner(text: string): Buffer {
  return new Writer().string(text).toBuffer();
}

export interface HardwareSigner extends Signer {
  readonly privateKey: KeyObject;
}

/** A signer that behaves as a hardware key does (PROTOCOL.u2f), made in software; `flags` 1 says that somebody touched it. */
export function hardwareSigner(
  family: 'ed25519' | 'ecdsa',
  { flags = 1, counter = 9, application = 'ssh:' } = {},
): HardwareSigner {
  const type = family === 'ed25519' ? 'sk-ssh-ed25519@openssh.com' : 'sk-ecdsa-sha2-nistp256@openssh.com';
  const { privateKey } =
    family === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const parts = keyParts(publicKeyFromKeyObject(privateKey));
  const writer = new Writer().string(type);
  writeKeyParts(writer, parts);
  const blob = writer.string(application).toBuffer();
  const sha256 = (data: Buffer | string): Buffer => createHash('sha256').update(data).digest();
  return {
    privateKey,
    publicKey: { type, blob },
    sign(data) {
      const signed = new Writer()
        .raw(sha256(application))
        .uint8(flags)
        .uint32(counter)
        .raw(sha256(data))
        .toBuffer();
      return new Writer().string(type).string(value(signed)).uint8(flags).uint32(counter).toBuffer();
    },
  };

  function value(signed: Buffer): Buffer {
    if (family === 'ed25519') return sign(null, signed, privateKey);
    const raw = sign('sha256', signed, { key: privateKey, dsaEncoding: 'ieee-p1363' });
    return new Writer().mpint(raw.subarray(0, 32)).mpint(raw.subarray(32)).toBuffer();
  }
}

/** The code of the error that `run` throws or rejects with; `undefined` when it does not. */
export async function codeOf(run: () => unknown): Promise<string | undefined> {
  try {
    await run();
    return undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.name === 'SshError') return String(error.code);
    throw error;
  }
}
