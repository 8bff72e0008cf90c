/**
 * Keeping the host certificate good (DESIGN.md section 6): asked for again at two thirds of its life, at once where it does
 * not hold any more or its CA key goes, verified, put in place whole, and only then sshd reads it. An hour lies between two
 * tries that failed.
 */
import { type Certificate, parseCertificateLine } from '@beacon/ssh/certificate';
import { SshError } from '@beacon/ssh/error';
import { type Asker, renew } from './ask-ca.ts';
import { HostError } from './error.ts';
import { statOf } from './facts.ts';
import {
  HOST_CERTIFICATE,
  isRenewalDue,
  placeHostCertificate,
  verifyHostCertificate,
} from './host-certificate.ts';
import { withLock } from './lock.ts';
import type { Machine } from './machine.ts';
import { reloadSshd } from './reload.ts';
import type { SyncState } from './sync-state.ts';
import type { VerifiedTrust } from './trust-documents.ts';

const AGAIN_AFTER_MS = 3_600_000;

/** Whether to ask for another certificate in the place of this line. */
export function shouldRenew(
  line: string,
  host: string,
  trust: VerifiedTrust,
  state: SyncState,
  now: Date,
): boolean {
  const { renewalAt } = state;
  if (renewalAt !== undefined && Math.abs(now.getTime() - renewalAt.getTime()) < AGAIN_AFTER_MS) return false;
  let certificate: Certificate;
  try {
    certificate = parseCertificateLine(line);
  } catch (error) {
    if (error instanceof SshError) return true;
    throw error;
  }
  if (isRenewalDue(certificate, now)) return true;
  try {
    // Whose key it is for is looked at when it is renewed.
    verifyHostCertificate(line, { host, key: certificate.publicKey, trust, now });
    return false;
  } catch (error) {
    if (error instanceof HostError) return true;
    throw error;
  }
}

/**
 * `note` is called just before the certificate is put in place. Throws HostError `ca-refused`, `certificate-refused`,
 * `locked`, ClientError; then the certificate is as it was.
 */
export async function renewCertificate(
  machine: Machine,
  asker: Asker,
  trust: VerifiedTrust,
  note: () => void,
): Promise<void> {
  const line = await renew(asker);
  const use = { host: asker.host, key: asker.key.publicKey, trust, now: asker.outside.now() };
  verifyHostCertificate(line, use);
  await withLock(machine, () => {
    if (statOf(machine, HOST_CERTIFICATE) === undefined)
      throw new HostError('not-a-host', 'this machine was taken back meanwhile: nothing was changed');
    note();
    placeHostCertificate(machine, line);
    return Promise.resolve();
  });
}

/** Lets sshd read the certificate that lies there. Throws HostError `sshd-refuses`, `step-failed`. */
export function showCertificate(machine: Machine): void {
  reloadSshd(machine, machine.find('sshd') ?? '/usr/sbin/sshd');
}
