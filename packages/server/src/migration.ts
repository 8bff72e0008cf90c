/**
 * Brings a store's tables to the form that this program knows. Migrations are code, applied in order, each in a
 * transaction with the row that says it was. Each owner of tables has its own list with its own name; a list only ever
 * grows at its end. A store that a newer program wrote, or another one, is refused.
 */
import { type Database, isShared, type Readable, storageFailure, type Transaction } from './database.ts';
import { ServerError } from './error.ts';
import { allowLongWork } from './postgres.ts';
import { copyFile } from './sqlite.ts';

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
 * Applies the steps that are missing, list after list. Processes that begin together on one PostgreSQL store apply each
 * step once. A SQLite file that holds something is copied to a file beside it before its first step. Throws ServerError
 * `store-newer` when the store knows more steps or more lists than this program, `storage` when it cannot be written.
 */
export async function migrate<Tables>(
  database: Database<Tables>,
  ...lists: readonly Migrations[]
): Promise<void> {
  const store = database as unknown as Database<VersionTables>;
  try {
    await inTransaction(store, (transaction) =>
      transaction.schema
        .createTable('schema_version')
        .ifNotExists()
        .addColumn('name', 'text', (column) => column.primaryKey().notNull())
        .addColumn('version', 'integer', (column) => column.notNull())
        .execute(),
    );
    await requireKnown(store, lists);
    const versions = new Map<string, number>();
    for (const list of lists) versions.set(list.name, await readVersion(store, list));
    const first = lists.find(({ name, steps }) => (versions.get(name) ?? 0) < steps.length);
    const isNew = [...versions.values()].every((version) => version === 0);
    if (first !== undefined && !isNew && !isShared(store)) {
      await copyFile(store, `before-${first.name}-${(versions.get(first.name) ?? 0) + 1}`);
    }
    for (const list of lists) await applyList(store, list);
  } catch (error) {
    throw storageFailure(error) ?? error;
  }
}

/**
 * Whether all, some or none of the lists' steps have been applied, without changing anything. Throws ServerError
 * `store-newer` when the store knows more steps or more lists than this program.
 */
export async function migrationState<Tables>(
  database: Database<Tables>,
  ...lists: readonly Migrations[]
): Promise<'all' | 'some' | 'none'> {
  const store = database as unknown as Database<VersionTables>;
  const tables = await store.introspection.getTables();
  if (!tables.some(({ name }) => name === 'schema_version')) return 'none';
  await requireKnown(store, lists);
  let applied = 0;
  for (const list of lists) applied += await readVersion(store, list);
  if (applied === 0) return 'none';
  return applied === lists.reduce((sum, { steps }) => sum + steps.length, 0) ? 'all' : 'some';
}

async function applyList(store: Database<VersionTables>, list: Migrations): Promise<void> {
  const from = await readVersion(store, list);
  for (const [index, step] of list.steps.entries()) {
    if (index < from) continue;
    const version = index + 1;
    await inTransaction(store, async (transaction) => {
      // Another process may have applied it while this one waited for the lock for writing.
      if ((await readVersion(transaction, list)) >= version) return;
      await step(transaction as unknown as Transaction<unknown>);
      await transaction
        .insertInto('schema_version')
        .values({ name: list.name, version })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ version }))
        .execute();
    });
  }
}

function inTransaction<T>(
  store: Database<VersionTables>,
  work: (transaction: Transaction<VersionTables>) => Promise<T>,
): Promise<T> {
  return store.transaction().execute(async (transaction) => {
    if (isShared(store)) await allowLongWork(transaction as unknown as Transaction<unknown>);
    return work(transaction);
  });
}

/** Throws ServerError `store-newer` for tables that no list of this program is about. */
async function requireKnown(store: Readable<VersionTables>, lists: readonly Migrations[]): Promise<void> {
  const rows = await store.selectFrom('schema_version').select('name').orderBy('name').execute();
  const unknown = rows.find((row) => !lists.some(({ name }) => name === row.name));
  if (unknown === undefined) return;
  throw new ServerError(
    'store-newer',
    `the store has "${unknown.name}" tables, of which this program knows nothing: run the newer program`,
  );
}

async function readVersion(store: Readable<VersionTables>, list: Migrations): Promise<number> {
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
