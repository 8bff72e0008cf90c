/** Which process: its number, when it started and since which boot, so that a number that was given again is another. */
import { readFileSync } from 'node:fs';

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since the boot (proc(5), `starttime`). */
  readonly start: string;
  readonly boot: string;
}

const START_TIME_AFTER_NAME = 19;

/** Undefined where there is no such process. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name stands in parentheses and may itself hold spaces and parentheses.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const start = fields[START_TIME_AFTER_NAME - 1];
    if (start === undefined || state === 'Z' || state === 'X') return undefined;
    return { pid, start, boot: readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim() };
  } catch {
    return undefined;
  }
}

export function isAlive(identity: ProcessIdentity): boolean {
  const now = identifyProcess(identity.pid);
  return now !== undefined && now.start === identity.start && now.boot === identity.boot;
}
