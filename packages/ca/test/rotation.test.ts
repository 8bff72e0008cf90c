import { fingerprint } from '@beacon/ssh/public-key';
import { createHostCa, createUserCa } from '@beacon/ssh/sign-certificate';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { engines } from '../../server/test/postgres.ts';
import { createCa, type RunningCa } from '../src/create-ca.ts';
import { askToken, Machine } from './machine.ts';
import { newSigner, type Reply, refusal } from './small-ca.ts';
import { judgeByKrl } from './ssh-keygen.ts';
import { draw, lineOf, publish, startTrustLab, type TrustLab } from './trust-lab.ts';

const HOUR_MS = 3_600_000;

type Shown = Record<'fingerprint' | 'state', string> & { since: number; waiting: { id: string }[] };

describe.each(engines)('a key of the user CA is replaced on $engine', ({ place }) => {
  let lab: TrustLab;
  /** Another process on the same store. */
  let second: RunningCa;
  const machines: Machine[] = [];
  const [next, unopened] = [newSigner(), newSigner()];
  const key = fingerprint(next.publicKey);
  let own: string;
  const issued: string[] = [];
  beforeAll(async () => {
    lab = await startTrustLab(
      { trustedProxies: ['127.0.0.1'], place: await place() },
      { userCaNext: createUserCa(next) },
    );
    own = fingerprint(lab.ca.keys.userCa.publicKey);
    await publish(lab);
    for (const id of ['one', 'two', 'three', 'off']) {
      const machine = new Machine(lab.ca, id);
      await machine.enrol((await askToken(lab, id)).body['token']);
      expect((await machine.report()).status).toBe(200);
      machines.push(machine);
    }
    await lab.ca.ask(lab.ada, 'POST', '/v1/hosts/off/disable', { v: 1, reason: 'x' });
    if ('url' in lab.ca.place) second = await createCa(lab.ca.options);
  });
  afterAll(async () => {
    await second?.close();
    await lab.ca.close();
  });

  const activate = (change: object = {}, who = lab.ada) =>
    lab.ca.ask(who, 'POST', '/v1/rotation', { v: 1, key, without: [], reason: 'yearly', ...change });
  const state = async (of = key) => {
    const { body } = await lab.ca.ask(lab.ada, 'GET', '/v1/rotation');
    return (body['keys'] as Shown[]).find((one) => one.fingerprint === of);
  };
  const both = () => [lineOf(lab.ca.keys.userCa.publicKey), lineOf(next.publicKey)];
  const published = async () =>
    ((await lab.ca.send('GET', '/v1/ca-keys')).body['user'] as Shown[]).map((one) => one.fingerprint);
  /** By which key a certificate for one of the machines is signed. */
  const signedBy = async () => {
    const reply = await lab.ca.sign(lab.ada, { host: 'one', login: 'beacon', lifetime_seconds: 60 });
    expect(reply.status).toBe(201);
    issued.push(reply.body['certificate']);
    return (await lab.ca.lastRecord()).facts?.['authority'];
  };

  test('B13: a key that no root names is not activated, and does not sign', async () => {
    expect(refusal(await activate())).toEqual({ status: 404, code: 'ca-key-unknown' });
    expect(await signedBy()).toBe(own);
    expect(await published()).toEqual([own]);
  });

  test('B13: a key waits for the hosts that were seen within a day, and names those that lack it', async () => {
    const userCa = [...both(), lineOf(unopened.publicKey)];
    expect((await publish(lab, draw(lab, { version: 2, userCa }))).status).toBe(201);
    expect(await state()).toMatchObject({ state: 'next', in_use: false, opened: true, since: 2 });
    expect((await state())?.waiting.map(({ id }) => id)).toEqual(['one', 'three', 'two']);
    for (const machine of machines.slice(0, 2))
      expect((await machine.report({ trust: { root: 2, status: 1 } })).status).toBe(200);
    const waits = await activate();
    expect(refusal(waits)).toEqual({ status: 409, code: 'rotation-waits' });
    expect(waits.body['denial']).toEqual({ hosts: ['three'] });
    expect(waits.body['detail']).toContain('three');
    expect(await signedBy()).toBe(own);
    expect((await published()).toSorted()).toEqual([own, key, fingerprint(unopened.publicKey)].toSorted());
  });

  test('a key that this CA does not have is not activated', async () => {
    const reply = await activate({ key: fingerprint(unopened.publicKey), without: ['three'] });
    expect(refusal(reply)).toEqual({ status: 503, code: 'ca-key-missing' });
    expect(reply.body['detail']).toContain('keys.user_ca_next');
  });

  test('rotation is asked for and activated by who has ca.rotate alone', async () => {
    const lin = await lab.ca.login('lin');
    expect(refusal(await activate({}, lin))).toEqual({ status: 403, code: 'policy-denied' });
    const asked = await lab.ca.ask(lin, 'GET', '/v1/rotation');
    expect(refusal(asked)).toEqual({ status: 403, code: 'policy-denied' });
  });

  test('B13: a host that was not seen for a day is not waited for', async () => {
    const { store } = lab.ca.running.ca;
    const seen = (at: number) =>
      store.updateTable('host_reports').set({ seen_at: at }).where('host', '=', 'three').execute();
    await seen(lab.ca.clock.now().getTime() - 25 * HOUR_MS);
    expect((await state())?.waiting).toEqual([]);
    const { unseen } = (await lab.ca.ask(lab.ada, 'GET', '/v1/rotation')).body;
    expect(unseen).toEqual(['db-01', 'three', 'web-01']);
    await seen(lab.ca.clock.now().getTime());
  });

  test('B13: a host is left behind by name, the record says so, and from then on the key signs', async () => {
    expect((await activate({ without: ['three'] })).status).toBe(201);
    expect(await lab.ca.lastRecord()).toMatchObject({
      kind: 'rotation-activated',
      facts: { key, authority: 'user', root: 2, without: ['three'], waiting: ['three'], reason: 'yearly' },
    });
    expect(await signedBy()).toBe(key);
    expect(await state()).toMatchObject({ state: 'signs', in_use: true });
    expect((await published())[0]).toBe(key);
    expect(refusal(await activate())).toEqual({ status: 409, code: 'rotation-done' });
    if (second !== undefined) {
      const there = await second.ca.userCa.signing(second.ca.store);
      expect(fingerprint(there.publicKey)).toBe(key);
    }
  });

  test('a process without the key that signs does not start', async () => {
    const { userCaNext, ...keys } = lab.ca.keys;
    await lab.ca.down();
    await expect(createCa({ ...lab.ca.options, keys })).rejects.toMatchObject({ code: 'keys' });
    // The former key may go from ca.yaml at any time now.
    await lab.ca.up({ keys: { ...keys, userCa: userCaNext ?? keys.userCa } });
    expect(await signedBy()).toBe(key);
  });

  test('K5: the list goes on naming what the former key signed', async () => {
    const [line = ''] = issued;
    const row = await lab.ca.running.ca.store
      .selectFrom('certificates')
      .selectAll()
      .where('authority', '=', own)
      .where('kind', '=', 'user')
      .where('login', '=', 'beacon')
      .orderBy('serial')
      .executeTakeFirstOrThrow();
    const body = { v: 1, by: 'serial', value: BigInt(row.serial).toString(), reason: 'x' };
    expect((await lab.ca.ask(lab.ada, 'POST', '/v1/revocations', body)).status).toBe(200);
    const list = Buffer.from(await (await fetch(`${lab.ca.url}/v1/krl`)).arrayBuffer());
    expect(judgeByKrl(list, issued)).toEqual(issued.map((one) => one === line));
  });

  test('B13: a root that leaves the former key out waits for the last certificate of it', async () => {
    const document = () => draw(lab, { version: 3, userCa: [lineOf(next.publicKey)] });
    const early = await publish(lab, document());
    expect(refusal(early)).toEqual({ status: 409, code: 'rotation-waits' });
    const held = (await state(own)) as unknown as { held_until: string };
    expect(early.body['denial']).toEqual({ until: held.held_until, hosts: [] });
    const without = draw(lab, { version: 3, userCa: [lineOf(lab.ca.keys.userCa.publicKey)] });
    expect(refusal(await publish(lab, without))).toEqual({ status: 400, code: 'trust-root-refused' });
    lab.ca.clock.offsetMs += Date.parse(held.held_until) - lab.ca.clock.now().getTime() + 1000;
    expect((await publish(lab, document())).status).toBe(201);
    expect((await lab.ca.lastRecord()).facts).toMatchObject({
      left_out: expect.arrayContaining([own, fingerprint(unopened.publicKey)]),
      revoked: [],
    });
    expect(await published()).toEqual([key]);
    expect(await signedBy()).toBe(key);
  });

  test('a row that says otherwise than its record is not believed', async () => {
    const { store } = lab.ca.running.ca;
    await store
      .updateTable('ca_keys')
      .set({ record_hash: 'f'.repeat(64) })
      .where('fingerprint', '=', key)
      .execute();
    await expect(lab.ca.running.ca.userCa.signing(store)).rejects.toMatchObject({ code: 'row-unverified' });
  });
});

describe('a key of the host CA is replaced', () => {
  let lab: TrustLab;
  const machines: Machine[] = [];
  const next = newSigner();
  const key = fingerprint(next.publicKey);
  beforeAll(async () => {
    lab = await startTrustLab(
      { trustedProxies: ['127.0.0.1'], hosts: false },
      { hostCaNext: createHostCa(next) },
    );
    await publish(lab);
    for (const id of ['one', 'two', 'three']) {
      const machine = new Machine(lab.ca, id);
      await machine.enrol((await askToken(lab, id)).body['token']);
      expect((await machine.report()).status).toBe(200);
      machines.push(machine);
    }
  });
  afterAll(() => lab.ca.close());

  const report = (machine: Machine, more: object = {}) =>
    machine.report({ trust: { root: 2, status: 1 }, ...more });
  const retired = () => draw(lab, { version: 3, hostCa: [lineOf(next.publicKey)] });
  const named = (reply: Reply) => reply.body['host'].certificate_authorities as string[];
  const sign = () => lab.ca.sign(lab.ada, { host: 'one', login: 'beacon', lifetime_seconds: 60 });

  test('B13: from the root on that names both, all who connect are told both', async () => {
    const old = lineOf(lab.ca.keys.hostCa.publicKey);
    expect(named(await sign())).toEqual([old]);
    const hostCa = [old, lineOf(next.publicKey)];
    expect((await publish(lab, draw(lab, { version: 2, hostCa }))).status).toBe(201);
    expect(named(await sign())).toEqual(hostCa);
    for (const machine of machines) expect((await report(machine)).body['renew']).toBe(false);
    const request = { v: 1, key, without: [], reason: 'yearly' };
    expect((await lab.ca.ask(lab.ada, 'POST', '/v1/rotation', request)).status).toBe(201);
    expect(named(await sign())).toEqual(hostCa.toReversed());
    const { host } = (await lab.ca.send('GET', '/v1/ca-keys')).body;
    expect((host as Shown[]).map((one) => one.fingerprint)).toEqual([
      key,
      fingerprint(lab.ca.keys.hostCa.publicKey),
    ]);
  });

  test('B13: hosts are told to renew, and the former key waits for each of them by name', async () => {
    const [one, two] = machines as [Machine, Machine];
    for (const machine of machines) expect((await report(machine)).body['renew']).toBe(true);
    const shown = (await one.renew()).body['serial'] as string;
    expect((await report(one, { certificate: shown })).body['renew']).toBe(false);
    const waits = await publish(lab, retired());
    expect(refusal(waits)).toEqual({ status: 409, code: 'rotation-waits' });
    expect(waits.body['denial']).toEqual({ until: null, hosts: ['three', 'two'] });
    const before = await lab.ca.running.ca.store
      .selectFrom('certificates')
      .select('serial')
      .where('host', '=', 'two')
      .executeTakeFirstOrThrow();
    expect((await two.renew()).status).toBe(201);
    // It has the new certificate, and shows the old one still.
    const old = BigInt(before.serial).toString();
    expect((await report(two, { certificate: old })).body['renew']).toBe(true);
    expect((await publish(lab, retired())).body['denial']).toEqual({ until: null, hosts: ['three', 'two'] });
    expect((await report(two)).body['renew']).toBe(false);
    expect((await publish(lab, retired())).body['denial']).toEqual({ until: null, hosts: ['three'] });
  });

  test('B13: a stolen key goes at once: it is revoked, and the hosts that still have a certificate of it renew', async () => {
    const [, , three] = machines as [Machine, Machine, Machine];
    const four = new Machine(lab.ca, 'four');
    await four.enrol((await askToken(lab, 'four')).body['token']);
    // As one that was enrolled before the change, and did not renew.
    await lab.ca.running.ca.store
      .updateTable('certificates')
      .set({ authority: fingerprint(lab.ca.keys.hostCa.publicKey) })
      .where('host', '=', 'four')
      .execute();
    expect((await publish(lab, retired(), { now: true })).status).toBe(201);
    const old = fingerprint(lab.ca.keys.hostCa.publicKey);
    expect((await lab.ca.lastRecord()).facts).toMatchObject({ left_out: [old], revoked: [old] });
    const { serial } = await lab.ca.running.ca.store
      .selectFrom('certificates')
      .select('serial')
      .where('host', '=', 'four')
      .executeTakeFirstOrThrow();
    const asked = { v: 1, by: 'serial', value: BigInt(serial).toString(), reason: 'it was broken into' };
    expect((await lab.ca.ask(lab.ada, 'POST', '/v1/revocations', asked)).status).toBe(200);
    expect(refusal(await four.renew())).toEqual({ status: 403, code: 'host-certificate-ended' });
    expect(named(await sign())).toEqual([lineOf(next.publicKey)]);
    expect((await report(three)).body['renew']).toBe(true);
    expect((await three.renew()).status).toBe(201);
    expect((await report(three)).body['renew']).toBe(false);
    const again = draw(lab, {
      version: 4,
      hostCa: [lineOf(next.publicKey), lineOf(lab.ca.keys.hostCa.publicKey)],
    });
    expect(refusal(await publish(lab, again))).toEqual({ status: 400, code: 'trust-root-refused' });
  });
});

describe('which key signs after a start', () => {
  test('B13: not one that was exchanged in ca.yaml; one in place of a revoked one', async () => {
    const lab = await startTrustLab({ hosts: false });
    try {
      await publish(lab);
      const other = createUserCa(newSigner());
      const keys = { ...lab.ca.keys, userCa: other };
      await lab.ca.down();
      await expect(createCa({ ...lab.ca.options, keys })).rejects.toMatchObject({ code: 'keys' });
      await lab.ca.up();
      const old = fingerprint(lab.ca.keys.userCa.publicKey);
      const revocation = { v: 1, by: 'ca_key', value: old, reason: 'stolen' };
      expect((await lab.ca.ask(lab.ada, 'POST', '/v1/revocations', revocation)).status).toBe(200);
      expect((await lab.ca.send('GET', '/readyz')).status).toBe(200);
      await lab.ca.restart({ keys });
      expect(await lab.ca.lastRecord()).toMatchObject({
        kind: 'ca-key',
        facts: { authority: 'user', key: fingerprint(other.publicKey) },
      });
      const stale = draw(lab, {
        version: 2,
        userCa: [lineOf(other.publicKey), lineOf(lab.ca.keys.userCa.publicKey)],
      });
      expect(refusal(await publish(lab, stale))).toEqual({ status: 400, code: 'trust-root-refused' });
      const root = draw(lab, { version: 2, userCa: [lineOf(other.publicKey)] });
      expect((await publish(lab, root)).status).toBe(201);
    } finally {
      await lab.ca.close();
    }
  });

  test('any that ca.yaml names while no root is published', async () => {
    const lab = await startTrustLab({ hosts: false });
    try {
      const other = createHostCa(newSigner());
      await lab.ca.restart({ keys: { ...lab.ca.keys, hostCa: other } });
      const { host } = (await lab.ca.send('GET', '/v1/ca-keys')).body;
      expect((host as Shown[]).map((one) => one.fingerprint)).toEqual([fingerprint(other.publicKey)]);
    } finally {
      await lab.ca.close();
    }
  });
});
