/**
 * The broker's tables of runs and of their logs: how they are made, read and written. A run is one row, its state whole in
 * it; it changes only by whoever holds its lease, and only from the version that they have seen. No secret is in a row.
 */

import type { Json } from '@beacon/protocol/strict-json';
import {
  type Database,
  type Migrations,
  prepareQuery,
  type RecordTables,
  type Transaction,
} from '@beacon/server';
import { sql } from 'kysely';
import type { RunFilter, RunGrant, RunLogEntry, RunOrder, StoredRun } from './run-order.ts';
import type { RunPhase, RunState } from './run-state.ts';

export interface RunRow {
  readonly id: string;
  readonly person: string;
  readonly service: string | null;
  readonly host: string;
  readonly phase: string;
  /** The order as it was made, as JSON. */
  readonly content: string;
  /** RunState as JSON. */
  readonly state: string;
  readonly grants: string;
  readonly left: string;
  readonly runner_id: number | null;
  readonly idempotency_key: string | null;
  readonly fingerprint: string;
  /** Milliseconds, as all times. */
  readonly created: number;
  readonly updated: number;
  readonly last_event: number;
  /** Rises with each write. */
  readonly version: number;
  /** Which process works on it, until when it may; null where nobody does. */
  readonly worker: string | null;
  readonly lease_until: number;
  /** Who wishes that the process that has it in work cancels it. */
  readonly cancel_by: string | null;
  readonly is_pruned: number;
}

export interface RunLogRow {
  readonly run: string;
  readonly seq: number;
  readonly time: number;
  readonly kind: string;
  readonly data: string;
}

export interface RunTables {
  readonly runs: RunRow;
  readonly run_log: RunLogRow;
}

export type RunDatabase = Database<RunTables & RecordTables>;
export type RunTransaction = Transaction<RunTables & RecordTables>;

const OVER = ['succeeded', 'failed', 'cancelled', 'denied'] as const satisfies readonly RunPhase[];
/** As text of the query, and not as its parameters: only so are the indexes over a part of the runs used. */
export const ENDED = OVER.map((phase) => sql.lit(phase));
/** Of these nobody has anything in work. */
export const RESTING = [...ENDED, sql.lit('interrupted')];

export const runMigrations: Migrations = {
  name: 'runs',
  steps: [
    async (transaction) => {
      await transaction.schema
        .createTable('runs')
        .addColumn('id', 'text', (c) => c.primaryKey().notNull())
        .addColumn('person', 'text', (c) => c.notNull())
        .addColumn('service', 'text')
        .addColumn('host', 'text', (c) => c.notNull())
        .addColumn('phase', 'text', (c) => c.notNull())
        .addColumn('content', 'text', (c) => c.notNull())
        .addColumn('state', 'text', (c) => c.notNull())
        .addColumn('grants', 'text', (c) => c.notNull())
        .addColumn('left', 'text', (c) => c.notNull())
        .addColumn('runner_id', 'bigint')
        .addColumn('idempotency_key', 'text')
        .addColumn('fingerprint', 'text', (c) => c.notNull())
        .addColumn('created', 'bigint', (c) => c.notNull())
        .addColumn('updated', 'bigint', (c) => c.notNull())
        .addColumn('last_event', 'bigint', (c) => c.notNull())
        .addColumn('version', 'bigint', (c) => c.notNull())
        .addColumn('worker', 'text')
        .addColumn('lease_until', 'bigint', (c) => c.notNull())
        .addColumn('cancel_by', 'text')
        .addColumn('is_pruned', 'integer', (c) => c.notNull())
        .execute();
      await transaction.schema
        .createIndex('runs_idempotency')
        .on('runs')
        .columns(['person', 'idempotency_key'])
        .unique()
        .execute();
      await transaction.schema.createIndex('runs_person').on('runs').columns(['person', 'id']).execute();
      await transaction.schema.createIndex('runs_host').on('runs').columns(['host', 'id']).execute();
      await transaction.schema
        .createIndex('runs_in_work')
        .on('runs')
        .column('lease_until')
        .where(sql.ref('phase'), 'not in', RESTING)
        .execute();
      await transaction.schema
        .createTable('run_log')
        .addColumn('run', 'text', (c) => c.notNull())
        .addColumn('seq', 'bigint', (c) => c.notNull())
        .addColumn('time', 'bigint', (c) => c.notNull())
        .addColumn('kind', 'text', (c) => c.notNull())
        .addColumn('data', 'text', (c) => c.notNull())
        .addPrimaryKeyConstraint('run_log_order', ['run', 'seq'])
        .execute();
    },
    async (transaction) => {
      await transaction.schema
        .createIndex('runs_ended')
        .on('runs')
        .columns(['is_pruned', 'updated'])
        .where(sql.ref('phase'), 'in', ENDED)
        .execute();
    },
  ],
};

/** A run with what only the store needs of it. */
export interface KeptRun {
  readonly run: StoredRun;
  readonly version: number;
  readonly worker: string | undefined;
  readonly leaseUntil: number;
}

export function keptRun(row: RunRow): KeptRun {
  const order = JSON.parse(row.content) as RunOrder;
  const { github, ...content } = order;
  const runner = row.runner_id === null ? {} : { runnerId: row.runner_id };
  const run: StoredRun = {
    ...content,
    // JSON knows no undefined.
    service: row.service ?? undefined,
    ...(github === undefined ? {} : { github: { ...github, ...runner } }),
    id: row.id,
    state: readState(row.state),
    created: new Date(row.created),
    updated: new Date(row.updated),
    grants: JSON.parse(row.grants) as RunGrant[],
    left: JSON.parse(row.left) as string[],
    lastEvent: row.last_event,
  };
  return { run, version: row.version, worker: row.worker ?? undefined, leaseUntil: row.lease_until };
}

function readState(text: string): RunState {
  const state = JSON.parse(text) as Omit<RunState, 'end'> & Partial<Pick<RunState, 'end'>>;
  return { ...state, end: state.end };
}

export async function insertRun(
  tx: RunTransaction,
  run: StoredRun,
  lease: { readonly worker: string; readonly until: number },
): Promise<void> {
  const { id, state, created, updated, grants, left, lastEvent, ...order } = run;
  await tx
    .insertInto('runs')
    .values({
      id,
      person: run.person,
      service: run.service ?? null,
      host: run.host,
      phase: state.phase,
      content: JSON.stringify(order),
      state: JSON.stringify(state),
      grants: JSON.stringify(grants),
      left: JSON.stringify(left),
      runner_id: null,
      idempotency_key: run.idempotencyKey ?? null,
      fingerprint: run.fingerprint,
      created: created.getTime(),
      updated: updated.getTime(),
      last_event: lastEvent,
      version: 1,
      worker: lease.worker,
      lease_until: lease.until,
      cancel_by: null,
      is_pruned: 0,
    })
    .execute();
}

/** What a write changes; `version` is the one that it was seen in. */
export type RunChange = Pick<
  RunRow,
  | 'id'
  | 'version'
  | 'phase'
  | 'state'
  | 'grants'
  | 'left'
  | 'runner_id'
  | 'updated'
  | 'last_event'
  | 'worker'
  | 'lease_until'
>;

/** Whether the row was still as it had been seen; nothing is changed where it was not. */
export async function changeRun(tx: RunTransaction, change: RunChange): Promise<boolean> {
  return (await updateRunRow(tx, { ...change, next_version: change.version + 1 })).changed === 1;
}

const updateRunRow = prepareQuery((store: RunDatabase, values: RunChange & { next_version: number }) =>
  store
    .updateTable('runs')
    .set({
      phase: values.phase,
      state: values.state,
      grants: values.grants,
      left: values.left,
      runner_id: values.runner_id,
      updated: values.updated,
      last_event: values.last_event,
      worker: values.worker,
      lease_until: values.lease_until,
      version: values.next_version,
      // Where nobody works on it any more nobody heeds that, until somebody takes it up for another wish.
      cancel_by: sql<
        string | null
      >`case when cast(${values.worker} as text) is null then null else cancel_by end`,
    })
    .where('id', '=', values.id)
    .where('version', '=', values.version),
);

const insertLogRow = prepareQuery((store: RunDatabase, row: RunLogRow) =>
  store.insertInto('run_log').values({
    run: row.run,
    seq: row.seq,
    time: row.time,
    kind: row.kind,
    data: row.data,
  }),
);

export async function insertEntries(
  tx: RunTransaction,
  run: string,
  entries: readonly RunLogEntry[],
): Promise<void> {
  for (const { seq, time, kind, data } of entries) {
    await insertLogRow(tx, { run, seq, time: time.getTime(), kind, data: JSON.stringify(data) });
  }
}

const findRunRow = prepareQuery((store: RunDatabase, values: { id: string }) =>
  store.selectFrom('runs').selectAll().where('id', '=', values.id),
);

export async function readRun(store: RunDatabase | RunTransaction, id: string): Promise<KeptRun | undefined> {
  const [row] = (await findRunRow(store, { id })).rows;
  return row === undefined ? undefined : keptRun(row);
}

export async function readRunByKey(
  store: RunDatabase | RunTransaction,
  person: string,
  key: string,
): Promise<KeptRun | undefined> {
  const row = await store
    .selectFrom('runs')
    .selectAll()
    .where('person', '=', person)
    .where('idempotency_key', '=', key)
    .executeTakeFirst();
  return row === undefined ? undefined : keptRun(row);
}

const MOST_LISTED = 200;

/** Newest first. */
export async function listRuns(store: RunDatabase, filter: RunFilter): Promise<readonly StoredRun[]> {
  let query = store.selectFrom('runs').selectAll();
  if (filter.person !== undefined) query = query.where('person', '=', filter.person);
  if (filter.host !== undefined) query = query.where('host', '=', filter.host);
  if (filter.phase !== undefined) query = query.where('phase', '=', filter.phase);
  if (filter.before !== undefined) query = query.where('id', '<', filter.before);
  const rows = await query
    .orderBy('id', 'desc')
    .limit(Math.min(Math.max(1, filter.limit), MOST_LISTED))
    .execute();
  return rows.map((row) => keptRun(row).run);
}

/** Runs of which somebody has something in work, or had. */
export async function runsInWork(store: RunDatabase): Promise<readonly KeptRun[]> {
  const rows = await store.selectFrom('runs').selectAll().where('phase', 'not in', RESTING).execute();
  return rows.map(keptRun);
}

const findEntries = prepareQuery(
  (store: RunDatabase, values: { run: string; after: number; limit: number }) =>
    store
      .selectFrom('run_log')
      .selectAll()
      .where('run', '=', values.run)
      .where('seq', '>', values.after)
      .orderBy('seq')
      .limit(values.limit),
);

export async function readEntries(
  store: RunDatabase,
  run: string,
  after: number,
  limit: number,
): Promise<readonly RunLogEntry[]> {
  const { rows } = await findEntries(store, { run, after, limit });
  return rows.map(({ seq, time, kind, data }) => ({
    seq,
    time: new Date(time),
    kind: kind as RunLogEntry['kind'],
    data: JSON.parse(data) as { [key: string]: Json },
  }));
}
