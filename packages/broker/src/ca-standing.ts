/**
 * Whether a session still goes on at the CA, asked once a minute while it is used: who logs out there, or is disabled, is
 * refused here within that minute. While the CA does not answer, what it said last counts for five minutes, so that a
 * restart of it takes nobody's view of their own runs; it issues nothing in that time. Nor is a CA that hangs waited for.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type CaApi, ClientError } from '@beacon/client';
import { caUnavailable } from './ca-connection.ts';
import { BrokerError } from './error.ts';

const ASKED_EVERY_MS = 60_000;
const BELIEVED_MS = 300_000;
/** How long somebody waits for the CA's word while what it said last still counts. */
const PATIENCE_MS = 5_000;

/** When the CA last said that the session goes on. */
export interface Standing {
  confirmedAt: Date;
  asking?: Promise<void> | undefined;
  /** The CA has said that it is over, perhaps when nobody waited for it any more. */
  isOver?: boolean;
}

/** Throws BrokerError `session-ended`, or `ca-unavailable` when the CA has been silent for too long. */
export async function requireStanding(
  standing: Standing,
  api: Pick<CaApi, 'whoami'>,
  now: () => Date,
  patienceMs: number = PATIENCE_MS,
): Promise<void> {
  if (standing.isOver === true) throw sessionEnded();
  const age = now().getTime() - standing.confirmedAt.getTime();
  if (age < ASKED_EVERY_MS) return;
  standing.asking ??= confirm(standing, api, now).finally(() => {
    standing.asking = undefined;
  });
  if (age >= BELIEVED_MS) return standing.asking;
  const answered = new AbortController();
  const enough = sleep(patienceMs, undefined, { signal: answered.signal }).catch(() => undefined);
  try {
    await Promise.race([standing.asking, enough]);
  } finally {
    answered.abort();
  }
}

/** Whether what the CA said is too old to count for anything. */
export function isForgotten({ confirmedAt, asking }: Standing, now: Date): boolean {
  return asking === undefined && now.getTime() - confirmedAt.getTime() >= BELIEVED_MS;
}

async function confirm(standing: Standing, api: Pick<CaApi, 'whoami'>, now: () => Date): Promise<void> {
  try {
    await api.whoami();
    standing.confirmedAt = now();
  } catch (error) {
    if (isOver(error)) {
      standing.isOver = true;
      throw sessionEnded(error);
    }
    if (now().getTime() - standing.confirmedAt.getTime() >= BELIEVED_MS) throw caUnavailable(error);
  }
}

/** Whether an error says that there is no session any more, whatever else might be tried. */
export function isOver(error: unknown): boolean {
  return (
    (error instanceof ClientError && error.kind === 'unauthenticated') ||
    // Somebody who was disabled.
    (error instanceof ClientError && error.code === 'refused' && error.kind === 'denied')
  );
}

export function sessionEnded(cause?: unknown): BrokerError {
  return new BrokerError('session-ended', 'your session has ended: log in again', { cause });
}
