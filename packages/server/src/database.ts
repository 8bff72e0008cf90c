/**
 * The store behind every Beacon server: kysely over SQLite (a file of one process, the default) or PostgreSQL (one store
 * for several processes). One schema serves both by portable rules: ids are text, times are milliseconds in a bigint
 * column, booleans are 0 or 1, JSON is text; text is ordered by its bytes. On both, a transaction takes the store's one
 * lock for writing when it begins, so that what it reads stays true until its end. Tables are their owners' business, by
 * migrations.
 */
import { type Kysely, type Transaction as KyselyTransaction, PostgresAdapter } from 'kysely';
import { ServerError } from './error.ts';
import {
  isPostgresUniqueViolation,
  openPostgres,
  type PostgresOptions,
  postgresFailure,
} from './postgres.ts';
import { isSqliteUniqueViolation, openSqlite, type SqliteOptions, sqliteFailure } from './sqlite.ts';

/** A store with these tables. `destroy()` closes it and gives up ownership. */
export type Database<Tables> = Kysely<Tables>;

/** What a unit of writing gets. Inside a unit only this may be used: the database itself would wait for the unit's end. */
export type Transaction<Tables> = KyselyTransaction<Tables>;

/** Anything that can be read from: the store itself or a transaction. */
export type Readable<Tables> = Kysely<Tables>;

export type DatabaseOptions = SqliteOptions | PostgresOptions;

/**
 * Opens the store. A SQLite file is made when it is missing; a PostgreSQL server is first reached by the first statement.
 * Throws ServerError `store-in-use` when another process owns the file, `storage` when it cannot be opened,
 * `configuration` for a URL that does not hold.
 */
export function openDatabase<Tables>(options: DatabaseOptions): Database<Tables> {
  return 'url' in options ? openPostgres(options) : openSqlite(options);
}

/** Whether several processes may share the store: PostgreSQL, and not SQLite. */
export function isShared(store: Pick<Readable<unknown>, 'getExecutor'>): boolean {
  return store.getExecutor().adapter instanceof PostgresAdapter;
}

/**
 * The ServerError `storage` for a failure of the store itself (full, locked, read-only, damaged, not to be reached);
 * undefined for everything else, such as a violated constraint.
 */
export function storageFailure(error: unknown): ServerError | undefined {
  if (error instanceof ServerError) return error.code === 'storage' ? error : undefined;
  return sqliteFailure(error) ?? postgresFailure(error);
}

/** Whether a write failed because a value that must be unique was there already. */
export function isUniqueViolation(error: unknown): boolean {
  return isSqliteUniqueViolation(error) || isPostgresUniqueViolation(error);
}
