/** The part of `beacon host check` that looks at the trust documents in force: their files, signatures, versions and age. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { TRUST_FOLDER } from './drop-in.ts';
import { readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import { statOf } from './facts.ts';
import { defect, type Finding, note, WRITABLE_BY_OTHERS } from './finding.ts';
import { readFloors } from './install-trust.ts';
import type { Machine } from './machine.ts';
import {
  readTrustFolder,
  requireFresh,
  requireNotBelow,
  userCaFile,
  type VerifiedTrust,
  verifyTrust,
} from './trust-documents.ts';
import type { Note } from './wish.ts';

const WARN_AT = 0.75;

export function checkTrust(
  machine: Machine,
  noted: Pick<Note, 'host' | 'login' | 'rootKey' | 'ca'>,
  now: Date,
): { readonly trust: VerifiedTrust | undefined; readonly findings: Finding[] } {
  const current = join(TRUST_FOLDER, 'current');
  const remedy =
    noted.ca === undefined ? 'give new documents: beacon host init --trust FOLDER' : 'run beacon host sync';
  try {
    const link = statOf(machine, current);
    if (link === undefined)
      return {
        trust: undefined,
        findings: [defect('trust-missing', current, 'there are no trust documents', remedy)],
      };
    if (!link.isSymbolicLink())
      return { trust: undefined, findings: [defect('wrong-kind', current, 'it is no link', remedy)] };
    const trust = verifyTrust(readTrustFolder(machine.at(current)), {
      host: noted.host,
      login: noted.login,
      rootKey: noted.rootKey,
    });
    const findings = trustFileFindings(machine, current, trust, remedy);
    findings.push(...floorFindings(machine, trust, remedy));
    for (const [name, { issued, expires }] of [
      ['root', trust.root],
      ['status', trust.status],
    ] as const) {
      const age = (now.getTime() - issued.getTime()) / (expires.getTime() - issued.getTime());
      if (age >= WARN_AT && age < 1)
        findings.push(
          note(
            'trust-old',
            `trust ${name}`,
            `it expires at ${expires.toISOString()}`,
            name === 'root' ? 'sign a new root' : remedy,
          ),
        );
    }
    try {
      requireFresh(trust, now);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      findings.push(
        defect(
          error.code,
          'trust documents',
          error.message,
          error.code === 'clock-wrong' ? 'set the clock' : remedy,
        ),
      );
    }
    return { trust, findings };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { trust: undefined, findings: [defect(error.code, current, error.message, remedy)] };
  }
}

function trustFileFindings(
  machine: Machine,
  current: string,
  trust: VerifiedTrust,
  remedy: string,
): Finding[] {
  const folder = machine.at(current);
  const findings: Finding[] = [];
  if (readIfThere(join(folder, 'user_ca.pub'))?.equals(userCaFile(trust.root)) !== true) {
    findings.push(
      defect('differs', `${current}/user_ca.pub`, 'it does not hold the CA keys of the trust root', remedy),
    );
  }
  for (const name of ['.', ...readdirSync(folder)]) {
    const stats = statOf(machine, name === '.' ? `${current}/.` : `${current}/${name}`);
    if (stats === undefined) continue;
    const path = name === '.' ? current : `${current}/${name}`;
    if (Number(stats.uid) !== 0)
      findings.push(defect('owner', path, `it belongs to ${stats.uid}`, `chown root:root ${path}`));
    if ((Number(stats.mode) & WRITABLE_BY_OTHERS) !== 0)
      findings.push(defect('mode', path, 'others than root can write it', `chmod go-w ${path}`));
  }
  return findings;
}

/** What was in force once, or used by a gate of this host, is not fallen behind. */
function floorFindings(machine: Machine, trust: VerifiedTrust, remedy: string): Finding[] {
  try {
    for (const floor of readFloors(machine)) requireNotBelow(floor, trust);
    return [];
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    const how = `find out who put older ones there; then ${remedy}`;
    return [defect(error.code, 'trust documents', error.message, how)];
  }
}
