import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseInventory } from '@beacon/policy';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { askToken, Machine } from './machine.ts';
import { type LoggedIn, refusal } from './small-ca.ts';
import { publish, startTrustLab, type TrustLab } from './trust-lab.ts';

const LIST = readFileSync(join(import.meta.dirname, '../../host/files/runner-allowlist.json'), 'utf8');
const sha256 = createHash('sha256').update(LIST).digest('hex');

const POLICY = `
@id("installs")
permit (
  principal in Team::"github:7001",
  action in [Action::"runner.install", Action::"runner.status"],
  resource in Pool::"web"
) when { context.service == "portal" };
@id("our-sites")
permit (principal in Team::"github:7001", action == Action::"runner.configure", resource in Pool::"web")
when { context.params.scope like "acme/*" };
@id("looks-back")
permit (principal, action == Action::"gate.records", resource) when { context.service == "portal" };
@id("logs-in")
permit (principal in Team::"github:7001", action == Action::"ssh", resource in Pool::"db");
@id("administrators")
permit (principal == Person::"github:101", action in [Action::"ca.hosts", Action::"ca.rotate"], resource);
`;

let lab: TrustLab;
let lin: LoggedIn;
let machine: Machine;
beforeAll(async () => {
  lab = await startTrustLab({
    policy: POLICY,
    trustedProxies: ['127.0.0.1'],
    inventory: parseInventory({
      commands: {
        ...JSON.parse(LIST).commands,
        'runner.status': { params: { runner: { pattern: '[a-z]+' } } },
        'disk.wipe': { params: {} },
        'gate.records': { params: { grant: { pattern: '[0-9a-z]{26}' } } },
      },
    }),
  });
  await publish(lab);
  lin = await lab.ca.loginAtPortal('lin');
  machine = new Machine(lab.ca, 'told-1');
  expect((await machine.enrol((await askToken(lab, machine.id)).body['token'])).status).toBe(201);
});
afterAll(() => lab.ca.close());

interface Entry {
  readonly command: string;
  readonly undo?: string;
  readonly offered: string;
  readonly allowed: string;
  readonly reason: { readonly code: string };
}
const commandsOf = async (who: LoggedIn, host: string) =>
  (await lab.ca.ask(who, 'GET', `/v1/hosts/${host}/commands`)).body['commands'] as Entry[];
const allowedOf = async (who: LoggedIn, host: string) =>
  Object.fromEntries((await commandsOf(who, host)).map(({ command, allowed }) => [command, allowed]));
const hostsOf = async (who: LoggedIn) =>
  ((await lab.ca.ask(who, 'GET', '/v1/hosts')).body['hosts'] as { id: string }[]).map(({ id }) => id);

describe('what a host offers', () => {
  test('is what the inventory says, until the host reports its allowlist', async () => {
    expect(await allowedOf(lin, 'told-1')).toMatchObject({
      'disk.wipe': 'no',
      'gate.records': 'yes',
      'runner.configure': 'depends',
      'runner.install': 'yes',
      'runner.remove': 'no',
    });
    expect(new Set((await commandsOf(lin, 'told-1')).map(({ offered }) => offered))).toEqual(
      new Set(['inventory']),
    );
    expect((await machine.report({ contract: { sha256, allowlist: LIST } })).status).toBe(200);
    const reported = await commandsOf(lin, 'told-1');
    expect(reported.map(({ command }) => command)).toEqual(
      [...Object.keys(JSON.parse(LIST).commands), 'gate.records', 'gate.state'].sort(),
    );
    expect(new Set(reported.map(({ offered }) => offered))).toEqual(new Set(['host']));
  });

  test('stands there in the words of the allowlist, with the reason for what is denied', async () => {
    const listed = JSON.parse(LIST).commands as Record<string, Record<string, unknown>>;
    for (const [name, entry] of Object.entries(listed)) {
      const found = (await commandsOf(lin, 'told-1')).find(({ command }) => command === name);
      expect(found).toMatchObject({
        summary: entry['summary'],
        params: entry['params'] ?? {},
        timeout_seconds: entry['timeout_seconds'],
        login: 'beacon',
      });
    }
    const reasons = Object.fromEntries(
      (await commandsOf(lin, 'told-1')).map(({ command, reason }) => [command, reason.code]),
    );
    expect(reasons).toMatchObject({
      'runner.install': 'allowed',
      'runner.configure': 'depends',
      'runner.remove': 'no-permit',
      'runner.status': 'parameter',
    });
  });

  test('is said to be of no use where the inventory names other parameters', async () => {
    const status = (await commandsOf(lin, 'told-1')).find(({ command }) => command === 'runner.status');
    expect(status).toMatchObject({
      allowed: 'no',
      reason: { text: expect.stringContaining("takes name; the CA's inventory says runner:") },
    });
  });

  test('is the inventory again for an allowlist that this CA cannot read', async () => {
    const other = new Machine(lab.ca, 'told-2');
    await other.enrol((await askToken(lab, other.id)).body['token']);
    const allowlist = '{"version":2,"commands":{}}';
    const digest = createHash('sha256').update(allowlist).digest('hex');
    expect((await other.report({ contract: { sha256: digest, allowlist } })).status).toBe(200);
    expect((await commandsOf(lin, 'told-2')).map(({ offered }) => offered)).toContain('inventory');
  });

  test('comes to programs by the client, as it is', async () => {
    const told = await lab.ca.api(lin).hostCommands('told-1');
    expect(told).toEqual(await commandsOf(lin, 'told-1'));
    expect(told.find(({ command }) => command === 'runner.configure')?.params['token']).toMatchObject({
      secret: true,
    });
  });
});

describe('what a host offers of named commands', () => {
  test('is they, where it has them, and what takes them back, each as in the whole list', async () => {
    const whole = await commandsOf(lin, 'told-1');
    const one = whole.find(({ undo }) => undo !== undefined);
    const told = await lab.ca.api(lin).hostCommands('told-1', [one?.command ?? '', 'not.there']);
    expect(told).toEqual(whole.filter(({ command }) => command === one?.command || command === one?.undo));
    expect(told.length).toBeLessThan(whole.length);
  });

  test.each(['', 'runner.install,', 'Runner', 'a,,b', Array.from({ length: 65 }, () => 'a.b').join(',')])(
    'is not looked for by %j',
    async (only) => {
      const answer = await lab.ca.ask(lin, 'GET', `/v1/hosts/told-1/commands?only=${only}`);
      expect(refusal(answer)).toEqual({ status: 400, code: 'query-malformed' });
    },
  );
});

describe('what of it one may run', () => {
  test('is decided for the service too: elsewhere it is no', async () => {
    const atHome = await lab.ca.login('lin');
    expect(await allowedOf(atHome, 'told-2')).toMatchObject({ 'runner.install': 'no', 'gate.records': 'no' });
    const install = (await commandsOf(atHome, 'told-2')).find(({ command }) => command === 'runner.install');
    expect(install).toMatchObject({ missing: [{ kind: 'service', service: 'portal' }] });
  });

  test('says which team is missing to who is in none', async () => {
    const mallory = await lab.ca.loginAtPortal('mallory');
    const found = (await commandsOf(mallory, 'told-1')).find(({ command }) => command === 'runner.install');
    expect(found).toMatchObject({ allowed: 'no', missing: [{ kind: 'team', id: 'github:7001' }] });
  });

  test('is nothing on a host that is disabled, or that is not there', async () => {
    await lab.ca.addHost(lab.ada, 'off', { pools: ['web'] });
    await lab.ca.ask(lab.ada, 'POST', '/v1/hosts/off/disable', { v: 1, reason: 'broken' });
    const reasons = (await commandsOf(lin, 'off')).map(({ allowed, reason }) => [allowed, reason.code]);
    expect(reasons.length).toBeGreaterThan(3);
    for (const reason of reasons) expect(reason).toEqual(['no', 'host-disabled']);
    expect(refusal(await lab.ca.ask(lin, 'GET', '/v1/hosts/nowhere/commands'))).toEqual({
      status: 404,
      code: 'host-unknown',
    });
  });

  test('is what a certificate is then given or denied for', async () => {
    const salt = Buffer.alloc(32, 1).toString('base64url');
    const sign = (command: string, params: object) =>
      lab.ca.sign(lin, {
        host: 'told-1',
        login: 'beacon',
        lifetime_seconds: 60,
        commands: [{ command, params: JSON.stringify(params), salt, commitments: {} }],
      });
    expect((await sign('runner.install', { name: 'r1', version: '2.3.4', arch: 'x64', sha256 })).status).toBe(
      201,
    );
    expect((await sign('runner.remove', { name: 'r1' })).status).toBe(403);
    const commitments = { token: salt };
    const about = { name: 'r1', labels: 'x', group: 'Default', mode: 'stays' };
    const configure = (scope: string) =>
      lab.ca.sign(lin, {
        host: 'told-1',
        login: 'beacon',
        lifetime_seconds: 60,
        commands: [
          { command: 'runner.configure', params: JSON.stringify({ ...about, scope }), salt, commitments },
        ],
      });
    expect((await configure('acme/site')).status).toBe(201);
    expect((await configure('other/site')).status).toBe(403);
  });
});

test('hosts that are alike have one answer, unless a policy names one of them', async () => {
  for (let i = 0; i < 4; i += 1) await lab.ca.addHost(lab.ada, `alike-${i}`, { pools: ['lone'] });
  await lab.ca.addHost(lab.ada, 'alike-no', { pools: ['other'] });
  const { policies, inventory, services } = lab.ca.caOptions();
  const text = `
    permit (principal, action == Action::"runner.list", resource in Pool::"lone") when { context.service == "portal" };
    forbid (principal, action == Action::"runner.list", resource == Host::"alike-2");`;
  await lab.ca.running.reload(() => ({ policies: [{ name: 'b.cedar', text }], inventory, services }));
  expect(await hostsOf(lin)).toEqual(['alike-0', 'alike-1', 'alike-3']);
  await lab.ca.running.reload(() => ({ policies, inventory, services }));
});

test('a service lists the hosts on which one may run something, the command line those one may log in to', async () => {
  expect(await hostsOf(lin)).toEqual([
    'alike-0',
    'alike-1',
    'alike-2',
    'alike-3',
    'alike-no',
    'db-01',
    'off',
    'told-1',
    'told-2',
    'web-01',
  ]);
  expect(await hostsOf(await lab.ca.login('lin'))).toEqual(['db-01']);
  const entry = (await lab.ca.ask(lin, 'GET', '/v1/hosts/told-1')).body;
  expect(entry).toMatchObject({ address: '192.0.2.9' });
});
