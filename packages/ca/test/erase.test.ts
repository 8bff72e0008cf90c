/** Erasing a person: their names and addresses leave the file, the chain stays whole, others stay known. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { cluster } from '../../server/test/postgres.ts';
import { erasePerson } from '../src/erase.ts';
import { makeCheapCa } from './made-ca.ts';
import { runMain } from './run-main.ts';
import { refusal, SmallCa } from './small-ca.ts';

let ca: SmallCa;
beforeAll(async () => {
  ca = await SmallCa.start({ trustedProxies: ['127.0.0.1'] });
});
afterAll(() => ca.close());

const now = () => new Date();

test('takes names and addresses out of the file for good, ends sessions, and says so in the chain, which verifies', async () => {
  const mallory = await ca.login('mallory');
  const lin = await ca.login('lin');
  const address = '203.0.113.77';
  await ca.sign(mallory, {}, { headers: { 'x-forwarded-for': address } });
  expect((await ca.sign(lin)).status).toBe(201);
  const before = await ca.records();
  const anchors = before.slice(-3).map(({ seq, hash }) => ({ seq, hash }));
  await expect(erasePerson({ file: ca.storeFile }, mallory.person, now)).rejects.toMatchObject({
    code: 'store-in-use',
  });
  await ca.down();
  expect(ca.storedBytes().includes('mallory')).toBe(true);
  expect(ca.storedBytes().includes(address)).toBe(true);

  const told = await runMain([
    'records',
    'erase',
    '--store',
    ca.storeFile,
    '--person',
    mallory.person,
    '--json',
  ]);
  expect(told.status).toBe(0);
  const erasure = JSON.parse(told.stdout) as { values: number; sessions: number; record: { seq: number } };
  expect(erasure).toMatchObject({ person: mallory.person, sessions: 1, record: { seq: before.length + 1 } });
  expect(erasure.values).toBeGreaterThanOrEqual(2);
  for (const trace of ['mallory', address]) expect(ca.storedBytes().includes(trace)).toBe(false);
  expect(await ca.verifyChain(anchors)).toMatchObject({ ok: true, count: before.length + 1 });

  await ca.up();
  expect(await ca.lastRecord()).toMatchObject({
    kind: 'person-erased',
    facts: { erased: mallory.person, values: erasure.values, sessions: 1 },
  });
  expect((await ca.records()).slice(0, before.length).map(({ line }) => line)).toEqual(
    before.map(({ line }) => line),
  );
  expect(refusal(await ca.sign(mallory))).toEqual({ status: 401, code: 'session-ended' });
  expect((await ca.sign(lin)).status).toBe(201);
  const { records, store } = ca.running.ca;
  const login = before.find(({ kind, person }) => kind === 'session-began' && person === lin.person)?.facts?.[
    'login'
  ];
  expect(await records.reveal(store, String(login))).toBe('lin');
  const gone = before.find(({ kind, person }) => kind === 'session-began' && person === mallory.person)
    ?.facts?.['login'];
  expect(await records.reveal(store, String(gone))).toBeUndefined();
  // A person who was erased is a person like any other afterwards.
  expect((await ca.sign(await ca.login('mallory'))).status).toBe(403);
});

test.each([
  ['no person', 'mallory', 'request-malformed'],
  ['a comma of persons', 'github:1,github:2', 'request-malformed'],
])('refuses %s', async (_, person, code) => {
  await expect(erasePerson({ file: ca.storeFile }, person, now)).rejects.toMatchObject({ code });
});

test('makes no store where there is none', async () => {
  await expect(erasePerson({ file: `${ca.storeFile}.missing` }, 'github:1', now)).rejects.toMatchObject({
    code: 'store',
  });
});

test('finds the store by the configuration, and takes one of the two', async () => {
  const made = await makeCheapCa();
  const argv = ['records', 'erase', '--person', 'github:1', '--config', made.configuration];
  const told = await runMain(argv);
  expect([told.status, told.stderr]).toEqual([99, expect.stringContaining(made.at('data/ca.db'))]);
  const both = await runMain([...argv, '--store', ca.storeFile]);
  expect([both.status, both.stderr]).toEqual([99, expect.stringContaining('give one')]);
  made.remove();
});

test('erases in a PostgreSQL store while a CA serves on it', async () => {
  const place = { url: await (await cluster()).createDatabase() };
  const own = await SmallCa.start({ place });
  try {
    const mallory = await own.login('mallory');
    await own.sign(mallory);
    const before = await own.records();
    expect(await erasePerson(place, mallory.person, now)).toMatchObject({ sessions: 1 });
    const left = await own.running.ca.store.selectFrom('personal').select('value').execute();
    expect(left.map(({ value }) => value)).not.toContain('mallory');
    expect(refusal(await own.sign(mallory))).toEqual({ status: 401, code: 'session-ended' });
    const anchors = before.slice(-2).map(({ seq, hash }) => ({ seq, hash }));
    expect(await own.verifyChain(anchors)).toMatchObject({ ok: true });
    expect((await own.sign(await own.login('lin'))).status).toBe(201);
  } finally {
    await own.close();
  }
});
