/** The limits of the configuration, as the CA enforces them. */
import { expect, test } from '@jest/globals';
import { refusal, SmallCa } from './small-ca.ts';

test('one person and one address may each ask as often as the limits say, and are told when to come back', async () => {
  const ca = await SmallCa.start();
  const lin = await ca.login('lin');
  const kim = await ca.login('kim');
  const minute = (requests: number) => ({ requests, perSeconds: 60 });
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
