/**
 * Becoming a host of a CA (DESIGN.md section 6): the token is shown once all else is in order, what comes back is verified,
 * and it is on the disk before sshd is told of it. Where a set-up was broken off after that, the certificate that lies there
 * is enough to go on without a token.
 */

import type { Outside } from '@beacon/client';
import { parseCertificateLine } from '@beacon/ssh/certificate';
import { SshError } from '@beacon/ssh/error';
import { isSameKey } from '@beacon/ssh/public-key';
import { type Asker, enrol } from './ask-ca.ts';
import { readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import { defect, type Finding } from './finding.ts';
import {
  CERTIFICATE_DROP_IN,
  CERTIFICATE_DROP_IN_TEXT,
  HOST_CERTIFICATE,
  readHostCertificate,
  verifyHostCertificate,
} from './host-certificate.ts';
import { type HostKey, openHostKey } from './host-key.ts';
import type { Machine } from './machine.ts';
import type { FileStep } from './plan.ts';
import { askSshd, type Effective } from './sshd.ts';
import type { VerifiedTrust } from './trust-documents.ts';
import type { Wish } from './wish.ts';

/** What is needed to enrol, beside the plan. */
export interface Enrolment {
  readonly outside: Outside;
  /** The token's secret; undefined where the host may have its certificate already. */
  readonly secret: string | undefined;
  readonly key: HostKey;
}

/** Changes nothing. Throws HostError `sshd-refuses`, `host-key-missing`. */
export async function prepareEnrolment(
  machine: Machine,
  outside: Outside,
  secret: string | undefined,
): Promise<{ readonly enrolment: Enrolment; readonly findings: readonly Finding[] }> {
  const key = await openHostKey(machine);
  const findings = [...findOtherCertificates(machine, key)];
  if (machine.find('ssh') === undefined) {
    findings.push(
      defect('ssh-missing', 'ssh', 'without it this host cannot test itself', 'install openssh-client(s)'),
    );
  }
  return { enrolment: { outside, secret, key }, findings };
}

/** sshd shows one certificate for a key: the last that it is told of. */
function findOtherCertificates(machine: Machine, { path, signer }: HostKey): Finding[] {
  return certificatesInForce(askHost(machine))
    .filter((file) => file !== HOST_CERTIFICATE)
    .filter((file) => {
      const line = readIfThere(machine.at(file))?.toString('latin1').trimEnd();
      try {
        return line !== undefined && isSameKey(parseCertificateLine(line).publicKey, signer.publicKey);
      } catch (error) {
        if (error instanceof SshError) return false;
        throw error;
      }
    })
    .map((file) =>
      defect(
        'host-certificate-taken',
        file,
        `sshd has a certificate for ${path} already, and can show one alone`,
        'take its HostCertificate out of the configuration of sshd, or give sshd another HostKey',
      ),
    );
}

export interface Enrolled {
  /** One line; verified where there is no `defect`. */
  readonly certificate: string;
  /** It has just been issued. */
  readonly isNew: boolean;
  /** Why the one that is there does not hold: without a token it stays, and stands in nobody's way. */
  readonly defect?: string;
}

/**
 * The host's certificate. `isResumed`: the set-up before was broken off, and a certificate that holds is the one it got.
 * Throws HostError `token-missing`, `ca-refused`, `certificate-refused`, ClientError.
 */
export async function obtainHostCertificate(
  machine: Machine,
  { wish, trust }: { readonly wish: Wish; readonly trust: VerifiedTrust },
  { outside, secret, key }: Enrolment,
  isResumed: boolean,
): Promise<Enrolled> {
  const use = { host: wish.host, key: key.signer.publicKey, trust, now: outside.now() };
  const present = readHostCertificate(machine);
  if (present !== undefined && (secret === undefined || isResumed)) {
    try {
      verifyHostCertificate(present, use);
      return { certificate: present, isNew: false };
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      if (secret === undefined && isResumed) throw error;
      if (secret === undefined) return { certificate: present, isNew: false, defect: error.message };
    }
  }
  if (secret === undefined) {
    throw new HostError(
      'token-missing',
      'this machine is not enrolled: give it a token with --token-file, which beacon ca host token makes',
    );
  }
  const certificate = await enrol(askerOf(wish, outside, key), secret);
  verifyHostCertificate(certificate, { ...use, now: outside.now() });
  return { certificate, isNew: true };
}

export function askerOf(wish: Wish, outside: Outside, key: HostKey): Asker {
  if (wish.ca === undefined) throw new HostError('usage', 'name the CA with --ca https://…');
  return { outside, ca: wish.ca, host: wish.host, key: key.signer };
}

const step = (path: string, text: string): FileStep => ({
  do: 'file',
  path,
  mode: 0o644,
  content: Buffer.from(text),
});

/** What makes sshd show the certificate. */
export const CERTIFICATE_STEP = step(CERTIFICATE_DROP_IN, CERTIFICATE_DROP_IN_TEXT);

/** First the certificate, then what names it. */
export function certificateSteps(certificate: string): FileStep[] {
  return [step(HOST_CERTIFICATE, `${certificate.trimEnd()}\n`), CERTIFICATE_STEP];
}

/** What is in force for everybody. Throws HostError `sshd-refuses`. */
export function askHost(machine: Machine): ReadonlyMap<string, readonly string[]> {
  const asked: Effective = askSshd(machine, machine.find('sshd') ?? '/usr/sbin/sshd', 'root');
  if ('settings' in asked) return asked.settings;
  throw new HostError('sshd-refuses', `sshd refuses its configuration: ${asked.refusal}: put that right`);
}

export function certificatesInForce(settings: ReadonlyMap<string, readonly string[]>): readonly string[] {
  return settings.get('hostcertificate') ?? [];
}

/** Throws HostError `sshd-differs` where more has changed for everybody than the one certificate. */
export function requireOnlyCertificateAdded(
  before: ReadonlyMap<string, readonly string[]>,
  after: ReadonlyMap<string, readonly string[]>,
): void {
  const isOurs = (keyword: string): boolean => keyword === 'hostcertificate';
  const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
    (keyword) => !isOurs(keyword) && before.get(keyword)?.join('\n') !== after.get(keyword)?.join('\n'),
  );
  if (changed.length > 0) {
    throw new HostError(
      'sshd-differs',
      `the host certificate would change ${changed.join(', ')}: report this`,
    );
  }
  if (!certificatesInForce(after).includes(HOST_CERTIFICATE)) {
    throw new HostError(
      'sshd-differs',
      `sshd does not take ${CERTIFICATE_DROP_IN}: look for who keeps HostCertificate from it`,
    );
  }
}
