/**
 * Certificates made: encoded by draft-ietf-sshm-cert-01 and signed. The encoder refuses whatever `verifyCertificate`
 * would refuse as a defect, so that nothing of that kind can be issued by mistake; it decides nothing else. A CA's
 * signer says in its type what it certifies: a user certificate under the host CA's key does not compile. The nonce
 * is an argument, 32 random bytes.
 */
import type { Buffer } from 'node:buffer';
import { type CertificateKind, certificateType, FOREVER } from './certificate.ts';
import { isKeyId, isPrincipal, isSmallRsa, MIN_RSA_BITS } from './certificate-defects.ts';
import { SshError, type SshErrorCode } from './error.ts';
import { type CriticalOptions, type Extensions, encodeOptions } from './options.ts';
import { isSameKey, keyParts, type PublicKey, writeKeyParts } from './public-key.ts';
import { checkSignatureAlgorithm, type Signer } from './signature.ts';
import { MAX_BLOB_BYTES, Writer } from './wire.ts';

/** A signer that certifies one kind of certificate and never the other. */
export interface Authority<Kind extends CertificateKind> extends Signer {
  readonly certifies: Kind;
}

export type UserCa = Authority<'user'>;
export type HostCa = Authority<'host'>;

/** What a certificate of either kind says. */
export interface CertificateFields {
  readonly publicKey: PublicKey;
  /** 1 to 2^64−1. */
  readonly serial: bigint;
  /** 1 to 255 characters of `A-Za-z0-9:/._-`. */
  readonly keyId: string;
  /** Exactly one name: `<login>@<host id>` for a user certificate, `<host id>` for a host's. */
  readonly principals: readonly string[];
  /** Seconds since 1970. */
  readonly validAfter: bigint;
  readonly validBefore: bigint;
}

export interface UserCertificateFields extends CertificateFields {
  readonly criticalOptions?: CriticalOptions;
  readonly extensions?: Extensions;
}

const NUMBER_OF_KIND: Readonly<Record<CertificateKind, number>> = { user: 1, host: 2 };
const NONCE_BYTES = 32;

/** Makes `signer` an authority for user certificates. */
export function createUserCa(signer: Signer): UserCa {
  return { ...certifying(signer), certifies: 'user' };
}

/** Makes `signer` an authority for host certificates. */
export function createHostCa(signer: Signer): HostCa {
  return { ...certifying(signer), certifies: 'host' };
}

function certifying(signer: Signer): Signer {
  const { ready } = signer;
  return {
    publicKey: signer.publicKey,
    sign: (data) => signer.sign(data),
    ...(ready === undefined ? {} : { ready: () => ready.call(signer) }),
  };
}

/** The blob of a user certificate. Throws `sign-*` for fields that are never signed. */
export async function signUserCertificate(
  fields: UserCertificateFields,
  ca: UserCa,
  nonce: Buffer,
): Promise<Buffer> {
  return signCertificate('user', fields, ca, nonce);
}

/** The blob of a host certificate, which has no options. Throws `sign-*` for fields that are never signed. */
export async function signHostCertificate(
  fields: CertificateFields,
  ca: HostCa,
  nonce: Buffer,
): Promise<Buffer> {
  return signCertificate('host', fields, ca, nonce);
}

async function signCertificate<Kind extends CertificateKind>(
  kind: Kind,
  fields: UserCertificateFields,
  ca: Authority<Kind>,
  nonce: Buffer,
): Promise<Buffer> {
  checkFields(kind, fields, ca, nonce);
  const unsigned = encodeUnsigned(kind, fields, ca.publicKey, nonce);
  const signature = await ca.sign(unsigned);
  checkSignatureAlgorithm(ca.publicKey, signature);
  const blob = new Writer().raw(unsigned).string(signature).toBuffer();
  demand(blob.length <= MAX_BLOB_BYTES, 'sign-too-long', 'the certificate would be longer than sshd accepts');
  return blob;
}

function encodeUnsigned(
  kind: CertificateKind,
  fields: UserCertificateFields,
  ca: PublicKey,
  nonce: Buffer,
): Buffer {
  const { publicKey } = fields;
  const writer = new Writer().string(certificateType(publicKey.type)).string(nonce);
  writeKeyParts(writer, keyParts(publicKey));
  return writer
    .uint64(fields.serial)
    .uint32(NUMBER_OF_KIND[kind])
    .string(fields.keyId)
    .string(fields.principals.reduce((list, name) => list.string(name), new Writer()).toBuffer())
    .uint64(fields.validAfter)
    .uint64(fields.validBefore)
    .string(encodeOptions('critical', fields.criticalOptions ?? {}))
    .string(encodeOptions('extension', fields.extensions ?? {}))
    .string('')
    .string(ca.blob)
    .toBuffer();
}

function checkFields(
  kind: CertificateKind,
  fields: UserCertificateFields,
  ca: Authority<CertificateKind>,
  nonce: Buffer,
): void {
  const { publicKey, principals, serial, keyId, validAfter, validBefore } = fields;
  demand(ca.certifies === kind, 'sign-key', `this CA key does not certify ${kind}s`);
  demand(nonce.length === NONCE_BYTES, 'sign-nonce', `the nonce must have ${NONCE_BYTES} bytes`);
  demand(
    !isSmallRsa(publicKey),
    'sign-key',
    `RSA keys need at least ${MIN_RSA_BITS} bits; make an Ed25519 key`,
  );
  demand(!isSmallRsa(ca.publicKey), 'sign-key', `the CA's RSA key has fewer than ${MIN_RSA_BITS} bits`);
  demand(!isSameKey(publicKey, ca.publicKey), 'sign-key', 'a CA does not certify its own key');
  demand(serial > 0n && serial <= 0xffff_ffff_ffff_ffffn, 'sign-serial', 'a serial is from 1 to 2^64−1');
  demand(isKeyId(keyId), 'sign-key-id', 'a key id has 1 to 255 characters of A-Za-z0-9:/._-');
  demand(principals.length === 1, 'sign-principals', 'a certificate names exactly one principal');
  demand(
    principals.every(isPrincipal),
    'sign-principals',
    'a principal is a name of the form login@host or host',
  );
  demand(validAfter >= 0n && validAfter < validBefore, 'sign-validity', 'a certificate ends after it begins');
  demand(validBefore < FOREVER, 'sign-validity', 'a certificate expires');
  const optionCount = [fields.criticalOptions, fields.extensions].flatMap((values) =>
    Object.keys(values ?? {}),
  ).length;
  demand(kind === 'user' || optionCount === 0, 'sign-options', 'a host certificate has no options');
}

function demand(holds: boolean, code: SshErrorCode, message: string): void {
  if (!holds) throw new SshError(code, message);
}
