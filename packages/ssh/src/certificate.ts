/**
 * OpenSSH certificates as values: decoded, and as the one line of a file (draft-ietf-sshm-cert-01, OpenSSH's
 * PROTOCOL.certkeys). Decoding is strict and total, and verifies the CA's signature: a `Certificate` exists only if
 * somebody who holds the key in `ca` signed exactly these bytes. Whether that key is trusted, and for what, is
 * decided in `verify-certificate.ts`.
 *
 * Refused here: every type but `…-cert-v01@openssh.com` of a known key; a kind other than 1 (user) and 2 (host);
 * more than 256 principals; text that is not UTF-8 or has a NUL; options out of order, doubled, flags with data or
 * texts without their inner string; a certificate as CA key; a signature whose algorithm the CA key does not have;
 * bytes after or between. Decoded and listed by `certificateDefects`, because sshd reads them too and a person may
 * have to look at one: reserved that is not empty, empty or long key ids, no or many principals, serial 0, small RSA
 * keys, SHA-1 signatures, foreign options, validity for ever. A serial of 2^64−1 is a serial like any other.
 */
import { Buffer } from 'node:buffer';
import { SshError } from './error.ts';
import { joinKeyLine, splitKeyLine } from './key-line.ts';
import { type CertificateOption, decodeOptions } from './options.ts';
import {
  decodePublicKey,
  keyFromParts,
  PUBLIC_KEY_TYPES,
  type PublicKey,
  type PublicKeyType,
  readKeyParts,
} from './public-key.ts';
import { verifySignature } from './signature.ts';
import { MAX_BLOB_BYTES, Reader } from './wire.ts';

/** Whom a certificate names: those who log in, or a machine. */
export type CertificateKind = 'user' | 'host';

/** A decoded certificate whose signature by `ca` holds. Only `decodeCertificate` makes one. */
export interface Certificate {
  /** The type of the certificate, such as `ssh-ed25519-cert-v01@openssh.com`. */
  readonly type: string;
  readonly nonce: Buffer;
  /** The key that is certified. */
  readonly publicKey: PublicKey;
  readonly serial: bigint;
  readonly kind: CertificateKind;
  readonly keyId: string;
  readonly principals: readonly string[];
  /** Seconds since 1970; the certificate is valid while `validAfter <= now < validBefore`. */
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  readonly criticalOptions: readonly CertificateOption[];
  readonly extensions: readonly CertificateOption[];
  readonly reserved: Buffer;
  /** The key that signed it, which is not thereby a key that anybody trusts. */
  readonly ca: PublicKey;
  readonly signatureAlgorithm: string;
  /** The whole, byte for byte. */
  readonly blob: Buffer;
}

/** The end of time: `validBefore` of a certificate that never expires. */
export const FOREVER = 0xffff_ffff_ffff_ffffn;

/** OpenSSH's `SSHKEY_CERT_MAX_PRINCIPALS`. */
const MAX_PRINCIPALS = 256;

const KIND_BY_NUMBER: Readonly<Record<number, CertificateKind>> = { 1: 'user', 2: 'host' };

const KEY_TYPE_BY_CERTIFICATE_TYPE: ReadonlyMap<string, PublicKeyType> = new Map(
  PUBLIC_KEY_TYPES.map((type) => [certificateType(type), type]),
);

const decoded = new WeakSet<Certificate>();

/** The name of the certificates for keys of `type`. */
export function certificateType(type: PublicKeyType): string {
  return `${type.replace('@openssh.com', '')}-cert-v01@openssh.com`;
}

/** Decodes a certificate and verifies its CA's signature; the result owns its bytes. Throws `SshError`. */
export function decodeCertificate(blob: Buffer): Certificate {
  if (blob.length > MAX_BLOB_BYTES) {
    throw new SshError('wire-too-long', `certificate: it is longer than ${MAX_BLOB_BYTES} bytes`);
  }
  const own = Buffer.from(blob);
  const reader = new Reader(own, 'certificate');
  const type = reader.text('type', 64);
  const keyType = KEY_TYPE_BY_CERTIFICATE_TYPE.get(type);
  if (keyType === undefined) {
    throw new SshError(
      'certificate-type-unsupported',
      `${JSON.stringify(type)} is no certificate that we read`,
    );
  }
  const nonce = reader.string('nonce');
  const parts = readKeyParts(reader, keyType);
  const serial = reader.uint64('serial');
  const kind = readKind(reader);
  const keyId = reader.text('key id');
  const principals = readPrincipals(reader.string('principals'));
  const validAfter = reader.uint64('valid after');
  const validBefore = reader.uint64('valid before');
  const criticalOptions = decodeOptions('critical', reader.string('critical options'));
  const extensions = decodeOptions('extension', reader.string('extensions'));
  const reserved = reader.string('reserved');
  const ca = decodeAuthorityKey(reader.string('CA key'));
  const signed = own.subarray(0, reader.offset);
  const signature = reader.string('signature');
  reader.end();
  // SHA-1 is a defect to be shown, not a reason to show nothing: `verifyCertificate` refuses it.
  const signatureAlgorithm = verifySignature(ca, signed, signature, { allowSha1: true });
  const certificate: Certificate = Object.freeze({
    type,
    nonce,
    publicKey: keyFromParts(keyType, parts),
    serial,
    kind,
    keyId,
    principals,
    validAfter,
    validBefore,
    criticalOptions,
    extensions,
    reserved,
    ca,
    signatureAlgorithm,
    blob: own,
  });
  decoded.add(certificate);
  return certificate;
}

/** Takes the one line of a `-cert.pub` file; one newline may end it, a comment is dropped. Throws `SshError`. */
export function parseCertificateLine(line: string): Certificate {
  const { type, blob } = splitKeyLine(line);
  const certificate = decodeCertificate(blob);
  if (certificate.type !== type) {
    throw new SshError(
      'key-line-malformed',
      `the line says ${type}, the certificate in it ${certificate.type}`,
    );
  }
  return certificate;
}

/** The line of a `-cert.pub` file for a certificate's blob, without a newline. */
export function formatCertificateLine(blob: Buffer, comment = ''): string {
  return joinKeyLine(new Reader(blob, 'certificate').text('type', 64), blob, comment);
}

/** Whether `decodeCertificate` made this value; a literal or a changed copy has no verified signature. */
export function isDecoded(certificate: Certificate): boolean {
  return decoded.has(certificate);
}

function readKind(reader: Reader): CertificateKind {
  const number = reader.uint32('kind');
  const kind = KIND_BY_NUMBER[number];
  if (kind === undefined) {
    throw new SshError(
      'certificate-kind',
      `a certificate of kind ${number} is neither for a user nor for a host`,
    );
  }
  return kind;
}

function readPrincipals(bytes: Buffer): readonly string[] {
  const reader = new Reader(bytes, 'principals');
  const principals: string[] = [];
  while (reader.remaining > 0) {
    if (principals.length === MAX_PRINCIPALS) {
      throw new SshError(
        'certificate-principals',
        `the certificate has more than ${MAX_PRINCIPALS} principals`,
      );
    }
    principals.push(reader.text('principal'));
  }
  return Object.freeze(principals);
}

function decodeAuthorityKey(blob: Buffer): PublicKey {
  if (KEY_TYPE_BY_CERTIFICATE_TYPE.has(new Reader(blob, 'CA key').text('type', 64))) {
    throw new SshError(
      'certificate-ca-is-certificate',
      'the CA key is itself a certificate: there are no chains',
    );
  }
  return decodePublicKey(blob);
}
