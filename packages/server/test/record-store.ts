/** A store with records in it, and one table beside them, as a server would have. */
import { join } from 'node:path';
import {
  createGroupCommit,
  createRecords,
  type Database,
  type DatabaseOptions,
  type GroupCommit,
  migrate,
  openDatabase,
  type Records,
  type RecordTables,
  recordMigrations,
} from '../src/index.ts';
import { temporaryFolder } from './temporary.ts';

export interface Tables extends RecordTables {
  readonly thing: { readonly id: string; readonly note: string };
}

export const thingMigrations = {
  name: 'thing',
  steps: [
    async (transaction: Parameters<(typeof recordMigrations.steps)[number]>[0]) => {
      await transaction.schema
        .createTable('thing')
        .addColumn('id', 'text', (column) => column.primaryKey().notNull())
        .addColumn('note', 'text', (column) => column.notNull())
        .execute();
    },
  ],
};

export interface RecordStore {
  /** The SQLite file; empty on PostgreSQL. */
  readonly file: string;
  readonly database: Database<Tables>;
  readonly commit: GroupCommit<Tables>;
  readonly records: Records;
  close(): Promise<void>;
}

export async function openRecordStore(
  options: { readonly file?: string; readonly place?: DatabaseOptions; readonly now?: () => Date } = {},
): Promise<RecordStore> {
  const place = options.place ?? { file: options.file ?? join(temporaryFolder(), 'store.db') };
  const file = 'file' in place ? place.file : '';
  const database = openDatabase<Tables>(place);
  await migrate(database, recordMigrations, thingMigrations);
  const commit = createGroupCommit(database);
  const records = createRecords({ chain: 'ca', now: options.now ?? (() => new Date()) });
  return {
    file,
    database,
    commit,
    records,
    async close() {
      await commit.close();
      await database.destroy();
    },
  };
}
