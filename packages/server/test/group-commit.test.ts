import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createGroupCommit, openDatabase, type RecordTables, verifyRecords } from '../src/index.ts';
import { engines } from './postgres.ts';
import { openRecordStore } from './record-store.ts';
import { codeOf, temporaryFolder } from './temporary.ts';

describe.each(engines)('createGroupCommit on $engine', ({ place }) => {
  test('gives many units one transaction, and each its own value', async () => {
    const store = await openRecordStore({ place: await place() });
    const transactions = new Set<unknown>();
    const values = await Promise.all(
      Array.from({ length: 64 }, (_, i) =>
        store.commit.write(async (transaction) => {
          transactions.add(transaction);
          await transaction
            .insertInto('thing')
            .values({ id: `${i}`, note: '' })
            .execute();
          return i;
        }),
      ),
    );
    expect(values).toEqual(Array.from({ length: 64 }, (_, i) => i));
    expect(transactions.size).toBe(1);
    await store.close();
  });

  test('units that come in the turns after the first share its transaction', async () => {
    const store = await openRecordStore({ place: await place() });
    const transactions = new Set<unknown>();
    const write = () => store.commit.write(async (transaction) => void transactions.add(transaction));
    const all = [write()];
    for (let turn = 0; turn < 5; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      all.push(write());
    }
    await Promise.all(all);
    expect(transactions.size).toBe(1);
    await store.close();
  });

  test('answers a unit only after the commit: another connection sees its effects then', async () => {
    const at = await place();
    const store = await openRecordStore({ place: at });
    const reader = openDatabase<{ thing: { id: string } }>({ ...at, readOnly: true });
    for (let i = 0; i < 20; i++) {
      await store.commit.write((transaction) =>
        transaction
          .insertInto('thing')
          .values({ id: `${i}`, note: '' })
          .execute(),
      );
      expect(await reader.selectFrom('thing').selectAll().execute()).toHaveLength(i + 1);
    }
    await reader.destroy();
    await store.close();
  });

  test('a unit that throws takes no other with it, and leaves nothing', async () => {
    const store = await openRecordStore({ place: await place() });
    const write = (id: string, fails: boolean) =>
      store.commit.write(async (transaction) => {
        const receipt = await store.records.append(transaction, { kind: 'thing-made', facts: { id } });
        await transaction.insertInto('thing').values({ id, note: '' }).execute();
        if (fails) throw new Error(`no ${id}`);
        return receipt.seq;
      });
    const results = await Promise.allSettled(['a', 'b', 'c', 'd'].map((id) => write(id, id === 'b')));
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    expect(results.map((result) => (result.status === 'fulfilled' ? result.value : 0))).toEqual([1, 0, 2, 3]);
    const things = await store.database.selectFrom('thing').select('id').orderBy('id').execute();
    expect(things.map(({ id }) => id)).toEqual(['a', 'c', 'd']);
    expect(await verifyRecords(store.database, { chain: 'ca' })).toMatchObject({ ok: true, count: 3 });
    await store.close();
  });

  test('of a hundred units that claim one unique key exactly one succeeds', async () => {
    const store = await openRecordStore({ place: await place() });
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, (_, i) =>
        store.commit.write((transaction) =>
          transaction
            .insertInto('thing')
            .values({ id: 'jti', note: `${i}` })
            .execute(),
        ),
      ),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await store.close();
  });

  test('closing ends what was taken and refuses what comes after', async () => {
    const store = await openRecordStore({ place: await place() });
    const taken = store.commit.write(async (transaction) => {
      await transaction.insertInto('thing').values({ id: 'a', note: '' }).execute();
      return 'done';
    });
    const closed = store.commit.close();
    expect(await codeOf(() => store.commit.write(async () => 'never'))).toBe('closed');
    await closed;
    expect(await taken).toBe('done');
    await store.close();
  });

  test('refuses further units when too many wait', async () => {
    const store = await openRecordStore({ place: await place() });
    const commit = createGroupCommit(store.database, { maxWaiting: 2 });
    const taken = [commit.write(async () => 1), commit.write(async () => 2)];
    expect(await codeOf(() => commit.write(async () => 3))).toBe('storage');
    expect(await Promise.all(taken)).toEqual([1, 2]);
    await store.close();
  });

  test('A13: units that throw cost their group one more run, not a transaction each', async () => {
    const store = await openRecordStore({ place: await place() });
    const transactions = new Map<unknown, number>();
    const results = await Promise.allSettled(
      Array.from({ length: 60 }, (_, i) =>
        store.commit.write(async (transaction) => {
          transactions.set(transaction, (transactions.get(transaction) ?? 0) + 1);
          await store.records.append(transaction, { kind: 'test', facts: { i } });
          // Every third fails at the store, every fifth by itself; what they wrote is undone.
          const id = i % 3 === 0 ? 'doubled' : `${i}`;
          await transaction.insertInto('thing').values({ id, note: '' }).execute();
          if (i % 5 === 0) throw new Error('by itself');
          return i;
        }),
      ),
    );
    expect([...transactions.values()]).toEqual([1, 60]);
    const fulfilled = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(fulfilled).toEqual(
      Array.from({ length: 60 }, (_, i) => i).filter((i) => i % 5 !== 0 && (i % 3 !== 0 || i === 3)),
    );
    expect(await verifyRecords(store.database, { chain: 'ca' })).toMatchObject({
      ok: true,
      count: fulfilled.length,
    });
    await store.close();
  });
});

test('Q3, A13: a full disk fails every unit as storage, and what was acknowledged stays', async () => {
  if (process.getuid?.() !== 0) {
    process.stderr.write('not run here: a full disk needs a small tmpfs, and that needs root\n');
    return;
  }
  const folder = join(temporaryFolder(), 'small');
  mkdirSync(folder);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]);
  try {
    const store = await openRecordStore({ file: join(folder, 'store.db') });
    const acknowledged: { seq: number; hash: string }[] = [];
    let code: unknown;
    while (code === undefined) {
      const results = await Promise.allSettled(
        Array.from({ length: 8 }, () =>
          store.commit.write((transaction) =>
            store.records.append(transaction, { kind: 'test', facts: { padding: 'x'.repeat(2_000) } }),
          ),
        ),
      );
      for (const result of results) {
        if (result.status === 'fulfilled') acknowledged.push(result.value);
        else code = result.reason.code;
      }
    }
    expect(code).toBe('storage');
    expect(
      await codeOf(() =>
        store.commit.write((tx) =>
          store.records.append(tx, { kind: 'test', facts: { padding: 'x'.repeat(60_000) } }),
        ),
      ),
    ).toBe('storage');
    expect(acknowledged.length).toBeGreaterThan(10);
    expect(await verifyRecords(store.database, { chain: 'ca', anchors: acknowledged })).toMatchObject({
      ok: true,
      count: acknowledged.length,
    });
    await store.close();
  } finally {
    execFileSync('umount', ['-l', folder]);
  }
});

test('Q3, A10: killed in mid-commit, no acknowledged record is lost and the chain verifies', async () => {
  const file = join(temporaryFolder(), 'store.db');
  const acknowledged = new Map<number, string>();
  for (let round = 0; round < 6; round++) {
    const child = spawn(
      process.execPath,
      ['--conditions=@beacon/source', '--no-warnings', join(import.meta.dirname, 'writing-process.ts'), file],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let text = '';
    // After so many answers, wherever it then is: on a slow machine a time would come before the first.
    const answers = 25 + Math.floor(Math.random() * 300);
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part;
      if (text.split('\n').length > answers) child.kill('SIGKILL');
    });
    await once(child, 'close');
    expect(child.signalCode).toBe('SIGKILL');
    for (const [, seq, hash] of text.matchAll(/^(\d+) ([0-9a-f]{64})\n/gm)) {
      expect(acknowledged.has(Number(seq))).toBe(false);
      acknowledged.set(Number(seq), hash ?? '');
    }
    const database = openDatabase<RecordTables>({ file, readOnly: true });
    const anchors = [...acknowledged].map(([seq, hash]) => ({ seq, hash }));
    expect(await verifyRecords(database, { chain: 'ca', anchors })).toMatchObject({ ok: true });
    await database.destroy();
  }
  expect(acknowledged.size).toBeGreaterThan(100);
});
