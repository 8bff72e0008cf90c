/**
 * What the store forgets: certificates and sessions, so many days after their end. Never what has not ended, revoked or
 * not, so that the revocation list loses nothing that a host could still accept; never a session whose GitHub token is
 * still to be deleted; never records, owners of keys, revoked CA keys and disabled persons, which are kept for good.
 */
import type { Tx } from './ca.ts';

export interface Retention {
  readonly certificatesDays: number;
  readonly sessionsDays: number;
}

export interface Pruned {
  readonly certificates: number;
  readonly sessions: number;
}

export const DEFAULT_RETENTION: Retention = { certificatesDays: 90, sessionsDays: 30 };

const DAY_MS = 86_400_000;
/** Deleted at a time: others wait for the store meanwhile. */
const BATCH = 500;

/** Deletes one batch of each; fewer than a batch is the last. */
export async function pruneEnded(tx: Tx, now: Date, retention: Retention): Promise<Pruned> {
  const certificates = await tx
    .deleteFrom('certificates')
    .where('serial', 'in', (query) =>
      query
        .selectFrom('certificates')
        .select('serial')
        .where('valid_before', '<', now.getTime() - retention.certificatesDays * DAY_MS)
        .limit(BATCH),
    )
    .executeTakeFirst();
  const sessions = await tx
    .deleteFrom('sessions')
    .where('id', 'in', (query) =>
      query
        .selectFrom('sessions')
        .select('id')
        .where('ends_at', '<', now.getTime() - retention.sessionsDays * DAY_MS)
        .where('github_token', 'is', null)
        .limit(BATCH),
    )
    .executeTakeFirst();
  return { certificates: Number(certificates.numDeletedRows), sessions: Number(sessions.numDeletedRows) };
}

/** Deletes all that is due, batch by batch, each a write of its own. */
export async function pruneAll(
  write: (unit: (tx: Tx) => Promise<Pruned>) => Promise<Pruned>,
  now: () => Date,
  retention: Retention,
): Promise<Pruned> {
  let [certificates, sessions] = [0, 0];
  for (;;) {
    const batch = await write((tx) => pruneEnded(tx, now(), retention));
    certificates += batch.certificates;
    sessions += batch.sessions;
    if (batch.certificates < BATCH && batch.sessions < BATCH) return { certificates, sessions };
  }
}
