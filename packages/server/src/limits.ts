/**
 * How often one address, one service and one caller may ask. Counted in this process' memory, or in a store that several
 * processes share, for all of them together; while that store gives no answer, each counts for itself. A request over the
 * limit of its address is refused before anything else is read or looked up for it. Who then proves to be a service has a
 * limit of its own in place of its address', which is given back what was counted for it.
 */
import { CompiledQuery, sql } from 'kysely';
import { RateLimiterMemory, RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';
import { type Database, isShared, type Transaction } from './database.ts';
import { ServerError } from './error.ts';
import type { Migrations } from './migration.ts';
import { addressKey } from './peer.ts';

export interface Limit {
  readonly requests: number;
  readonly perSeconds: number;
}

export interface Limits {
  /** Counts one request of an address. Throws ServerError `too-many-requests` with `retry-after`. */
  address(ip: string): Promise<void>;
  /**
   * Counts one request of a service that has proven itself, known by any stable text, and takes it back from the address
   * that `address` counted it for. Throws like `address`, and nothing is taken back then.
   */
  service(key: string, ip: string): Promise<void>;
  /** Counts one request of a caller, known by any stable text. Throws like `address`. */
  caller(key: string): Promise<void>;
}

export interface LimitsOptions {
  readonly perAddress?: Limit;
  readonly perService?: Limit;
  readonly perCaller?: Limit;
  /** The store; one that is shared, and has the tables of `limitMigrations`, counts for all its processes. */
  readonly database?: CountingStore;
}

/** A store, whatever its tables. */
export type CountingStore = Pick<Database<unknown>, 'getExecutor' | 'executeQuery'>;

const TABLE = 'request_counts';

/** The table of a shared store that requests are counted in. What it holds may be lost, so nothing waits for the disk. */
export const limitMigrations: Migrations = {
  name: 'limits',
  steps: [
    async (transaction: Transaction<unknown>) => {
      if (!isShared(transaction)) return;
      await transaction.schema
        .createTable(TABLE)
        .modifyFront(sql`unlogged`)
        .addColumn('key', 'text', (column) => column.primaryKey().notNull())
        .addColumn('points', 'integer', (column) => column.notNull())
        .addColumn('expire', 'bigint')
        .execute();
    },
  ],
};

/** A limit that is not named is not enforced. */
export function createLimits(options: LimitsOptions): Limits {
  const counter = (name: string, limit: Limit | undefined) =>
    limit === undefined ? undefined : makeCounter(limit, { name, database: options.database });
  const perAddress = counter('address', options.perAddress);
  const perService = counter('service', options.perService);
  const perCaller = counter('caller', options.perCaller);
  return {
    address: (ip) => consume(perAddress, addressKey(ip)),
    async service(key, ip) {
      // Without a limit of its own a service has that of its address.
      if (perService === undefined) return;
      await consume(perService, key);
      await perAddress?.reward(addressKey(ip));
    },
    caller: (key) => consume(perCaller, key),
  };
}

export interface CounterPlace {
  /** Tells the counters of one store apart. */
  readonly name: string;
  readonly database: CountingStore | undefined;
}

/** Counts under a key of one's own, for what has a limit apart (a user code that is typed, a login that is begun). */
export function createCounter(limit: Limit, place?: CounterPlace): (key: string) => Promise<void> {
  const counter = makeCounter(limit, place);
  return (key) => consume(counter, key);
}

type Counter = RateLimiterMemory | RateLimiterPostgres;

async function consume(counter: Counter | undefined, key: string): Promise<void> {
  try {
    await counter?.consume(key);
  } catch (refusal) {
    if (!(refusal instanceof RateLimiterRes)) throw refusal;
    const seconds = Math.max(1, Math.ceil(refusal.msBeforeNext / 1_000));
    throw new ServerError('too-many-requests', `Too many requests: wait ${seconds} s, then try again.`, {
      headers: { 'retry-after': String(seconds) },
    });
  }
}

function makeCounter(limit: Limit, place: CounterPlace | undefined): Counter {
  const rule = { points: limit.requests, duration: limit.perSeconds };
  const database = place?.database;
  if (place === undefined || database === undefined || !isShared(database))
    return new RateLimiterMemory(rule);
  return new RateLimiterPostgres({
    ...rule,
    storeClient: {
      query: ({ text, values }: { text: string; values: unknown[] }) =>
        database.executeQuery(CompiledQuery.raw(text, values)),
    },
    storeType: 'client',
    tableName: TABLE,
    tableCreated: true,
    keyPrefix: place.name,
    // Once over the limit, a caller costs the store nothing more.
    inMemoryBlockOnConsumed: limit.requests,
    insuranceLimiter: new RateLimiterMemory(rule),
  });
}
