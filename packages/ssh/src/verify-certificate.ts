/**
 * Whether a certificate opens what it is shown for, now. The order of the checks is the body of `verifyCertificate`:
 * the signature has been verified while decoding, so what remains is purpose, authority, defects, revocation, time,
 * principal and source address. Names are compared exactly; time is an argument and has no leeway, as in sshd.
 */
import { type Certificate, type CertificateKind, isDecoded } from './certificate.ts';
import { certificateDefects } from './certificate-defects.ts';
import { SshError } from './error.ts';
import { optionText } from './options.ts';
import { isSameKey, type PublicKey } from './public-key.ts';
import { isSourceAddressIn } from './source-address.ts';

export interface VerifyCertificateOptions {
  readonly now: Date;
  readonly kind: CertificateKind;
  /** The one principal that the certificate must name, exactly. */
  readonly principal: string;
  /** The CA keys that are trusted for `kind`; an empty list trusts nobody. */
  readonly authorities: readonly PublicKey[];
  /** What it throws is thrown on: a list that cannot be read refuses. */
  readonly isRevoked?: (certificate: Certificate) => boolean;
  /** The address of the peer. Left out where sshd stands before this check and has compared `source-address`. */
  readonly sourceAddress?: string;
}

/** Throws an `SshError` whose `certificate-*` code names the first check that failed. */
export function verifyCertificate(certificate: Certificate, options: VerifyCertificateOptions): void {
  requireDecoded(certificate);
  requireKind(certificate, options.kind);
  requireAuthority(certificate, options.authorities);
  requireNoDefect(certificate);
  requireNotRevoked(certificate, options.isRevoked);
  requireValidAt(certificate, options.now);
  requirePrincipal(certificate, options.principal);
  requireSourceAddress(certificate, options.sourceAddress);
}

function requireDecoded(certificate: Certificate): void {
  if (!isDecoded(certificate)) {
    throw new SshError(
      'certificate-not-decoded',
      'this value was not decoded here: nobody has checked its signature',
    );
  }
}

function requireKind(certificate: Certificate, kind: CertificateKind): void {
  if (certificate.kind !== kind) {
    throw new SshError(
      'certificate-wrong-kind',
      `this is a ${certificate.kind} certificate, not a ${kind} certificate`,
    );
  }
}

function requireAuthority(certificate: Certificate, authorities: readonly PublicKey[]): void {
  if (!authorities.some((authority) => isSameKey(authority, certificate.ca))) {
    throw new SshError(
      'certificate-unknown-authority',
      'the certificate is signed by a key that is not trusted here',
    );
  }
}

function requireNoDefect(certificate: Certificate): void {
  const defects = certificateDefects(certificate);
  if (defects.length > 0) {
    throw new SshError(
      'certificate-defect',
      `the certificate is refused: ${defects.map(({ reason }) => reason).join('; ')}`,
    );
  }
}

function requireNotRevoked(certificate: Certificate, isRevoked: VerifyCertificateOptions['isRevoked']): void {
  if (isRevoked?.(certificate) === true) {
    throw new SshError('certificate-revoked', `the certificate with serial ${certificate.serial} is revoked`);
  }
}

/** `validAfter <= now < validBefore`, in whole seconds as sshd counts them. */
function requireValidAt(certificate: Certificate, now: Date): void {
  const ms = now.getTime();
  if (Number.isNaN(ms) || BigInt(Math.floor(ms / 1000)) < certificate.validAfter) {
    throw new SshError('certificate-not-yet-valid', 'the certificate is not valid yet; compare the clocks');
  }
  if (BigInt(Math.floor(ms / 1000)) >= certificate.validBefore) {
    throw new SshError('certificate-expired', 'the certificate has expired; ask for a new one');
  }
}

function requirePrincipal(certificate: Certificate, principal: string): void {
  if (certificate.principals.length !== 1 || certificate.principals[0] !== principal) {
    throw new SshError(
      'certificate-wrong-principal',
      `the certificate is not for ${JSON.stringify(principal)}`,
    );
  }
}

function requireSourceAddress(certificate: Certificate, address: string | undefined): void {
  const list = optionText(certificate.criticalOptions, 'source-address');
  if (list === undefined || address === undefined) return;
  if (!isSourceAddressIn(address, list)) {
    throw new SshError('certificate-source-address', 'the certificate may not be used from this address');
  }
}
