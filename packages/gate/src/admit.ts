/**
 * Whether a certificate opens a gate here and now (DESIGN.md section 3.5). sshd has looked at it before; the gate trusts
 * nothing of its caller and looks again, in this order: trust documents fresh → the CA's signature, kind, authority and
 * defects → not revoked → valid now → for this login on this host → the grant in it says the same → the clock has not
 * gone back → used for the first time. The door is elsewhere, and so is what the grant lets its holder ask.
 */
import { type Grant, parseGrant } from '@beacon/protocol/grant';
import { formatPrincipal } from '@beacon/protocol/name';
import type { HostIdentity } from '@beacon/protocol/trust';
import { type Certificate, decodeCertificate } from '@beacon/ssh/certificate';
import { isRevoked } from '@beacon/ssh/is-revoked';
import { optionText } from '@beacon/ssh/options';
import { isSameKey } from '@beacon/ssh/public-key';
import { verifyCertificate } from '@beacon/ssh/verify-certificate';
import { GateError } from './error.ts';
import type { Marks } from './marks.ts';
import type { Records } from './records.ts';
import type { TrustReader } from './trust.ts';

/** Somebody who may ask, until when and for what. */
export interface Admission {
  readonly certificate: Certificate;
  readonly grant: Grant;
  /** The certificate's valid-before: when a command may no longer start. */
  readonly until: Date;
}

export interface AdmitOptions {
  readonly identity: HostIdentity;
  readonly trust: TrustReader;
  readonly records: Records;
  readonly marks: Marks;
  readonly now: () => Date;
}

/** How far the clock may be behind the latest time that was recorded. */
const LATE_CLOCK_MS = 60_000;

/** Throws GateError, SshError (`certificate-*`) or ProtocolError (`grant-*`). */
export function admit(blob: Buffer, options: AdmitOptions): Admission {
  const certificate = decodeCertificate(blob);
  requireTrusted(certificate, options, options.now());
  const grant = readGrant(certificate, options.identity);
  requireClock(options);
  const until = new Date(Number(certificate.validBefore) * 1_000);
  if (!options.marks.markSerial(certificate.serial, until)) {
    throw new GateError(
      'certificate-used',
      'the certificate has opened a session before, and opens only one: ask for a new one',
    );
  }
  return { certificate, grant, until };
}

/**
 * A later certificate for the same run: its subject key (which sshd has seen proven in this connection), principal,
 * session and person are those of the certificate that opened the session.
 */
export function admitReplacement(blob: Buffer, present: Admission, options: AdmitOptions): Admission {
  const certificate = decodeCertificate(blob);
  const grant = readGrant(certificate, options.identity);
  const isSame =
    isSameKey(certificate.publicKey, present.certificate.publicKey) &&
    certificate.principals.join() === present.certificate.principals.join() &&
    grant.session === present.grant.session &&
    grant.person === present.grant.person;
  if (!isSame) {
    throw new GateError(
      'replacement-refused',
      'only a certificate for the same key, login, session and person may replace the grant: begin another session',
    );
  }
  return admit(blob, options);
}

/**
 * Throws what refuses a certificate at that time, by the trust documents of now. A command may run on past the grant's
 * end, so `at` is the caller's.
 */
export function requireTrusted(
  certificate: Certificate,
  { identity, trust, now }: Pick<AdmitOptions, 'identity' | 'trust' | 'now'>,
  at: Date,
): void {
  const { authorities, krl } = trust.read(now());
  verifyCertificate(certificate, {
    now: at,
    kind: 'user',
    principal: formatPrincipal(identity.login, identity.host),
    authorities,
    isRevoked: (candidate) => isRevoked(krl, candidate),
  });
}

/** Throws GateError `clock-went-back`. */
export function requireClock({ records, now }: Pick<AdmitOptions, 'records' | 'now'>): void {
  const { time } = records.last();
  const clock = now();
  if (time !== undefined && clock.getTime() < time.getTime() - LATE_CLOCK_MS) {
    throw new GateError(
      'clock-went-back',
      `the clock says ${clock.toISOString()}, but a record was written at ${time.toISOString()}: set the clock`,
    );
  }
}

function readGrant(certificate: Certificate, { host, login }: HostIdentity): Grant {
  const text = optionText(certificate.extensions, 'grant@beacon');
  if (text === undefined) {
    throw new GateError('grant-missing', 'the certificate names no commands: ask for one that does');
  }
  const grant = parseGrant(text);
  const isOwn =
    grant.host === host &&
    grant.login === login &&
    certificate.keyId === `beacon/${grant.grant}/${grant.person}`;
  if (!isOwn) {
    throw new GateError(
      'grant-differs',
      'the grant names another host, login, grant or person than its certificate',
    );
  }
  return grant;
}
