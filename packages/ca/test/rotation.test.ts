import { fingerprint } from '@beacon/ssh/public-key';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { askToken, Machine } from './machine.ts';
import { newSigner, refusal } from './small-ca.ts';
import { draw, lineOf, publish, startTrustLab, type TrustLab } from './trust-lab.ts';

let lab: TrustLab;
const machines: Machine[] = [];
const next = newSigner();
const key = fingerprint(next.publicKey);
beforeAll(async () => {
  lab = await startTrustLab({ trustedProxies: ['127.0.0.1'] });
  await publish(lab);
  for (const id of ['one', 'two', 'three', 'off']) {
    const machine = new Machine(lab.ca, id);
    await machine.enrol((await askToken(lab, id)).body['token']);
    expect((await machine.report()).status).toBe(200);
    machines.push(machine);
  }
  await lab.ca.ask(lab.ada, 'POST', '/v1/hosts/off/disable', { v: 1, reason: 'x' });
});
afterAll(() => lab.ca.close());

const activate = (change: object = {}, who = lab.ada) =>
  lab.ca.ask(who, 'POST', '/v1/rotation', { v: 1, key, without: [], reason: 'yearly', ...change });
const state = async () => {
  const { body } = await lab.ca.ask(lab.ada, 'GET', '/v1/rotation');
  const keys = body['keys'] as {
    fingerprint: string;
    in_use: boolean;
    since: number;
    waiting: { id: string }[];
  }[];
  return keys.find((one) => one.fingerprint === key);
};

test('B13: a key that no root names is not activated', async () => {
  expect(refusal(await activate())).toEqual({ status: 404, code: 'ca-key-unknown' });
});

test('B13: a key waits for the hosts that were seen within a day, and names those that lack it', async () => {
  const userCa = [lineOf(lab.ca.keys.userCa.publicKey), lineOf(next.publicKey)];
  expect((await publish(lab, draw(lab, { version: 2, userCa }))).status).toBe(201);
  expect(await state()).toMatchObject({ in_use: false, since: 2 });
  expect((await state())?.waiting.map(({ id }) => id)).toEqual(['one', 'three', 'two']);
  for (const machine of machines.slice(0, 2))
    expect((await machine.report({ trust: { root: 2, status: 1 } })).status).toBe(200);
  const waits = await activate();
  expect(refusal(waits)).toEqual({ status: 409, code: 'rotation-waits' });
  expect(waits.body['denial']).toEqual({ hosts: ['three'] });
  expect(waits.body['detail']).toContain('three');
});

test('B13: a host is left behind by name, and the record says so', async () => {
  const done = await activate({ without: ['three'] });
  expect(done.status).toBe(201);
  expect(await lab.ca.lastRecord()).toMatchObject({
    kind: 'rotation-activated',
    facts: { key, authority: 'user', root: 2, without: ['three'], waiting: ['three'], reason: 'yearly' },
  });
  const own = fingerprint(lab.ca.keys.userCa.publicKey);
  expect(refusal(await activate({ key: own }))).toEqual({ status: 409, code: 'rotation-done' });
});

test('rotation is asked for and activated by who has ca.rotate alone', async () => {
  const lin = await lab.ca.login('lin');
  expect(refusal(await activate({}, lin))).toEqual({ status: 403, code: 'policy-denied' });
  const asked = await lab.ca.ask(lin, 'GET', '/v1/rotation');
  expect(refusal(asked)).toEqual({ status: 403, code: 'policy-denied' });
});

test('B13: a host that was not seen for a day is not waited for', async () => {
  await lab.ca.running.ca.store
    .updateTable('host_reports')
    .set({ seen_at: lab.ca.clock.now().getTime() - 25 * 3_600_000 })
    .where('host', '=', 'three')
    .execute();
  expect((await state())?.waiting).toEqual([]);
  expect((await activate()).status).toBe(201);
});
