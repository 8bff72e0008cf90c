import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { rowDigest } from '../src/administrative-row.ts';
import { type LoggedIn, newSigner, refusal, SmallCa } from './small-ca.ts';

let ca: SmallCa;
let ada: LoggedIn;
let lin: LoggedIn;
beforeAll(async () => {
  ca = await SmallCa.start();
  [ada, lin] = [await ca.login('ada'), await ca.login('lin')];
});
afterAll(() => ca.close());

const hosts = () =>
  ca.running.ca.store.selectFrom('hosts').selectAll().where('id', '=', 'web-01').executeTakeFirstOrThrow();
const setHost = (change: object) =>
  ca.running.ca.store.updateTable('hosts').set(change).where('id', '=', 'web-01').execute();

describe('a host’s row that its record does not carry', () => {
  let whole: Awaited<ReturnType<typeof hosts>>;
  beforeAll(async () => {
    whole = await hosts();
  });
  afterEach(() => setHost(whole));

  const content = (change: object) => ({
    content: JSON.stringify({ ...JSON.parse(whole.content), ...change }),
  });
  test.each<[string, () => object]>([
    ['another address', () => content({ address: '203.0.113.66' })],
    ['another host key', () => content({ host_key: 'ssh-ed25519 AAAA' })],
    ['another login', () => content({ logins: ['deploy', 'root'] })],
    ['another pool', () => content({ pools: ['web', 'db'] })],
    ['the same content with a space more', () => ({ content: `${whole.content} ` })],
    ['another state', () => ({ state: 'disabled' })],
    ['the place of another record', () => ({ record_seq: whole.record_seq + 1 })],
    ['another hash', () => ({ record_hash: 'f'.repeat(64) })],
    ['a place where no record is', () => ({ record_seq: 1_000_000 })],
  ])(
    'is refused for %s: nothing is signed, the answer tells nothing of the store, the log all',
    async (_what, change) => {
      const serials = await ca.serials();
      await setHost(change());
      for (const reply of [
        await ca.sign(lin),
        await ca.ask(lin, 'GET', '/v1/hosts'),
        await ca.ask(lin, 'GET', '/v1/hosts/web-01'),
      ]) {
        expect(refusal(reply)).toEqual({ status: 500, code: 'internal' });
        expect(reply.text).not.toMatch(/row|record|web-01/);
      }
      expect(await ca.serials()).toEqual(serials);
      expect(ca.logs.some((line) => line.includes('does not match its record'))).toBe(true);
    },
  );
});

test('a host that was written into the store alone is refused', async () => {
  const { store } = ca.running.ca;
  const row = await hosts();
  await store
    .insertInto('hosts')
    .values({ ...row, id: 'planted' })
    .execute();
  expect((await ca.sign(ada, { host: 'planted' })).status).toBe(500);
  await store.deleteFrom('hosts').where('id', '=', 'planted').execute();
});

test('a host’s row put back as it was before the host was disabled is refused', async () => {
  await ca.addHost(ada, 'rolled-back', { pools: ['web'] });
  const { store } = ca.running.ca;
  const before = await store
    .selectFrom('hosts')
    .selectAll()
    .where('id', '=', 'rolled-back')
    .executeTakeFirstOrThrow();
  expect((await ca.ask(ada, 'POST', '/v1/hosts/rolled-back/disable', { v: 1, reason: 'x' })).status).toBe(
    200,
  );
  await store.updateTable('hosts').set(before).where('id', '=', 'rolled-back').execute();
  expect(refusal(await ca.sign(lin, { host: 'rolled-back' }))).toEqual({ status: 500, code: 'internal' });
  await store.deleteFrom('hosts').where('id', '=', 'rolled-back').execute();
});

test('a disabled host whose row was changed or taken away comes back by no renewal', async () => {
  const signer = newSigner();
  const add = (key = signer) => ca.addHost(ada, 'renewed', { pools: ['web'], signer: key });
  expect((await add()).status).toBe(201);
  await ca.ask(ada, 'POST', '/v1/hosts/renewed/disable', { v: 1, reason: 'stolen' });
  const { store } = ca.running.ca;
  const row = await store
    .selectFrom('hosts')
    .selectAll()
    .where('id', '=', 'renewed')
    .executeTakeFirstOrThrow();
  const serials = await ca.serials();
  await store.updateTable('hosts').set({ state: 'enabled' }).where('id', '=', 'renewed').execute();
  expect(refusal(await add())).toEqual({ status: 500, code: 'internal' });
  await store.deleteFrom('hosts').where('id', '=', 'renewed').execute();
  expect(refusal(await add())).toEqual({ status: 500, code: 'internal' });
  expect(refusal(await add(newSigner()))).toEqual({ status: 500, code: 'internal' });
  expect(await ca.serials()).toEqual(serials);
  await store.insertInto('hosts').values(row).execute();
  expect(refusal(await add())).toEqual({ status: 403, code: 'host-disabled' });
});

describe('a disabled person’s row', () => {
  test('that was changed or planted is refused, and disables nobody quietly', async () => {
    const { store } = ca.running.ca;
    await ca.ask(ada, 'POST', '/v1/persons/github:105/disable', { v: 1, reason: 'left' });
    await store.updateTable('disabled_persons').set({ reason: 'other' }).execute();
    expect(refusal(await ca.ask(ada, 'GET', '/v1/persons'))).toEqual({ status: 500, code: 'internal' });
    await store.updateTable('disabled_persons').set({ person: 'github:102', reason: 'left' }).execute();
    expect((await ca.sign(lin)).status).toBe(500);
    await store.updateTable('disabled_persons').set({ person: 'github:105' }).execute();
    expect((await ca.sign(lin)).status).toBe(201);
    expect((await ca.ask(ada, 'GET', '/v1/persons')).body['disabled']).toHaveLength(1);
  });

  test('that was taken away enables nobody, and one of an earlier time disables nobody', async () => {
    const { store } = ca.running.ca;
    const sam = await ca.login('sam');
    const disable = (verb: string) =>
      ca.ask(ada, 'POST', `/v1/persons/github:106/${verb}`, { v: 1, reason: '"enabled":"github:106"' });
    expect((await disable('disable')).status).toBe(200);
    const row = await store
      .selectFrom('disabled_persons')
      .selectAll()
      .where('person', '=', 'github:106')
      .executeTakeFirstOrThrow();
    await store.deleteFrom('disabled_persons').where('person', '=', 'github:106').execute();
    await expect(ca.login('sam')).rejects.toThrow();
    expect((await ca.sign(sam)).status).toBe(401);
    await store.insertInto('disabled_persons').values(row).execute();
    expect((await disable('enable')).status).toBe(200);
    await store.insertInto('disabled_persons').values(row).execute();
    await expect(ca.login('sam')).rejects.toThrow();
    await store.deleteFrom('disabled_persons').where('person', '=', 'github:106').execute();
    expect((await ca.sign(await ca.login('sam'))).status).toBe(201);
  });

  test('the records of rows are found by their index', async () => {
    const { store } = ca.running.ca;
    const kinds =
      "'host-added', 'host-certificate', 'host-disabled', 'host-enabled', 'person-disabled', 'person-enabled', 'host-enrolled', 'host-token', 'host-token-used', 'host-token-revoked'";
    for (const [where, found] of [
      ["host = 'web-01'", 'chain=? AND host=?'],
      ["host is null and kind in ('person-disabled', 'person-enabled')", 'chain=? AND host=? AND kind=?'],
    ] as const) {
      const plan = await sql<{
        detail: string;
      }>`explain query plan select seq, kind from records where chain = 'ca'
        and kind in (${sql.raw(kinds)}) and ${sql.raw(where)}`.execute(store);
      expect(plan.rows[0]?.detail).toContain(`records_administrative (${found}`);
    }
    const ofHosts = await sql<{
      detail: string;
    }>`explain query plan select host from certificates where kind = 'host' and revoked_at is null and valid_before > ${1}`.execute(
      store,
    );
    expect(ofHosts.rows[0]?.detail).toContain('certificates_of_hosts');
  });
});

describe('the digest of a row', () => {
  test('L11: covers table, key and content, each with its length, so that no border can be moved', () => {
    const all = [
      rowDigest('hosts', 'a', 'bc'),
      rowDigest('hosts', 'ab', 'c'),
      rowDigest('host', 'sa', 'bc'),
      rowDigest('hosts', 'a', 'bc\0'),
      rowDigest('hosts', '', 'abc'),
      rowDigest('hosts', 'a', 'b̈c'),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(rowDigest('hosts', 'a', 'bc')).toBe('_JQ9oPUmNZOQW1eutCVg-KTcRoolXx4jXyIgkvGDNdQ');
  });
});
