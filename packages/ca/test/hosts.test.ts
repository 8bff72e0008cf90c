import { parseCertificateLine } from '@beacon/ssh/certificate';
import { fingerprint, formatPublicKeyLine } from '@beacon/ssh/public-key';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type LoggedIn, newSigner, refusal, SmallCa } from './small-ca.ts';
import { listCertificates } from './ssh-keygen.ts';

let ca: SmallCa;
let ada: LoggedIn;
let lin: LoggedIn;
beforeAll(async () => {
  ca = await SmallCa.start();
  [ada, lin] = [await ca.login('ada'), await ca.login('lin')];
});
afterAll(() => ca.close());

const change = (who: LoggedIn, id: string, verb: string) =>
  ca.ask(who, 'POST', `/v1/hosts/${id}/${verb}`, { v: 1, reason: 'a test' });

const request = (more: object = {}) => ({
  v: 1,
  id: 'host-x',
  address: 'host-x.example',
  port: 2222,
  logins: ['deploy'],
  labels: { env: 'prod' },
  pools: ['web'],
  host_key: formatPublicKeyLine(newSigner().publicKey),
  ...more,
});

describe('a host’s registration', () => {
  test('gives a host certificate of 30 days by the host CA, for the host id alone, without options', async () => {
    const at = new Date(Math.floor(Date.now() / 1000) * 1000);
    ca.clock.frozenAt = at;
    const signer = newSigner();
    const { status, body } = await ca.addHost(ada, 'host-a', { signer, pools: ['web'] });
    ca.clock.frozenAt = undefined;
    expect(status).toBe(201);
    const seconds = BigInt(at.getTime() / 1000);
    const certificate = parseCertificateLine(body['certificate']);
    expect(certificate).toMatchObject({
      kind: 'host',
      keyId: 'beacon/host/host-a',
      principals: ['host-a'],
      validAfter: seconds - 60n,
      validBefore: seconds + 2_592_000n,
      criticalOptions: [],
      extensions: [],
    });
    expect(fingerprint(certificate.ca)).toBe(fingerprint(ca.keys.hostCa.publicKey));
    expect(fingerprint(certificate.publicKey)).toBe(fingerprint(signer.publicKey));
    expect(listCertificates([body['certificate']])).toMatchObject([{ kind: 'host', principals: ['host-a'] }]);
    const record = await ca.lastRecord();
    expect(record).toMatchObject({ kind: 'host-added', person: 'github:101', host: 'host-a' });
    expect(body['record']).toEqual({ seq: record.seq, hash: record.hash });
    expect(body['host']).toMatchObject({
      id: 'host-a',
      state: 'enabled',
      host_key: fingerprint(signer.publicKey),
    });
  });

  test('renews the certificate for the same values, and refuses the id for others, for good', async () => {
    const signer = newSigner();
    const first = await ca.addHost(ada, 'host-b', { signer });
    const again = await ca.addHost(ada, 'host-b', { signer });
    expect(again.status).toBe(201);
    expect(BigInt(again.body['serial'])).toBe(BigInt(first.body['serial']) + 1n);
    expect(await ca.lastRecord()).toMatchObject({ kind: 'host-certificate', host: 'host-b' });
    expect(refusal(await ca.addHost(ada, 'host-b'))).toEqual({ status: 409, code: 'host-exists' });
    expect(await ca.lastRecord()).toMatchObject({
      kind: 'refused',
      facts: { code: 'host-exists', path: '/v1/hosts' },
    });
    expect(refusal(await ca.addHost(ada, 'host-b', { signer, address: '192.0.2.1' }))).toMatchObject({
      code: 'host-exists',
    });
    expect(refusal(await ca.addHost(ada, 'host-c', { signer }))).toEqual({ status: 409, code: 'key-in-use' });
    await change(ada, 'host-b', 'disable');
    expect(refusal(await ca.addHost(ada, 'host-b', { signer }))).toEqual({
      status: 403,
      code: 'host-disabled',
    });
  });

  test('A7: refuses a person’s key and the CA’s own', async () => {
    const signer = newSigner();
    await ca.sign(lin, {}, { signer });
    for (const one of [signer, ca.keys.userCa, ca.keys.hostCa])
      expect(refusal(await ca.addHost(ada, 'host-d', { signer: one }))).toEqual({
        status: 409,
        code: 'key-in-use',
      });
  });

  test('needs ca.hosts, and a refusal is recorded', async () => {
    const before = await ca.serials();
    for (const ask of [() => ca.addHost(lin, 'host-e'), () => change(lin, 'web-01', 'disable')]) {
      expect(refusal(await ask())).toEqual({ status: 403, code: 'policy-denied' });
      expect(await ca.lastRecord()).toMatchObject({
        kind: 'refused',
        person: 'github:102',
        facts: { action: 'ca.hosts' },
      });
    }
    expect(await ca.serials()).toEqual(before);
  });

  test.each<[string, object]>([
    ['an id in capitals', { id: 'Host' }],
    ['an id of 64 letters', { id: 'a'.repeat(64) }],
    ['an id with a comma', { id: 'a,b' }],
    ['an id that begins with a dot', { id: '.a' }],
    ['an address that is an option', { address: '-oProxyCommand=id' }],
    ['an address with a space', { address: 'a b' }],
    ['port 0', { port: 0 }],
    ['port 65536', { port: 65_536 }],
    ['no login', { logins: [] }],
    ['the login *', { logins: ['*'] }],
    ['33 logins', { logins: Array.from({ length: 33 }, (_, i) => `l${i}`) }],
    ['a label that policy would not take', { labels: { env: 'a\nb' } }],
    ['a label in capitals', { labels: { Env: 'x' } }],
    ['a pool with a space', { pools: ['a b'] }],
    ['principals', { principals: ['other'] }],
    ['two lines of key', { host_key: 'ssh-ed25519 AAAA\nssh-ed25519 AAAA' }],
  ])('refuses %s', async (_what, more) => {
    expect(refusal(await ca.ask(ada, 'POST', '/v1/hosts', request(more)))).toEqual({
      status: 400,
      code: 'body-malformed',
    });
  });
});

describe('a disabled host', () => {
  test('gets no certificate and no person one for it, until it is enabled', async () => {
    await ca.addHost(ada, 'host-f', { pools: ['web'] });
    expect((await ca.sign(lin, { host: 'host-f' })).status).toBe(201);
    const { status, body } = await change(ada, 'host-f', 'disable');
    expect([status, body['host'].state]).toEqual([200, 'disabled']);
    expect(await ca.lastRecord()).toMatchObject({
      kind: 'host-disabled',
      host: 'host-f',
      facts: { reason: 'a test' },
    });
    expect(refusal(await ca.sign(lin, { host: 'host-f' }))).toEqual({ status: 403, code: 'host-disabled' });
    expect((await change(ada, 'host-f', 'enable')).status).toBe(200);
    expect((await ca.sign(lin, { host: 'host-f' })).status).toBe(201);
    expect(refusal(await change(ada, 'nowhere', 'disable'))).toEqual({ status: 404, code: 'host-unknown' });
  });

  test('a certificate that is asked for while the host is being disabled is issued before it or not at all', async () => {
    await ca.addHost(ada, 'host-g', { pools: ['web'] });
    const replies = await Promise.all([
      ...Array.from({ length: 10 }, () => ca.sign(lin, { host: 'host-g' })),
      change(ada, 'host-g', 'disable'),
      ...Array.from({ length: 10 }, () => ca.sign(lin, { host: 'host-g' })),
    ]);
    const disabledAt = replies[10]?.body['record'].seq as number;
    for (const { status, body } of replies.filter((_, index) => index !== 10)) {
      if (status === 201) expect(body['record'].seq).toBeLessThan(disabledAt);
      else expect(['host-disabled', 'host-changed']).toContain(body['code']);
    }
  });
});
