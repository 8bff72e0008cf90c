/** What the store forgets by itself, and what it never does. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { engines } from '../../server/test/postgres.ts';
import { storedSerial } from '../src/store.ts';
import { type LoggedIn, SmallCa } from './small-ca.ts';

const DAY_MS = 86_400_000;
describe.each(engines)('retention on $engine', ({ place }) => {
  let ca: SmallCa;
  let lin: LoggedIn;
  beforeAll(async () => {
    ca = await SmallCa.start({ place: await place() });
    await ca.restart({ retention: { certificatesDays: 10, sessionsDays: 5 } });
    lin = await ca.login('lin');
  });
  afterAll(() => ca.close());

  const certificates = async () =>
    (await ca.running.ca.store.selectFrom('certificates').select('serial').orderBy('serial').execute()).map(
      ({ serial }) => serial,
    );

  test('K9: prunes certificates so many days past their end, and nothing revoked that has not expired', async () => {
    const { body } = await ca.sign(lin);
    const row = await ca.running.ca.store
      .selectFrom('certificates')
      .selectAll()
      .where('serial', '=', storedSerial(BigInt(body['serial'])))
      .executeTakeFirstOrThrow();
    const base = Date.now();
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ endsInMs: fc.integer({ min: -30 * DAY_MS, max: 30 * DAY_MS }), revoked: fc.boolean() }),
          {
            minLength: 1,
            maxLength: 40,
          },
        ),
        async (ends) => {
          const { store } = ca.running.ca;
          await store.deleteFrom('certificates').where('kind', '=', 'user').execute();
          const rows = ends.map(({ endsInMs, revoked }, at) => ({
            ...row,
            serial: storedSerial(BigInt(1_000 + at)),
            grant_id: `grant-${at}`,
            valid_before: base + endsInMs,
            revoked_at: revoked ? base - 31 * DAY_MS : null,
          }));
          await store.insertInto('certificates').values(rows).execute();
          await ca.running.maintain();
          const kept = new Set(await certificates());
          for (const { serial, valid_before } of rows) {
            const age = Date.now() - valid_before;
            if (Math.abs(age - 10 * DAY_MS) > 60_000) expect(kept.has(serial)).toBe(age < 10 * DAY_MS);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test('prunes more than a batch at once, keeps the counter of serials, the owners of keys and all records', async () => {
    const { store } = ca.running.ca;
    const [row] = await store.selectFrom('certificates').selectAll().limit(1).execute();
    if (row === undefined) throw new Error('there is no certificate');
    for (let at = 0; at < 1_200; at += 1) {
      const old = { serial: storedSerial(BigInt(10_000 + at)), grant_id: `old-${at}`, valid_before: 1_000 };
      await store
        .insertInto('certificates')
        .values({ ...row, ...old })
        .execute();
    }
    const count = async (table: 'subject_keys' | 'records') =>
      (
        await store
          .selectFrom(table)
          .select(({ fn }) => fn.countAll<number>().as('n'))
          .executeTakeFirstOrThrow()
      ).n;
    const before = [await count('subject_keys'), await count('records')];
    const next = BigInt((await ca.sign(lin)).body['serial']);
    await ca.running.maintain();
    expect((await certificates()).filter((serial) => BigInt(serial) >= 10_000n)).toEqual([]);
    expect([await count('subject_keys'), await count('records')]).toEqual(before.map((n) => n + 1));
    expect(BigInt((await ca.sign(lin)).body['serial'])).toBe(next + 1n);
    expect(await ca.verifyChain()).toMatchObject({ ok: true });
  });

  test('prunes sessions so many days past their end, and none whose GitHub token is still to be deleted', async () => {
    const { store } = ca.running.ca;
    const kim = await ca.login('kim');
    const [session] = await store
      .selectFrom('sessions')
      .selectAll()
      .where('person', '=', kim.person)
      .execute();
    if (session === undefined) throw new Error('there is no session');
    const ends = Date.now() - 6 * DAY_MS;
    await store.updateTable('sessions').set({ ends_at: ends }).where('id', '=', session.id).execute();
    ca.standin.state.fault({ path: '*', effect: { kind: 'answer', status: 500 } });
    await ca.running.maintain();
    const there = () =>
      store.selectFrom('sessions').select('id').where('id', '=', session.id).executeTakeFirst();
    expect(await there()).toEqual({ id: session.id });
    ca.standin.state.clearFaults();
    await ca.running.maintain();
    expect(await there()).toBeUndefined();
    expect((await ca.sign(lin)).status).toBe(201);
  });
});
