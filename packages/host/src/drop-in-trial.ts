/**
 * The drop-in tried in a copy of sshd's configuration, before anything is changed: which directives this sshd knows, what
 * would be in force for Beacon's login and for personal ones, and that for others nothing would change.
 */
import {
  type Directive,
  type DropIn,
  dropInDirectives,
  formatDropIn,
  personalDirectives,
} from './drop-in.ts';
import type { Facts } from './facts.ts';
import { defect, type Finding } from './finding.ts';
import type { Machine } from './machine.ts';
import { decideExemption } from './penalty-exemption.ts';
import { otherAuthority, personalObstacles } from './personal-logins.ts';
import { differences, type Effective, tryDropIn, unknownDirectives, whoSets } from './sshd.ts';
import type { Wish } from './wish.ts';

export interface Trial {
  readonly dropIn: DropIn;
  /** What would be in force for Beacon's login; undefined where sshd could not be asked. */
  readonly settings: ReadonlyMap<string, readonly string[]> | undefined;
  readonly findings: readonly Finding[];
}

type Ask = (dropIn: string | undefined, login: string) => Effective;

/** Changes nothing below /etc. */
export function tryOut(machine: Machine, facts: Facts, wish: Wish, userCa: readonly string[]): Trial {
  const personal = wish.personalLogins ?? [];
  const all = dropInDirectives(userCa, []);
  const whole: DropIn = {
    login: wish.login,
    directives: all,
    personal,
    personalDirectives: personalDirectives(userCa),
    exempt: [],
  };
  const sshd = facts.programs.get('sshd');
  const { config, inclusion } = facts.sshd;
  if (sshd === undefined || config === undefined || inclusion.kind !== 'found')
    return { dropIn: whole, settings: undefined, findings: [] };
  const ask: Ask = (dropIn, login) => tryDropIn(machine, sshd, config, dropIn, login);
  // Somebody who is not concerned.
  const other = personal.includes('root') ? 'nobody' : 'root';
  const before = ask(undefined, other);
  if ('refusal' in before) {
    const findings = [
      defect(
        'sshd-broken',
        'sshd',
        `it refuses its configuration as it is: ${before.refusal}`,
        'put that right first: sshd -t',
      ),
    ];
    return { dropIn: whole, settings: undefined, findings };
  }
  const { exempt, findings: penalties } = decideExemption(before.settings, wish.brokerAddresses ?? []);
  const directives = dropInDirectives(userCa, unknownDirectives(machine, sshd, config, all));
  const dropIn = { ...whole, directives, exempt };
  const text = formatDropIn(dropIn);
  const own = ask(text, wish.login);
  if ('refusal' in own) {
    const findings = [
      defect(
        'sshd-refuses',
        'sshd',
        `it refuses the drop-in: ${own.refusal}`,
        'use another version of OpenSSH, 8.2 or newer',
      ),
    ];
    return { dropIn, settings: undefined, findings };
  }
  const findings = [
    ...differenceFindings(machine, wish.login, own, directives),
    ...changesFor(other, [before, ask(text, other)], []),
    ...penalties,
    ...personal.flatMap((login) => tryPersonal(machine, facts, dropIn, ask, login)),
  ];
  return { dropIn, settings: own.settings, findings };
}

function tryPersonal(machine: Machine, facts: Facts, dropIn: DropIn, ask: Ask, login: string): Finding[] {
  const [before, after] = [ask(undefined, login), ask(formatDropIn(dropIn), login)];
  const settings = 'settings' in before ? before.settings : undefined;
  return [
    ...personalObstacles(facts, login, settings),
    ...otherAuthority(login, settings),
    ...differenceFindings(machine, login, after, dropIn.personalDirectives),
    ...changesFor(login, [before, after], dropIn.personalDirectives),
  ];
}

/** What would be otherwise for a login than before, but for `own`. */
function changesFor(
  login: string,
  [before, after]: readonly [Effective, Effective],
  own: readonly Directive[],
): Finding[] {
  if ('refusal' in before || 'refusal' in after) return [];
  const expected = new Set([
    'persourcepenaltyexemptlist',
    ...own.map(({ keyword }) => keyword.toLowerCase()),
  ]);
  return [...after.settings]
    .filter(
      ([keyword, values]) =>
        !expected.has(keyword) && before.settings.get(keyword)?.join('\n') !== values.join('\n'),
    )
    .map(([keyword]) =>
      defect(
        'others-changed',
        keyword,
        `the drop-in would change it for the login ${login}`,
        'report this: nothing was changed',
      ),
    );
}

/** Where what is in force for a login is not what the drop-in says. */
export function differenceFindings(
  machine: Machine,
  login: string,
  inForce: Effective,
  directives: readonly Directive[],
): Finding[] {
  if ('refusal' in inForce) return [];
  return differences(inForce.settings, directives).map(({ keyword, expected, found }) => {
    const who = whoSets(machine, keyword);
    return defect(
      'sshd-differs',
      who ?? keyword,
      `for the login ${login} ${keyword} is ${JSON.stringify(found.slice(0, 80))} and not ${JSON.stringify(expected)}`,
      who === undefined ? 'run beacon host init again' : `let what stands there not apply to ${login}`,
    );
  });
}
