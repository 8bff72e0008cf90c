/**
 * The durable chain of records (DESIGN.md section 8): one line of JSON each, kept and hashed as its exact bytes, each
 * naming the hash of the one before. Appending happens inside a unit of the group commit, so a record and what it
 * records become durable together. Names and addresses stand in it only as salted digests, whose values lie in a side
 * table. The sequence is the order; time is only told, and marked where the clock stepped back. Does not verify whole
 * chains: that is `record-chain.ts`.
 */
import { createHash, randomBytes as cryptoRandomBytes, timingSafeEqual } from 'node:crypto';
import {
  FIRST_PREVIOUS,
  formatRecord,
  hashRecord,
  parseRecord,
  type RecordFields,
} from '@beacon/protocol/record';
import type { Readable, Transaction } from './database.ts';
import { ServerError } from './error.ts';
import type { QueriedStore } from './prepared-query.ts';
import {
  findHead,
  findPersonal,
  findRecord,
  insertRecord,
  type RecordsTable,
  type RecordTables,
} from './record-tables.ts';
import { recall, remember } from './transaction-memory.ts';

/** What happened. `facts` holds what else this kind says; a time behind the last record's gets the fact `clock_behind_ms`. */
export type RecordEntry = Omit<RecordFields, 'chain' | 'seq' | 'time'>;

/** Where an entry went. `line` is the exact text that was hashed, without a newline. */
export interface RecordReceipt {
  readonly seq: number;
  readonly hash: string;
  readonly line: string;
}

export interface RecordHead {
  readonly seq: number;
  readonly hash: string;
  readonly time: Date;
}

export interface StoredRecord {
  readonly seq: number;
  readonly hash: string;
  readonly line: string;
  readonly fields: RecordFields & { readonly prev: string };
}

export interface RecordFilter {
  /** Only records with a higher sequence number. */
  readonly after?: number;
  /** At most this many, 1 to 1,000. */
  readonly limit: number;
  readonly kind?: string;
  readonly person?: string;
  readonly service?: string;
  readonly host?: string;
  readonly grant?: string;
}

export interface Records {
  /** Appends inside a unit of writing. Throws ServerError `record` for an entry that no reader would read back. */
  append<Tables extends RecordTables>(
    transaction: Transaction<Tables>,
    entry: RecordEntry,
  ): Promise<RecordReceipt>;
  /** Keeps a name or an address of a person in the side table; returns the digest that stands for it in records. */
  hide<Tables extends RecordTables>(
    transaction: Transaction<Tables>,
    value: string,
    person: string,
  ): Promise<string>;
  /** The value behind a digest; undefined when it was erased or does not match its digest. */
  reveal<Tables extends RecordTables>(store: Readable<Tables>, digest: string): Promise<string | undefined>;
  /** The last record; undefined in an empty chain. */
  head<Tables extends RecordTables>(store: Readable<Tables>): Promise<RecordHead | undefined>;
  /** One record, its line checked against its hash: throws ServerError `record` when they differ. */
  get<Tables extends RecordTables>(store: Readable<Tables>, seq: number): Promise<StoredRecord | undefined>;
  /** Records in order, each checked like `get`. */
  list<Tables extends RecordTables>(
    store: Readable<Tables>,
    filter: RecordFilter,
  ): Promise<readonly StoredRecord[]>;
}

export interface RecordsOptions {
  /** Whose chain: `ca`, `broker`. */
  readonly chain: string;
  readonly now: () => Date;
  readonly randomBytes?: (size: number) => Buffer;
}

const SALT_BYTES = 32;

export function createRecords(options: RecordsOptions): Records {
  const { chain, now } = options;
  const randomBytes = options.randomBytes ?? cryptoRandomBytes;
  /** What this chain's head is remembered by, within a transaction. */
  const headOfChain = {};
  const checkedBefore = rememberChecked();

  return {
    async append(transaction, entry) {
      const last = recall<RecordHead>(transaction, headOfChain) ?? (await readHead(transaction, chain));
      const time = now();
      const behindMs = last === undefined ? 0 : last.time.getTime() - time.getTime();
      const facts = behindMs > 0 ? { ...entry.facts, clock_behind_ms: behindMs } : entry.facts;
      const fields = {
        ...entry,
        ...(facts === undefined ? {} : { facts }),
        chain,
        seq: (last?.seq ?? 0) + 1,
        time,
      };
      const line = formatReadable(fields, last?.hash ?? FIRST_PREVIOUS);
      const hash = hashRecord(line);
      await insertRecord(transaction, { ...columnsOf(fields), line, hash });
      remember(transaction, headOfChain, { seq: fields.seq, hash, time });
      return { seq: fields.seq, hash, line };
    },

    async hide(transaction, value, person) {
      const [known] = (await findPersonal(transaction, { person, value })).rows;
      if (known !== undefined) return known.digest;
      const salt = randomBytes(SALT_BYTES);
      const digest = saltedDigest(salt, value);
      await narrow(transaction)
        .insertInto('personal')
        .values({ digest, salt: salt.toString('base64url'), value, person })
        .execute();
      return digest;
    },

    async reveal(store, digest) {
      const row = await narrow(store)
        .selectFrom('personal')
        .select(['salt', 'value'])
        .where('digest', '=', digest)
        .executeTakeFirst();
      if (row === undefined) return undefined;
      const expected = Buffer.from(saltedDigest(Buffer.from(row.salt, 'base64url'), row.value));
      const given = Buffer.from(digest);
      return expected.length === given.length && timingSafeEqual(expected, given) ? row.value : undefined;
    },

    head: (store) => readHead(store, chain),

    async get(store, seq) {
      const [row] = (await findRecord(store, { chain, seq })).rows;
      return row === undefined ? undefined : checkedBefore(row);
    },

    async list(store, filter) {
      let query = narrow(store)
        .selectFrom('records')
        .select(['seq', 'line', 'hash'])
        .where('chain', '=', chain)
        .where('seq', '>', filter.after ?? 0);
      for (const column of ['kind', 'person', 'service', 'host', 'grant'] as const) {
        const wanted = filter[column];
        if (wanted !== undefined) query = query.where(column, '=', wanted);
      }
      const rows = await query
        .orderBy('seq')
        .limit(Math.min(Math.max(filter.limit, 1), 1_000))
        .execute();
      return rows.map(checked);
    },
  };
}

/** The columns that repeat what the line says. */
export function columnsOf(fields: RecordFields): Omit<RecordsTable, 'line' | 'hash'> {
  return {
    chain: fields.chain,
    seq: fields.seq,
    time: fields.time.getTime(),
    kind: fields.kind,
    person: fields.person ?? null,
    service: fields.service ?? null,
    host: fields.host ?? null,
    grant: fields.grant ?? null,
  };
}

function formatReadable(fields: RecordFields, prev: string): string {
  try {
    return formatRecord(fields, prev);
  } catch (error) {
    throw new ServerError('record', `a record of kind ${JSON.stringify(fields.kind)} cannot be written`, {
      cause: error,
    });
  }
}

function checked(row: Pick<RecordsTable, 'seq' | 'line' | 'hash'>): StoredRecord {
  if (hashRecord(row.line) !== row.hash) {
    throw new ServerError(
      'record',
      `record ${row.seq} is not what its hash says: run beacon records verify, and compare with a backup`,
    );
  }
  return { seq: row.seq, hash: row.hash, line: row.line, fields: parseRecord(row.line) };
}

const CHECKED_KEPT = 1_000;

/**
 * {@link checked}, its latest answers kept by the exact line and hash: the records that made hosts are read, as they
 * stand in the store, for every request.
 */
function rememberChecked(): (row: Pick<RecordsTable, 'seq' | 'line' | 'hash'>) => StoredRecord {
  const kept = new Map<string, StoredRecord>();
  return (row) => {
    const known = kept.get(row.line);
    if (known !== undefined && known.hash === row.hash && known.seq === row.seq) return known;
    const record = checked(row);
    if (kept.size >= CHECKED_KEPT) kept.clear();
    kept.set(row.line, record);
    return record;
  };
}

async function readHead(store: QueriedStore, chain: string): Promise<RecordHead | undefined> {
  const [row] = (await findHead(store, { chain })).rows;
  return row === undefined ? undefined : { seq: row.seq, hash: row.hash, time: new Date(row.time) };
}

function saltedDigest(salt: Buffer, value: string): string {
  return createHash('sha256').update(salt).update(value).digest('base64url');
}

/** Kysely's types do not let a store with more tables stand for one with fewer; ours may. */
function narrow<Tables extends RecordTables>(store: Readable<Tables>): Readable<RecordTables> {
  return store as unknown as Readable<RecordTables>;
}
