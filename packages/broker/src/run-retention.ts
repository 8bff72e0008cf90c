/**
 * What is forgotten of runs that are over: first what their commands wrote, then the runs. Their records are kept for good,
 * and a run that is not over waits for its person.
 */
import type { RunCommit } from './run-journal.ts';
import { ENDED, type RunDatabase, type RunTransaction } from './store.ts';

export interface RunRetention {
  /** How long after its end what a run's commands wrote is kept. Default 30. */
  readonly outputDays: number;
  /** How long after its end a run is kept. Default 365. */
  readonly runsDays: number;
}

export const DEFAULT_RUN_RETENTION: RunRetention = { outputDays: 30, runsDays: 365 };

const DAY_MS = 86_400_000;
/** Others wait for the store meanwhile; what is left comes with the next call. */
const AT_ONCE = 20;

export async function pruneRuns(commit: RunCommit, now: Date, retention: RunRetention): Promise<void> {
  const before = (days: number): number => now.getTime() - days * DAY_MS;
  const note = JSON.stringify({ reason: `output is kept for ${retention.outputDays} days` });
  await commit.write(async (tx) => {
    const due = await endedBefore(tx, before(retention.outputDays), [0]);
    for (const id of due) await pruneOutput(tx, id, note);
  });
  await commit.write(async (tx) => deleteRuns(tx, await endedBefore(tx, before(retention.runsDays), [0, 1])));
}

async function endedBefore(
  tx: RunTransaction,
  before: number,
  isPruned: readonly (0 | 1)[],
): Promise<readonly string[]> {
  return (await queryEnded(tx, before, isPruned).execute()).map(({ id }) => id);
}

/** Runs that are due, oldest first. By the index `runs_ended`: this is asked each minute, mostly for nothing. */
export function queryEnded(
  store: RunDatabase | RunTransaction,
  before: number,
  isPruned: readonly (0 | 1)[],
) {
  return store
    .selectFrom('runs')
    .select('id')
    .where('phase', 'in', ENDED)
    .where('is_pruned', 'in', isPruned)
    .where('updated', '<', before)
    .orderBy('updated')
    .limit(AT_ONCE);
}

/** Forgets what a run's commands wrote. What happened stays, and that there was output, in the place of its first line. */
async function pruneOutput(tx: RunTransaction, id: string, note: string): Promise<void> {
  const first = await tx
    .selectFrom('run_log')
    .select('seq')
    .where('run', '=', id)
    .where('kind', 'in', ['stdout', 'stderr'])
    .orderBy('seq')
    .limit(1)
    .executeTakeFirst();
  if (first !== undefined) {
    await tx
      .updateTable('run_log')
      .set({ kind: 'truncated', data: note })
      .where('run', '=', id)
      .where('seq', '=', first.seq)
      .execute();
    await tx.deleteFrom('run_log').where('run', '=', id).where('kind', 'in', ['stdout', 'stderr']).execute();
  }
  await tx.updateTable('runs').set({ is_pruned: 1 }).where('id', '=', id).execute();
}

async function deleteRuns(tx: RunTransaction, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.deleteFrom('run_log').where('run', 'in', ids).execute();
  await tx.deleteFrom('runs').where('id', 'in', ids).execute();
}
