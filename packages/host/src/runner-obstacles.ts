/** What stands in the way of runners on a machine: they are services of systemd, and their list is the operator's. */
import { readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import type { Facts } from './facts.ts';
import { defect, type Finding, note } from './finding.ts';
import type { Machine } from './machine.ts';
import { ALLOWLIST } from './plan.ts';
import { mergeEntries, type RunnerEntries } from './runner-entries.ts';
import type { Wish } from './wish.ts';

export function findRunnerObstacles(
  machine: Machine,
  { systemd }: Pick<Facts, 'systemd'>,
  { runners }: Wish,
  entries: RunnerEntries | undefined,
): Finding[] {
  if (runners === undefined) return [];
  const found: Finding[] = [];
  if (!systemd) {
    found.push(
      defect(
        'runners',
        'systemd',
        'runners are its services, and it does not run here',
        'leave --runners out',
      ),
    );
  }
  for (const address of [runners.github, runners.downloads]) {
    if (address.startsWith('https://')) continue;
    found.push(
      note(
        'runners',
        address,
        'what is asked there can be read on the way',
        'use https:// for anything but a trial',
      ),
    );
  }
  const present = readIfThere(machine.at(ALLOWLIST));
  if (present === undefined || entries === undefined) return found;
  try {
    mergeEntries(present, entries);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    found.push(defect('runners', ALLOWLIST, error.message, 'then call beacon host init again'));
  }
  return found;
}
