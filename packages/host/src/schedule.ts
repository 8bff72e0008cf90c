/**
 * What calls `beacon host sync` every minute, found by looking: systemd's timer, else cron, else whoever supervises
 * programs on this machine, by `beacon host sync --every 60`. Texts only.
 */
import type { Facts } from './facts.ts';

export type Schedule = 'systemd' | 'cron' | 'operator';

/** cron reads no file with a dot in its name. */
export const CRON_FILE = '/etc/cron.d/beacon-host-sync';
export const CRON_TEXT = `# Fetches the trust of this host, in a minute or not at all, as under systemd. Says nothing, so nobody gets mail, unless something has changed or does not work.
SHELL=/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
* * * * * root timeout 60 /usr/lib/beacon/beacon host sync --quiet
`;

export function findSchedule({ systemd, cron }: Pick<Facts, 'systemd' | 'cron'>): Schedule {
  if (systemd) return 'systemd';
  return cron ? 'cron' : 'operator';
}
