import { inspect } from 'node:util';
import { afterEach, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import {
  isUniqueViolation,
  openDatabase,
  type RecordTables,
  storageFailure,
  verifyRecords,
} from '../src/index.ts';
import { type Cluster, cluster, startCluster } from './postgres.ts';
import { openRecordStore, type RecordStore, type Tables } from './record-store.ts';
import { codeOf } from './temporary.ts';

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

async function open(url: string): Promise<RecordStore> {
  const store = await openRecordStore({ place: { url } });
  opened.push(store);
  return store;
}

const make = (store: RecordStore, id: string) =>
  store.commit.write(async (transaction) => {
    const receipt = await store.records.append(transaction, { kind: 'thing-made', facts: { id } });
    await transaction.insertInto('thing').values({ id, note: '' }).execute();
    return receipt;
  });

describe('several processes on one PostgreSQL', () => {
  test('A10, L4: write one chain, every record once and in order', async () => {
    const url = await (await cluster()).createDatabase();
    const stores = await Promise.all([open(url), open(url), open(url)]);
    const receipts = await Promise.all(
      Array.from({ length: 300 }, (_, i) => {
        const store = stores[i % 3];
        if (store === undefined) throw new Error('no store');
        return make(store, `${i}`);
      }),
    );
    expect(receipts.map(({ seq }) => seq).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 300 }, (_, i) => i + 1),
    );
    const [first] = stores;
    expect(await verifyRecords(first.database, { chain: 'ca', anchors: receipts })).toMatchObject({
      ok: true,
      count: 300,
    });
  });

  test('of all that claim one key exactly one succeeds', async () => {
    const url = await (await cluster()).createDatabase();
    const stores = await Promise.all([open(url), open(url)]);
    const results = await Promise.allSettled(
      Array.from({ length: 60 }, (_, i) => make(stores[i % 2] as RecordStore, 'jti')),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'rejected') expect(isUniqueViolation(result.reason)).toBe(true);
    }
  });

  test('what one reads in a transaction nobody changes before its end', async () => {
    const url = await (await cluster()).createDatabase();
    const [one, two] = await Promise.all([open(url), open(url)]);
    const order: string[] = [];
    const first = one.commit.write(async (transaction) => {
      await transaction.selectFrom('thing').selectAll().execute();
      order.push('first reads');
      await new Promise((resolve) => setTimeout(resolve, 200));
      order.push('first ends');
    });
    while (order.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await two.commit.write(async () => void order.push('second'));
    await first;
    expect(order).toEqual(['first reads', 'first ends', 'second']);
  });
});

describe('faults of PostgreSQL', () => {
  test('Q3: a writer that hangs in a transaction keeps others waiting for seconds, not for good', async () => {
    const database = await cluster();
    const url = await database.createDatabase();
    const store = await open(url);
    const hanging = openDatabase<Tables>({ url });
    let release: (() => void) | undefined;
    const held = hanging
      .transaction()
      .execute(() => new Promise<void>((resolve) => (release = resolve)))
      .catch((error: unknown) => error);
    while (release === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
    expect([undefined, 'storage']).toContain(await codeOf(() => make(store, 'a')));
    await codeOf(() => make(store, 'b'));
    await make(store, 'c');
    release();
    expect(storageFailure(await held)?.code).toBe('storage');
    await hanging.destroy();
  });

  test('Q3: a server that stops fails as storage, and what was acknowledged is there when it is back', async () => {
    const own: Cluster = await startCluster({ durable: true });
    try {
      const url = await own.createDatabase();
      const store = await open(url);
      const acknowledged: { seq: number; hash: string }[] = [];
      const failed: unknown[] = [];
      let going = true;
      const load = Array.from({ length: 8 }, async (_, worker) => {
        for (let i = 0; going; i++) {
          await make(store, `${worker}-${i}`).then(
            (receipt) => acknowledged.push(receipt),
            (error: unknown) => failed.push(error),
          );
          if (failed.length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
        }
      });
      while (acknowledged.length < 100) await new Promise((resolve) => setTimeout(resolve, 10));
      await own.crash();
      while (failed.length < 8) await new Promise((resolve) => setTimeout(resolve, 10));
      expect(await codeOf(() => verifyRecords(store.database, { chain: 'ca' }))).toBe('storage');
      const before = acknowledged.length;
      await own.start();
      while (acknowledged.length < before + 100) await new Promise((resolve) => setTimeout(resolve, 10));
      going = false;
      await Promise.all(load);
      expect(failed.every((error) => storageFailure(error)?.code === 'storage')).toBe(true);
      expect(await verifyRecords(store.database, { chain: 'ca', anchors: acknowledged })).toMatchObject({
        ok: true,
      });
      await opened.pop()?.close();
    } finally {
      await own.stop();
    }
  });

  test('a server that is read-only, full of connections or without the database fails as storage', async () => {
    const database = await cluster();
    const url = await database.createDatabase();
    await open(url);
    const reader = openDatabase<Tables>({ url, readOnly: true });
    const refused = await reader
      .insertInto('thing')
      .values({ id: 'a', note: '' })
      .execute()
      .catch((error: unknown) => error);
    expect(storageFailure(refused)?.code).toBe('storage');
    await reader.destroy();
    const missing = openDatabase<RecordTables>({ url: url.replace(/store_\d+/, 'nowhere') });
    expect(await codeOf(() => verifyRecords(missing, { chain: 'ca' }))).toBe('storage');
    await missing.destroy();
    await database.query(url, 'create role crowded login connection limit 0');
    const late = openDatabase<RecordTables>({ url: url.replace('beacon@', 'crowded@') });
    expect(await codeOf(() => verifyRecords(late, { chain: 'ca' }))).toBe('storage');
    await late.destroy();
  });

  test('a server that cannot be reached fails as storage at once, and no error tells the password', async () => {
    const database = openDatabase<RecordTables>({ url: 'postgresql://beacon:hunter2@127.0.0.1:1/ca' });
    const error = await verifyRecords(database, { chain: 'ca' }).catch((caught: unknown) => caught);
    expect(storageFailure(error)?.code).toBe('storage');
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('hunter2');
    await database.destroy();
  });
});

test('text is ordered by its bytes, and what is acknowledged is on disk, whatever the server is set to', async () => {
  const database = await cluster();
  const url = await database.createDatabase();
  const [, name] = /@\/(\w+)/.exec(url) ?? [];
  await database.query(url, `alter database ${name} set synchronous_commit = off`);
  const store = await open(url);
  const columns = await sql<{ name: string }>`
    select c.collname as name from pg_attribute a join pg_collation c on c.oid = a.attcollation
    where a.attrelid = 'records'::regclass`.execute(store.database);
  expect(new Set(columns.rows.map(({ name }) => name))).toEqual(new Set(['C']));
  const { rows } = await sql<{
    value: string;
  }>`select current_setting('synchronous_commit') as value`.execute(store.database);
  expect(rows).toEqual([{ value: 'on' }]);
});
