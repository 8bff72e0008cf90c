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

  test('O14: counts the wrong codes of an IPv6 network of 64 bits together', async () => {
    await store.countWrongCode('2001:db8:0:7::1');
    await store.countWrongCode('2001:db8:0:7:ffff:1:2:3');
    expect(await store.wrongCodes('2001:0db8::7:0:0:0:9')).toBe(2);
    expect(await store.wrongCodes('2001:db8:0:8::1')).toBe(0);
  });

  test('counts wrong codes per address for ten minutes', async () => {
    await Promise.all(Array.from({ length: 7 }, () => store.countWrongCode('192.0.2.1')));
    expect(await store.wrongCodes('192.0.2.1')).toBe(7);
    expect(await store.wrongCodes('192.0.2.2')).toBe(0);
    time += 600_000;
    expect(await store.wrongCodes('192.0.2.1')).toBe(0);
    await store.countWrongCode('192.0.2.1');
    expect(await store.wrongCodes('192.0.2.1')).toBe(1);
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
