/**
 * Many requests, one fsync: units of writing that arrive together share a transaction, and each is answered only after
 * that transaction is on disk. A unit that throws undoes the group; then every unit of the group runs again alone, so
 * that none takes others with it. So units must be safe to run again, and must do nothing but read and write the store.
 */
import type { Database, Transaction } from './database.ts';
import { storageFailure } from './database.ts';
import { ServerError } from './error.ts';

export interface GroupCommit<Tables> {
  /**
   * Runs `unit` inside a transaction; resolves with its value after the commit is on disk. Rejects with what the unit
   * threw, with ServerError `storage` when the store failed, with `closed` after `close()`; its effects are then nil.
   */
  write<T>(unit: (transaction: Transaction<Tables>) => Promise<T>): Promise<T>;
  /** Takes no more units, and resolves when those that were taken have ended. */
  close(): Promise<void>;
}

export interface GroupCommitOptions {
  /** How many units may share one transaction. Default 64. */
  readonly maxUnits?: number;
  /** How many units may wait before further ones are refused as `storage`. Default 4,096. */
  readonly maxWaiting?: number;
}

interface Waiting<Tables> {
  readonly run: (transaction: Transaction<Tables>) => Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export function createGroupCommit<Tables>(
  database: Database<Tables>,
  options: GroupCommitOptions = {},
): GroupCommit<Tables> {
  const maxUnits = options.maxUnits ?? 64;
  const maxWaiting = options.maxWaiting ?? 4_096;
  const waiting: Waiting<Tables>[] = [];
  let working: Promise<void> | undefined;
  let closed = false;

  async function work(): Promise<void> {
    while (waiting.length > 0) {
      await nextTurn();
      await commitTogether(database, waiting.splice(0, maxUnits));
    }
    working = undefined;
  }

  return {
    write<T>(unit: (transaction: Transaction<Tables>) => Promise<T>): Promise<T> {
      if (closed) return Promise.reject(new ServerError('closed', 'the server is stopping: try again soon'));
      if (waiting.length >= maxWaiting) {
        return Promise.reject(
          new ServerError('storage', 'too many writes are waiting for the store: try again soon'),
        );
      }
      return new Promise<T>((resolve, reject) => {
        waiting.push({ run: unit, resolve: resolve as (value: unknown) => void, reject });
        working ??= work();
      });
    },
    async close(): Promise<void> {
      closed = true;
      await working;
    },
  };
}

/** Lets what has already arrived at the sockets be read, so that it joins the group. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function commitTogether<Tables>(
  database: Database<Tables>,
  group: readonly Waiting<Tables>[],
): Promise<void> {
  const [only] = group;
  if (only !== undefined && group.length === 1) return commitAlone(database, only);
  try {
    const values = await database.transaction().execute(async (transaction) => {
      const results: unknown[] = [];
      for (const unit of group) results.push(await unit.run(transaction));
      return results;
    });
    for (const [index, unit] of group.entries()) unit.resolve(values[index]);
  } catch (error) {
    const failure = storageFailure(error);
    if (failure !== undefined) for (const unit of group) unit.reject(failure);
    else for (const unit of group) await commitAlone(database, unit);
  }
}

async function commitAlone<Tables>(database: Database<Tables>, unit: Waiting<Tables>): Promise<void> {
  try {
    unit.resolve(await database.transaction().execute(unit.run));
  } catch (error) {
    unit.reject(storageFailure(error) ?? error);
  }
}
