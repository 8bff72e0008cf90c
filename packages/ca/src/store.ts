/**
 * The CA's own tables: how they are made, read and written. What their rows hold is in `rows.ts`; records and sessions have
 * stores of their own.
 */
import {
  type Database,
  type Migrations,
  prepareQuery,
  type QueriedStore,
  type Readable,
  type RecordTables,
  type Transaction,
} from '@beacon/server';
import { sql } from 'kysely';
import type { CaTables, CertificateRow, HostRow } from './rows.ts';

export type CaDatabase = Database<CaTables>;
export type CaTransaction = Transaction<CaTables>;

/** The kinds of records that make or change an administrative row; as literals, else SQLite passes over their index. */
const firstAdministrativeKinds = [
  'host-added',
  'host-certificate',
  'host-disabled',
  'host-enabled',
  'person-disabled',
  'person-enabled',
].map((kind) => sql.lit(kind));
const ofHost = sql.lit('host' as const);
const personKinds = ['person-disabled', 'person-enabled'].map((kind) => sql.lit(kind));
const tokenKinds = ['host-token', 'host-token-used', 'host-token-revoked'].map((kind) => sql.lit(kind));
const administrativeKinds = [...firstAdministrativeKinds, sql.lit('host-enrolled'), ...tokenKinds];

/** The tables of this file, as of each version; and an index on records, which are there already. */
export const caMigrations: Migrations = {
  name: 'ca',
  steps: [
    async (database: Transaction<unknown>): Promise<void> => {
      await database.schema
        .createTable('hosts')
        .addColumn('id', 'text', (c) => c.primaryKey())
        .addColumn('content', 'text', (c) => c.notNull())
        .addColumn('state', 'text', (c) => c.notNull())
        .addColumn('record_seq', 'bigint', (c) => c.notNull())
        .addColumn('record_hash', 'text', (c) => c.notNull())
        .execute();
      await database.schema
        .createTable('certificates')
        .addColumn('serial', 'text', (c) => c.primaryKey())
        .addColumn('kind', 'text', (c) => c.notNull())
        .addColumn('grant_id', 'text', (c) => c.unique())
        .addColumn('person', 'text')
        .addColumn('service', 'text')
        .addColumn('session', 'text')
        .addColumn('host', 'text', (c) => c.notNull())
        .addColumn('login', 'text')
        .addColumn('commands', 'text', (c) => c.notNull())
        .addColumn('public_key', 'text', (c) => c.notNull())
        .addColumn('authority', 'text', (c) => c.notNull())
        .addColumn('valid_after', 'bigint', (c) => c.notNull())
        .addColumn('valid_before', 'bigint', (c) => c.notNull())
        .addColumn('revoked_at', 'bigint')
        .addColumn('halted', 'integer', (c) => c.notNull())
        .addColumn('record_seq', 'bigint', (c) => c.notNull())
        .addColumn('record_hash', 'text', (c) => c.notNull())
        .execute();
      await database.schema
        .createIndex('certificates_person')
        .on('certificates')
        .columns(['person', 'serial'])
        .execute();
      await database.schema.createIndex('certificates_key').on('certificates').column('public_key').execute();
      await database.schema
        .createIndex('certificates_valid_before')
        .on('certificates')
        .column('valid_before')
        .execute();
      await database.schema
        .createTable('subject_keys')
        .addColumn('fingerprint', 'text', (c) => c.primaryKey())
        .addColumn('owner', 'text', (c) => c.notNull())
        .addColumn('revoked_at', 'bigint')
        .execute();
      await database.schema
        .createTable('authority_revocations')
        .addColumn('fingerprint', 'text', (c) => c.primaryKey())
        .addColumn('public_key', 'text', (c) => c.notNull())
        .addColumn('revoked_at', 'bigint', (c) => c.notNull())
        .execute();
      await database.schema
        .createTable('disabled_persons')
        .addColumn('person', 'text', (c) => c.primaryKey())
        .addColumn('by_person', 'text', (c) => c.notNull())
        .addColumn('reason', 'text', (c) => c.notNull())
        .addColumn('since', 'bigint', (c) => c.notNull())
        .addColumn('record_seq', 'bigint', (c) => c.notNull())
        .addColumn('record_hash', 'text', (c) => c.notNull())
        .execute();
      await database.schema
        .createTable('counters')
        .addColumn('name', 'text', (c) => c.primaryKey())
        .addColumn('value', 'text', (c) => c.notNull())
        .execute();
      await database.schema
        .createIndex('records_administrative')
        .on('records')
        .columns(['chain', 'host', 'seq'])
        .where(sql.ref('kind'), 'in', firstAdministrativeKinds)
        .execute();
    },
    async (database: Transaction<unknown>): Promise<void> => {
      await database.schema.dropIndex('records_administrative').execute();
      await database.schema
        .createIndex('records_administrative')
        .on('records')
        .columns(['chain', 'host', 'kind', 'seq'])
        .where(sql.ref('kind'), 'in', administrativeKinds)
        .execute();
    },
    async (database: Transaction<unknown>): Promise<void> => {
      await database.schema
        .createIndex('certificates_of_hosts')
        .on('certificates')
        .columns(['valid_before', 'host'])
        .where(sql.ref('kind'), '=', ofHost)
        .execute();
    },
  ],
};

/** A serial as the store keeps it: 20 digits. */
export function storedSerial(serial: bigint): string {
  return serial.toString().padStart(20, '0');
}

/** The next serial: strictly increasing from 1, taken in the transaction that uses it, so never given twice. */
export function nextSerial(tx: CaTransaction): Promise<bigint> {
  return bumpCounter(tx, 'serial');
}

/**
 * Notes whose key this is, for good: a key that another owner's certificate has used is refused, however long ago.
 * Answers `free` when the key is now the owner's, else why not.
 */
export async function claimSubjectKey(
  tx: CaTransaction,
  fingerprint: string,
  owner: string,
): Promise<'free' | 'taken' | 'revoked'> {
  // Nearly every key is new, so the first statement is nearly always the only one.
  const { changed } = await insertSubjectKey(tx, { fingerprint, owner });
  if (changed === 1) return 'free';
  const [row] = (await findSubjectKey(tx, { fingerprint })).rows;
  if (row === undefined) return 'taken';
  if (row.revoked_at !== null) return 'revoked';
  return row.owner === owner ? 'free' : 'taken';
}

const insertSubjectKey = prepareQuery((tx: CaDatabase, row: { fingerprint: string; owner: string }) =>
  tx
    .insertInto('subject_keys')
    .values({ fingerprint: row.fingerprint, owner: row.owner, revoked_at: null })
    .onConflict((conflict) => conflict.doNothing()),
);

const findSubjectKey = prepareQuery((tx: CaDatabase, values: { fingerprint: string }) =>
  tx.selectFrom('subject_keys').selectAll().where('fingerprint', '=', values.fingerprint),
);

const findHostRow = prepareQuery((store: CaDatabase, values: { id: string }) =>
  store.selectFrom('hosts').selectAll().where('id', '=', values.id),
);

/** A host's row as it stands, not verified. */
export async function readHost(store: QueriedStore, id: string): Promise<HostRow | undefined> {
  return (await findHostRow(store, { id })).rows[0];
}

const insertCertificateRow = prepareQuery((tx: CaDatabase, row: CertificateRow) =>
  tx.insertInto('certificates').values({
    serial: row.serial,
    kind: row.kind,
    grant_id: row.grant_id,
    person: row.person,
    service: row.service,
    session: row.session,
    host: row.host,
    login: row.login,
    commands: row.commands,
    public_key: row.public_key,
    authority: row.authority,
    valid_after: row.valid_after,
    valid_before: row.valid_before,
    revoked_at: row.revoked_at,
    halted: row.halted,
    record_seq: row.record_seq,
    record_hash: row.record_hash,
  }),
);

/** Notes a certificate that is about to be signed. */
export async function insertCertificate(tx: QueriedStore, row: CertificateRow): Promise<void> {
  await insertCertificateRow(tx, row);
}

/** Adds one to a counter and answers its new value. */
export async function bumpCounter(tx: CaTransaction, name: string): Promise<bigint> {
  const [row] = (await addOne(tx, { name })).rows;
  if (row === undefined) throw new TypeError(`the counter ${name} gave no value`);
  return BigInt(row.value);
}

const addOne = prepareQuery((tx: CaDatabase, values: { name: string }) =>
  tx
    .insertInto('counters')
    .values({ name: values.name, value: '1' })
    .onConflict((conflict) =>
      conflict
        .column('name')
        .doUpdateSet({ value: sql<string>`cast(cast(counters.value as bigint) + 1 as text)` }),
    )
    .returning('value'),
);

/** Sets a counter; whoever calls this sees to it that it only rises. */
export async function setCounter(tx: CaTransaction, name: string, value: bigint): Promise<void> {
  await writeCounter(tx, { name, value: value.toString() });
}

const writeCounter = prepareQuery((tx: CaDatabase, row: { name: string; value: string }) =>
  tx
    .insertInto('counters')
    .values({ name: row.name, value: row.value })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ value: row.value })),
);

const findCounter = prepareQuery((store: CaDatabase, values: { name: string }) =>
  store.selectFrom('counters').select('value').where('name', '=', values.name),
);

/** A counter's value, 0 before its first use. */
export async function readCounter(store: CaDatabase | CaTransaction, name: string): Promise<bigint> {
  const [row] = (await findCounter(store, { name })).rows;
  return row === undefined ? 0n : BigInt(row.value);
}

export interface AdministrativeRecord {
  readonly seq: number;
  readonly kind: string;
}

/** The last record that made or changed a host's row. */
export async function lastHostRecord<Tables extends RecordTables>(
  store: Readable<Tables>,
  host: string,
): Promise<AdministrativeRecord | undefined> {
  return lastOf((await findHostRecords(store, { host })).rows);
}

const findHostRecords = prepareQuery((store: Readable<RecordTables>, values: { host: string }) =>
  administrativeRecords(store).where('host', '=', values.host),
);

/** The last record that disabled or enabled a person. A quote in a reason stands there as \", so it matches nothing here. */
export async function lastPersonRecord<Tables extends RecordTables>(
  store: Readable<Tables>,
  person: string,
): Promise<AdministrativeRecord | undefined> {
  const values = { disabled: `"disabled":"${person}"`, enabled: `"enabled":"${person}"` };
  return lastOf((await findPersonRecords(store, values)).rows);
}

const findPersonRecords = prepareQuery(
  (store: Readable<RecordTables>, values: { disabled: string; enabled: string }) =>
    administrativeRecords(store)
      .where('host', 'is', null)
      .where('kind', 'in', personKinds)
      .where((or) =>
        or.or([or('line', 'like', holding(values.disabled)), or('line', 'like', holding(values.enabled))]),
      ),
);

/** The last record that made, used or revoked a host token. */
export async function lastTokenRecord<Tables extends RecordTables>(
  store: Readable<Tables>,
  token: string,
): Promise<AdministrativeRecord | undefined> {
  return lastOf((await findTokenRecords(store, { named: `"token":"${token}"` })).rows);
}

const findTokenRecords = prepareQuery((store: Readable<RecordTables>, values: { named: string }) =>
  administrativeRecords(store)
    .where('host', 'is', null)
    .where('kind', 'in', tokenKinds)
    .where('line', 'like', holding(values.named)),
);

/**
 * A pattern is put together in the statement, and nothing is asked for in an order: with a pattern as a value, or with an
 * order, SQLite compiles the statement anew each time, at ten times the cost.
 */
function holding(text: string) {
  return sql<string>`'%' || ${text} || '%'`;
}

function administrativeRecords(store: Readable<RecordTables>) {
  return store
    .selectFrom('records')
    .select(['seq', 'kind'])
    .where('chain', '=', 'ca')
    .where('kind', 'in', administrativeKinds);
}

function lastOf(records: readonly AdministrativeRecord[]): AdministrativeRecord | undefined {
  return records.reduce<AdministrativeRecord | undefined>(
    (last, record) => (last === undefined || record.seq > last.seq ? record : last),
    undefined,
  );
}
