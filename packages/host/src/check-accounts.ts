/** The part of `beacon host check` that looks at the accounts of a host: there, of no other use, and neither locked nor entered. */
import { readdirSync } from 'node:fs';
import { hasGroup } from './accounts.ts';
import type { Facts } from './facts.ts';
import { defect, type Finding, INIT_AGAIN } from './finding.ts';
import type { Machine } from './machine.ts';
import { wantedAccounts } from './plan.ts';
import { findNoShell } from './prepare.ts';
import type { Note } from './wish.ts';

export function checkAccounts(machine: Machine, { accounts }: Facts, noted: Note, now: Date): Finding[] {
  const today = now.getTime() / 86_400_000;
  return wantedAccounts(noted, findNoShell(machine)).flatMap(({ name, home, shell }) => {
    const account = accounts.get(name);
    const place = `account ${name}`;
    if (account === undefined) return [defect('account-missing', place, 'it is not there', INIT_AGAIN)];
    const found: Finding[] = [];
    const wrong = (what: string, remedy: string): void =>
      void found.push(defect('account', place, what, remedy));
    if (account.uid === 0) wrong('it is root under another name', `remove it, and ${INIT_AGAIN}`);
    const shares = [...accounts.values()].filter((one) => one.uid === account.uid && one.name !== name);
    if (shares.length > 0)
      wrong(
        `it shares its uid with ${shares.map((one) => one.name).join(', ')}`,
        'give the other another uid',
      );
    const isLocked = account.password?.startsWith('!') === true;
    if (isLocked) wrong('it is locked: sshd refuses it where PAM is off', `usermod -p '*' ${name}`);
    else if (account.password !== '*') wrong('its password field is not *', `usermod -p '*' ${name}`);
    if (account.expiresDay !== undefined && account.expiresDay <= today)
      wrong('it has expired', `chage -E -1 ${name}`);
    if (account.shell !== shell) wrong(`its shell is ${account.shell}`, `usermod -s ${shell} ${name}`);
    if (account.home !== home) wrong(`its home is ${account.home}`, `usermod -d ${home} ${name}`);
    if (account.groups.length > 0)
      wrong(`it is in the groups ${account.groups.join(', ')}`, `usermod -G '' ${name}`);
    if (!hasGroup(machine, name))
      wrong('it has no group of its own name', `groupadd --system ${name}; usermod -g ${name} ${name}`);
    if (shell.endsWith('/shell') && listFolder(machine, home).length > 0) {
      wrong(
        `there is something in its home: ${listFolder(machine, home).slice(0, 3).join(', ')}`,
        `look at ${home}, and empty it`,
      );
    }
    return found;
  });
}

function listFolder(machine: Machine, path: string): string[] {
  try {
    return readdirSync(machine.at(`${path}/.`));
  } catch {
    return [];
  }
}
