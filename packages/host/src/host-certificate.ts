/**
 * The host certificate (DESIGN.md section 4) on the host: where it lies, how sshd is told of it, and what one must be before
 * sshd is shown it. `HostCertificate` cannot stand in a `Match`, so it has a drop-in of its own with that line alone; for
 * sshd's other settings, and for clients who know no authority, nothing changes by it.
 */

import type { Certificate } from '@beacon/ssh/certificate';
import { parseCertificateLine } from '@beacon/ssh/certificate';
import { SshError } from '@beacon/ssh/error';
import { isRevoked } from '@beacon/ssh/is-revoked';
import { decodeKrl } from '@beacon/ssh/krl';
import { isSameKey, type PublicKey, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { verifyCertificate } from '@beacon/ssh/verify-certificate';
import { placeFile, readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import type { Machine } from './machine.ts';
import type { VerifiedTrust } from './trust-documents.ts';

export const HOST_CERTIFICATE = '/etc/beacon/host-cert.pub';
export const CERTIFICATE_DROP_IN = '/etc/ssh/sshd_config.d/11-beacon-host-certificate.conf';
export const CERTIFICATE_DROP_IN_TEXT = `HostCertificate ${HOST_CERTIFICATE}\n`;
const LONGEST = 32_768;
const RENEW_AT = { part: 2n, of: 3n };

/** What a host's certificate is compared with. */
export interface CertificateUse {
  readonly host: string;
  /** The host's own key. */
  readonly key: PublicKey;
  /** Names the host CAs, and what was revoked. */
  readonly trust: VerifiedTrust;
  readonly now: Date;
}

/** The certificate in `line`, where sshd may show it as this host's. Throws HostError `certificate-refused`. */
export function verifyHostCertificate(line: string, { host, key, trust, now }: CertificateUse): Certificate {
  try {
    if (line.length > LONGEST) throw refused('it is too long');
    const certificate = parseCertificateLine(line.trimEnd());
    if (!isSameKey(certificate.publicKey, key)) throw refused("it is not for this host's key");
    const krl = decodeKrl(trust.files.krl);
    verifyCertificate(certificate, {
      now,
      kind: 'host',
      principal: host,
      authorities: trust.root.hostCa.map((ca) => parsePublicKeyLine(ca).key),
      isRevoked: (one) => isRevoked(krl, one),
    });
    return certificate;
  } catch (error) {
    if (error instanceof SshError) throw refused(error.message, { cause: error });
    throw error;
  }
}

/** The certificate that lies on the host, one line, not verified; undefined where there is none. */
export function readHostCertificate(machine: Machine): string | undefined {
  return readIfThere(machine.at(HOST_CERTIFICATE))?.toString('latin1').trimEnd();
}

/** Puts a verified certificate where sshd reads it, whole and on the disk; sshd takes it with its next reload. */
export function placeHostCertificate(machine: Machine, line: string): void {
  placeFile(machine.at(HOST_CERTIFICATE), Buffer.from(`${line.trimEnd()}\n`), 0o644, { uid: 0, gid: 0 });
}

/** Whether two thirds of its life are over. */
export function isRenewalDue({ validAfter, validBefore }: Certificate, now: Date): boolean {
  const seconds = BigInt(Math.floor(now.getTime() / 1_000));
  return (seconds - validAfter) * RENEW_AT.of >= (validBefore - validAfter) * RENEW_AT.part;
}

function refused(what: string, options?: ErrorOptions): HostError {
  return new HostError(
    'certificate-refused',
    `the host certificate is refused: ${what}: enrol this host again with a token made with --replace`,
    options,
  );
}
