/**
 * A managed host whose journal is gone (`/var/lib/beacon-host` was deleted, or is not in a backup that was restored). What
 * Beacon has laid out must not pass for what was there before, or `remove` would leave it in force: nobody else makes
 * these files and accounts, so before them there was nothing.
 */
import { readAccounts } from './accounts.ts';
import { statOf } from './facts.ts';
import { CERTIFICATE_DROP_IN, HOST_CERTIFICATE } from './host-certificate.ts';
import type { Journal } from './journal.ts';
import type { Entry } from './journal-entry.ts';
import { managerLinks } from './login-manager.ts';
import type { Machine } from './machine.ts';
import { IDENTITY, type Step } from './plan.ts';

/** Whether a set-up lies here. It is the last file that `remove` would leave by mistake. */
export function isSetUp(machine: Machine): boolean {
  return statOf(machine, IDENTITY) !== undefined;
}

/** Notes what is here of the plan as Beacon's own; true when there was something to take over. */
export function takeOver(machine: Machine, journal: Journal, steps: readonly Step[]): boolean {
  if (!journal.isEmpty || !isSetUp(machine)) return false;
  journal.begin([
    ...steps.flatMap((step) => entryOf(machine, step)),
    ...absentBefore(machine, HOST_CERTIFICATE, CERTIFICATE_DROP_IN),
  ]);
  return true;
}

function entryOf(machine: Machine, step: Step): Entry[] {
  switch (step.do) {
    case 'account':
      return readAccounts(machine).has(step.account.name)
        ? [{ was: 'account', path: step.account.name }]
        : [];
    case 'folder':
      return step.theirs === true ? [] : absentBefore(machine, step.path);
    // The list itself is a step of its own.
    case 'entries':
      return [];
    case 'enable':
      return absentBefore(machine, step.link);
    case 'unmanaged':
      return absentBefore(machine, ...(managerLinks(machine, step.login) ?? []));
    default:
      return absentBefore(machine, step.path);
  }
}

function absentBefore(machine: Machine, ...paths: readonly string[]): Entry[] {
  return paths.filter((path) => statOf(machine, path) !== undefined).map((path) => ({ was: 'absent', path }));
}
