import { generateProofKey } from '@beacon/client';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Service } from '../src/services-configuration.ts';
import { type LoggedIn, type Reply, refusal, SmallCa } from './small-ca.ts';

let ca: SmallCa;
let ada: LoggedIn;
let lin: LoggedIn;
/** A service that may do all but be given GitHub tokens. */
let chat: SmallCa['portal'];
/** One that may do all but begin logins. */
let other: SmallCa['portal'];

const POLICY = `
@id("web-team-runs") @max_lifetime("30m")
permit (
  principal in Team::"github:7001",
  action in [Action::"runner.install", Action::"runner.configure"],
  resource in Pool::"web"
) when { ["portal", "other"].contains(context.service) };
@id("sites-alone")
permit (principal in Team::"github:7001", action == Action::"runner.remove", resource)
when { context.params.name like "site-*" && context.login == "root" };
@id("logs-in")
permit (principal in Team::"github:7001", action == Action::"ssh", resource in Pool::"web");
@id("administrators")
permit (
  principal == Person::"github:101",
  action in [Action::"ca.hosts", Action::"ca.persons", Action::"ca.revoke"],
  resource
);
`;

beforeAll(async () => {
  ca = await SmallCa.start({ policy: POLICY });
  const another = (id: string, may: Service['may']): SmallCa['portal'] => {
    const key = generateProofKey();
    const keys = [{ ...key.publicJwk, kid: `${id}-1` }];
    return { key, service: { ...ca.portal.service, id, name: id, keys, may } };
  };
  chat = another('chat', ['exchange', 'run-certificates', 'personal-certificates']);
  other = another('other', ['exchange', 'run-certificates', 'personal-certificates', 'github-token']);
  const services = new Map([ca.portal, chat, other].map(({ service }) => [service.id, service]));
  await ca.restart({ services });
  [ada, lin] = [await ca.login('ada'), await ca.loginAtPortal('lin')];
});
afterAll(() => ca.close());

const install = {
  command: 'runner.install',
  params: '{"name":"r1","version":"1.0"}',
  salt: Buffer.alloc(32, 7).toString('base64url'),
  commitments: {},
};

async function grantOf(who: LoggedIn, change: object = {}): Promise<string> {
  const reply = await ca.sign(who, { commands: [install], ...change });
  expect(reply.status).toBe(201);
  return reply.body['grant'];
}

const askToken = (who: LoggedIn, body: object) => ca.ask(who, 'POST', '/v1/github-token', { v: 1, ...body });
const denied = (code: string, status = 403) => ({ status, code });

/** The refusal, which left one record and told no token. */
async function refused(who: LoggedIn, body: object) {
  const before = (await ca.lastRecord()).seq;
  const reply = await askToken(who, body);
  const last = await ca.lastRecord();
  expect(last).toMatchObject({ seq: before + 1, kind: 'refused', facts: { code: reply.body['code'] } });
  expect(reply.body).not.toHaveProperty('token');
  return refusal(reply);
}

/** Whose GitHub token this is, as GitHub's stand-in says. */
const ownerOf = ({ body }: Reply) => ca.standin.state.tokens.get(body['token'])?.person;

describe('for a grant', () => {
  test('gives the service the token of the person who is at work, and says so in a record first', async () => {
    const grant = await grantOf(lin);
    const reply = await askToken(lin, { grant });
    expect([reply.status, ownerOf(reply)]).toEqual([200, 102]);
    const record = await ca.lastRecord();
    expect(record).toMatchObject({
      kind: 'github-token-given',
      person: 'github:102',
      service: 'portal',
      host: 'web-01',
      grant,
    });
    expect(reply.body['record']).toEqual({ seq: record.seq, hash: record.hash });
    expect(await ca.api(lin).githubToken({ grant })).toBe(reply.body['token']);
  });

  test('goes on while a host may still undo, and not longer', async () => {
    const grant = await grantOf(lin, { lifetime_seconds: 60 });
    const row = ca.running.ca.store.updateTable('certificates').where('grant_id', '=', grant);
    const now = Date.now();
    await row.set({ valid_before: now - 890_000 }).execute();
    expect((await askToken(lin, { grant })).status).toBe(200);
    await row.set({ valid_before: now - 901_000 }).execute();
    expect(await refused(lin, { grant })).toEqual(denied('grant-refused'));
  });

  test('R10: never for another person’s, another service’s, another session’s or no grant, in the same words', async () => {
    const kim = await ca.loginAtPortal('kim');
    const elsewhere = await ca.loginAt(other, 'lin');
    const later = await ca.loginAtPortal('lin');
    const none = '0'.repeat(26);
    const grants = [await grantOf(kim), await grantOf(elsewhere), await grantOf(later), none];
    const texts = new Set<string>();
    for (const grant of grants) {
      const reply = await askToken(lin, { grant });
      expect(refusal(reply)).toEqual(denied('grant-unknown', 404));
      texts.add(reply.body['detail'].replace(grant, ''));
    }
    expect(texts.size).toBe(1);
    expect(await refused(later, { grant: await grantOf(lin) })).toEqual(denied('grant-unknown', 404));
  });

  test('R10: never to a service without the right, nor to the command line', async () => {
    const there = await ca.loginAt(chat, 'lin');
    expect(await refused(there, { grant: '0'.repeat(26) })).toEqual(denied('service-refused'));
    expect(await refused(there, { host: 'web-01', command: 'runner.install' })).toEqual(
      denied('service-refused'),
    );
    const atHome = await ca.login('lin');
    expect(await refused(atHome, { grant: '0'.repeat(26) })).toEqual(denied('service-refused'));
  });

  test('R10: never for a login, or a grant that was revoked', async () => {
    const there = await ca.loginAt(other, 'lin');
    const personal = await ca.sign(there);
    expect(personal.status).toBe(201);
    expect(await refused(there, { grant: personal.body['grant'] })).toEqual(denied('grant-refused'));
    const grant = await grantOf(lin);
    const reason = { v: 1, by: 'grant', value: grant, reason: 'mistaken' };
    expect((await ca.ask(lin, 'POST', '/v1/revocations', reason)).status).toBe(200);
    expect(await refused(lin, { grant })).toEqual(denied('grant-refused'));
  });

  test('R10: never after the session ended, or for who was disabled', async () => {
    const sam = await ca.loginAtPortal('sam');
    const grant = await grantOf(sam);
    const { id } = (await ca.ask(sam, 'GET', '/v1/sessions/current')).body['session'];
    expect((await ca.ask(sam, 'DELETE', `/v1/sessions/${id}`)).status).toBe(200);
    expect(refusal(await askToken(sam, { grant }))).toMatchObject({ status: 401 });
    expect(refusal(await askToken(await ca.loginAtPortal('sam'), { grant }))).toEqual(
      denied('grant-unknown', 404),
    );
    const kim = await ca.loginAtPortal('kim');
    const theirs = await grantOf(kim);
    const path = '/v1/persons/github:105';
    await ca.ask(ada, 'POST', `${path}/disable`, { v: 1, reason: 'left' });
    expect(refusal(await askToken(kim, { grant: theirs }))).toMatchObject({ status: 401 });
    await ca.ask(ada, 'POST', `${path}/enable`, { v: 1, reason: 'back' });
  });

  test('R10: a proof is of this body and used once', async () => {
    const grants = [await grantOf(lin), await grantOf(lin)];
    const [raw, swapped] = grants.map((grant) => JSON.stringify({ v: 1, grant }));
    const proof = await ca.proof(lin, 'POST', '/v1/github-token', raw);
    const send = (body: string | undefined) =>
      ca.ask(lin, 'POST', '/v1/github-token', undefined, { raw: body ?? '', proof });
    expect(refusal(await send(swapped))).toMatchObject({ status: 401 });
    expect((await send(raw)).status).toBe(200);
    expect(refusal(await send(raw))).toEqual(denied('proof-replayed', 401));
    const kim = await ca.loginAtPortal('kim');
    const mixed = { ...kim, proofKey: lin.proofKey };
    expect(
      refusal(await askToken({ ...mixed, accessToken: lin.refreshToken }, { grant: grants[0] })),
    ).toEqual(denied('token-invalid', 401));
  });
});

describe('for a host and a command', () => {
  const about = (who: LoggedIn, command: string, host = 'web-01') => askToken(who, { host, command });

  test('gives it where policy lets the person run the command there, and records by which policy', async () => {
    const reply = await about(lin, 'runner.configure');
    expect([reply.status, ownerOf(reply)]).toEqual([200, 102]);
    const record = await ca.lastRecord();
    expect(record).toMatchObject({
      kind: 'github-token-given',
      host: 'web-01',
      facts: { command: 'runner.configure', allowed: 'yes', policies: ['web-team-runs'] },
    });
    expect(record.grant).toBeUndefined();
    expect(await ca.api(lin).githubToken({ host: 'web-01', command: 'runner.configure' })).toBe(
      reply.body['token'],
    );
  });

  test('gives it where that depends on parameters', async () => {
    expect((await about(lin, 'runner.remove', 'db-01')).status).toBe(200);
    expect(await ca.lastRecord()).toMatchObject({
      facts: { allowed: 'depends', login: 'root', policies: ['sites-alone'] },
    });
  });

  test('R10: refuses what policy refuses: another host, another command, another person, another service', async () => {
    const to = (who: LoggedIn, command: string, host = 'web-01') => refused(who, { host, command });
    expect(await to(lin, 'runner.configure', 'db-01')).toEqual(denied('policy-denied'));
    expect(await ca.lastRecord()).toMatchObject({ host: 'db-01', facts: { command: 'runner.configure' } });
    expect(await to(lin, 'disk.wipe')).toEqual(denied('policy-denied'));
    expect(await to(lin, 'ssh')).toEqual(denied('policy-denied'));
    expect(await to(lin, 'ca.hosts')).toEqual(denied('policy-denied'));
    expect(await to(await ca.loginAtPortal('mallory'), 'runner.configure')).toEqual(denied('policy-denied'));
    expect(await to(lin, 'runner.configure', 'nowhere')).toEqual(denied('host-unknown', 404));
    await ca.addHost(ada, 'off', { pools: ['web'] });
    await ca.ask(ada, 'POST', '/v1/hosts/off/disable', { v: 1, reason: 'broken' });
    expect(await to(lin, 'runner.configure', 'off')).toEqual(denied('host-disabled'));
  });
});

test.each<[string, object]>([
  ['nothing', {}],
  ['both forms', { grant: '0'.repeat(26), host: 'web-01', command: 'runner.install' }],
  ['a host alone', { host: 'web-01' }],
  ['a malformed grant', { grant: 'x' }],
  ['another person', { grant: '0'.repeat(26), person: 'github:101' }],
])('refuses a body with %s', async (_what, body) => {
  expect(refusal(await askToken(lin, body))).toEqual({ status: 400, code: 'body-malformed' });
});

test('T8: the token stands in no log, record, refusal or store', async () => {
  const own = [...ca.standin.state.tokens.keys()];
  expect(own.length).toBeGreaterThan(3);
  const places: Record<string, Buffer> = {
    logs: Buffer.from(ca.logs.join('')),
    records: Buffer.from((await ca.records()).map(({ line }) => line).join('\n')),
    refusals: Buffer.from(ca.refusals.join('\n')),
    store: ca.storedBytes(),
  };
  const canaries = [...own, ...ca.canaries].filter((canary) => canary.length >= 8);
  for (const [place, bytes] of Object.entries(places)) {
    expect(bytes.length).toBeGreaterThan(1000);
    expect([place, canaries.filter((canary) => bytes.includes(canary))]).toEqual([place, []]);
  }
});
