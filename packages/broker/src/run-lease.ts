/** What processes that share a store tell each other of the runs that they have in work: that they still do, and what is wished. */
import { RESTING, type RunTransaction } from './store.ts';

/** Puts off the end of this process' leases, and tells which runs they are about. */
export async function renewLeases(
  tx: RunTransaction,
  worker: string,
  until: number,
): Promise<readonly string[]> {
  const rows = await tx
    .updateTable('runs')
    .set({ lease_until: until })
    .where('worker', '=', worker)
    .where('phase', 'not in', RESTING)
    .returning('id')
    .execute();
  return rows.map(({ id }) => id);
}

/** Nothing where the run has come to rest meanwhile. */
export async function wishCancel(tx: RunTransaction, id: string, person: string): Promise<void> {
  await tx
    .updateTable('runs')
    .set({ cancel_by: person })
    .where('id', '=', id)
    .where('worker', 'is not', null)
    .execute();
}

/** Runs of this process that somebody asked another process to cancel; asked once. */
export async function takeCancelWishes(tx: RunTransaction, worker: string): Promise<readonly string[]> {
  const rows = await tx
    .selectFrom('runs')
    .select('id')
    .where('worker', '=', worker)
    .where('phase', 'not in', RESTING)
    .where('cancel_by', 'is not', null)
    .execute();
  if (rows.length === 0) return [];
  const ids = rows.map(({ id }) => id);
  await tx.updateTable('runs').set({ cancel_by: null }).where('id', 'in', ids).execute();
  return ids;
}
