/** The part of `beacon host check` that looks at the host certificate: whether it holds, and whether sshd shows it. */

import { parseCertificateLine } from '@beacon/ssh/certificate';
import { SshError } from '@beacon/ssh/error';
import { isSameKey, type PublicKey, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { readIfThere } from './durable-file.ts';
import { CERTIFICATE_STEP, certificateSteps, certificatesInForce } from './enrolment.ts';
import { HostError } from './error.ts';
import { statOf } from './facts.ts';
import { defect, type Finding, note } from './finding.ts';
import { HOST_CERTIFICATE, readHostCertificate, verifyHostCertificate } from './host-certificate.ts';
import type { Machine } from './machine.ts';
import type { FileStep } from './plan.ts';
import type { VerifiedTrust } from './trust-documents.ts';
import type { Note } from './wish.ts';

const WARN_AT = { part: 3n, of: 4n };
const ENROL_AGAIN = 'enrol it again: beacon host init with a token made with --replace';

/** The files of a host that was enrolled, with whatever certificate is there. */
export function presentCertificateSteps(machine: Machine): readonly FileStep[] {
  const line = readHostCertificate(machine);
  if (line === undefined && statOf(machine, CERTIFICATE_STEP.path) === undefined) return [];
  return certificateSteps(line ?? '');
}

export function checkHostCertificate(
  machine: Machine,
  noted: Note,
  settings: ReadonlyMap<string, readonly string[]> | undefined,
  trust: VerifiedTrust | undefined,
  now: Date,
): Finding[] {
  const line = readHostCertificate(machine);
  if (line === undefined) {
    const isWanted = noted.ca !== undefined && certificatesInForce(settings ?? new Map()).length === 0;
    if (!isWanted) return [];
    const remedy = 'beacon host init --token-file FILE';
    return [
      note('not-enrolled', 'host certificate', 'there is none, so no client of Beacon comes here', remedy),
    ];
  }
  if (settings === undefined || trust === undefined) return [];
  const found: Finding[] = [];
  if (!certificatesInForce(settings).includes(HOST_CERTIFICATE)) {
    found.push(
      defect(
        'host-certificate-hidden',
        CERTIFICATE_STEP.path,
        'sshd does not show the host certificate',
        'find out who keeps its line from sshd, and run beacon host init again',
      ),
    );
  }
  try {
    const { publicKey, validAfter, validBefore } = parseCertificateLine(line);
    const key = ownKeys(machine, settings).find((one) => isSameKey(one, publicKey));
    if (key === undefined) return [...found, bad('it is for a key that sshd has not (any more)')];
    verifyHostCertificate(line, { host: noted.host, key, trust, now });
    const seconds = BigInt(Math.floor(now.getTime() / 1_000));
    if ((seconds - validAfter) * WARN_AT.of >= (validBefore - validAfter) * WARN_AT.part) {
      const until = new Date(Number(validBefore) * 1_000).toISOString();
      found.push(
        note('host-certificate-old', HOST_CERTIFICATE, `it ends at ${until}`, 'run beacon host sync'),
      );
    }
  } catch (error) {
    if (!(error instanceof SshError) && !(error instanceof HostError)) throw error;
    found.push(bad(error.message));
  }
  return found;
}

function bad(what: string): Finding {
  return defect('host-certificate', HOST_CERTIFICATE, what, ENROL_AGAIN);
}

/** The public halves of the keys that sshd uses. */
function ownKeys(machine: Machine, settings: ReadonlyMap<string, readonly string[]>): PublicKey[] {
  return (settings.get('hostkey') ?? []).flatMap((path) => {
    const line = readIfThere(machine.at(`${path}.pub`))
      ?.toString('latin1')
      .trimEnd();
    return line === undefined ? [] : [parsePublicKeyLine(line).key];
  });
}
