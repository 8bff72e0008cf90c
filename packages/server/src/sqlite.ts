/**
 * SQLite as the store: a file of one process, its write-ahead log, every commit on disk before it returns. One process
 * owns a file for writing; others may open it read-only.
 */
import { closeSync, constants, existsSync, fsyncSync, openSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import {
  CompiledQuery,
  type DatabaseConnection,
  type DialectAdapter,
  type Driver,
  Kysely,
  SqliteAdapter,
  type SqliteDatabase,
  SqliteDriver,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type SqliteStatement,
  sql,
} from 'kysely';
import { ServerError } from './error.ts';

export interface SqliteOptions {
  /** The file; `:memory:` for a store that goes with the process. */
  readonly file: string;
  /** Opens an existing file without the right to write, also while its owner is at work. */
  readonly readOnly?: boolean;
  /** How long a statement waits for another process's lock. The event loop waits with it. Default 1,000. */
  readonly busyTimeoutMs?: number;
}

const STATEMENTS_KEPT = 256;

/** Opens the file, making it (mode 0600) when it is missing. Throws what `openDatabase` says. */
export function openSqlite<Tables>(options: SqliteOptions): Kysely<Tables> {
  const inMemory = options.file === ':memory:';
  const readOnly = options.readOnly === true;
  const ownership = inMemory || readOnly ? undefined : own(options.file);
  try {
    if (!inMemory && !readOnly) createPrivately(options.file);
    const connection = new Sqlite(options.file, {
      readonly: readOnly,
      fileMustExist: readOnly,
      timeout: options.busyTimeoutMs ?? 1_000,
    });
    try {
      connection.pragma('foreign_keys = ON');
      if (readOnly) {
        connection.pragma('query_only = ON');
        // The first look at the file: what is no store is refused here, by name.
        connection.pragma('schema_version');
      } else {
        connection.pragma('journal_mode = WAL');
        connection.pragma('synchronous = FULL');
      }
    } catch (error) {
      connection.close();
      throw error;
    }
    const openReader = () =>
      new Sqlite(options.file, { readonly: true, fileMustExist: true, timeout: 1_000 });
    return new Store<Tables>(connection, ownership, inMemory || readOnly ? undefined : openReader);
  } catch (error) {
    ownership?.close();
    throw openFailure(options.file, error);
  }
}

/** What is wrong with a file that does not open as a store, by its name. */
function openFailure(file: string, error: unknown): unknown {
  if (error instanceof ServerError) return error;
  const code = sqliteCode(error);
  if (code === undefined) return error;
  const why =
    code === 'SQLITE_NOTADB'
      ? 'this is not a store, or it is damaged: name another file, or restore it from a backup'
      : `cannot be opened (${code}): does it exist, may this process read it and write beside it, and is there space left?`;
  return new ServerError('storage', `${file}: ${why}`, { cause: error });
}

/**
 * Copies a store that is not in memory to a new file beside it, `FILE.NAME`, readable by its owner alone; the copy is on
 * disk when this resolves. A copy that is there already stays, and the new one gets a number.
 */
export async function copyFile<Tables>(store: Kysely<Tables>, name: string): Promise<void> {
  const { rows } = await sql<{
    file: string;
  }>`select file from pragma_database_list where name = 'main'`.execute(store);
  const file = rows[0]?.file ?? '';
  if (file === '') return;
  let copy = `${file}.${name}`;
  for (let number = 2; existsSync(copy); number++) copy = `${file}.${name}.${number}`;
  createPrivately(copy);
  await sql`vacuum into ${copy}`.execute(store);
  const written = openSync(copy, constants.O_RDWR);
  fsyncSync(written);
  closeSync(written);
}

/** The ServerError `storage` for a failure of SQLite itself; undefined for everything else. */
export function sqliteFailure(error: unknown): ServerError | undefined {
  const code = sqliteCode(error);
  if (code === undefined || !STORAGE_CODES.test(code)) return undefined;
  return new ServerError(
    'storage',
    `the store failed (${code}), nothing was written: look at the disk's free space and health`,
    { cause: error },
  );
}

const STORAGE_CODES =
  /^SQLITE_(FULL|BUSY|LOCKED|IOERR|READONLY|CORRUPT|NOTADB|CANTOPEN|NOMEM|PROTOCOL|PERM|AUTH|NOLFS|INTERRUPT)(_|$)/;

/** Whether SQLite refused a value that must be unique. */
export function isSqliteUniqueViolation(error: unknown): boolean {
  const code = sqliteCode(error);
  return code === 'SQLITE_CONSTRAINT_UNIQUE' || code === 'SQLITE_CONSTRAINT_PRIMARYKEY';
}

/** By name, not by class: the addon is loaded once a process, its class once a module graph. */
function sqliteCode(error: unknown): string | undefined {
  if (error === null || typeof error !== 'object' || !('name' in error) || !('code' in error))
    return undefined;
  return error.name === 'SqliteError' && typeof error.code === 'string' ? error.code : undefined;
}

class Store<Tables> extends Kysely<Tables> {
  readonly #connection: Sqlite.Database;
  readonly #ownership: Sqlite.Database | undefined;
  readonly #statements: SqliteStatements;

  constructor(
    connection: Sqlite.Database,
    ownership: Sqlite.Database | undefined,
    openReader: (() => Sqlite.Database) | undefined,
  ) {
    const statements = new SqliteStatements(connection, openReader);
    super({
      dialect: {
        createDriver: (): Driver => new StoreDriver(connection),
        createQueryCompiler: () => new SqliteQueryCompiler(),
        createAdapter: (): DialectAdapter => statements,
        createIntrospector: (database) => new SqliteIntrospector(database),
      },
    });
    this.#connection = connection;
    this.#ownership = ownership;
    this.#statements = statements;
  }

  override async destroy(): Promise<void> {
    // The last connection that closes tidies the log away, and one that only reads cannot.
    this.#statements.close();
    await super.destroy();
    this.#connection.close();
    this.#ownership?.close();
  }
}

/**
 * Runs compiled statements at once, past the query builder's queue and promises, which cost several times what a statement
 * does. In a transaction they run on its connection. Outside, what only reads runs on a connection of its own, which sees
 * what is committed and nothing else, also while a transaction is under way.
 */
export class SqliteStatements extends SqliteAdapter {
  readonly #writer: SqliteDatabase;
  readonly #openReader: (() => Sqlite.Database) | undefined;
  #reader: SqliteDatabase | undefined;

  constructor(connection: Sqlite.Database, openReader: (() => Sqlite.Database) | undefined) {
    super();
    this.#writer = rememberStatements(connection);
    this.#openReader = openReader;
  }

  /** Undefined where it must go through the query builder. Throws what SQLite says. */
  run<Row>(
    text: string,
    parameters: readonly unknown[],
    inTransaction: boolean,
  ): { rows: Row[]; changed: number } | undefined {
    const database = inTransaction ? this.#writer : this.#ownReader();
    const statement = database?.prepare(text) as (Sqlite.Statement & SqliteStatement) | undefined;
    if (statement === undefined || (!inTransaction && !statement.readonly)) return undefined;
    if (statement.reader) return { rows: statement.all(...parameters) as Row[], changed: 0 };
    return { rows: [], changed: statement.run(...parameters).changes };
  }

  close(): void {
    this.#reader?.close();
    this.#reader = undefined;
  }

  #ownReader(): SqliteDatabase | undefined {
    if (this.#reader === undefined && this.#openReader !== undefined)
      this.#reader = rememberStatements(this.#openReader());
    return this.#reader;
  }
}

class StoreDriver extends SqliteDriver {
  readonly #connection: Sqlite.Database;

  constructor(connection: Sqlite.Database) {
    super({ database: rememberStatements(connection) });
    this.#connection = connection;
  }

  /** The lock for writing is taken at once, so that no transaction fails half way for want of it. */
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'));
  }

  /** A full disk ends the transaction by itself; a second end would hide the first cause. */
  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    if (this.#connection.inTransaction) await super.rollbackTransaction(connection);
  }
}

/** Kysely prepares each statement anew, which costs more than to run it; here the latest texts are kept prepared. */
function rememberStatements(connection: Sqlite.Database): SqliteDatabase {
  const kept = new Map<string, Sqlite.Statement & SqliteStatement>();
  return {
    close: () => {
      kept.clear();
      connection.close();
    },
    prepare: (sql) => {
      const known = kept.get(sql);
      if (known !== undefined && !known.busy) return known;
      const statement = connection.prepare(sql) as Sqlite.Statement & SqliteStatement;
      if (kept.size >= STATEMENTS_KEPT) kept.clear();
      kept.set(sql, statement);
      return statement;
    },
  };
}

/** Ownership is a lock on a file beside the store; the kernel gives it up when the process ends, however it ends. */
function own(file: string): Sqlite.Database {
  const lockFile = `${file}.lock`;
  let lock: Sqlite.Database | undefined;
  try {
    createPrivately(lockFile);
    lock = new Sqlite(lockFile, { timeout: 0 });
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock?.close();
    if (sqliteCode(error) === 'SQLITE_BUSY') {
      throw new ServerError(
        'store-in-use',
        `${file}: another process has this store open for writing: stop it first`,
      );
    }
    throw (
      sqliteFailure(error) ??
      new ServerError(
        'storage',
        `${file}: cannot be opened: does its folder exist, and may this process write there?`,
        {
          cause: error,
        },
      )
    );
  }
}

function createPrivately(file: string): void {
  closeSync(openSync(file, constants.O_CREAT | constants.O_RDWR, 0o600));
}
