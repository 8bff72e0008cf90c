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

const question = { v: 1, host: 'web-01', login: 'deploy', lifetime_seconds: 900 };
const decide = (who: LoggedIn, change: object = {}) =>
  ca.ask(who, 'POST', '/v1/decisions', { ...question, ...change });

describe('a decision', () => {
  test('answers 200 with limits when it allows, takes no serial, and leaves one record of kind decision', async () => {
    const [serials, before] = [await ca.serials(), (await ca.records()).length];
    const { status, body } = await decide(lin);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      allowed: true,
      reason: { code: 'allowed' },
      missing: [],
      policies: ['web-team-logs-in'],
      policy_version: ca.running.ca.policy.version,
      limits: { max_lifetime_seconds: 900, extensions: ['permit-pty'] },
    });
    expect(await ca.serials()).toEqual(serials);
    const after = (await ca.records()).slice(before);
    expect(after).toHaveLength(1);
    expect(after[0]).toMatchObject({
      kind: 'decision',
      person: 'github:102',
      host: 'web-01',
      facts: {
        about: 'github:102',
        login: 'deploy',
        lifetime_seconds: 900,
        allowed: true,
        reason: 'allowed',
      },
    });
    expect(after[0]).not.toHaveProperty('grant');
    expect(body['record']).toEqual({ seq: after[0]?.seq, hash: after[0]?.hash });
  });

  test('answers 200 with the reason and what is missing when it denies, and records it likewise', async () => {
    const { status, body } = await decide(mallory);
    expect(status).toBe(200);
    expect(body).toMatchObject({ allowed: false, limits: null });
    expect(body['missing']).toContainEqual({ kind: 'team', id: 'github:7001' });
    expect(await ca.lastRecord()).toMatchObject({
      kind: 'decision',
      facts: { allowed: false, about: 'github:103' },
    });
    const long = await decide(lin, { lifetime_seconds: 901 });
    expect(long.body).toMatchObject({
      allowed: false,
      reason: { code: 'lifetime' },
      missing: [{ kind: 'lifetime', longest_seconds: 900 }],
    });
  });

  test.each<[string, object]>([
    ['the same question', {}],
    ['a longer lifetime', { lifetime_seconds: 901 }],
    ['another login of the host', { login: 'beacon' }],
    ['a login that the host has not', { login: 'root' }],
    ['another host', { host: 'db-01', login: 'root' }],
    ['the shortest lifetime', { lifetime_seconds: 30 }],
  ])('says of %s what a certificate’s request is then told', async (_what, change) => {
    for (const who of [lin, mallory, ada]) {
      const { body } = await decide(who, change);
      const signed = await ca.sign(who, change as Record<string, unknown>);
      expect(signed.status).toBe(body['allowed'] === true ? 201 : 403);
      if (signed.status === 403) {
        expect(signed.body['denial'].reason.code).toBe(body['reason'].code);
        expect(signed.body['denial'].missing).toEqual(body['missing']);
      }
    }
  });

  test('about another person or service only with ca.decisions', async () => {
    for (const change of [{ person: 'github:102' }, { service: 'portal' }]) {
      const before = (await ca.records()).length;
      expect(refusal(await decide(mallory, change))).toEqual({ status: 403, code: 'policy-denied' });
      expect((await ca.records()).slice(before)).toMatchObject([
        { kind: 'refused', facts: { action: 'ca.decisions', code: 'policy-denied' } },
      ]);
    }
    expect((await decide(mallory, { person: 'github:103' })).body).toMatchObject({ allowed: false });
    expect((await decide(ada, { person: 'github:102' })).body).toMatchObject({ allowed: true });
    expect(await ca.lastRecord()).toMatchObject({ person: 'github:101', facts: { about: 'github:102' } });
  });

  test('about somebody who never signed in, memberships are unknown and nothing is allowed by them', async () => {
    const { body } = await decide(ada, { person: 'github:105' });
    expect(body).toMatchObject({ allowed: false });
    expect(body['missing']).toContainEqual(expect.objectContaining({ kind: 'unknown' }));
    const stranger = await decide(ada, { person: 'github:999999999' });
    expect(stranger.body).toMatchObject({ allowed: false });
  });

  test('about a host that is not there or is disabled is no question: 404, 403, and a record each', async () => {
    expect(refusal(await decide(lin, { host: 'nowhere' }))).toEqual({ status: 404, code: 'host-unknown' });
    expect(await ca.lastRecord()).toMatchObject({ kind: 'refused', facts: { code: 'host-unknown' } });
    await ca.addHost(ada, 'off', { pools: ['web'] });
    await ca.ask(ada, 'POST', '/v1/hosts/off/disable', { v: 1, reason: 'broken' });
    expect(refusal(await decide(lin, { host: 'off' }))).toEqual({ status: 403, code: 'host-disabled' });
    expect(refusal(await ca.sign(lin, { host: 'off' }))).toEqual({ status: 403, code: 'host-disabled' });
  });

  test.each<[string, object]>([
    ['a key', { public_key: 'ssh-ed25519 AAAA' }],
    ['a lifetime of 29', { lifetime_seconds: 29 }],
    ['a lifetime of 3601', { lifetime_seconds: 3601 }],
    ['a person by name', { person: 'ada' }],
    ['every person', { person: '*' }],
  ])('refuses %s', async (_what, change) => {
    expect(refusal(await decide(ada, change))).toEqual({ status: 400, code: 'body-malformed' });
  });

  test('a run’s commands are decided as one question', async () => {
    const portal = await ca.loginAtPortal('lin');
    const salt = Buffer.alloc(32).toString('base64url');
    const install = {
      command: 'runner.install',
      params: '{"name":"r1","version":"1.0"}',
      salt,
      commitments: {},
      undo: { command: 'runner.remove', params: '{"name":"r1"}', salt, commitments: {} },
    };
    expect((await decide(portal, { commands: [install] })).body).toMatchObject({
      allowed: true,
      limits: { max_lifetime_seconds: 1800, extensions: [] },
    });
    expect((await ca.lastRecord()).facts).toMatchObject({ commands: ['runner.install'] });
    const wipe = { command: 'disk.wipe', params: '{}', salt, commitments: {} };
    expect((await decide(portal, { commands: [install, wipe] })).body).toMatchObject({ allowed: false });
  });

  test('says what a service may not ask for anybody, as the certificate’s request would', async () => {
    const portal = await ca.loginAtPortal('lin');
    const { body } = await decide(portal);
    expect(body).toMatchObject({
      allowed: false,
      reason: { code: 'service-refused' },
      limits: null,
      policies: [],
    });
    expect(await ca.lastRecord()).toMatchObject({
      kind: 'decision',
      facts: { allowed: false, reason: 'service-refused' },
    });
    expect(refusal(await ca.sign(portal))).toEqual({ status: 403, code: 'service-refused' });
    expect((await decide(ada, { person: 'github:102', service: 'portal' })).body).toMatchObject({
      allowed: false,
    });
    expect((await decide(ada, { service: 'nobody' })).body).toMatchObject({
      reason: { code: 'service-refused' },
    });
  });
});
