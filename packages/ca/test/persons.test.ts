import { discoverCa, finishDeviceLogin, generateProofKey, startDeviceLogin } from '@beacon/client';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Browser } from '../../../infra/demo/browser.ts';
import { type LoggedIn, PERSONS, refusal, SmallCa } from './small-ca.ts';

let ca: SmallCa;
let ada: LoggedIn;
let lin: LoggedIn;
beforeAll(async () => {
  ca = await SmallCa.start();
  [ada, lin] = [await ca.login('ada'), await ca.login('lin')];
});
afterAll(() => ca.close());

const change = (who: LoggedIn, person: string, verb: 'disable' | 'enable', reason = 'left') =>
  ca.ask(who, 'POST', `/v1/persons/${person}/${verb}`, { v: 1, reason });

describe('a disabled person', () => {
  test('loses all sessions and tokens, gets no certificate and cannot sign in, until enabled', async () => {
    const sessions = [await ca.login('kim'), await ca.loginAtPortal('kim')];
    const [kim] = sessions;
    if (kim === undefined) throw new Error('nobody is logged in');
    const { status, body } = await change(ada, 'github:105', 'disable', 'left the firm');
    expect(status).toBe(200);
    expect(body).toMatchObject({ person: 'github:105', state: 'disabled', sessions_ended: 2 });
    for (const who of sessions) {
      expect((await ca.ask(who, 'GET', '/v1/sessions/current')).status).toBe(401);
      expect((await ca.sign(who)).status).toBe(401);
    }
    expect([...ca.standin.state.tokens.values()].filter(({ person }) => person === PERSONS.kim)).toEqual([]);
    await expect(ca.login('kim')).rejects.toThrow(/403|disabled/);
    const listed = await ca.ask(ada, 'GET', '/v1/persons');
    expect(listed.body['disabled']).toMatchObject([
      { person: 'github:105', by: 'github:101', reason: 'left the firm' },
    ]);
    const record = (await ca.records()).find(({ kind }) => kind === 'person-disabled');
    expect(body['record']).toEqual({ seq: record?.seq, hash: record?.hash });
    expect(record?.facts).toMatchObject({ disabled: 'github:105', reason: 'left the firm' });
    expect((await change(ada, 'github:105', 'enable', 'came back')).body).toMatchObject({
      state: 'enabled',
      sessions_ended: 0,
    });
    expect((await ca.ask(kim, 'GET', '/v1/sessions/current')).status).toBe(401);
    expect((await ca.sign(await ca.login('kim'))).status).toBe(201);
    expect((await ca.ask(ada, 'GET', '/v1/persons')).body['disabled']).toEqual([]);
  });

  test('is refused within the very commit, when disabled while asking', async () => {
    const sam = await ca.login('sam');
    const replies = await Promise.all([
      ...Array.from({ length: 8 }, () => ca.sign(sam)),
      change(ada, 'github:106', 'disable'),
      ...Array.from({ length: 8 }, () => ca.sign(sam)),
    ]);
    const at = replies[8]?.body['record'].seq as number;
    for (const { status, body } of replies.filter((_, index) => index !== 8)) {
      if (status === 201) expect(body['record'].seq).toBeLessThan(at);
      else
        expect(['session-ended', 'person-disabled', 'token-invalid', 'sign-in-needed']).toContain(
          body['code'],
        );
    }
    await change(ada, 'github:106', 'enable');
  });

  test('begins no session with a sign-in that was under way, then or later', async () => {
    const proofKey = generateProofKey();
    const client = {
      metadata: await discoverCa(ca.url),
      clientId: 'beacon-cli',
      proofKey,
      resources: ['urn:beacon:ca'],
    };
    const login = await startDeviceLogin(client);
    const browser = new Browser();
    let page = await browser.get(login.verificationUri);
    page = await browser.submit(page, { person: 'kim' });
    page = await browser.submit(page, { user_code: login.userCode });
    expect(page.html).toContain('name="confirm"');
    await change(ada, 'github:105', 'disable');
    page = await browser.submit(page, { confirm: 'yes' });
    expect(page.html).toContain('an administrator has disabled you');
    expect(await ca.lastRecord()).toMatchObject({
      kind: 'sign-in-refused',
      person: 'github:105',
      facts: { code: 'person-disabled' },
    });
    expect([...ca.standin.state.tokens.values()].filter(({ person }) => person === PERSONS.kim)).toEqual([]);
    await change(ada, 'github:105', 'enable');
    expect(await ca.running.ca.sessions.listAlive('github:105')).toEqual([]);
    await expect(finishDeviceLogin(client, { ...login, intervalMs: 0 })).rejects.toMatchObject({
      code: 'login-declined',
    });
  });

  test('somebody who never signed in can be disabled beforehand', async () => {
    expect((await change(ada, 'github:104', 'disable')).body).toMatchObject({ sessions_ended: 0 });
    await expect(ca.login('una')).rejects.toThrow(/403|disabled/);
    await change(ada, 'github:104', 'enable');
  });
});

describe('who may', () => {
  test('disable, enable and list needs ca.persons, and a refusal is recorded', async () => {
    for (const ask of [
      () => change(lin, 'github:101', 'disable'),
      () => change(lin, 'github:102', 'enable'),
      () => ca.ask(lin, 'GET', '/v1/persons'),
    ]) {
      const before = (await ca.records()).length;
      expect(refusal(await ask())).toEqual({ status: 403, code: 'policy-denied' });
      expect((await ca.records()).slice(before)).toMatchObject([
        { kind: 'refused', person: 'github:102', facts: { action: 'ca.persons', code: 'policy-denied' } },
      ]);
    }
  });

  test.each(['lin', 'github:', 'github:01', 'github:*', 'github:1 ', 'GITHUB:1', '..'])(
    'refuses the person %s',
    async (name) => {
      const reply = await ca.ask(ada, 'POST', `/v1/persons/${encodeURIComponent(name)}/disable`, {
        v: 1,
        reason: 'x',
      });
      expect([400, 401, 404]).toContain(reply.status);
      expect((await ca.ask(ada, 'GET', '/v1/persons')).body['disabled']).toEqual([]);
    },
  );

  test.each(['', 'a\nb', 'x'.repeat(201), 'a\u0000b'])('refuses the reason %j', async (reason) => {
    expect(refusal(await change(ada, 'github:105', 'disable', reason))).toEqual({
      status: 400,
      code: 'body-malformed',
    });
  });
});
