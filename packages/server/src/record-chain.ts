/**
 * Verifies a whole chain of records as it lies in a store, page by page: every line recomputed, its place, its link and
 * the columns beside it compared. A chain alone cannot show that its tail was cut or that it was written anew from the
 * start; the anchors that others hold (receipts, signed checkpoints) can. Stops at nothing: after a bad record the rest
 * is still verified, so that one flipped bit does not blind.
 */
import { FIRST_PREVIOUS, hashRecord, parseRecord } from '@beacon/protocol/record';
import { type Readable, storageFailure } from './database.ts';
import type { RecordsTable, RecordTables } from './record-tables.ts';
import { columnsOf } from './records.ts';

/** A place in the chain that somebody else holds. */
export interface RecordAnchor {
  readonly seq: number;
  readonly hash: string;
}

export type ChainVerdict =
  | { readonly ok: true; readonly count: number; readonly head: RecordAnchor | undefined }
  | {
      readonly ok: false;
      readonly firstBad: number;
      readonly why: string;
      /** How many places of the chain are bad, the first included. */
      readonly bad: number;
    };

export interface ChainOptions {
  readonly chain: string;
  readonly anchors?: readonly RecordAnchor[];
  /** Records a page; tests make it small. */
  readonly pageSize?: number;
}

/** Verifies the chain up to the head that it has when this begins. Throws ServerError `storage` when it cannot be read. */
export async function verifyRecords<Tables extends RecordTables>(
  store: Readable<Tables>,
  options: ChainOptions,
): Promise<ChainVerdict> {
  try {
    return await verifyChain(store as unknown as Readable<RecordTables>, options);
  } catch (error) {
    throw storageFailure(error) ?? error;
  }
}

async function verifyChain(store: Readable<RecordTables>, options: ChainOptions): Promise<ChainVerdict> {
  const walk = new Walk(options.anchors ?? []);
  const last = await store
    .selectFrom('records')
    .select('seq')
    .where('chain', '=', options.chain)
    .orderBy('seq', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (last !== undefined) {
    let rowsSeen = 0;
    for (let after = Number.MIN_SAFE_INTEGER; ; ) {
      const page = await store
        .selectFrom('records')
        .selectAll()
        .where('chain', '=', options.chain)
        .where('seq', '>', after)
        .where('seq', '<=', last.seq)
        .orderBy('seq')
        .limit(options.pageSize ?? 1_000)
        .execute();
      for (const row of page) walk.take(row);
      rowsSeen += page.length;
      const end = page.at(-1);
      if (end === undefined || typeof end.seq !== 'number') break;
      after = end.seq;
    }
    await compareCount(store, options.chain, last.seq, rowsSeen, walk);
  }
  return walk.end();
}

/** A doubled sequence number at the edge of a page would be passed over; the count tells. */
async function compareCount(
  store: Readable<RecordTables>,
  chain: string,
  lastSeq: number,
  rowsSeen: number,
  walk: Walk,
): Promise<void> {
  const { count } = await store
    .selectFrom('records')
    .select((expression) => expression.fn.countAll<number>().as('count'))
    .where('chain', '=', chain)
    .where('seq', '<=', lastSeq)
    .executeTakeFirstOrThrow();
  if (Number(count) !== rowsSeen) {
    const doubled = await store
      .selectFrom('records')
      .select('seq')
      .where('chain', '=', chain)
      .groupBy('seq')
      .having((expression) => expression.fn.countAll(), '>', 1)
      .orderBy('seq')
      .limit(1)
      .executeTakeFirst();
    walk.bad(doubled?.seq ?? lastSeq, 'there is more than one record with this number');
  }
}

class Walk {
  readonly #anchors: Map<number, string>;
  #firstBad: { seq: number; why: string } | undefined;
  #badCount = 0;
  #count = 0;
  #head: RecordAnchor | undefined;
  /** What the next line must name as `prev`; undefined after a bad record, whose true hash nobody knows. */
  #previous: string | undefined = FIRST_PREVIOUS;
  #expectedSeq = 1;

  constructor(anchors: readonly RecordAnchor[]) {
    this.#anchors = new Map(anchors.map((anchor) => [anchor.seq, anchor.hash]));
  }

  take(row: RecordsTable): void {
    this.#count++;
    if (row.seq > this.#expectedSeq) {
      this.bad(this.#expectedSeq, `records are missing: the next one is ${row.seq}`);
      this.#previous = undefined;
    }
    const why = this.#defect(row);
    if (why !== undefined) this.bad(row.seq, why);
    this.#previous = why === undefined ? row.hash : undefined;
    this.#expectedSeq = row.seq + 1;
    this.#head = { seq: row.seq, hash: row.hash };
  }

  bad(seq: number, why: string): void {
    this.#badCount++;
    if (this.#firstBad === undefined || seq < this.#firstBad.seq) this.#firstBad = { seq, why };
  }

  end(): ChainVerdict {
    for (const seq of this.#anchors.keys()) {
      if (seq >= this.#expectedSeq) {
        this.bad(this.#expectedSeq, `the chain was cut: record ${seq} was once there`);
      }
    }
    if (this.#firstBad === undefined) return { ok: true, count: this.#count, head: this.#head };
    return { ok: false, firstBad: this.#firstBad.seq, why: this.#firstBad.why, bad: this.#badCount };
  }

  #defect(row: RecordsTable): string | undefined {
    if (row.seq < this.#expectedSeq) return 'the number does not follow the one before';
    const hash = hashRecord(row.line);
    if (hash !== row.hash) return 'the line is not what its hash says';
    let fields: ReturnType<typeof parseRecord>;
    try {
      fields = parseRecord(row.line);
    } catch {
      return 'the line is not a record';
    }
    if (this.#previous !== undefined && fields.prev !== this.#previous) {
      return 'the line does not name the hash of the record before';
    }
    for (const [column, value] of Object.entries(columnsOf(fields))) {
      if (row[column as keyof RecordsTable] !== value) return `the column ${column} differs from the line`;
    }
    const anchored = this.#anchors.get(row.seq);
    if (anchored !== undefined && anchored !== hash) {
      return 'the record differs from the one that was once here';
    }
    return undefined;
  }
}
