import { decodeKrl } from '@beacon/ssh/krl';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { engines } from '../../server/test/postgres.ts';
import { type LoggedIn, SmallCa } from './small-ca.ts';
import { judgeByKrl } from './ssh-keygen.ts';

describe.each(engines)('the revocation list on $engine', ({ place }) => {
  let ca: SmallCa;
  let ada: LoggedIn;
  let lin: LoggedIn;
  beforeAll(async () => {
    ca = await SmallCa.start({ place: await place() });
    [ada, lin] = [await ca.login('ada'), await ca.login('lin')];
  });
  afterAll(() => ca.close());

  const fetchKrl = (headers: Record<string, string> = {}) => fetch(`${ca.url}/v1/krl`, { headers });
  const bytes = async (answer: Response) => Buffer.from(await answer.arrayBuffer());

  test('K2: is never empty: before any revocation it is a list that ssh-keygen reads and that revokes nothing', async () => {
    const answer = await fetchKrl();
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/octet-stream']);
    const list = await bytes(answer);
    expect(list.length).toBeGreaterThan(40);
    expect(judgeByKrl(list, ca.issued)).toEqual(ca.issued.map(() => false));
    expect(decodeKrl(list)).toMatchObject({ version: 0n, authorities: [] });
  });

  test('K4: its version rises with every revocation, and an unchanged list is not sent twice', async () => {
    const first = await fetchKrl();
    const etag = first.headers.get('etag') ?? '';
    expect((await fetchKrl({ 'if-none-match': etag })).status).toBe(304);
    const versions = [decodeKrl(await bytes(first)).version];
    for (let i = 0; i < 3; i += 1) {
      const { body } = await ca.sign(lin);
      await ca.ask(lin, 'POST', '/v1/revocations', {
        v: 1,
        by: 'serial',
        value: body['serial'],
        reason: 'x',
      });
      versions.push(decodeKrl(await bytes(await fetchKrl())).version);
    }
    expect(versions).toEqual([0n, 1n, 2n, 3n]);
    expect((await fetchKrl({ 'if-none-match': etag })).status).toBe(200);
  });

  test('K5: of a hundred certificates, those that were revoked and no others are refused by ssh-keygen', async () => {
    const lines: string[] = [];
    const revoked: boolean[] = [];
    for (let i = 0; i < 100; i += 1) {
      const { body } = await ca.sign(i % 2 === 0 ? lin : ada);
      lines.push(body['certificate']);
      revoked.push(i % 3 === 0 || i > 80);
      if (revoked[i] === true)
        await ca.ask(ada, 'POST', '/v1/revocations', {
          v: 1,
          by: 'serial',
          value: body['serial'],
          reason: 'x',
        });
    }
    expect(judgeByKrl(await bytes(await fetchKrl()), lines)).toEqual(revoked);
  });

  test('what has expired leaves the list after an hour, so that it stays small and a late clock does no harm', async () => {
    const { body } = await ca.sign(lin, { lifetime_seconds: 30 });
    await ca.ask(lin, 'POST', '/v1/revocations', { v: 1, by: 'serial', value: body['serial'], reason: 'x' });
    const before = await bytes(await fetchKrl());
    ca.clock.offsetMs = 3_500_000;
    expect(judgeByKrl(await bytes(await fetchKrl()), [body['certificate']])).toEqual([true]);
    ca.clock.offsetMs = 3_700_000;
    const after = await bytes(await fetchKrl());
    expect(after.length).toBeLessThan(before.length);
    expect(judgeByKrl(after, [body['certificate']])).toEqual([false]);
    ca.clock.offsetMs = 0;
  });

  test('K8: whoever is told that something was revoked finds it in the list', async () => {
    const { body } = await ca.sign(lin);
    const judge = async () => judgeByKrl(await bytes(await fetchKrl()), [body['certificate']]);
    expect(await judge()).toEqual([false]);
    const revocation = { v: 1, by: 'serial', value: body['serial'], reason: 'x' };
    expect((await ca.ask(lin, 'POST', '/v1/revocations', revocation)).status).toBe(200);
    expect(await judge()).toEqual([true]);
  });
});
