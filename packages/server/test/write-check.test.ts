import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { createWriteCheck } from '../src/index.ts';
import { openRecordStore, type RecordStore } from './record-store.ts';
import { codeOf } from './temporary.ts';

let store: RecordStore;
let other: Sqlite.Database;
let probes = 0;
let waitedMs = 0;
/** The clock of commits, so long after the latest one. */
const nowMs = () => (store.commit.latest?.atMs ?? 0) + waitedMs;

beforeEach(async () => {
  [probes, waitedMs] = [0, 0];
  store = await openRecordStore();
  other = new Sqlite(store.file);
});
afterEach(async () => {
  other.close();
  await store.close();
});

function createCheck(): () => Promise<void> {
  const probe = async () => {
    probes += 1;
  };
  return createWriteCheck(store.commit, probe, nowMs);
}

describe('the check that the store can be written', () => {
  test('tries one write in two seconds, however often it is asked', async () => {
    const check = createCheck();
    await Promise.all(Array.from({ length: 50 }, () => check()));
    await check();
    expect(probes).toBe(1);
    waitedMs += 2_001;
    await Promise.all(Array.from({ length: 50 }, () => check()));
    expect(probes).toBe(2);
  });

  test('tries none while the server’s own writes succeed', async () => {
    const check = createCheck();
    await store.commit.write((tx) => store.records.append(tx, { kind: 'test' }));
    await check();
    expect(probes).toBe(0);
  });

  test('A13: fails at once after a write of the server’s own that the store failed, until one succeeds', async () => {
    const check = createCheck();
    await check();
    other.exec('begin immediate');
    const append = () => store.commit.write((tx) => store.records.append(tx, { kind: 'test' }));
    expect(await codeOf(append)).toBe('storage');
    expect(await codeOf(check)).toBe('storage');
    waitedMs = 2_001;
    expect(await codeOf(check)).toBe('storage');
    other.exec('rollback');
    await check();
    expect(probes).toBe(2);
    await append();
    waitedMs = 0;
    await check();
    expect(probes).toBe(2);
  });

  test('a write that its own program refuses is no failure of the store', async () => {
    const check = createCheck();
    await expect(store.commit.write(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(store.commit.latest).toMatchObject({ failed: false });
    await check();
  });
});
