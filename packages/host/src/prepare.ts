/**
 * Looking and deciding before anything is changed: the facts, the obstacles, the first trust documents, and sshd's own
 * word on the drop-in, tried in a copy of its configuration. What comes out is either a plan that works here or findings
 * that say why not.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HostIdentity } from '@beacon/protocol/trust';
import { type DropIn, TRUST_FOLDER } from './drop-in.ts';
import { tryOut } from './drop-in-trial.ts';
import { readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import { type Facts, lookAt, statOf } from './facts.ts';
import { type Finding, note } from './finding.ts';
import { readHostCertificate } from './host-certificate.ts';
import { readFloors } from './install-trust.ts';
import type { Machine } from './machine.ts';
import { readNote } from './note.ts';
import { findObstacles } from './obstacles.ts';
import { type Payload, readPayload } from './payload.ts';
import { PROGRAM_FOLDER, planHost, type Step } from './plan.ts';
import type { RunnerEntries } from './runner-entries.ts';
import { localize, RUNNER_LIST } from './runner-files.ts';
import { findRunnerObstacles } from './runner-obstacles.ts';
import { findSchedule } from './schedule.ts';
import {
  readTrustFolder,
  requireFresh,
  requireNotBelow,
  requireNotOlder,
  type TrustFiles,
  type VerifiedTrust,
  verifyTrust,
} from './trust-documents.ts';
import type { Wish } from './wish.ts';

export interface InitRequest {
  readonly wish: Wish;
  /** The folder of the unpacked archive. */
  readonly from: string;
  /** Trust documents, or a folder of them; undefined where the host has some already. */
  readonly trust: string | TrustFiles | undefined;
  readonly now: Date;
  /** It will be enrolled: a machine that never was may be given another id, as one that starts from an image is. */
  readonly enrols?: boolean;
}

export interface Prepared {
  readonly wish: Wish;
  readonly facts: Facts;
  readonly payload: Payload;
  readonly trust: VerifiedTrust;
  readonly dropIn: DropIn;
  readonly steps: readonly Step[];
  /** What stands in the way or is worth knowing; with a defect among them nothing may be done. */
  readonly findings: readonly Finding[];
}

const NOTHING_CALLS = note(
  'schedule',
  'beacon host sync',
  'there is neither systemd nor cron to call it every minute',
  'let who supervises programs here run: /usr/lib/beacon/beacon host sync --every 60',
);

/** Changes nothing. Throws HostError `payload-missing`, `trust-…`, `clock-wrong`, `other-host`. */
export function prepareHost(machine: Machine, { wish, from, trust, now, enrols }: InitRequest): Prepared {
  const noted = readNote(machine);
  const isNamed = enrols !== true || readHostCertificate(machine) !== undefined;
  if (noted !== undefined && ((isNamed && noted.host !== wish.host) || noted.login !== wish.login)) {
    throw new HostError(
      'other-host',
      `this machine is the host ${noted.host} with the login ${noted.login}: take that back with beacon host remove before`,
    );
  }
  const facts = lookAt(machine);
  const payload = readPayload(from, {
    sync: facts.systemd && wish.ca !== undefined,
    runners: wish.runners !== undefined,
  });
  const runnerEntries = entriesOf(machine, wish, payload, noted);
  const identity: HostIdentity = { host: wish.host, login: wish.login, rootKey: wish.rootKey };
  const { present, next } = chooseTrust(machine, identity, trust);
  const chosen = next ?? present;
  if (chosen === undefined) {
    throw new HostError(
      'trust-refused',
      'this host has no trust documents yet: name a folder of them with --trust',
    );
  }
  requireFresh(chosen, now);
  for (const floor of readFloors(machine)) requireNotBelow(floor, chosen);
  const { userCa } = chosen.root;
  const { dropIn, settings, findings: tried } = tryOut(machine, facts, wish, userCa);
  const schedule = findSchedule(facts);
  const findings = [
    ...findObstacles(facts, { login: wish.login, userCa, settings }),
    ...tried,
    ...findRunnerObstacles(machine, facts, wish, runnerEntries),
    ...(wish.ca !== undefined && schedule === 'operator' ? [NOTHING_CALLS] : []),
  ];
  const noShell = facts.programs.has('sshd') ? findNoShell(machine) : '/bin/false';
  const steps = planHost({ wish, payload, trust: chosen, dropIn, noShell, schedule, runnerEntries });
  return { wish, facts, payload, trust: chosen, dropIn, steps, findings };
}

/** The entries of a host of runners: those of the archive, and those that the host's own copy of them was. */
function entriesOf(
  machine: Machine,
  { runners }: Wish,
  payload: Payload,
  noted: Wish | undefined,
): RunnerEntries | undefined {
  const carried = payload.programs.find(({ name }) => name === RUNNER_LIST)?.from;
  if (runners === undefined || carried === undefined) return undefined;
  const former = readIfThere(machine.at(join(PROGRAM_FOLDER, RUNNER_LIST)));
  return {
    shipped: localize(typeof carried === 'string' ? readFileSync(carried) : carried, runners),
    before:
      former === undefined || noted?.runners === undefined ? undefined : localize(former, noted.runners),
  };
}

/** A program that ends at once, for accounts that nobody enters. */
export function findNoShell(machine: Machine): string {
  return machine.find('nologin') ?? machine.find('false') ?? '/bin/false';
}

function chooseTrust(
  machine: Machine,
  identity: HostIdentity,
  given: string | TrustFiles | undefined,
): { readonly present: VerifiedTrust | undefined; readonly next: VerifiedTrust | undefined } {
  const present = presentTrust(machine, identity);
  if (given === undefined) return { present, next: undefined };
  const next = verifyTrust(typeof given === 'string' ? readTrustFolder(given) : given, identity);
  if (present !== undefined) requireNotOlder(present, next);
  return { present, next };
}

/** The documents in force, where they hold; a host whose documents do not is given new ones. */
function presentTrust(machine: Machine, identity: HostIdentity): VerifiedTrust | undefined {
  const current = join(TRUST_FOLDER, 'current');
  if (statOf(machine, current) === undefined) return undefined;
  try {
    return verifyTrust(readTrustFolder(machine.at(current)), identity);
  } catch (error) {
    if (error instanceof HostError) return undefined;
    throw error;
  }
}
