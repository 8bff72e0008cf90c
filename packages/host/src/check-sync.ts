/**
 * The part of `beacon host check` that looks at what keeps trust fresh: that something calls `sync`, that the last one was
 * a moment ago, and what of it did not work.
 */
import { uptime } from 'node:os';
import type { Facts } from './facts.ts';
import { statOf } from './facts.ts';
import { defect, type Finding } from './finding.ts';
import { readLastSync } from './last-sync.ts';
import type { Machine } from './machine.ts';
import { TIMER } from './reload.ts';
import { NOTE, type Note } from './wish.ts';

/** It is called every minute. */
const LATE_MS = 300_000;

export function checkSync(
  machine: Machine,
  { systemd, live }: Pick<Facts, 'systemd' | 'live'>,
  noted: Note,
  now: Date,
): Finding[] {
  if (!live || noted.ca === undefined) return [];
  const remedy = systemd
    ? `systemctl enable --now ${TIMER}`
    : 'let cron, or who supervises programs here, call beacon host sync (docs/host.md)';
  const isIdle = systemd && machine.run(['systemctl', 'is-active', '--quiet', TIMER]).status !== 0;
  return [
    ...(isIdle ? [defect('timer', TIMER, 'it does not run: trust would become stale', remedy)] : []),
    ...lastSyncFindings(machine, now, remedy),
  ];
}

function lastSyncFindings(machine: Machine, now: Date, remedy: string): Finding[] {
  const place = 'beacon host sync';
  const last = readLastSync(machine);
  if (last === undefined) {
    const madeMs = Number(statOf(machine, NOTE)?.mtimeMs ?? now.getTime());
    const sinceMs = Math.min(now.getTime() - madeMs, uptime() * 1_000);
    return sinceMs < LATE_MS
      ? []
      : [defect('sync-late', place, 'none has ended since this machine was started', remedy)];
  }
  return [
    ...(Math.abs(now.getTime() - last.at.getTime()) < LATE_MS
      ? []
      : [defect('sync-late', place, `the last one ended at ${last.at.toISOString()}`, remedy)]),
    ...last.troubles.map(({ part, code, message }) =>
      defect(code, `${place}, ${part}`, message, 'put that right; then call it by hand'),
    ),
  ];
}
