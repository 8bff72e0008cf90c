import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { isUniqueViolation, openDatabase, storageFailure } from '../src/index.ts';
import { openRecordStore, type Tables } from './record-store.ts';
import { codeOf, temporaryFolder } from './temporary.ts';

describe('openDatabase', () => {
  test('makes the file readable by its owner alone', async () => {
    const store = await openRecordStore();
    expect(statSync(store.file).mode & 0o777).toBe(0o600);
    expect(statSync(`${store.file}-wal`).mode & 0o777).toBe(0o600);
    await store.close();
  });

  test('keeps a write-ahead log, full synchronisation and foreign keys', async () => {
    const file = join(temporaryFolder(), 'store.db');
    const database = openDatabase<Record<string, Record<string, unknown>>>({ file });
    const pragmas: unknown[] = [];
    for (const name of ['journal_mode', 'synchronous', 'foreign_keys', 'busy_timeout']) {
      const row = await database.selectFrom(`pragma_${name} as p`).selectAll().executeTakeFirstOrThrow();
      pragmas.push(Object.values(row)[0]);
    }
    expect(pragmas).toEqual(['wal', 2, 1, 1_000]);
    await database.destroy();
  });

  test('refuses a second owner, and takes one again when the first has gone', async () => {
    const first = await openRecordStore();
    expect(await codeOf(() => openDatabase({ file: first.file }))).toBe('store-in-use');
    await first.close();
    const second = await openRecordStore({ file: first.file });
    await second.close();
  });

  test('gives up ownership when it is closed before it was used', async () => {
    const file = join(temporaryFolder(), 'store.db');
    await openDatabase({ file }).destroy();
    await openDatabase({ file }).destroy();
  });

  test('reads beside the owner, and writes nothing then', async () => {
    const owner = await openRecordStore();
    await owner.commit.write((transaction) =>
      transaction.insertInto('thing').values({ id: 'a', note: 'b' }).execute(),
    );
    const reader = openDatabase<Tables>({ file: owner.file, readOnly: true });
    expect(await reader.selectFrom('thing').selectAll().execute()).toEqual([{ id: 'a', note: 'b' }]);
    const refused = await reader
      .insertInto('thing')
      .values({ id: 'c', note: 'd' })
      .execute()
      .catch((error: unknown) => error);
    expect(storageFailure(refused)?.code).toBe('storage');
    await reader.destroy();
    await owner.close();
  });

  test('refuses what cannot be opened with the code storage', async () => {
    const folder = temporaryFolder();
    const rubbish = join(folder, 'rubbish.db');
    writeFileSync(rubbish, 'this is no database at all, but long enough to be looked at'.repeat(20));
    expect(await codeOf(() => openDatabase({ file: join(folder, 'missing', 'store.db') }))).toBe('storage');
    expect(await codeOf(() => openDatabase({ file: rubbish }))).toBe('storage');
    expect(await codeOf(() => openDatabase({ file: join(folder, 'none.db'), readOnly: true }))).toBe(
      'storage',
    );
    expect(() => openDatabase({ file: rubbish })).toThrow(`${rubbish}: this is not a store`);
    expect(() => openDatabase({ file: join(folder, 'none.db'), readOnly: true })).toThrow(
      'none.db: cannot be',
    );
  });

  test('Q3: a store locked by another program fails as storage within the time it may wait', async () => {
    const store = await openRecordStore();
    const stranger = new Sqlite(store.file);
    stranger.exec('BEGIN IMMEDIATE');
    expect(
      await codeOf(() =>
        store.commit.write((transaction) =>
          transaction.insertInto('thing').values({ id: 'a', note: '' }).execute(),
        ),
      ),
    ).toBe('storage');
    stranger.exec('ROLLBACK');
    stranger.close();
    await store.commit.write((transaction) =>
      transaction.insertInto('thing').values({ id: 'a', note: '' }).execute(),
    );
    await store.close();
  });
});

test('isUniqueViolation knows a doubled key from every other failure', async () => {
  const store = await openRecordStore();
  const insert = (id: string) =>
    store.database
      .insertInto('thing')
      .values({ id, note: '' })
      .execute()
      .catch((error: unknown) => error);
  await insert('a');
  const error = await insert('a');
  expect(isUniqueViolation(error)).toBe(true);
  expect(storageFailure(error)).toBeUndefined();
  expect(isUniqueViolation(new Error('UNIQUE constraint failed'))).toBe(false);
  await store.close();
});
