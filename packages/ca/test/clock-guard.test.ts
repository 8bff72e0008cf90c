/** A clock that steps back: nothing is signed until it is right again, over a restart too; taking back goes on. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { engines } from '../../server/test/postgres.ts';
import { type LoggedIn, refusal, SmallCa } from './small-ca.ts';

describe.each(engines)('the clock on $engine', ({ place }) => {
  let ca: SmallCa;
  let ada: LoggedIn;
  let lin: LoggedIn;
  beforeAll(async () => {
    ca = await SmallCa.start({ place: await place() });
    // The persons log in by the clock that will come back.
    ca.clock.offsetMs = -120_000;
    await ca.restart({ clockTrustedAfterRecord: 1_000_000 });
    ada = await ca.login('ada');
    lin = await ca.login('lin');
    ca.clock.offsetMs = 0;
    await ca.restart({ clockTrustedAfterRecord: 1_000_000 });
  });
  afterAll(() => ca.close());

  const behind = async () =>
    Number(/^beacon_clock_behind_seconds (.*)$/m.exec(await ca.running.metrics.text())?.[1]);

  test('L10: refuses certificates while the clock is more than a minute behind, and issues again when it is right', async () => {
    const first = await ca.sign(lin);
    expect(first.status).toBe(201);
    const serials = await ca.serials();
    ca.clock.offsetMs = -90_000;
    for (let i = 0; i < 3; i += 1)
      expect(refusal(await ca.sign(lin))).toEqual({ status: 503, code: 'clock-went-back' });
    expect(refusal(await ca.addHost(ada, 'late-01'))).toEqual({ status: 503, code: 'clock-went-back' });
    expect(await behind()).toBeGreaterThan(80);
    expect(await ca.serials()).toEqual(serials);
    expect(await ca.lastRecord()).toMatchObject({ kind: 'refused', facts: { code: 'clock-went-back' } });

    const taken = { v: 1, by: 'serial', value: first.body['serial'], reason: 'taking back needs no clock' };
    expect((await ca.ask(lin, 'POST', '/v1/revocations', taken)).status).toBe(200);

    ca.clock.offsetMs = -50_000;
    expect((await ca.sign(lin)).status).toBe(201);
    ca.clock.offsetMs = 0;
    expect((await ca.sign(lin)).status).toBe(201);
    expect(await behind()).toBe(0);
    expect(await ca.verifyChain()).toMatchObject({ ok: true });
  });

  test('L10: remembers over a restart, and an operator can say from which record on times count', async () => {
    expect((await ca.sign(lin)).status).toBe(201);
    ca.clock.offsetMs = -90_000;
    await ca.restart();
    expect(refusal(await ca.sign(lin))).toEqual({ status: 503, code: 'clock-went-back' });
    await ca.restart();
    expect(refusal(await ca.sign(lin))).toEqual({ status: 503, code: 'clock-went-back' });
    await ca.restart({ clockTrustedAfterRecord: (await ca.lastRecord()).seq });
    expect((await ca.sign(lin)).status).toBe(201);
  });
});
