/**
 * Brings a store's tables to the form that this program knows. Migrations are code, applied in order, each in a
 * transaction with the row that says it was. Each owner of tables has its own list with its own name; a list only ever
 * grows at its end. A store that a newer program wrote is refused.
 */
import type { Database, Transaction } from './database.ts';
import { storageFailure } from './database.ts';
import { ServerError } from './error.ts';

export interface Migrations {
  /** Whose tables: `records`, `ca`, …. */
  readonly name: string;
  /** Step N brings version N - 1 to version N. Its transaction knows no tables: they are those of then, not of now. */
  readonly steps: readonly ((transaction: Transaction<unknown>) => Promise<void>)[];
}

interface VersionTables {
  readonly schema_version: { readonly name: string; readonly version: number };
}

/**
 * Applies the steps that are missing, list after list. Throws ServerError `store-newer` when the store knows more steps
 * than this program, `storage` when it cannot be written.
 */
export async function migrate<Tables>(
  database: Database<Tables>,
  ...lists: readonly Migrations[]
): Promise<void> {
  const store = database as unknown as Database<VersionTables>;
  try {
    await store.schema
      .createTable('schema_version')
      .ifNotExists()
      .addColumn('name', 'text', (column) => column.primaryKey().notNull())
      .addColumn('version', 'integer', (column) => column.notNull())
      .execute();
    for (const list of lists) await applyList(store, list);
  } catch (error) {
    throw storageFailure(error) ?? error;
  }
}

/**
 * Whether every step of the lists has been applied, without changing anything. Throws ServerError `store-newer` when the
 * store knows more steps than this program.
 */
export async function isMigrated<Tables>(
  database: Database<Tables>,
  ...lists: readonly Migrations[]
): Promise<boolean> {
  const store = database as unknown as Database<VersionTables>;
  const tables = await store.introspection.getTables();
  if (!tables.some(({ name }) => name === 'schema_version')) return false;
  let isComplete = true;
  for (const list of lists) {
    if ((await readVersion(store, list)) < list.steps.length) isComplete = false;
  }
  return isComplete;
}

async function readVersion(store: Database<VersionTables>, list: Migrations): Promise<number> {
  const row = await store
    .selectFrom('schema_version')
    .select('version')
    .where('name', '=', list.name)
    .executeTakeFirst();
  const version = row?.version ?? 0;
  if (version > list.steps.length) {
    throw new ServerError(
      'store-newer',
      `the store's "${list.name}" tables have version ${version}, this program knows ${list.steps.length}: run the newer program`,
    );
  }
  return version;
}

async function applyList(store: Database<VersionTables>, list: Migrations): Promise<void> {
  const from = await readVersion(store, list);
  for (const [index, step] of list.steps.entries()) {
    if (index < from) continue;
    const version = index + 1;
    await store.transaction().execute(async (transaction) => {
      await step(transaction as unknown as Transaction<unknown>);
      await transaction
        .insertInto('schema_version')
        .values({ name: list.name, version })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ version }))
        .execute();
    });
  }
}
