/** The limits of the configuration, as the CA enforces them. */
import { discoverCa, exchangeToken, generateProofKey } from '@beacon/client';
import { expect, test } from '@jest/globals';
import { refusal, SmallCa } from './small-ca.ts';

const WHOAMI = '/v1/sessions/current';
const LIMITED = { status: 429, code: 'too-many-requests' };
const minute = (requests: number) => ({ requests, perSeconds: 60 });

test('one person and one address may each ask as often as the limits say, and are told when to come back', async () => {
  const ca = await SmallCa.start();
  const lin = await ca.login('lin');
  const kim = await ca.login('kim');
  await ca.restart({ limits: { perAddress: minute(9), perPerson: minute(3) } });
  for (let i = 0; i < 3; i += 1) expect((await ca.sign(lin)).status).toBe(201);
  const limited = await ca.sign(lin);
  expect(refusal(limited)).toEqual({ status: 429, code: 'too-many-requests' });
  expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0);
  for (let i = 0; i < 3; i += 1) expect((await ca.sign(kim)).status).toBe(201);
  expect(refusal(await ca.sign(kim))).toEqual({ status: 429, code: 'too-many-requests' });
  expect((await ca.send('GET', '/readyz')).status).toBe(200);
  expect((await ca.send('GET', '/readyz')).status).toBe(429);
  await ca.close();
});

test('Q9: a service that proves itself has a limit of its own, in place of that of its address', async () => {
  const ca = await SmallCa.start();
  const lin = await ca.loginAtPortal('lin');
  const kim = await ca.loginAtPortal('kim');
  await ca.restart({ limits: { perAddress: minute(4), perService: minute(10), perPerson: minute(100) } });
  for (let i = 0; i < 10; i += 1)
    expect((await ca.ask(i % 2 === 0 ? lin : kim, 'GET', WHOAMI)).status).toBe(200);
  const limited = await ca.ask(kim, 'GET', WHOAMI);
  expect(refusal(limited)).toEqual(LIMITED);
  expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0);
  // Only the one that was refused stays with the address.
  for (let i = 0; i < 3; i += 1) expect((await ca.send('GET', '/readyz')).status).toBe(200);
  expect((await ca.send('GET', '/readyz')).status).toBe(429);
  await ca.close();
});

test('Q9: who does not prove to be a service is stopped at the address, whatever is claimed', async () => {
  const ca = await SmallCa.start();
  const lin = await ca.loginAtPortal('lin');
  const ada = await ca.login('ada');
  const limits = { perAddress: minute(4), perService: minute(100), perPerson: minute(100) };
  // A service's token without its key, and a program that is no service.
  const thief = { ...lin, proofKey: generateProofKey() };
  for (const [who, status] of [
    [thief, 401],
    [ada, 200],
  ] as const) {
    await ca.restart({ limits });
    for (let i = 0; i < 4; i += 1) expect((await ca.ask(who, 'GET', WHOAMI)).status).toBe(status);
    expect(refusal(await ca.ask(who, 'GET', WHOAMI))).toEqual(LIMITED);
    // Before anything of it is looked at: the service's own too.
    expect(refusal(await ca.ask(lin, 'GET', WHOAMI))).toEqual(LIMITED);
  }
  await ca.close();
});

test('Q9: a token that a service gets counts for the service, an attempt that fails for the address', async () => {
  const ca = await SmallCa.start();
  const { service, key } = ca.portal;
  const { accessToken } = await ca.login('lin', [`urn:beacon:broker:${service.id}`, 'urn:beacon:ca']);
  const metadata = await discoverCa(ca.url);
  const exchange = (subjectToken: string) =>
    exchangeToken({
      metadata,
      service: { clientId: service.id, privateKey: key.privateKey, keyId: service.keys[0]?.kid ?? '' },
      proofKey: key,
      subjectToken,
    });
  await ca.restart({ limits: { perAddress: minute(4), perService: minute(100), perPerson: minute(100) } });
  for (let i = 0; i < 8; i += 1) expect((await exchange(accessToken)).accessToken).not.toBe('');
  for (let i = 0; i < 4; i += 1)
    await expect(exchange('no.such.token')).rejects.toMatchObject({ code: 'oauth-refused' });
  expect((await ca.send('GET', '/readyz')).status).toBe(429);
  await expect(exchange(accessToken)).rejects.toThrow();
  await ca.close();
});
