/**
 * Looking and deciding before anything is changed: the facts, the obstacles, the first trust documents, and sshd's own
 * word on the drop-in, tried in a copy of its configuration. What comes out is either a plan that works here or findings
 * that say why not.
 */
import { join } from 'node:path';
import type { HostIdentity } from '@beacon/protocol/trust';
import { type Directive, dropInDirectives, formatDropIn, TRUST_FOLDER } from './drop-in.ts';
import { HostError } from './error.ts';
import { type Facts, lookAt, statOf } from './facts.ts';
import { defect, type Finding } from './finding.ts';
import { readHostCertificate } from './host-certificate.ts';
import { readFloors } from './install-trust.ts';
import type { Machine } from './machine.ts';
import { readNote } from './note.ts';
import { findObstacles } from './obstacles.ts';
import { type Payload, readPayload } from './payload.ts';
import { planHost, type Step } from './plan.ts';
import { differences, type Effective, tryDropIn, unknownDirectives, whoSets } from './sshd.ts';
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
  readonly directives: readonly Directive[];
  readonly steps: readonly Step[];
  /** What stands in the way or is worth knowing; with a defect among them nothing may be done. */
  readonly findings: readonly Finding[];
}

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
  const payload = readPayload(from, facts.systemd && wish.ca !== undefined);
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
  const asked = askBefore(machine, facts, wish.login, userCa);
  const settings = 'settings' in asked.login ? asked.login.settings : undefined;
  const findings = [
    ...findObstacles(facts, { login: wish.login, userCa, settings }),
    ...sshdFindings(machine, asked),
  ];
  const noShell = facts.programs.has('sshd') ? findNoShell(machine) : '/bin/false';
  const { directives } = asked;
  const steps = planHost({
    wish,
    payload,
    trust: chosen,
    directives,
    noShell,
    systemd: facts.systemd,
  });
  return { wish, facts, payload, trust: chosen, directives, steps, findings };
}

/** A program that ends at once, for accounts that nobody enters. */
export function findNoShell(machine: Machine): string {
  return machine.find('nologin') ?? machine.find('false') ?? '/bin/false';
}

interface Asked {
  readonly directives: readonly Directive[];
  readonly login: Effective;
  /** For root, without and with the drop-in: they must be the same. */
  readonly others: readonly [Effective, Effective] | undefined;
}

function askBefore(machine: Machine, facts: Facts, login: string, userCa: readonly string[]): Asked {
  const all = dropInDirectives(userCa, []);
  const sshd = facts.programs.get('sshd');
  const { config, inclusion } = facts.sshd;
  if (sshd === undefined || config === undefined || inclusion.kind !== 'found') {
    return { directives: all, login: { refusal: 'sshd could not be asked' }, others: undefined };
  }
  const directives = dropInDirectives(userCa, unknownDirectives(machine, sshd, config, all));
  const text = formatDropIn(login, directives);
  return {
    directives,
    login: tryDropIn(machine, sshd, config, text, login),
    others: [
      tryDropIn(machine, sshd, config, undefined, 'root'),
      tryDropIn(machine, sshd, config, text, 'root'),
    ],
  };
}

function sshdFindings(machine: Machine, { directives, login, others }: Asked): Finding[] {
  if (others === undefined) return [];
  const [before, after] = others;
  if ('refusal' in before) {
    return [
      defect(
        'sshd-broken',
        'sshd',
        `it refuses its configuration as it is: ${before.refusal}`,
        'put that right first: sshd -t',
      ),
    ];
  }
  if ('refusal' in login || 'refusal' in after) {
    const refusal = 'refusal' in login ? login.refusal : 'refusal' in after ? after.refusal : '';
    return [
      defect(
        'sshd-refuses',
        'sshd',
        `it refuses the drop-in: ${refusal}`,
        'use another version of OpenSSH, 8.2 or newer',
      ),
    ];
  }
  const own = differences(login.settings, directives).map(({ keyword, expected, found }) =>
    differenceFinding(machine, keyword, expected, found),
  );
  const changed = [...after.settings].filter(
    ([keyword, values]) => before.settings.get(keyword)?.join('\n') !== values.join('\n'),
  );
  return [
    ...own,
    ...changed.map(([keyword]) =>
      defect(
        'others-changed',
        keyword,
        'the drop-in would change it for other logins',
        'report this: nothing was changed',
      ),
    ),
  ];
}

/** A setting that is not in force as the drop-in says it. */
export function differenceFinding(
  machine: Machine,
  keyword: string,
  expected: string,
  found: string,
): Finding {
  const who = whoSets(machine, keyword);
  return defect(
    'sshd-differs',
    who ?? keyword,
    `for Beacon's login ${keyword} is ${JSON.stringify(found.slice(0, 80))} and not ${JSON.stringify(expected)}`,
    who === undefined ? 'run beacon host init again' : `let what stands there not apply to Beacon's login`,
  );
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
