import { createGroupCommit, createSealer, type Database, migrate, openDatabase } from '@beacon/server';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SessionData } from 'express-session';
import { engines } from '../../server/test/postgres.ts';
import { pruneSignIns, SignInStore, type SignInTables, signInMigrations } from '../src/sign-in-store.ts';

const sealer = createSealer(Buffer.alloc(32, 7));
const content = { cookie: { originalMaxAge: 1 }, xsrf: 'x' } as unknown as SessionData;
describe.each(engines)('sign-ins on $engine', ({ place }) => {
  let database: Database<SignInTables>;
  let time = 1_000_000;
  let store: SignInStore;
  beforeAll(async () => {
    database = openDatabase(await place());
    await migrate(database, signInMigrations);
    store = new SignInStore({
      database,
      write: createGroupCommit(database).write,
      sealer,
      now: () => new Date(time),
    });
  });
  afterAll(() => database.destroy());

  const set = (id: string, session = content) =>
    new Promise<void>((resolve, reject) =>
      store.set(id, session, (error) => (error ? reject(error) : resolve())),
    );
  const get = (id: string) =>
    new Promise<SessionData | null | undefined>((resolve, reject) =>
      store.get(id, (error, session) => (error ? reject(error) : resolve(session))),
    );

  test('keeps a sign-in for ten minutes from its beginning, however often it is written', async () => {
    await set('one');
    time += 500_000;
    await set('one', { ...content, xsrf: 'y' } as SessionData);
    expect(await get('one')).toMatchObject({ xsrf: 'y' });
    time += 100_000;
    expect(await get('one')).toBeNull();
  });

  test('ends a sign-in for one caller, and a slower write does not bring it back', async () => {
    await set('two');
    const answers = await Promise.all(Array.from({ length: 20 }, () => store.consume('two')));
    expect(answers.filter((mine) => mine)).toHaveLength(1);
    await set('two');
    expect(await get('two')).toBeNull();
    expect(await store.consume('two')).toBe(false);
  });

  test('knows no id but by its hash', async () => {
    await set('three');
    const rows = await database.selectFrom('sign_ins').selectAll().execute();
    expect(JSON.stringify(rows)).not.toContain('three');
    expect(await get('tree')).toBeNull();
  });

  const guess = (address: string, most = 2) => store.countGuess([{ address, most }]);

  test('O14: counts the wrong codes of an IPv6 network of 64 bits together', async () => {
    expect(await guess('2001:db8:0:7::1')).toBe(true);
    expect(await guess('2001:db8:0:7:ffff:1:2:3')).toBe(true);
    expect(await guess('2001:0db8::7:0:0:0:9')).toBe(false);
    expect(await guess('2001:db8:0:8::1')).toBe(true);
  });

  test('O14: counts wrong codes for ten minutes, and no burst passes the limit', async () => {
    const answers = await Promise.all(Array.from({ length: 30 }, () => guess('192.0.2.1', 7)));
    expect(answers.filter((taken) => taken)).toHaveLength(7);
    expect(await guess('192.0.2.2', 7)).toBe(true);
    time += 600_000;
    expect(await guess('192.0.2.1', 7)).toBe(true);
  });

  test('O14: counts in all of several counts or in none, and takes back what was not wrong', async () => {
    const both = [
      { signIn: 'six', most: 1 },
      { address: '192.0.2.3', most: 3 },
    ];
    expect([await store.countGuess(both), await store.countGuess(both)]).toEqual([true, false]);
    await store.takeBackGuess(both);
    expect([await store.countGuess(both), await store.countGuess(both)]).toEqual([true, false]);
    const left = [await guess('192.0.2.3', 3), await guess('192.0.2.3', 3), await guess('192.0.2.3', 3)];
    expect(left).toEqual([true, true, false]);
  });

  test('hands back what nobody came for, once', async () => {
    await set('four');
    await set('five');
    await store.consume('five');
    time += 600_000;
    const { write } = createGroupCommit(database);
    const left = await write((tx) => pruneSignIns(tx, new Date(time), sealer));
    expect(left).toContainEqual(content);
    expect(await write((tx) => pruneSignIns(tx, new Date(time), sealer))).toEqual([]);
  });

  test('forgets what was sealed with a key that has been replaced since', async () => {
    await set('six');
    time += 600_000;
    const { write } = createGroupCommit(database);
    const other = createSealer(Buffer.alloc(32, 8));
    expect(await write((tx) => pruneSignIns(tx, new Date(time), other))).toEqual([]);
    expect(await get('six')).toBeNull();
  });
});
