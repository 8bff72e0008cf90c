/** Policy, inventory and services replaced while the CA serves. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Service } from '../src/services-configuration.ts';
import { inventory, type LoggedIn, policyText, refusal, SmallCa } from './small-ca.ts';

const ADA_ALONE = policyText.replace(/@id\("web-team-logs-in"\)[\s\S]*?;\n/, '');

let ca: SmallCa;
let lin: LoggedIn;
beforeAll(async () => {
  ca = await SmallCa.start({ trustedProxies: ['127.0.0.1'] });
  lin = await ca.login('lin');
});
afterAll(() => ca.close());

const files =
  (text: string, services: ReadonlyMap<string, Service> = ca.options.services) =>
  () => ({
    policies: [{ name: 'a.cedar', text }],
    inventory,
    services,
  });
const figure = async (name: string) =>
  Number(new RegExp(`^${name} (.*)$`, 'm').exec(await ca.running.metrics.text())?.[1]);
const notes = async () => (await ca.send('GET', '/readyz')).body['notes'];

describe('a start', () => {
  const loaded = async () =>
    (await ca.records())
      .filter(({ kind }) => kind === 'rules-loaded')
      .map(({ facts }) => facts?.['policy_version']);

  test('records rules that were not in use before it, once, and then nothing while they stay', async () => {
    const { version: first } = ca.running.ca.policy;
    expect(await loaded()).toEqual([first]);
    expect((await ca.records())[0]?.kind).toBe('rules-loaded');
    await ca.restart();
    expect(await loaded()).toEqual([first]);
    await ca.restart(files(ADA_ALONE)());
    const { version: second } = ca.running.ca.policy;
    expect(await loaded()).toEqual([first, second]);
    await ca.restart({ ...files(ADA_ALONE)(), services: new Map() });
    expect(await loaded()).toEqual([first, second, second]);
    await ca.running.reload(files(policyText, ca.caOptions().services));
    await ca.restart();
    expect(await loaded()).toEqual([first, second, second, first]);
    expect(await ca.verifyChain()).toMatchObject({ ok: true });
  });

  test('does not take the word of a record that was changed', async () => {
    const { policy } = ca.running.ca;
    const last = (await ca.records()).findLast(({ kind }) => kind === 'rules-loaded');
    const seq = last?.seq ?? 0;
    const line = last?.line ?? '';
    const write = (text: string) =>
      ca.running.ca.store.updateTable('records').set({ line: text }).where('seq', '=', seq).execute();
    const before = (await ca.records()).length;
    await write(line.replace(policy.version, '0'.repeat(64)));
    await ca.restart();
    const latest = await ca.lastRecord();
    expect([latest.seq, latest.facts?.['policy_version']]).toEqual([before + 1, policy.version]);
    await write(line);
  });
});

describe('a reload', () => {
  test('takes over whole, and is in the chain before it counts', async () => {
    expect((await ca.sign(lin)).status).toBe(201);
    await ca.running.reload(files(ADA_ALONE));
    const record = await ca.lastRecord();
    expect(record).toMatchObject({
      kind: 'rules-loaded',
      facts: { policy_version: ca.running.ca.policy.version },
    });
    expect(refusal(await ca.sign(lin))).toEqual({ status: 403, code: 'policy-denied' });
    await ca.running.reload(files(policyText));
    expect((await ca.sign(lin)).status).toBe(201);
  });

  test.each<[string, () => ReturnType<ReturnType<typeof files>>]>([
    ['policy that does not parse', () => files('permit (')()],
    [
      'policy that names an unknown action',
      () => files('permit (principal, action == Action::"x", resource);')(),
    ],
    [
      'file that cannot be read',
      () => {
        throw new Error('EACCES');
      },
    ],
    [
      'service that no client can be made of',
      () => {
        const service = { ...ca.portal.service, redirect_uris: ['https://portal.example/#fragment'] };
        return files(ADA_ALONE, new Map([['portal', service]]))();
      },
    ],
  ])('P1: with a %s keeps all of the last good rules and says so', async (_, read) => {
    const { policy, services } = ca.running.ca;
    const records = (await ca.records()).length;
    await expect(ca.running.reload(read)).rejects.toThrow();
    expect(ca.running.ca.policy).toBe(policy);
    expect(ca.running.ca.services).toBe(services);
    expect(await figure('beacon_rules_reload_failed')).toBe(1);
    expect(await notes()).toEqual({ rules: 'last-good' });
    expect((await ca.send('GET', '/readyz')).status).toBe(200);
    expect((await ca.records()).length).toBe(records);
    expect((await ca.sign(lin)).status).toBe(201);
    await ca.running.reload(files(policyText));
    expect(await figure('beacon_rules_reload_failed')).toBe(0);
    expect(await notes()).toEqual({ rules: 'current' });
  });

  test('takes a service away, and brings another, for tokens and metadata too', async () => {
    const metadata = async () =>
      (await ca.send('GET', '/.well-known/oauth-authorization-server')).body['protected_resources'];
    const before = await metadata();
    expect(before).toContain('urn:beacon:broker:portal');
    const atPortal = await ca.loginAtPortal('ada');
    expect((await ca.ask(atPortal, 'GET', '/v1/records')).status).toBe(200);
    const other = { ...ca.portal.service, id: 'other' };
    await ca.running.reload(files(policyText, new Map([['other', other]])));
    expect(await metadata()).toEqual(['urn:beacon:ca', 'urn:beacon:broker:other']);
    await expect(ca.loginAtPortal('kim')).rejects.toThrow();
    // What it was given before is worth nothing either, whatever policy lets the person do.
    expect(refusal(await ca.ask(atPortal, 'GET', '/v1/records'))).toEqual({
      status: 401,
      code: 'token-invalid',
    });
    await ca.running.reload(files(policyText));
    expect(await metadata()).toEqual(before);
    expect((await ca.loginAtPortal('kim')).person).toBe('github:105');
  });

  test('P5: older policies that come back are recorded under their own version, and every decision names it', async () => {
    const [old] = [ca.running.ca.policy.version];
    await ca.running.reload(files(ADA_ALONE));
    const newer = ca.running.ca.policy.version;
    await ca.running.reload(files(policyText));
    const loaded = (await ca.records()).filter(({ kind }) => kind === 'rules-loaded').slice(-2);
    expect(loaded.map(({ facts }) => facts?.['policy_version'])).toEqual([newer, old]);
    expect((await ca.sign(lin)).status).toBe(201);
    expect((await ca.lastRecord()).facts?.['policy_version']).toBe(old);
    await ca.restart();
    const restarted = (await ca.records()).filter(({ kind }) => kind === 'rules-loaded').at(-1);
    expect(restarted?.facts?.['policy_version']).toBe(old);
  });

  test('P4: under load each decision uses exactly one version, the one it records', async () => {
    const versions = new Map<string, boolean>();
    versions.set(ca.running.ca.policy.version, true);
    await ca.running.reload(files(ADA_ALONE));
    versions.set(ca.running.ca.policy.version, false);
    expect(versions.size).toBe(2);
    const from = (await ca.records()).length;
    let busy = true;
    const flips = (async () => {
      for (let round = 0; busy; round += 1)
        await ca.running.reload(files(round % 2 ? ADA_ALONE : policyText));
    })();
    const body = { v: 1, host: 'web-01', login: 'deploy', lifetime_seconds: 900 };
    const ask = async (round: number) =>
      round % 2 === 0 ? ca.sign(lin) : ca.ask(lin, 'POST', '/v1/decisions', body);
    for (let round = 0; round < 8; round += 1) {
      const replies = await Promise.all(Array.from({ length: 24 }, (_, at) => ask(at)));
      for (const { status, body: said } of replies) {
        expect([200, 201, 403]).toContain(status);
        if (status === 200) expect(said['allowed']).toBe(versions.get(said['policy_version']));
      }
    }
    busy = false;
    await flips;
    const seen = { allowed: 0, denied: 0 };
    for (const { kind, facts } of (await ca.records()).slice(from)) {
      const denial = facts?.['denial'];
      const version =
        typeof denial === 'string'
          ? (JSON.parse(denial) as { policy_version: string }).policy_version
          : String(facts?.['policy_version']);
      if (kind === 'rules-loaded') continue;
      const allowed = kind === 'certificate' || facts?.['allowed'] === true;
      expect([kind, versions.get(version)]).toEqual([kind, allowed]);
      seen[allowed ? 'allowed' : 'denied'] += 1;
    }
    expect(seen.allowed + seen.denied).toBe(8 * 24);
    expect(Math.min(seen.allowed, seen.denied)).toBeGreaterThan(0);
    expect(await ca.verifyChain()).toMatchObject({ ok: true });
    await ca.running.reload(files(policyText));
  });
});
