/**
 * The tables of records and of the personal values behind their digests, and the queries that every record is written and
 * read by. What is done with them is in `records.ts`.
 */
import type { Readable } from './database.ts';
import type { Migrations } from './migration.ts';
import { prepareQuery } from './prepared-query.ts';

export interface RecordsTable {
  readonly chain: string;
  readonly seq: number;
  /** Milliseconds. This and the columns that follow repeat the line's, to be searched by; the line is what counts. */
  readonly time: number;
  readonly kind: string;
  readonly person: string | null;
  readonly service: string | null;
  readonly host: string | null;
  readonly grant: string | null;
  readonly line: string;
  readonly hash: string;
}

export interface PersonalTable {
  /** base64url of SHA-256(salt ‖ value), as it stands in records. */
  readonly digest: string;
  /** base64url of 32 bytes. */
  readonly salt: string;
  readonly value: string;
  /** Whom the value tells about, so that a person can be erased. */
  readonly person: string;
}

/** What a store's tables must include for records to be kept there. */
export interface RecordTables {
  readonly records: RecordsTable;
  readonly personal: PersonalTable;
}

/** The tables of records; give this to `migrate` before the lists of one's own. */
export const recordMigrations: Migrations = {
  name: 'records',
  steps: [
    async (transaction) => {
      await transaction.schema
        .createTable('records')
        .addColumn('chain', 'text', (column) => column.notNull())
        .addColumn('seq', 'bigint', (column) => column.notNull())
        .addColumn('time', 'bigint', (column) => column.notNull())
        .addColumn('kind', 'text', (column) => column.notNull())
        .addColumn('person', 'text')
        .addColumn('service', 'text')
        .addColumn('host', 'text')
        .addColumn('grant', 'text')
        .addColumn('line', 'text', (column) => column.notNull())
        .addColumn('hash', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('records_order', ['chain', 'seq'])
        .execute();
      await transaction.schema
        .createIndex('records_by_grant')
        .on('records')
        .columns(['grant', 'seq'])
        .execute();
      await transaction.schema
        .createIndex('records_by_person')
        .on('records')
        .columns(['person', 'seq'])
        .execute();
      await transaction.schema
        .createTable('personal')
        .addColumn('digest', 'text', (column) => column.primaryKey().notNull())
        .addColumn('salt', 'text', (column) => column.notNull())
        .addColumn('value', 'text', (column) => column.notNull())
        .addColumn('person', 'text', (column) => column.notNull())
        .execute();
      await transaction.schema
        .createIndex('personal_by_person')
        .on('personal')
        .columns(['person', 'value'])
        .unique()
        .execute();
    },
  ],
};

export const insertRecord = prepareQuery((store: Readable<RecordTables>, row: RecordsTable) =>
  store.insertInto('records').values({
    chain: row.chain,
    seq: row.seq,
    time: row.time,
    kind: row.kind,
    person: row.person,
    service: row.service,
    host: row.host,
    grant: row.grant,
    line: row.line,
    hash: row.hash,
  }),
);

export const findRecord = prepareQuery(
  (store: Readable<RecordTables>, values: { chain: string; seq: number }) =>
    store
      .selectFrom('records')
      .select(['seq', 'line', 'hash'])
      .where('chain', '=', values.chain)
      .where('seq', '=', values.seq),
);

export const findHead = prepareQuery((store: Readable<RecordTables>, values: { chain: string }) =>
  store
    .selectFrom('records')
    .select(['seq', 'hash', 'time'])
    .where('chain', '=', values.chain)
    .orderBy('seq', 'desc')
    .limit(1),
);

export const findPersonal = prepareQuery(
  (store: Readable<RecordTables>, values: { person: string; value: string }) =>
    store
      .selectFrom('personal')
      .select('digest')
      .where('person', '=', values.person)
      .where('value', '=', values.value),
);
