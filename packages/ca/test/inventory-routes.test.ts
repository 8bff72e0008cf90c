import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type LoggedIn, refusal, SmallCa } from './small-ca.ts';

let ca: SmallCa;
let ada: LoggedIn;
let lin: LoggedIn;
let mallory: LoggedIn;
beforeAll(async () => {
  ca = await SmallCa.start();
  [ada, lin, mallory] = [await ca.login('ada'), await ca.login('lin'), await ca.login('mallory')];
});
afterAll(() => ca.close());

const idsOf = async (who: LoggedIn) =>
  ((await ca.ask(who, 'GET', '/v1/hosts')).body['hosts'] as { id: string }[]).map(({ id }) => id);

describe('hosts', () => {
  test('are listed to who may log in to them, and all to who has ca.hosts', async () => {
    expect(await idsOf(ada)).toEqual(['db-01', 'web-01']);
    expect(await idsOf(lin)).toEqual(['web-01']);
    expect(await idsOf(mallory)).toEqual([]);
  });

  test('are listed by the same answers of policy however many there are, and others are served in between', async () => {
    for (let index = 0; index < 30; index += 1) {
      const added = await ca.addHost(ada, `many-${index}`, { pools: [index % 3 === 0 ? 'web' : 'db'] });
      expect(added.status).toBe(201);
    }
    const { policy } = ca.running.ca;
    const { allows } = policy;
    let asked = 0;
    let turns = 0;
    const slowly: typeof allows = (request) => {
      const until = performance.now() + 2;
      while (performance.now() < until);
      asked += 1;
      return allows(request);
    };
    Object.assign(policy, { allows: slowly });
    const listing = idsOf(lin);
    while (asked < 30) {
      await new Promise((resolve) => setImmediate(resolve));
      if (asked > 0) turns += 1;
    }
    const seen = await listing;
    Object.assign(policy, { allows });
    expect(turns).toBeGreaterThan(3);
    const allowed: string[] = [];
    for (const id of await idsOf(ada)) {
      const wish = { v: 1, host: id, login: 'deploy', lifetime_seconds: 30 };
      if ((await ca.ask(lin, 'POST', '/v1/decisions', wish)).body['allowed'] === true) allowed.push(id);
    }
    expect(seen).toEqual(allowed);
    expect(seen).toHaveLength(11);
  });

  test('one shows its logins to everybody, its address, labels and key only to who may use it', async () => {
    const whole = (await ca.ask(lin, 'GET', '/v1/hosts/web-01')).body;
    expect(whole).toMatchObject({
      id: 'web-01',
      state: 'enabled',
      address: '192.0.2.77',
      port: 22,
      labels: { env: 'test' },
      pools: ['web'],
    });
    expect((await ca.ask(mallory, 'GET', '/v1/hosts/web-01')).body).toEqual({
      id: 'web-01',
      state: 'enabled',
      logins: ['deploy', 'beacon'],
    });
    expect((await ca.ask(ada, 'GET', '/v1/hosts/db-01')).body).toMatchObject({ address: '192.0.2.77' });
    expect(refusal(await ca.ask(lin, 'GET', '/v1/hosts/nowhere'))).toEqual({
      status: 404,
      code: 'host-unknown',
    });
    expect(refusal(await ca.ask(lin, 'GET', '/v1/hosts/NO'))).toEqual({
      status: 400,
      code: 'path-malformed',
    });
  });
});

describe('sessions', () => {
  const sessions = (who: LoggedIn, query = '') => ca.ask(who, 'GET', `/v1/sessions${query}`);
  const current = async (who: LoggedIn) => (await ca.ask(who, 'GET', '/v1/sessions/current')).body;

  test('the current one says who is asking, through what, and which memberships count', async () => {
    expect(await current(lin)).toMatchObject({
      session: { person: 'github:102', name: 'lin', client: 'beacon-cli', current: true },
      service: 'beacon-cli',
      memberships: { teams: ['github:7001'], organizations: [] },
    });
    const portal = await current(await ca.loginAtPortal('lin'));
    expect(portal).toMatchObject({ session: { person: 'github:102' }, service: 'portal' });
  });

  test('one’s own are listed; another person’s with ca.persons only', async () => {
    const more = await ca.login('lin');
    const listed = (await sessions(more)).body['sessions'] as {
      id: string;
      current: boolean;
      person: string;
    }[];
    expect(listed.length).toBeGreaterThanOrEqual(2);
    expect(listed.filter((one) => one.current).map(({ id }) => id)).toEqual([
      (await current(more))['session'].id,
    ]);
    expect(new Set(listed.map(({ person }) => person))).toEqual(new Set(['github:102']));
    expect(refusal(await sessions(mallory, '?person=github:102'))).toEqual({
      status: 403,
      code: 'policy-denied',
    });
    expect(await ca.lastRecord()).toMatchObject({ kind: 'refused', facts: { action: 'ca.persons' } });
    expect((await sessions(ada, '?person=github:102')).body['sessions']).toHaveLength(listed.length);
    expect((await sessions(mallory, '?person=github:103')).status).toBe(200);
  });

  test('one’s own ends at once, with its GitHub token; the next request is refused', async () => {
    const sam = await ca.login('sam');
    const tokens = () => [...ca.standin.state.tokens.values()].filter(({ person }) => person === 106).length;
    expect([(await ca.sign(sam)).status, tokens()]).toEqual([201, 1]);
    const { id } = (await current(sam))['session'];
    const ended = await ca.ask(sam, 'DELETE', `/v1/sessions/${id}`);
    expect(ended.status).toBe(200);
    const records = (await ca.records()).slice(-2);
    expect(records.map(({ kind }) => kind).sort()).toEqual(['session-end-asked', 'session-ended']);
    const asked = records.find(({ kind }) => kind === 'session-end-asked');
    expect(ended.body).toEqual({ session: id, record: { seq: asked?.seq, hash: asked?.hash } });
    expect((await ca.sign(sam)).status).toBe(401);
    expect(tokens()).toBe(0);
  });

  test('another person’s is ended with ca.persons only', async () => {
    const kim = await ca.login('kim');
    const { id } = (await current(kim))['session'];
    expect(refusal(await ca.ask(mallory, 'DELETE', `/v1/sessions/${id}`))).toEqual({
      status: 403,
      code: 'policy-denied',
    });
    expect((await ca.sign(kim)).status).toBe(201);
    expect((await ca.ask(ada, 'DELETE', `/v1/sessions/${id}`)).status).toBe(200);
    expect((await ca.sign(kim)).status).toBe(401);
  });

  test('one that is not there is unknown to an administrator and denied to everybody else alike', async () => {
    const path = `/v1/sessions/0${'1'.repeat(25)}`;
    expect(refusal(await ca.ask(ada, 'DELETE', path))).toEqual({ status: 404, code: 'session-unknown' });
    expect(refusal(await ca.ask(mallory, 'DELETE', path))).toEqual({ status: 403, code: 'policy-denied' });
    expect((await ca.ask(ada, 'DELETE', '/v1/sessions/x')).status).toBe(400);
  });
});
