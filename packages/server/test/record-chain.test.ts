import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatRecord, hashRecord, parseRecord } from '@beacon/protocol/record';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { sql } from 'kysely';
import {
  createRecords,
  type Database,
  migrate,
  openDatabase,
  type RecordTables,
  recordMigrations,
  type Transaction,
  verifyRecords,
} from '../src/index.ts';
import { openRecordStore } from './record-store.ts';
import { temporaryFolder } from './temporary.ts';

const COUNT = 1_000;
let original: Buffer;
let hashes: readonly string[];

beforeAll(async () => {
  const store = await openRecordStore({ now: () => new Date(1_700_000_000_000) });
  const receipts = await Promise.all(
    Array.from({ length: COUNT }, (_, i) =>
      store.commit.write((tx) => store.records.append(tx, { kind: 'test', person: `github:${i}` })),
    ),
  );
  hashes = receipts.map(({ hash }) => hash);
  await store.close();
  original = readFileSync(store.file);
});

/** A copy of the store without the constraints that would stand in a forger's way, changed by `change`. */
function forge(change: (store: Sqlite.Database) => void): string {
  const file = join(temporaryFolder(), 'forged.db');
  writeFileSync(file, original);
  const store = new Sqlite(file);
  store.exec(
    'CREATE TABLE loose AS SELECT * FROM records; DROP TABLE records; ALTER TABLE loose RENAME TO records',
  );
  store.exec('CREATE INDEX loose_order ON records (chain, seq)');
  change(store);
  store.close();
  return file;
}

async function verdict(file: string, options: { anchors?: { seq: number; hash: string }[] } = {}) {
  const store = openDatabase<RecordTables>({ file, readOnly: true });
  try {
    return await verifyRecords(store, { chain: 'ca', pageSize: 64, ...options });
  } finally {
    await store.destroy();
  }
}

const head = () => ({ seq: COUNT, hash: hashes[COUNT - 1] ?? '' });

test('accepts a whole chain, and names its head', async () => {
  expect(
    await verdict(
      forge(() => undefined),
      { anchors: [head()] },
    ),
  ).toEqual({ ok: true, count: COUNT, head: head() });
});

test('accepts an empty chain unless an anchor says that there was more', async () => {
  const empty = forge((store) => store.exec('DELETE FROM records'));
  expect(await verdict(empty)).toEqual({ ok: true, count: 0, head: undefined });
  expect(await verdict(empty, { anchors: [head()] })).toMatchObject({ ok: false, firstBad: 1 });
});

describe('L1: names the first bad record', () => {
  const places = [1, 2, 63, 64, 65, 500, 999, 1_000];
  const operations: Record<string, (store: Sqlite.Database, seq: number) => number> = {
    edit: (store, seq) => {
      store.prepare("UPDATE records SET line = replace(line, 'test', 'tesu') WHERE seq = ?").run(seq);
      return seq;
    },
    'edit of a column beside the line': (store, seq) => {
      store.prepare("UPDATE records SET person = 'github:x' WHERE seq = ?").run(seq);
      return seq;
    },
    'edit with a new hash': (store, seq) => {
      const row = store.prepare('SELECT line FROM records WHERE seq = ?').get(seq) as { line: string };
      const line = row.line.replace('"test"', '"tesu"');
      store
        .prepare("UPDATE records SET line = ?, hash = ?, kind = 'tesu' WHERE seq = ?")
        .run(line, hashRecord(line), seq);
      return seq === COUNT ? seq : seq + 1;
    },
    delete: (store, seq) => {
      store.prepare('DELETE FROM records WHERE seq = ?').run(seq);
      return seq;
    },
    'delete and close the gap': (store, seq) => {
      store.prepare('DELETE FROM records WHERE seq = ?').run(seq);
      store.prepare('UPDATE records SET seq = seq - 1 WHERE seq > ?').run(seq);
      return seq;
    },
    insert: (store, seq) => {
      store.prepare('UPDATE records SET seq = seq + 1 WHERE seq >= ?').run(seq);
      store
        .prepare(
          'INSERT INTO records SELECT chain, ?, time, kind, person, service, host, "grant", line, hash FROM records WHERE seq = ?',
        )
        .run(seq, seq === 1 ? 2 : 1);
      return seq === 1 ? 2 : seq;
    },
    duplicate: (store, seq) => {
      store.prepare('INSERT INTO records SELECT * FROM records WHERE seq = ?').run(seq);
      return seq;
    },
    swap: (store, seq) => {
      const other = seq === COUNT ? seq - 1 : seq + 1;
      store
        .prepare('UPDATE records SET seq = CASE seq WHEN ? THEN ? ELSE ? END WHERE seq IN (?, ?)')
        .run(seq, other, seq, seq, other);
      return Math.min(seq, other);
    },
    'truncated tail': (store, seq) => {
      store.prepare('DELETE FROM records WHERE seq >= ?').run(seq);
      return seq;
    },
  };

  test('every place of a short chain, whatever is done to it', async () => {
    for (const [name, operation] of Object.entries(operations)) {
      for (let seq = 1; seq <= 20; seq++) {
        const file = forge((store) => {
          store.exec('DELETE FROM records WHERE seq > 21');
          operation(store, seq);
        });
        const anchored = await verdict(file, { anchors: [{ seq: 21, hash: hashes[20] ?? '' }] });
        expect({ name, seq, ok: anchored.ok }).toEqual({ name, seq, ok: false });
      }
    }
  });

  for (const [name, operation] of Object.entries(operations)) {
    test(`${name}`, async () => {
      for (const seq of places) {
        let expected = 0;
        const file = forge((store) => {
          expected = operation(store, seq);
        });
        const anchored = await verdict(file, { anchors: [head()] });
        expect({ seq, ...anchored }).toMatchObject({ seq, ok: false, firstBad: expected });
      }
    });
  }
});

describe('L1: a thousand records in a hundred chains, each record changed in six ways', () => {
  const LENGTH = 10;
  const chains = Array.from({ length: COUNT / LENGTH }, (_, index) => `chain-${index}`);
  const heads = new Map<string, { seq: number; hash: string }>();
  let store: Database<RecordTables>;

  beforeAll(async () => {
    store = openDatabase<RecordTables>({ file: ':memory:' });
    await migrate(store, recordMigrations);
    for (const chain of chains) {
      const records = createRecords({ chain, now: () => new Date(1_700_000_000_000) });
      await store.transaction().execute(async (tx) => {
        for (let seq = 1; seq <= LENGTH; seq++) {
          const entry = { kind: 'test', person: `github:${seq}` };
          heads.set(chain, await records.append(tx, entry));
        }
      });
    }
    await sql`create table loose as select * from records`.execute(store);
    await sql`drop table records`.execute(store);
    await sql`alter table loose rename to records`.execute(store);
    await sql`create index loose_order on records (chain, seq)`.execute(store);
  });
  afterAll(() => store.destroy());

  type Change = (tx: Transaction<RecordTables>, chain: string, seq: number) => Promise<number>;

  /** Moves what comes from `seq` on by one, by way of numbers that nothing has. */
  const shift = (tx: Transaction<RecordTables>, chain: string, seq: number) =>
    sql`update records set seq = seq + 1 where chain = ${chain} and seq >= ${seq}`.execute(tx);

  test.each<[string, Change]>([
    [
      'edit',
      async (tx, chain, seq) => {
        await sql`update records set line = replace(line, 'github:', 'github:1')
          where chain = ${chain} and seq = ${seq}`.execute(tx);
        return seq;
      },
    ],
    [
      'delete',
      async (tx, chain, seq) => {
        await sql`delete from records where chain = ${chain} and seq = ${seq}`.execute(tx);
        return seq;
      },
    ],
    [
      'insert',
      async (tx, chain, seq) => {
        await shift(tx, chain, seq);
        const from = seq === LENGTH ? 1 : LENGTH + 1;
        await sql`insert into records select chain, ${seq}, time, kind, person, service, host, "grant", line, hash
          from records where chain = ${chain} and seq = ${from}`.execute(tx);
        return seq;
      },
    ],
    [
      'swap',
      async (tx, chain, seq) => {
        const other = seq === LENGTH ? seq - 1 : seq + 1;
        await sql`update records set seq = case seq when ${seq} then ${other} else ${seq} end
          where chain = ${chain} and seq in (${seq}, ${other})`.execute(tx);
        return Math.min(seq, other);
      },
    ],
    [
      'truncate',
      async (tx, chain, seq) => {
        await sql`delete from records where chain = ${chain} and seq >= ${seq}`.execute(tx);
        return seq;
      },
    ],
    [
      'duplicate',
      async (tx, chain, seq) => {
        await sql`insert into records select * from records where chain = ${chain} and seq = ${seq}`.execute(
          tx,
        );
        return seq;
      },
    ],
  ])('%s', async (_name, change) => {
    const wrong: unknown[] = [];
    for (const chain of chains) {
      const anchors = [heads.get(chain) ?? { seq: 0, hash: '' }];
      for (let seq = 1; seq <= LENGTH; seq++) {
        await store
          .transaction()
          .execute(async (tx) => {
            const firstBad = await change(tx, chain, seq);
            const verdict = await verifyRecords(tx, { chain, anchors });
            if (verdict.ok || verdict.firstBad !== firstBad) wrong.push({ chain, seq, firstBad, verdict });
            throw undone;
          })
          .catch((error: unknown) => {
            if (error !== undone) throw error;
          });
      }
    }
    expect(wrong).toEqual([]);
    for (const chain of chains) expect(await verifyRecords(store, { chain })).toMatchObject({ ok: true });
  });
});

const undone = new Error('undone');

test('L3: a chain cut to an older valid prefix verifies alone, and not against an anchor', async () => {
  const file = forge((store) => store.exec('DELETE FROM records WHERE seq > 700'));
  expect(await verdict(file)).toMatchObject({ ok: true, count: 700 });
  expect(await verdict(file, { anchors: [{ seq: 900, hash: hashes[899] ?? '' }] })).toMatchObject({
    ok: false,
    firstBad: 701,
  });
});

test('L2, L4: a chain written anew from the start verifies alone, and not against an anchor', async () => {
  const file = forge((store) => {
    const rows = store.prepare('SELECT seq, line FROM records ORDER BY seq').all() as {
      seq: number;
      line: string;
    }[];
    let before = '0'.repeat(64);
    for (const row of rows) {
      const { prev: _, ...fields } = parseRecord(row.line);
      const line = formatRecord(
        { ...fields, person: row.seq === 10 ? 'github:x' : (fields.person ?? '') },
        before,
      );
      before = hashRecord(line);
      store
        .prepare('UPDATE records SET line = ?, hash = ?, person = ? WHERE seq = ?')
        .run(line, before, parseRecord(line).person, row.seq);
    }
  });
  expect(await verdict(file)).toMatchObject({ ok: true, count: COUNT });
  expect(await verdict(file, { anchors: [head()] })).toMatchObject({ ok: false, firstBad: COUNT });
  expect(await verdict(file, { anchors: [{ seq: 9, hash: hashes[8] ?? '' }] })).toMatchObject({ ok: true });
});

test('L5: one bit flipped on the disk is found, and the rest still verified', async () => {
  const bytes = Buffer.from(original);
  const at = bytes.indexOf('"github:321"');
  bytes[at + 3] = (bytes[at + 3] ?? 0) ^ 1;
  const file = join(temporaryFolder(), 'flipped.db');
  writeFileSync(file, bytes);
  expect(await verdict(file)).toEqual({
    ok: false,
    firstBad: 322,
    why: 'the line is not what its hash says',
    bad: 1,
  });
});
