import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type LoggedIn, policyText, type Reply, refusal, SmallCa } from './small-ca.ts';

let ca: SmallCa;
const who = new Map<string, LoggedIn>();
beforeAll(async () => {
  ca = await SmallCa.start();
  for (const name of ['ada', 'lin', 'mallory'] as const) who.set(name, await ca.login(name));
});
afterAll(() => ca.close());

const SERIAL = '987654321';
const authorityQuestions: Record<string, (one: LoggedIn) => Promise<Reply>> = {
  'ca.hosts': (one) => ca.ask(one, 'POST', '/v1/hosts/nowhere/disable', { v: 1, reason: 'x' }),
  'ca.persons': (one) => ca.ask(one, 'GET', '/v1/persons'),
  'ca.revoke': (one) =>
    ca.ask(one, 'POST', '/v1/revocations', { v: 1, by: 'serial', value: SERIAL, reason: 'x' }),
  'ca.records': (one) => ca.ask(one, 'GET', '/v1/records'),
  'ca.decisions': (one) =>
    ca.ask(one, 'POST', '/v1/decisions', {
      v: 1,
      host: 'web-01',
      login: 'deploy',
      lifetime_seconds: 60,
      person: 'github:7',
    }),
};

test('P2: what no policy gives is denied: every authority action, by everybody whom no policy names', async () => {
  for (const [action, ask] of Object.entries(authorityQuestions)) {
    for (const [name, one] of who) {
      const reply = await ask(one);
      if (name === 'ada') expect([200, 404]).toContain(reply.status);
      else {
        expect(refusal(reply)).toEqual({ status: 403, code: 'policy-denied' });
        expect(reply.body['denial'].reason.code).toBe('no-permit');
        expect(await ca.lastRecord()).toMatchObject({
          kind: 'refused',
          facts: { action, code: 'policy-denied' },
        });
      }
    }
  }
});

test('P2: each action is given by its own name alone', async () => {
  const lin = who.get('lin');
  if (lin === undefined) throw new Error('nobody is logged in');
  for (const given of Object.keys(authorityQuestions)) {
    const text = `${policyText}
@id("one") permit (principal == Person::"github:102", action == Action::"${given}", resource);`;
    await ca.restart({ policies: [{ name: 'a.cedar', text }] });
    for (const [action, ask] of Object.entries(authorityQuestions))
      expect([action, (await ask(lin)).status === 403]).toEqual([action, action !== given]);
  }
  await ca.restart();
});

test('P1, P2: without any policy nothing is allowed to anybody', async () => {
  await ca.restart({ policies: [] });
  for (const one of who.values()) {
    expect((await ca.sign(one)).status).toBe(403);
    for (const ask of Object.values(authorityQuestions)) expect((await ask(one)).status).toBe(403);
    expect((await ca.ask(one, 'GET', '/v1/hosts')).body['hosts']).toEqual([]);
  }
  await ca.restart();
});

test('P3: a host, a login and a pool match as they are written, never by case, beginning or wildcard', async () => {
  const [ada, lin] = [who.get('ada'), who.get('lin')];
  if (ada === undefined || lin === undefined) throw new Error('nobody is logged in');
  for (const [id, pools] of [
    ['web-010', ['webs']],
    ['web-0', ['we']],
    ['web-01.example', ['web.']],
    ['x-web-01', []],
  ] as const)
    await ca.addHost(ada, id, { pools: pools.filter((pool) => pool !== 'web.') });
  for (const host of ['web-010', 'web-0', 'web-01.example', 'x-web-01'])
    expect((await ca.sign(lin, { host })).status).toBe(403);
  for (const [login, status] of [
    ['deploy', 201],
    ['deploy_', 403],
    ['deplo', 403],
    ['beacon', 403],
  ] as const)
    expect((await ca.sign(lin, { login })).status).toBe(status);
  for (const host of ['web-01.', 'WEB-01', 'web-0１', 'web-*']) {
    const { status } = await ca.sign(lin, { host });
    expect([400, 403, 404]).toContain(status);
  }
});
