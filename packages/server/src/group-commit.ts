/**
 * Many requests, one fsync: units of writing that arrive together share a transaction, and each is answered only after
 * that transaction is on disk. A unit that throws is undone by itself and takes no other with it. For that, and when the
 * server undid a group for the sake of another transaction, a group runs again, so units must do nothing but read and
 * write the store.
 */
import { CompiledQuery } from 'kysely';
import { type Database, isShared, storageFailure, type Transaction } from './database.ts';
import { ServerError } from './error.ts';
import { isConflict } from './postgres.ts';
import { forget } from './transaction-memory.ts';

export interface GroupCommit<Tables> {
  /**
   * Runs `unit` inside a transaction; resolves with its value after the commit is on disk. Rejects with what the unit
   * threw, with ServerError `storage` when the store failed, with `closed` after `close()`; its effects are then nil.
   */
  write<T>(unit: (transaction: Transaction<Tables>) => Promise<T>): Promise<T>;
  /** How the latest group ended: when it began to be committed, by a clock that only rises, and whether the store failed. */
  readonly latest: { readonly atMs: number; readonly failed: boolean } | undefined;
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

/** A group is taken when so many turns of the event loop have brought nothing more, and after so many in any case. */
const QUIET_TURNS = 2;
const MAX_TURNS = 16;

export function createGroupCommit<Tables>(
  database: Database<Tables>,
  options: GroupCommitOptions = {},
): GroupCommit<Tables> {
  const maxUnits = options.maxUnits ?? 64;
  const maxWaiting = options.maxWaiting ?? 4_096;
  const waiting: Waiting<Tables>[] = [];
  let working: Promise<void> | undefined;
  let latest: GroupCommit<Tables>['latest'];
  let closed = false;

  /** Waits while further units come: a commit holds up everything else, so what is ready had better be in it. */
  async function gather(): Promise<void> {
    let quiet = 0;
    for (let turn = 0; turn < MAX_TURNS && quiet < QUIET_TURNS && waiting.length < maxUnits; turn++) {
      const before = waiting.length;
      await nextTurn();
      quiet = waiting.length === before ? quiet + 1 : 0;
    }
  }

  async function work(): Promise<void> {
    while (waiting.length > 0) {
      await gather();
      const atMs = performance.now();
      await commitTogether(database, waiting.splice(0, maxUnits), (failed) => {
        latest = { atMs, failed };
      });
    }
    working = undefined;
  }

  return {
    get latest() {
      return latest;
    },
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

/** How often a group runs again when the server undid it for the sake of another transaction. */
const MAX_ATTEMPTS = 4;

type Outcome = { readonly value: unknown } | { readonly error: unknown };

/**
 * Most groups have no unit that throws, so the first attempt does without savepoints, which would cost every unit. When
 * one throws, the group runs once more with them: that, and not an fsync for each, is what a failing unit can cost.
 * `ended` is told whether the store failed, before any unit is.
 */
async function commitTogether<Tables>(
  database: Database<Tables>,
  group: readonly Waiting<Tables>[],
  ended: (failed: boolean) => void,
): Promise<void> {
  let careful = false;
  for (let attempt = 1; ; attempt++) {
    try {
      const outcomes = await database
        .transaction()
        .execute((transaction) => (careful ? runEach(transaction, group) : runStraight(transaction, group)));
      ended(false);
      for (const [index, unit] of group.entries()) settle(unit, outcomes[index]);
      return;
    } catch (error) {
      if (isConflict(error) && attempt < MAX_ATTEMPTS) continue;
      const failure = storageFailure(error);
      if (failure === undefined && !careful && group.length > 1) {
        careful = true;
        continue;
      }
      ended(failure !== undefined);
      for (const unit of group) unit.reject(failure ?? error);
      return;
    }
  }
}

/** Runs unit after unit; when one throws, all are undone with the transaction. */
async function runStraight<Tables>(
  transaction: Transaction<Tables>,
  group: readonly Waiting<Tables>[],
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const unit of group) outcomes.push({ value: await unit.run(transaction) });
  return outcomes;
}

/** Runs unit after unit; one that throws is undone by itself. Throws when the store failed, or the whole must run again. */
async function runEach<Tables>(
  transaction: Transaction<Tables>,
  group: readonly Waiting<Tables>[],
): Promise<Outcome[]> {
  const savepoints = savepointsOf(transaction);
  const outcomes: Outcome[] = [];
  await savepoints.begin();
  for (const [index, unit] of group.entries()) {
    if (index > 0) await savepoints.next();
    try {
      outcomes.push({ value: await unit.run(transaction) });
    } catch (error) {
      if (storageFailure(error) !== undefined) throw error;
      await savepoints.undo();
      forget(transaction);
      outcomes.push({ error });
    }
  }
  return outcomes;
}

function settle<Tables>(unit: Waiting<Tables>, outcome: Outcome | undefined): void {
  if (outcome === undefined) unit.reject(new ServerError('storage', 'the store gave no answer'));
  else if ('error' in outcome) unit.reject(outcome.error);
  else unit.resolve(outcome.value);
}

const BEGIN = CompiledQuery.raw('savepoint unit');
const RELEASE = CompiledQuery.raw('release savepoint unit');
const NEXT = CompiledQuery.raw('release savepoint unit; savepoint unit');
const UNDO = CompiledQuery.raw('rollback to savepoint unit');

/** One savepoint at a time, of one name: PostgreSQL takes two statements in one message, SQLite has no messages. */
function savepointsOf<Tables>(transaction: Transaction<Tables>) {
  const run = async (...statements: readonly CompiledQuery[]) => {
    for (const statement of statements) await transaction.executeQuery(statement);
  };
  return {
    begin: () => run(BEGIN),
    next: () => (isShared(transaction) ? run(NEXT) : run(RELEASE, BEGIN)),
    undo: () => run(UNDO),
  };
}
