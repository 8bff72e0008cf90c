/**
 * The tables of the trust documents: each root that was published, for good, and the one status that counts now, with the
 * exact revocation list that it names, so that two processes on one store hand out what belongs together.
 */
import {
  type Database,
  type Migrations,
  prepareQuery,
  type QueriedStore,
  type Transaction,
} from '@beacon/server';

export interface TrustRootRow {
  version: number;
  document: string;
  signature: string;
  handover: string | null;
  /** The line of the key that signed. */
  root_key: string;
  record_seq: number;
  record_hash: string;
}

export interface TrustStatusRow {
  /** Always `current`. */
  name: string;
  version: number;
  root_version: number;
  /** Of the counter `krl` when the list was made. */
  krl_version: string;
  issued_at: number;
  document: string;
  signature: string;
  /** The list, base64. */
  krl: string;
}

export interface TrustTables {
  trust_roots: TrustRootRow;
  trust_status: TrustStatusRow;
}

export const trustMigrations: Migrations = {
  name: 'trust',
  steps: [
    async (tx: Transaction<unknown>) => {
      await tx.schema
        .createTable('trust_roots')
        .addColumn('version', 'bigint', (c) => c.primaryKey().notNull())
        .addColumn('document', 'text', (c) => c.notNull())
        .addColumn('signature', 'text', (c) => c.notNull())
        .addColumn('handover', 'text')
        .addColumn('root_key', 'text', (c) => c.notNull())
        .addColumn('record_seq', 'bigint', (c) => c.notNull())
        .addColumn('record_hash', 'text', (c) => c.notNull())
        .execute();
      await tx.schema
        .createTable('trust_status')
        .addColumn('name', 'text', (c) => c.primaryKey().notNull())
        .addColumn('version', 'bigint', (c) => c.notNull())
        .addColumn('root_version', 'bigint', (c) => c.notNull())
        .addColumn('krl_version', 'text', (c) => c.notNull())
        .addColumn('issued_at', 'bigint', (c) => c.notNull())
        .addColumn('document', 'text', (c) => c.notNull())
        .addColumn('signature', 'text', (c) => c.notNull())
        .addColumn('krl', 'text', (c) => c.notNull())
        .execute();
    },
  ],
};

const NAME = 'current';

const findLatestRoot = prepareQuery((store: Database<TrustTables>, values: { least: number }) =>
  store
    .selectFrom('trust_roots')
    .selectAll()
    .where('version', '>=', values.least)
    .orderBy('version', 'desc')
    .limit(1),
);

/** The newest root that was published. */
export async function readLatestRoot(store: QueriedStore): Promise<TrustRootRow | undefined> {
  return (await findLatestRoot(store, { least: 1 })).rows[0];
}

const findRoot = prepareQuery((store: Database<TrustTables>, values: { version: number }) =>
  store.selectFrom('trust_roots').selectAll().where('version', '=', values.version),
);

export async function readRoot(store: QueriedStore, version: number): Promise<TrustRootRow | undefined> {
  return (await findRoot(store, { version })).rows[0];
}

export async function insertRoot(tx: Transaction<TrustTables>, row: TrustRootRow): Promise<void> {
  await tx.insertInto('trust_roots').values(row).execute();
}

const findStatusState = prepareQuery((store: Database<TrustTables>, values: { name: string }) =>
  store
    .selectFrom('trust_status')
    .select(['version', 'root_version', 'krl_version', 'issued_at'])
    .where('name', '=', values.name),
);

export type StatusState = Pick<TrustStatusRow, 'version' | 'root_version' | 'krl_version' | 'issued_at'>;

/** What the present status is about; without its text and list, which are long. */
export async function readStatusState(store: QueriedStore): Promise<StatusState | undefined> {
  return (await findStatusState(store, { name: NAME })).rows[0];
}

export function readStatusRow(
  store: Database<TrustTables> | Transaction<TrustTables>,
): Promise<TrustStatusRow | undefined> {
  return store.selectFrom('trust_status').selectAll().where('name', '=', NAME).executeTakeFirst();
}

/** Puts a status in place of the one before. */
export async function putStatus(
  tx: Transaction<TrustTables>,
  row: Omit<TrustStatusRow, 'name'>,
): Promise<void> {
  await tx
    .insertInto('trust_status')
    .values({ name: NAME, ...row })
    .onConflict((conflict) => conflict.column('name').doUpdateSet(row))
    .execute();
}
