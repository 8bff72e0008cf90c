import { parseCertificateLine } from '@beacon/ssh/certificate';
import { fingerprint, formatPublicKeyLine } from '@beacon/ssh/public-key';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { engines } from '../../server/test/postgres.ts';
import { type LoggedIn, makeKeys, newSigner, PERSONS, type Reply, refusal, SmallCa } from './small-ca.ts';
import { judgeByKrl } from './ssh-keygen.ts';

describe.each(engines)('revocation on $engine', ({ place }) => {
  let ca: SmallCa;
  let ada: LoggedIn;
  let lin: LoggedIn;
  let kim: LoggedIn;
  beforeAll(async () => {
    ca = await SmallCa.start({ place: await place() });
    [ada, lin, kim] = [await ca.login('ada'), await ca.login('lin'), await ca.login('kim')];
  });
  afterAll(() => ca.close());

  const revoke = (who: LoggedIn, by: string, value: string, more: object = {}): Promise<Reply> =>
    ca.ask(who, 'POST', '/v1/revocations', { v: 1, by, value, reason: 'a test', ...more });

  async function krl(): Promise<Buffer> {
    return Buffer.from(await (await fetch(`${ca.url}/v1/krl`)).arrayBuffer());
  }

  async function isRevoked(...lines: string[]): Promise<boolean[]> {
    return judgeByKrl(await krl(), lines);
  }

  async function issued(who: LoggedIn, options: Parameters<SmallCa['sign']>[2] = {}, wish = {}) {
    const { status, body } = await ca.sign(who, wish, options);
    expect(status).toBe(201);
    const line = body['certificate'] as string;
    return {
      line,
      serial: String(body['serial']),
      grant: String(body['grant']),
      certificate: parseCertificateLine(line),
    };
  }

  describe('by each of the five', () => {
    test('K5: by serial, one’s own certificate alone is revoked, as ssh-keygen -Q judges', async () => {
      const [one, other] = [await issued(lin), await issued(lin)];
      const before = (await ca.records()).length;
      const { status, body } = await revoke(lin, 'serial', one.serial);
      expect(status).toBe(200);
      expect(body).toMatchObject({ revoked: [one.serial], already: 0, sessions_ended: 0 });
      expect(await isRevoked(one.line, other.line)).toEqual([true, false]);
      const records = (await ca.records()).slice(before);
      expect(records).toMatchObject([
        {
          kind: 'revocation',
          person: 'github:102',
          facts: { by: 'serial', value: one.serial, reason: 'a test', halt: false, serials: [one.serial] },
        },
      ]);
      expect(body['record']).toEqual({ seq: records[0]?.seq, hash: records[0]?.hash });
      expect((await revoke(lin, 'serial', one.serial)).body).toMatchObject({ revoked: [], already: 1 });
      const listed = await ca.ask(lin, 'GET', `/v1/certificates/${one.serial}`);
      expect(listed.body).toMatchObject({ revoked: true });
    });

    test('K5: by grant, with halt', async () => {
      const [one, other] = [await issued(lin), await issued(lin)];
      expect((await revoke(lin, 'grant', one.grant, { halt: true })).body).toMatchObject({
        revoked: [one.serial],
      });
      expect(await isRevoked(one.line, other.line)).toEqual([true, false]);
      const row = await ca.running.ca.store
        .selectFrom('certificates')
        .select(['halted', 'revoked_at'])
        .where('grant_id', '=', one.grant)
        .executeTakeFirstOrThrow();
      expect(row.halted).toBe(1);
      expect((await ca.lastRecord()).facts).toMatchObject({ by: 'grant', halt: true });
    });

    test('K5: by public key, all certificates of the key, which is never certified again for anybody', async () => {
      const signer = newSigner();
      const [a, b, other] = [await issued(lin, { signer }), await issued(lin, { signer }), await issued(lin)];
      const { body } = await revoke(lin, 'public_key', formatPublicKeyLine(signer.publicKey));
      expect(body['revoked']).toEqual([a.serial, b.serial]);
      expect(await isRevoked(a.line, b.line, other.line)).toEqual([true, true, false]);
      for (const who of [lin, kim])
        expect(refusal(await ca.sign(who, {}, { signer }))).toEqual({ status: 403, code: 'key-revoked' });
      expect((await ca.addHost(ada, 'with-revoked-key', { signer })).body['code']).toBe('key-revoked');
      expect((await ca.lastRecord()).facts).toMatchObject({
        code: 'key-revoked',
        method: 'POST',
        path: '/v1/hosts',
      });
      expect((await ca.records()).filter(({ kind }) => kind === 'revocation').at(-1)?.facts?.['value']).toBe(
        fingerprint(signer.publicKey),
      );
    });

    test('by a public key that was never seen, an administrator keeps it from ever being certified', async () => {
      const signer = newSigner();
      const value = fingerprint(signer.publicKey);
      expect(refusal(await revoke(lin, 'public_key', value))).toEqual({ status: 403, code: 'policy-denied' });
      expect((await revoke(ada, 'public_key', value)).body).toMatchObject({ revoked: [], already: 0 });
      expect(refusal(await ca.sign(kim, {}, { signer }))).toEqual({ status: 403, code: 'key-revoked' });
    });

    test('K5: by person, all their certificates and all their sessions', async () => {
      const [sam, elsewhere] = [await ca.login('sam'), await ca.loginAtPortal('sam')];
      const [one, two, foreign] = [await issued(sam), await issued(sam), await issued(lin)];
      const { body } = await revoke(ada, 'person', 'github:106');
      expect(body).toMatchObject({ revoked: [one.serial, two.serial], sessions_ended: 2 });
      expect(await isRevoked(one.line, two.line, foreign.line)).toEqual([true, true, false]);
      for (const who of [sam, elsewhere]) expect((await ca.ask(who, 'GET', '/v1/hosts')).status).toBe(401);
      const ended = (await ca.records()).filter(
        ({ kind, person }) => kind === 'session-ended' && person === 'github:106',
      );
      expect(ended).toHaveLength(2);
      const again = await ca.login('sam');
      expect((await ca.sign(again)).status).toBe(201);
      expect((await revoke(again, 'person', 'github:106')).body).toMatchObject({ sessions_ended: 1 });
      const tokens = [...ca.standin.state.tokens.values()].filter(({ person }) => person === PERSONS.sam);
      expect(tokens).toEqual([]);
    });

    test('by a CA key: it certifies nothing more, is published as revoked, and the list refuses all of its certificates', async () => {
      const own = await SmallCa.start();
      try {
        const [admin, who] = [await own.login('ada'), await own.login('lin')];
        const line: string = (await own.sign(who)).body['certificate'];
        const late: string = (await own.addHost(admin, 'late')).body['certificate'];
        const ask = (by: string, value: string) =>
          own.ask(admin, 'POST', '/v1/revocations', { v: 1, by, value, reason: 'lost' });
        const userCa = fingerprint(own.keys.userCa.publicKey);
        expect(
          refusal(
            await own.ask(who, 'POST', '/v1/revocations', { v: 1, by: 'ca_key', value: userCa, reason: 'x' }),
          ),
        ).toMatchObject({ status: 403 });
        expect(refusal(await ask('ca_key', `SHA256:${'A'.repeat(43)}`))).toEqual({
          status: 404,
          code: 'ca-key-unknown',
        });
        expect((await ask('ca_key', userCa)).status).toBe(200);
        const list = Buffer.from(await (await fetch(`${own.url}/v1/krl`)).arrayBuffer());
        expect(judgeByKrl(list, [line, late])).toEqual([true, false]);
        const signer = newSigner();
        expect(refusal(await own.sign(who, {}, { signer }))).toEqual({ status: 503, code: 'ca-key-revoked' });
        expect((await own.lastRecord()).facts?.['code']).toBe('ca-key-revoked');
        expect((await own.addHost(admin, 'host-two')).status).toBe(201);
        expect((await own.send('GET', '/v1/ca-keys')).body).toMatchObject({
          user: [{ fingerprint: userCa, state: 'revoked' }],
          host: [{ state: 'active' }],
        });
        expect((await ask('ca_key', formatPublicKeyLine(own.keys.hostCa.publicKey))).status).toBe(200);
        expect(refusal(await own.addHost(admin, 'host-three'))).toEqual({
          status: 503,
          code: 'ca-key-revoked',
        });
        const both = Buffer.from(await (await fetch(`${own.url}/v1/krl`)).arrayBuffer());
        expect(judgeByKrl(both, [line, late])).toEqual([true, true]);
        // A certificate that the store has forgotten is refused too: the key itself stands in the list.
        await own.running.ca.store.deleteFrom('certificates').execute();
        own.clock.offsetMs = 61_000;
        const bare = Buffer.from(await (await fetch(`${own.url}/v1/krl`)).arrayBuffer());
        expect(judgeByKrl(bare, [line, late])).toEqual([true, true]);
        expect((await ask('ca_key', formatPublicKeyLine((await makeKeys()).userCa.publicKey))).status).toBe(
          200,
        );
      } finally {
        await own.close();
      }
    });
  });

  describe('somebody else’s', () => {
    test.each(['serial', 'grant', 'person', 'public_key'])(
      'K1: by %s is denied without ca.revoke, and recorded',
      async (by) => {
        const signer = newSigner();
        const theirs = await issued(lin, { signer });
        const value = {
          serial: theirs.serial,
          grant: theirs.grant,
          person: 'github:102',
          public_key: fingerprint(signer.publicKey),
        };
        const reply = await revoke(kim, by, value[by as keyof typeof value]);
        expect(refusal(reply)).toEqual({ status: 403, code: 'policy-denied' });
        expect(await isRevoked(theirs.line)).toEqual([false]);
        expect((await ca.lastRecord()).facts).toMatchObject({ code: 'policy-denied', action: 'ca.revoke' });
        expect(
          (
            await revoke(
              ada,
              by === 'person' ? 'serial' : by,
              by === 'person' ? theirs.serial : value[by as keyof typeof value],
            )
          ).status,
        ).toBe(200);
        expect(await isRevoked(theirs.line)).toEqual([true]);
      },
    );

    test('K1: a host’s certificate is nobody’s own', async () => {
      const [host = ''] = ca.issued;
      const serial = parseCertificateLine(host).serial.toString();
      expect(refusal(await revoke(lin, 'serial', serial))).toEqual({ status: 403, code: 'policy-denied' });
      expect((await revoke(ada, 'serial', serial)).body).toMatchObject({ revoked: [serial] });
      expect(await isRevoked(host)).toEqual([true]);
    });

    test('what was never issued is unknown to an administrator, and denied to everybody else like what exists', async () => {
      expect(refusal(await revoke(ada, 'serial', '123456789'))).toEqual({
        status: 404,
        code: 'certificate-unknown',
      });
      expect(refusal(await revoke(ada, 'grant', `0${'1'.repeat(25)}`))).toEqual({
        status: 404,
        code: 'certificate-unknown',
      });
      expect(refusal(await revoke(lin, 'serial', '123456789'))).toEqual({
        status: 403,
        code: 'policy-denied',
      });
    });

    test.each<[string, string]>([
      ['serial', '0'],
      ['serial', '-1'],
      ['serial', '18446744073709551616'],
      ['serial', '01'],
      ['serial', '1-9'],
      ['serial', '*'],
      ['grant', 'x'],
      ['person', 'lin'],
      ['person', '*'],
      ['public_key', 'SHA256:short'],
      ['ca_key', 'NONE'],
      ['key_id', 'beacon/x'],
    ])('K6: %s %s is no revocation', async (by, value) => {
      expect(refusal(await revoke(ada, by, value))).toEqual({ status: 400, code: 'body-malformed' });
    });
  });

  describe('what has been revoked', () => {
    test('K9: stays in the list until it expires, whatever is cleared away meanwhile', async () => {
      const one = await issued(lin, {}, { lifetime_seconds: 120 });
      await revoke(lin, 'serial', one.serial);
      const ends = Number(one.certificate.validBefore) * 1000;
      ca.clock.frozenAt = new Date(ends - 1);
      await ca.running.maintain();
      expect(await isRevoked(one.line)).toEqual([true]);
      ca.clock.frozenAt = undefined;
      expect(await isRevoked(one.line)).toEqual([true]);
    });

    test('K10: is revoked after a restart', async () => {
      const one = await issued(lin);
      expect((await revoke(lin, 'serial', one.serial)).status).toBe(200);
      await ca.restart();
      expect(await isRevoked(one.line)).toEqual([true]);
    });

    test('a fifty-fold revocation of one certificate revokes it once and records each', async () => {
      const one = await issued(lin);
      const replies = await Promise.all(Array.from({ length: 50 }, () => revoke(lin, 'serial', one.serial)));
      expect(replies.map(({ status }) => status)).toEqual(Array(50).fill(200));
      expect(replies.flatMap(({ body }) => body['revoked'])).toEqual([one.serial]);
    });
  });
});
