import { readFileSync } from 'node:fs';
import { parseRecord } from '@beacon/protocol/record';
import { describe, expect, test } from '@jest/globals';
import { verifyRecords } from '../src/index.ts';
import { engines } from './postgres.ts';
import { openRecordStore } from './record-store.ts';
import { codeOf } from './temporary.ts';

describe.each(engines)('createRecords on $engine', ({ place }) => {
  const openStore = async (options: { now?: () => Date } = {}) =>
    openRecordStore({ ...options, place: await place() });

  test('chains each record to the one before, within and across groups', async () => {
    const store = await openStore({ now: () => new Date(1_700_000_000_123) });
    const first = await Promise.all([
      store.commit.write((tx) => store.records.append(tx, { kind: 'one' })),
      store.commit.write((tx) => store.records.append(tx, { kind: 'two', person: 'github:1' })),
    ]);
    const third = await store.commit.write((tx) => store.records.append(tx, { kind: 'three', grant: 'g' }));
    expect([...first, third].map(({ seq }) => seq)).toEqual([1, 2, 3]);
    expect(first[0]?.line).toBe(
      `{"v":1,"chain":"ca","seq":1,"time":"2023-11-14T22:13:20.123Z","kind":"one","prev":"${'0'.repeat(64)}"}`,
    );
    expect(parseRecord(first[1]?.line ?? '').prev).toBe(first[0]?.hash);
    expect(parseRecord(third.line).prev).toBe(first[1]?.hash);
    expect(await store.records.head(store.database)).toEqual({
      seq: 3,
      hash: third.hash,
      time: new Date(1_700_000_000_123),
    });
    await store.close();
  });

  test('L10: marks a record whose time is behind the last one', async () => {
    let time = 10_000;
    const store = await openStore({ now: () => new Date(time) });
    await store.commit.write((tx) => store.records.append(tx, { kind: 'one' }));
    time = 4_000;
    const { line } = await store.commit.write((tx) =>
      store.records.append(tx, { kind: 'two', facts: { a: 1 } }),
    );
    expect(parseRecord(line)).toMatchObject({ seq: 2, facts: { a: 1, clock_behind_ms: 6_000 } });
    expect(await verifyRecords(store.database, { chain: 'ca' })).toMatchObject({ ok: true, count: 2 });
    await store.close();
  });

  test('refuses an entry that no reader would read back', async () => {
    const store = await openStore();
    for (const entry of [
      { kind: 'Not A Word' },
      { kind: 'a', facts: { fraction: 0.5 } },
      { kind: 'a', facts: { text: '\ud800' } },
    ]) {
      expect(await codeOf(() => store.commit.write((tx) => store.records.append(tx, entry)))).toBe('record');
    }
    expect(await store.records.head(store.database)).toBeUndefined();
    await store.close();
  });

  test('lists in order, by what a record says', async () => {
    const store = await openStore();
    for (let i = 0; i < 10; i++) {
      await store.commit.write((tx) =>
        store.records.append(tx, { kind: i % 2 === 0 ? 'even' : 'odd', person: `github:${i % 3}` }),
      );
    }
    const list = async (filter: object) =>
      (await store.records.list(store.database, { limit: 100, ...filter })).map(({ seq }) => seq);
    expect(await list({})).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(await list({ after: 4, limit: 2 })).toEqual([5, 6]);
    expect(await list({ kind: 'odd', person: 'github:0' })).toEqual([4, 10]);
    expect(await store.records.get(store.database, 11)).toBeUndefined();
    expect((await store.records.get(store.database, 4))?.fields.person).toBe('github:0');
    await store.close();
  });

  test('L5: refuses to give out a record that is not what its hash says', async () => {
    const store = await openStore();
    await store.commit.write((tx) => store.records.append(tx, { kind: 'one', person: 'github:1' }));
    await store.database
      .updateTable('records')
      .set((expression) => ({
        line: expression.fn('replace', ['line', expression.val('github:1'), expression.val('github:2')]),
      }))
      .execute();
    expect(await codeOf(() => store.records.get(store.database, 1))).toBe('record');
    expect(await codeOf(() => store.records.list(store.database, { limit: 1 }))).toBe('record');
    await store.close();
  });
});

describe.each(engines)('hide on $engine', ({ place }) => {
  test('gives the same digest for the same value of a person, another for another person', async () => {
    const store = await openRecordStore({ place: await place() });
    const hide = (value: string, person: string) =>
      store.commit.write((tx) => store.records.hide(tx, value, person));
    const digest = await hide('192.0.2.7', 'github:1');
    expect(digest).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(await hide('192.0.2.7', 'github:1')).toBe(digest);
    expect(await hide('192.0.2.7', 'github:2')).not.toBe(digest);
    expect(await store.records.reveal(store.database, digest)).toBe('192.0.2.7');
    await store.close();
  });

  test('keeps the value out of the record, and erasing it leaves the chain whole', async () => {
    const store = await openRecordStore({ place: await place() });
    const { line, digest } = await store.commit.write(async (tx) => {
      const digest = await store.records.hide(tx, 'octocat', 'github:1');
      const { line } = await store.records.append(tx, { kind: 'login', facts: { name: digest } });
      return { line, digest };
    });
    expect(line).not.toContain('octocat');
    await store.database.deleteFrom('personal').where('person', '=', 'github:1').execute();
    expect(await store.records.reveal(store.database, digest)).toBeUndefined();
    expect(await verifyRecords(store.database, { chain: 'ca' })).toMatchObject({ ok: true });
    await store.close();
    if (store.file !== '') expect(readFileSync(store.file).includes('github:1')).toBe(true);
  });

  test('does not reveal a value that was exchanged in the side table', async () => {
    const store = await openRecordStore({ place: await place() });
    const digest = await store.commit.write((tx) => store.records.hide(tx, 'octocat', 'github:1'));
    await store.database.updateTable('personal').set({ value: 'mallory' }).execute();
    expect(await store.records.reveal(store.database, digest)).toBeUndefined();
    await store.close();
  });
});
