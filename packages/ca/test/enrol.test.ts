import { parseHostToken } from '@beacon/protocol/host-token';
import { parseCertificateLine } from '@beacon/ssh/certificate';
import { isRevoked } from '@beacon/ssh/is-revoked';
import { decodeKrl } from '@beacon/ssh/krl';
import { optionText } from '@beacon/ssh/options';
import { fingerprint, formatPublicKeyLine, isSameKey } from '@beacon/ssh/public-key';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { engines } from '../../server/test/postgres.ts';
import { askPoolToken, askToken, Machine } from './machine.ts';
import { newSigner, refusal, type SmallCa } from './small-ca.ts';
import { publish, startTrustLab, type TrustLab } from './trust-lab.ts';

const HOUR_MS = 3_600_000;

describe.each(engines)('enrolment on $engine', ({ place }) => {
  let lab: TrustLab;
  let ca: SmallCa;
  beforeAll(async () => {
    lab = await startTrustLab({ place: await place(), trustedProxies: ['127.0.0.1'] });
    ca = lab.ca;
    await publish(lab);
  });
  afterAll(() => ca.close());

  const tokenFor = async (host: string, change: object = {}) => {
    const reply = await askToken(lab, host, change);
    expect(reply.status).toBe(201);
    ca.canaries.push(parseHostToken(reply.body['token']).secret);
    return reply.body['token'] as string;
  };
  const krl = async () => decodeKrl(Buffer.from(await (await fetch(`${ca.url}/v1/krl`)).arrayBuffer()));

  test('E4: a token carries the fingerprint of the root key, and at least 128 bits', async () => {
    const token = parseHostToken(await tokenFor('build-00'));
    expect(token.rootKey).toBe(fingerprint(lab.root.publicKey));
    expect(Buffer.from(token.secret, 'base64url')).toHaveLength(32);
  });

  test('a machine with a token is a host: a certificate for its key and its id alone, all else from the token', async () => {
    const machine = new Machine(ca, 'build-01');
    const reply = await machine.enrol(await tokenFor('build-01'));
    expect(reply.status).toBe(201);
    const certificate = parseCertificateLine(reply.body['certificate']);
    expect(certificate).toMatchObject({
      kind: 'host',
      principals: ['build-01'],
      keyId: 'beacon/host/build-01',
    });
    expect(isSameKey(certificate.publicKey, machine.key.publicKey)).toBe(true);
    const last = await ca.lastRecord();
    expect(last).toMatchObject({ kind: 'host-enrolled', host: 'build-01', person: 'github:101' });
    expect(reply.body['record']).toEqual({ seq: last.seq, hash: last.hash });
    const host = (await ca.ask(lab.ada, 'GET', '/v1/hosts/build-01')).body;
    expect(host).toMatchObject({
      address: '192.0.2.9',
      logins: ['beacon'],
      pools: ['web'],
      state: 'enabled',
    });
    expect((await ca.ask(lab.ada, 'POST', '/v1/hosts/build-01/disable', { v: 1, reason: 'x' })).status).toBe(
      200,
    );
  });

  test('E1: of a hundred machines with one token at once, one is the host', async () => {
    const token = await tokenFor('race-01');
    const machines = Array.from({ length: 100 }, () => new Machine(ca, 'race-01'));
    const replies = await Promise.all(machines.map((machine) => machine.enrol(token)));
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(1);
    const codes = replies.filter(({ status }) => status !== 201).map((reply) => refusal(reply));
    expect(new Set(codes.map(({ code }) => code))).toEqual(new Set(['host-token-refused']));
    const enrolled = (await ca.records()).filter(
      ({ kind, host }) => kind === 'host-enrolled' && host === 'race-01',
    );
    expect(enrolled).toHaveLength(1);
  });

  test('E1: a token that is used, expired, taken back, guessed or for another id opens nothing, in the same words', async () => {
    const texts = new Set<string>();
    const refused = async (machine: Machine, token: string) => {
      const reply = await machine.enrol(token);
      expect(refusal(reply)).toEqual({ status: 401, code: 'host-token-refused' });
      texts.add(reply.body['detail']);
    };
    const used = await tokenFor('once-01');
    expect((await new Machine(ca, 'once-01').enrol(used)).status).toBe(201);
    await refused(new Machine(ca, 'once-01'), used);
    expect(await ca.lastRecord()).toMatchObject({ kind: 'refused', facts: { code: 'host-token-refused' } });
    await refused(new Machine(ca, 'once-03'), await tokenFor('once-02'));
    const { secret, rootKey } = parseHostToken(used);
    const guessed = `beacon-host-1.${newSecret()}.${used.split('.')[2]}`;
    expect([secret.length, rootKey.length]).toEqual([43, 50]);
    const before = (await ca.records()).length;
    await refused(new Machine(ca, 'once-04'), guessed);
    expect((await ca.records()).length).toBe(before);
    const made = await askToken(lab, 'once-05');
    const taken = await ca.ask(lab.ada, 'DELETE', `/v1/host-tokens/${made.body['id']}`);
    expect(taken.status).toBe(200);
    await refused(new Machine(ca, 'once-05'), made.body['token']);
    expect(texts.size).toBe(1);
  });

  test('E1: the store holds no secret of a token', async () => {
    const token = await tokenFor('stored-01');
    const { secret } = parseHostToken(token);
    const rows = await ca.running.ca.store.selectFrom('host_tokens').selectAll().execute();
    expect(JSON.stringify([rows, await ca.records(), ca.logs])).not.toContain(secret);
    const listed = (await ca.ask(lab.ada, 'GET', '/v1/host-tokens')).text;
    expect(listed).toContain('stored-01');
    expect(listed).not.toContain(secret);
  });

  test('E2: the machine chooses its key and nothing else', async () => {
    const token = await tokenFor('field-01');
    const machine = new Machine(ca, 'field-01');
    for (const extra of [
      { principals: ['web-01'] },
      { logins: ['root'] },
      { address: '192.0.2.1' },
      { v: 2 },
    ])
      expect(refusal(await machine.enrol(token, extra))).toEqual({ status: 400, code: 'body-malformed' });
    for (const host of ['web-01,field-01', 'FIELD', '*', ''])
      expect((await machine.enrol(token, { host })).status).toBe(400);
    const ours = formatPublicKeyLine(ca.keys.hostCa.publicKey);
    expect((await machine.enrol(token, { host_key: ours })).status).toBe(401);
    expect((await machine.enrol(token)).status).toBe(201);
  });

  test('E2: is refused unless the key in the body signed these bytes, for this purpose', async () => {
    const token = await tokenFor('signed-01');
    const machine = new Machine(ca, 'signed-01');
    const forged: Parameters<Machine['enrol']>[2][] = [
      { signer: newSigner() },
      { namespace: 'host-renewal@beacon' },
      { headers: { 'beacon-host-signature': 'AAAA' } },
      {
        raw: JSON.stringify({
          v: 1,
          secret: newSecret(),
          host: 'signed-01',
          host_key: formatPublicKeyLine(machine.key.publicKey),
        }),
      },
    ];
    for (const sent of forged)
      expect(refusal(await machine.enrol(token, {}, sent))).toEqual({
        status: 401,
        code: 'host-signature-invalid',
      });
    expect((await machine.enrol(token)).status).toBe(201);
  });

  test('E5: the same machine may ask again for an answer that was lost, and is one host', async () => {
    const token = await tokenFor('again-01');
    const machine = new Machine(ca, 'again-01');
    const [first, second] = [await machine.enrol(token), await machine.enrol(token)];
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(BigInt(second.body['serial'])).toBeGreaterThan(BigInt(first.body['serial']));
    expect((await machine.renew()).status).toBe(201);
  });

  test('E3: an id that is taken is enrolled again by an administrator alone, and its old certificates are revoked', async () => {
    const machine = new Machine(ca, 'taken-01');
    const first = await machine.enrol(await tokenFor('taken-01'));
    expect(refusal(await askToken(lab, 'taken-01'))).toEqual({ status: 409, code: 'host-exists' });
    expect(refusal(await askToken(lab, 'none-01', { replace: true }))).toEqual({
      status: 404,
      code: 'host-unknown',
    });
    const pool = await askPoolToken(lab, 'taken-[0-9]+', 5);
    const other = new Machine(ca, 'taken-01');
    expect(refusal(await other.enrol(pool.body['token']))).toEqual({ status: 409, code: 'host-exists' });
    const stale = await tokenFor('taken-01', { replace: true });
    const token = await tokenFor('taken-01', { replace: true });
    expect((await other.enrol(token)).status).toBe(201);
    // Made for the host as it was before.
    expect((await new Machine(ca, 'taken-01').enrol(stale)).status).toBe(409);
    const old = parseCertificateLine(first.body['certificate']);
    expect(isRevoked(await krl(), old)).toBe(true);
    expect(refusal(await machine.renew())).toEqual({ status: 401, code: 'host-signature-invalid' });
    expect((await other.renew()).status).toBe(201);
  });

  test('E1: a pool token is good for so many machines, of its pattern, each with its own address', async () => {
    const made = await askPoolToken(lab, 'fleet-[0-9]{2}', 3, { domain: 'example.org' });
    const token = made.body['token'] as string;
    expect((await new Machine(ca, 'other-01').enrol(token)).status).toBe(401);
    const replies = await Promise.all(
      Array.from({ length: 12 }, (_, i) => new Machine(ca, `fleet-${10 + i}`).enrol(token)),
    );
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(3);
    const { hosts } = (await ca.ask(lab.ada, 'GET', '/v1/hosts')).body;
    const fleet = (hosts as { id: string; address: string }[]).filter(({ id }) => id.startsWith('fleet-'));
    expect(fleet).toHaveLength(3);
    for (const { id, address } of fleet) expect(address).toBe(`${id}.example.org`);
    expect(refusal(await askPoolToken(lab, '(', 3))).toMatchObject({ status: 400 });
  });

  test('A7: a host key that another host uses is refused, and the token stays good', async () => {
    const key = newSigner();
    expect((await new Machine(ca, 'key-01', key).enrol(await tokenFor('key-01'))).status).toBe(201);
    const token = await tokenFor('key-02');
    const copied = await new Machine(ca, 'key-02', key).enrol(token);
    expect(refusal(copied)).toEqual({ status: 409, code: 'key-in-use' });
    expect((await new Machine(ca, 'key-02').enrol(token)).status).toBe(201);
  });

  test('a row that was changed in the store makes nothing: not more uses, not another person', async () => {
    const made = await askPoolToken(lab, 'row-[0-9]+', 1);
    const { store } = ca.running.ca;
    const change = (set: object) =>
      store.updateTable('host_tokens').set(set).where('id', '=', made.body['id']).execute();
    await change({ uses_left: 9 });
    expect((await new Machine(ca, 'row-1').enrol(made.body['token'])).status).toBe(500);
    const row = {
      ...(await store
        .selectFrom('host_tokens')
        .selectAll()
        .where('id', '=', made.body['id'])
        .executeTakeFirstOrThrow()),
      uses_left: 1,
    };
    await change(row);
    expect((await new Machine(ca, 'row-1').enrol(made.body['token'])).status).toBe(201);
    // The row as it was before its use.
    await change(row);
    expect((await new Machine(ca, 'row-2').enrol(made.body['token'])).status).toBe(500);
  });

  test('tokens are made, listed and taken back by who has ca.hosts alone', async () => {
    const lin = await ca.login('lin');
    for (const [method, path, body] of [
      ['GET', '/v1/host-tokens', undefined],
      ['DELETE', `/v1/host-tokens/0${'1'.repeat(25)}`, undefined],
      ['GET', '/v1/host-reports', undefined],
    ] as const)
      expect(refusal(await ca.ask(lin, method, path, body))).toEqual({ status: 403, code: 'policy-denied' });
    expect(refusal(await askToken({ ...lab, ada: lin }, 'x-01'))).toEqual({
      status: 403,
      code: 'policy-denied',
    });
  });

  test('E7: renewal is for the key that is enrolled: not another, not by another host, not twice by one request', async () => {
    const machine = new Machine(ca, 'renew-01');
    await machine.enrol(await tokenFor('renew-01'));
    const other = new Machine(ca, 'renew-02');
    await other.enrol(await tokenFor('renew-02'));
    expect((await machine.renew()).status).toBe(201);
    for (const sent of [{ signer: newSigner() }, { signer: other.key }, { namespace: 'host-report@beacon' }])
      expect(refusal(await machine.renew({}, sent))).toEqual({ status: 401, code: 'host-signature-invalid' });
    const nonce = newSecret();
    expect((await machine.renew({ nonce })).status).toBe(201);
    expect(refusal(await machine.renew({ nonce }))).toEqual({ status: 401, code: 'host-request-replayed' });
    const at = new Date(ca.clock.now().getTime() - 301_000).toISOString();
    const stale = await machine.renew({ at });
    expect(refusal(stale)).toEqual({ status: 401, code: 'host-request-stale' });
    await ca.ask(lab.ada, 'POST', '/v1/hosts/renew-02/disable', { v: 1, reason: 'x' });
    expect(refusal(await other.renew())).toEqual({ status: 401, code: 'host-signature-invalid' });
  });

  test('E7: what is revoked is not renewed; and no host gets more than twenty a day', async () => {
    const machine = new Machine(ca, 'ended-01');
    const token = await tokenFor('ended-01');
    const { body } = await machine.enrol(token);
    const asked = { v: 1, by: 'serial', value: body['serial'], reason: 'x' };
    expect((await ca.ask(lab.ada, 'POST', '/v1/revocations', asked)).status).toBe(200);
    expect(refusal(await machine.renew())).toEqual({ status: 403, code: 'host-certificate-ended' });
    expect(refusal(await machine.enrol(token))).toEqual({ status: 403, code: 'host-certificate-ended' });
    const busy = new Machine(ca, 'busy-01');
    await busy.enrol(await tokenFor('busy-01'));
    for (let i = 0; i < 19; i += 1) expect((await busy.renew()).status).toBe(201);
    expect(refusal(await busy.renew())).toEqual({ status: 429, code: 'host-limit' });
  });

  test('a new host tests itself: a certificate of a minute without commands, for the person who made the token', async () => {
    const machine = new Machine(ca, 'test-01');
    await machine.enrol(await tokenFor('test-01'));
    const reply = await machine.selfTest();
    expect(reply.status).toBe(201);
    const certificate = parseCertificateLine(reply.body['certificate']);
    expect(certificate).toMatchObject({ kind: 'user', principals: ['beacon@test-01'] });
    expect(certificate.validBefore - certificate.validAfter).toBe(120n);
    const grant = reply.body['grant'] as string;
    expect(certificate.keyId).toBe(`beacon/${grant}/github:101`);
    const text = optionText(certificate.extensions, 'grant@beacon');
    expect(JSON.parse(String(text))).toMatchObject({
      grant,
      person: 'github:101',
      host: 'test-01',
      commands: [],
    });
    expect(certificate.extensions.map(({ name }) => name)).toEqual(['grant@beacon']);
    expect(await ca.lastRecord()).toMatchObject({ kind: 'host-self-test', host: 'test-01', grant });
    expect(refusal(await machine.selfTest({ login: 'root' }))).toEqual({
      status: 400,
      code: 'request-malformed',
    });
    expect(refusal(await machine.selfTest({}, { prover: newSigner() }))).toEqual({
      status: 401,
      code: 'host-signature-invalid',
    });
    expect(refusal(await new Machine(ca, 'web-01', machine.key).selfTest())).toEqual({
      status: 401,
      code: 'host-signature-invalid',
    });
  });

  test('E1: E7: time ends a token, the self-test and a certificate that was not renewed', async () => {
    const machine = new Machine(ca, 'late-01');
    await machine.enrol(await tokenFor('late-01'));
    const token = await tokenFor('late-02');
    ca.clock.offsetMs += HOUR_MS + 2_000;
    expect(refusal(await new Machine(ca, 'late-02').enrol(token))).toEqual({
      status: 401,
      code: 'host-token-refused',
    });
    expect(refusal(await machine.selfTest())).toEqual({ status: 403, code: 'self-test-over' });
    expect((await machine.renew()).status).toBe(201);
    ca.clock.offsetMs += 31 * 24 * HOUR_MS;
    expect(refusal(await machine.renew())).toEqual({ status: 403, code: 'host-certificate-ended' });
  });
});

test('there is no token before a root is published: a host could believe nobody', async () => {
  const lab = await startTrustLab({ hosts: false });
  expect(refusal(await askToken(lab, 'build-01'))).toEqual({ status: 404, code: 'trust-unpublished' });
  await lab.ca.close();
});

function newSecret(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64url');
}
