/**
 * PostgreSQL as the store: one store for several processes. A transaction takes the store's lock for writing when it
 * begins, as it does on SQLite, so that at any time one process writes, sees all that was written before, and nothing
 * written before can change under it; the server frees the lock of a process that dies or hangs. Reading needs no lock.
 * Failures of the connection and of the server itself come out as ServerError `storage`.
 */
import {
  CompiledQuery,
  type DatabaseConnection,
  type DataTypeNode,
  type DialectAdapter,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresDriver,
  PostgresIntrospector,
  type PostgresPool,
  type PostgresPoolClient,
  PostgresQueryCompiler,
  type Transaction,
} from 'kysely';
import pg from 'pg';
import { ServerError } from './error.ts';
import { parsePostgresUrl } from './postgres-url.ts';

export interface PostgresOptions {
  /** `postgresql://NAME:PASSWORD@HOST:PORT/DATABASE`: a secret. What it may say: postgres-url.ts. */
  readonly url: string;
  /** Lets no statement write. */
  readonly readOnly?: boolean;
  /** Connections of this process. Default 10. */
  readonly maxConnections?: number;
}

/** Who may write: a number of ours among the advisory locks of the database. */
const WRITER_LOCK = '7162831209482341';
const CONNECT_TIMEOUT_MS = 5_000;
const LOCK_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 30_000;
/** A process that hangs inside a transaction keeps all others from writing for this long. */
const IDLE_IN_TRANSACTION_MS = 10_000;
const INT8 = 20;

/** Opens the store; nothing is connected yet. Throws ServerError `configuration` for a URL that does not hold. */
export function openPostgres<Tables>(options: PostgresOptions): Kysely<Tables> {
  const pool = new pg.Pool({
    ...parsePostgresUrl(options.url),
    application_name: 'beacon',
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + CONNECT_TIMEOUT_MS,
    keepAlive: true,
    types: { getTypeParser: typeParser as typeof pg.types.getTypeParser },
  });
  // A connection that dies unused is replaced when the next one is needed; what was in use tells its user.
  pool.on('error', () => undefined);
  return new Kysely<Tables>({
    dialect: {
      createDriver: (): Driver => new StoreDriver(watch(pool, options.readOnly === true)),
      createQueryCompiler: () => new StoreQueryCompiler(),
      createAdapter: (): DialectAdapter => new PostgresAdapter(),
      createIntrospector: (database) => new PostgresIntrospector(database),
    },
  });
}

/** The ServerError `storage` for a failure of the server itself; undefined for everything else. */
export function postgresFailure(error: unknown): ServerError | undefined {
  const state = sqlState(error);
  if (state === undefined || !STORAGE_STATES.test(state)) return undefined;
  const what = Object.entries(EXPLAINED).find(([prefix]) => state.startsWith(prefix))?.[1];
  return failure(`${state}${what === undefined ? '' : `, ${what}`}`, error);
}

/**
 * Connection, resources, operator, system, damage; a read-only server, refused credentials or rights, no such database,
 * a lock not had in time, a conflict that trying again did not solve, a transaction ended by the server.
 */
const STORAGE_STATES =
  /^(08...|53...|57P..|57014|58...|XX...|25006|25P0[1-4]|28...|3D000|42501|55P03|40001|40P01)$/;

const EXPLAINED: Readonly<Record<string, string>> = {
  '53100': 'its disk is full',
  '53300': 'it takes no more connections',
  '53': 'it is short of resources',
  '57P': 'it is stopping or starting',
  '25006': 'it is read-only: the URL must name the primary',
  '28': 'it refused the name or the password',
  '3D000': 'there is no such database',
  '42501': 'the name lacks a right there',
  '55P03': 'another process kept the lock for writing',
};

/** Whether PostgreSQL refused a value that must be unique. */
export function isPostgresUniqueViolation(error: unknown): boolean {
  return sqlState(error) === '23505';
}

/** Whether the server undid a transaction that may well succeed when it is run again: a conflict or a deadlock. */
export function isConflict(error: unknown): boolean {
  const cause = error instanceof ServerError ? error.cause : error;
  return ['40001', '40P01'].includes(sqlState(cause) ?? '');
}

/** A migration may take its time, and wait for that of another process. */
export async function allowLongWork(transaction: Transaction<unknown>): Promise<void> {
  await transaction.executeQuery(CompiledQuery.raw('set local statement_timeout = 0'));
}

/** By shape, not by class: the driver's class is another one in each module graph. */
function sqlState(error: unknown): string | undefined {
  if (error === null || typeof error !== 'object' || !('code' in error) || !('severity' in error))
    return undefined;
  return typeof error.code === 'string' && /^[0-9A-Z]{5}$/.test(error.code) ? error.code : undefined;
}

function failure(why: string, cause: unknown): ServerError {
  return new ServerError(
    'storage',
    `the store failed (${why}), nothing was answered for: look at the PostgreSQL server and its log`,
    { cause },
  );
}

class StoreDriver extends PostgresDriver {
  constructor(pool: PostgresPool) {
    super({ pool });
  }

  /** Every transaction writes; the lock is taken at once, before anything is read, and goes with the transaction. */
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(
      CompiledQuery.raw(`begin isolation level read committed; select pg_advisory_xact_lock(${WRITER_LOCK})`),
    );
  }
}

/** Text is ordered by its bytes whatever the database's locale is: the order of ids is the order of time. */
class StoreQueryCompiler extends PostgresQueryCompiler {
  protected override visitDataType(node: DataTypeNode): void {
    super.visitDataType(node);
    if (node.dataType === 'text' && this.parentNode?.kind === 'ColumnDefinitionNode')
      this.append(' collate "C"');
  }
}

/** The pool as kysely takes it, its failures told apart from those of a statement. */
function watch(pool: pg.Pool, readOnly: boolean): PostgresPool {
  const known = new WeakMap<pg.PoolClient, PostgresPoolClient>();
  const prepared = new WeakSet<pg.PoolClient>();
  const watchedOf = (client: pg.PoolClient): PostgresPoolClient => {
    const watched = known.get(client) ?? watchClient(client);
    known.set(client, watched);
    return watched;
  };
  // At once: the server may end a connection in the same breath in which it accepts it.
  pool.on('connect', watchedOf);
  return {
    options: {},
    end: () => pool.end(),
    async connect() {
      let client: pg.PoolClient;
      try {
        client = await pool.connect();
      } catch (error) {
        throw postgresFailure(error) ?? failure('it cannot be reached', error);
      }
      const watched = watchedOf(client);
      if (!prepared.has(client)) {
        try {
          await prepare(watched, readOnly);
        } catch (error) {
          client.release(true);
          throw error;
        }
        prepared.add(client);
      }
      return watched;
    },
  };
}

/** After a failure a connection is in no known state and is not used again. */
function watchClient(client: pg.PoolClient): PostgresPoolClient {
  let broken: ServerError | undefined;
  const end = (error: unknown): ServerError => {
    broken ??= failure('the connection was lost', error);
    return broken;
  };
  // The server may end a connection between two statements; without a listener that would end this process.
  client.on('error', end);
  const query = async (sql: string, parameters: readonly unknown[]) => {
    if (broken !== undefined) throw broken;
    try {
      return await client.query(sql, [...parameters]);
    } catch (error) {
      if (sqlState(error) !== undefined) throw postgresFailure(error) ?? error;
      throw end(error);
    }
  };
  return {
    query: query as unknown as PostgresPoolClient['query'],
    release: (destroy) => client.release(destroy === true || broken !== undefined),
  };
}

/** What this program relies on, whatever the server's and the role's own settings say. */
async function prepare(client: PostgresPoolClient, readOnly: boolean): Promise<void> {
  const settings: Readonly<Record<string, string>> = {
    lock_timeout: String(LOCK_TIMEOUT_MS),
    statement_timeout: String(STATEMENT_TIMEOUT_MS),
    idle_in_transaction_session_timeout: String(IDLE_IN_TRANSACTION_MS),
    client_min_messages: 'warning',
    ...(readOnly ? { default_transaction_read_only: 'on' } : {}),
  };
  const sets = Object.entries(settings).map(([name, value]) => `set_config('${name}', '${value}', false)`);
  const { rows } = await client.query<{ encoding: string; durable: string }>(
    `select ${sets.join(', ')}, current_setting('server_encoding') as encoding,
      case when current_setting('synchronous_commit') = 'off' then set_config('synchronous_commit', 'on', false) end`,
    [],
  );
  if (rows[0]?.encoding !== 'UTF8') {
    throw new ServerError(
      'configuration',
      "the PostgreSQL database's encoding must be UTF8: make it with ENCODING 'UTF8' TEMPLATE template0",
    );
  }
}

function typeParser(type: number, format?: 'text' | 'binary'): unknown {
  return type === INT8 ? safeNumber : pg.types.getTypeParser(type, format as 'text');
}

/** Milliseconds and places in the chain; a number that JavaScript would round is refused. */
function safeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new ServerError('storage', `the store holds the number ${text}`);
  return value;
}
