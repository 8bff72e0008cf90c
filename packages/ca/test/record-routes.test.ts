import { fetchJwks, verifyCheckpoint } from '@beacon/client';
import { FIRST_PREVIOUS, hashRecord, parseRecord } from '@beacon/protocol/record';
import { parsePublicKeyLine } from '@beacon/ssh/public-key';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type LoggedIn, refusal, SmallCa } from './small-ca.ts';

let ca: SmallCa;
let ada: LoggedIn;
let lin: LoggedIn;
const receipts: { seq: number; hash: string }[] = [];
beforeAll(async () => {
  ca = await SmallCa.start();
  [ada, lin] = [await ca.login('ada'), await ca.login('lin')];
  for (let i = 0; i < 5; i += 1) receipts.push((await ca.sign(lin)).body['record']);
});
afterAll(() => ca.close());

const records = (who: LoggedIn, query = '') => ca.ask(who, 'GET', `/v1/records${query}`);
const checkpoint = async () => String((await ca.send('GET', '/v1/checkpoint')).body['checkpoint']);

describe('records', () => {
  test('come as their exact lines, in pages, each naming the hash of the one before, with every receipt among them', async () => {
    const lines: string[] = [];
    for (;;) {
      const { body } = await records(ada, `?after=${lines.length}&limit=3`);
      lines.push(...body['records']);
      if (body['records'].length < 3) {
        expect(body['head']).toEqual({ seq: lines.length, hash: hashRecord(lines.at(-1) ?? '') });
        break;
      }
    }
    let prev = FIRST_PREVIOUS;
    for (const [index, line] of lines.entries()) {
      expect(parseRecord(line)).toMatchObject({ seq: index + 1, prev });
      prev = hashRecord(line);
    }
    for (const { seq, hash } of receipts) expect(hashRecord(lines[seq - 1] ?? '')).toBe(hash);
    expect(await ca.verifyChain(receipts)).toMatchObject({ ok: true });
  });

  test('L1: a line with any byte changed is another hash than its receipt’s', async () => {
    const [receipt] = receipts;
    const { body } = await records(ada, `?after=${(receipt?.seq ?? 1) - 1}&limit=1`);
    const bytes = Buffer.from(body['records'][0]);
    for (let i = 0; i < bytes.length; i += 7) {
      const changed = Buffer.from(bytes);
      changed[i] = (changed[i] ?? 0) ^ 1;
      expect(hashRecord(changed)).not.toBe(receipt?.hash);
    }
  });

  test('one’s own are shown to everybody, all with ca.records alone', async () => {
    const own = await records(lin, '?person=github:102&limit=500');
    expect(own.body['records'].map((line: string) => parseRecord(line).person)).toEqual(
      Array(own.body['records'].length).fill('github:102'),
    );
    for (const query of ['', '?person=github:101', '?host=web-01'])
      expect(refusal(await records(lin, query))).toEqual({ status: 403, code: 'policy-denied' });
    expect(await ca.lastRecord()).toMatchObject({ kind: 'refused', facts: { action: 'ca.records' } });
  });

  test('a grant’s records are found by it', async () => {
    const { body } = await ca.sign(lin);
    const found = await records(ada, `?grant=${body['grant']}`);
    expect(found.body['records']).toHaveLength(1);
    expect(parseRecord(found.body['records'][0])).toMatchObject({
      kind: 'certificate',
      grant: body['grant'],
    });
  });

  test('of a grant are shown to its person, whatever else is asked, and to no other', async () => {
    const kim = await ca.login('kim');
    const grant = (await ca.sign(lin)).body['grant'];
    const reason = { v: 1, by: 'grant', value: grant, reason: 'laptop lost' };
    expect((await ca.ask(ada, 'POST', '/v1/revocations', reason)).status).toBe(200);
    const own = await records(lin, `?grant=${grant}`);
    expect(own.body['records'].map((line: string) => parseRecord(line).grant)).toEqual(
      Array(own.body['records'].length).fill(grant),
    );
    expect(own.body['records'].length).toBeGreaterThanOrEqual(1);
    expect((await records(lin, `?grant=${grant}&host=web-01`)).status).toBe(200);
    for (const query of [`?grant=${grant}`, `?grant=${'0'.repeat(26)}`, `?grant=${grant}&person=github:102`])
      expect(refusal(await records(kim, query))).toEqual({ status: 403, code: 'policy-denied' });
  });

  test.each([
    'after=-1',
    'after=x',
    'after=',
    'after=0x10',
    'after=1e1',
    'after=01',
    'limit=0',
    'limit=501',
    'person=*',
    'kind=certificate',
  ])('refuses the query %s', async (query) => {
    expect(refusal(await records(ada, `?${query}`))).toEqual({ status: 400, code: 'query-malformed' });
  });

  test('names and addresses stand in no record, only what stands for them', async () => {
    const lines = (await ca.records()).map(({ line }) => line).join('\n');
    expect(lines).not.toMatch(/127\.0\.0\.1|"lin"|"ada"/);
  });
});

test('L10: when the clock steps back the order goes on, and the record says by how much', async () => {
  const before = await ca.lastRecord();
  ca.clock.offsetMs = -30_000;
  const { status, body } = await ca.sign(lin);
  ca.clock.offsetMs = 0;
  expect([status, body['record'].seq]).toEqual([201, before.seq + 1]);
  const { facts, time } = await ca.lastRecord();
  expect(Number(facts?.['clock_behind_ms'])).toBeGreaterThan(20_000);
  expect(time.getTime()).toBeLessThan(before.time.getTime());
  expect(await ca.verifyChain([body['record']])).toMatchObject({ ok: true });
});

describe('the checkpoint', () => {
  test('is signed by a key of the JWKS and names the head that the chain has', async () => {
    const jwks = await fetchJwks(`${ca.url}/.well-known/jwks.json`);
    const head = (await ca.records()).at(-1);
    const signed = await verifyCheckpoint(await checkpoint(), jwks);
    expect(signed).toMatchObject({ chain: 'ca', seq: head?.seq, hash: head?.hash, heads: {} });
    expect(await ca.verifyChain([{ seq: signed.seq, hash: signed.hash }])).toMatchObject({ ok: true });
    await ca.sign(lin);
    expect((await verifyCheckpoint(await checkpoint(), jwks)).seq).toBeGreaterThan(signed.seq);
  });

  test('does not verify when a byte of it is changed, or by another key', async () => {
    const jwks = await fetchJwks(`${ca.url}/.well-known/jwks.json`);
    const jws = await checkpoint();
    const [head = '', payload = '', signature = ''] = jws.split('.');
    const forged = Buffer.from(
      Buffer.from(payload, 'base64url').toString().replace('"seq":', '"seq":1'),
    ).toString('base64url');
    await expect(verifyCheckpoint(`${head}.${forged}.${signature}`, jwks)).rejects.toMatchObject({
      code: 'answer-untrusted',
    });
    const other = Buffer.from(jwks.toString().replace(/"x":"./, '"x":"A'));
    await expect(verifyCheckpoint(jws, other)).rejects.toMatchObject({ code: 'answer-untrusted' });
  });

  test('L2, L3: shows that the chain was cut or written anew', async () => {
    const jwks = await fetchJwks(`${ca.url}/.well-known/jwks.json`);
    const { seq, hash } = await verifyCheckpoint(await checkpoint(), jwks);
    const { store } = ca.running.ca;
    await store.deleteFrom('records').where('seq', '=', seq).execute();
    expect(await ca.verifyChain()).toMatchObject({ ok: true });
    expect(await ca.verifyChain([{ seq, hash }])).toMatchObject({ ok: false, firstBad: seq });
  });
});

test('the CA’s public keys are those that sign', async () => {
  const { body } = await ca.send('GET', '/v1/ca-keys');
  const [user, host] = [body['user'][0], body['host'][0]];
  expect(parsePublicKeyLine(user.public_key).key.blob.equals(ca.keys.userCa.publicKey.blob)).toBe(true);
  expect(parsePublicKeyLine(host.public_key).key.blob.equals(ca.keys.hostCa.publicKey.blob)).toBe(true);
  expect([user.state, host.state]).toEqual(['active', 'active']);
});
