/** What a service that was taken over tries with what it holds: tokens of people, its key, grants, and its own right. */
import { discoverCa, exchangeToken, generateProofKey } from '@beacon/client';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import type { Service } from '../src/services-configuration.ts';
import { GITHUB, type LoggedIn, PERSONS, policyText, refusal, SmallCa } from './small-ca.ts';

let ca: SmallCa;
let ada: LoggedIn;
let lin: LoggedIn;
beforeAll(async () => {
  ca = await SmallCa.start();
  ada = await ca.login('ada');
});
afterAll(() => ca.close());
beforeEach(async () => {
  lin = await ca.loginAtPortal('lin');
});

const COMMAND = { host: 'web-01', command: 'runner.configure' };
const askToken = (who: LoggedIn, body: object = COMMAND) =>
  ca.ask(who, 'POST', '/v1/github-token', { v: 1, ...body });
const given = async () => (await ca.records()).filter(({ kind }) => kind === 'github-token-given').length;

async function grantOf(who: LoggedIn): Promise<string> {
  const salt = Buffer.alloc(32, 3).toString('base64url');
  const install = {
    command: 'runner.install',
    params: '{"name":"r1","version":"1.0"}',
    salt,
    commitments: {},
  };
  const reply = await ca.sign(who, { commands: [install] });
  expect(reply.status).toBe(201);
  return reply.body['grant'];
}

/** The services of the file, the portal with these rights. */
async function reload(may: Service['may'], ...others: Service[]): Promise<void> {
  const { policies, inventory } = ca.caOptions();
  const services = [{ ...ca.portal.service, may }, ...others].map((one) => [one.id, one] as const);
  await ca.running.reload(() => ({ policies, inventory, services: new Map(services) }));
}

describe('R10: a service with tokens of people', () => {
  test('is given nothing for a person by whose token it does not ask', async () => {
    const kim = await ca.loginAtPortal('kim');
    const before = await given();
    const theirs = await grantOf(kim);
    expect(refusal(await askToken(lin, { grant: theirs }))).toEqual({ status: 404, code: 'grant-unknown' });
    expect(refusal(await askToken(lin, { ...COMMAND, person: kim.person }))).toMatchObject({ status: 400 });
    const named = { 'x-beacon-person': kim.person, 'x-forwarded-user': kim.person };
    const raw = JSON.stringify({ v: 1, ...COMMAND });
    const reply = await ca.ask(lin, 'POST', '/v1/github-token', undefined, { raw, headers: named });
    expect(ca.standin.state.tokens.get(reply.body['token'])?.person).toBe(PERSONS.lin);
    expect(await given()).toBe(before + 1);
  });

  test('is given nothing from the moment that the person logs out anywhere', async () => {
    const grant = await grantOf(lin);
    expect((await askToken(lin, { grant })).status).toBe(200);
    const there = await fetch(`${ca.url}/oauth/revoke`, {
      method: 'POST',
      body: new URLSearchParams({ token: lin.refreshToken, client_id: 'beacon-cli' }),
    });
    expect(there.status).toBe(200);
    for (const body of [{ grant }, COMMAND])
      expect(refusal(await askToken(lin, body))).toMatchObject({ status: 401 });
    const again = exchangeToken({
      metadata: await discoverCa(ca.url),
      service: { clientId: 'portal', privateKey: ca.portal.key.privateKey, keyId: 'portal-1' },
      proofKey: ca.portal.key,
      subjectToken: lin.refreshToken,
    });
    await expect(again).rejects.toMatchObject({ code: 'oauth-refused' });
  });

  test('is given nothing once its entry lacks the right, nor once it is gone', async () => {
    const grant = await grantOf(lin);
    const { may } = ca.portal.service;
    await reload(may.filter((right) => right !== 'github-token'));
    expect(refusal(await askToken(lin, { grant }))).toEqual({ status: 403, code: 'service-refused' });
    await reload(['login', 'exchange', 'github-token']);
    expect(refusal(await askToken(lin))).toEqual({ status: 403, code: 'service-refused' });
    const other = {
      ...ca.portal.service,
      id: 'other',
      keys: [{ ...generateProofKey().publicJwk, kid: 'o' }],
    };
    const { policies, inventory } = ca.caOptions();
    await ca.running.reload(() => ({ policies, inventory, services: new Map([['other', other]]) }));
    expect(refusal(await askToken(lin, { grant }))).toEqual({ status: 401, code: 'token-invalid' });
    await reload(may);
    expect((await askToken(lin, { grant })).status).toBe(200);
  });

  test('O5: is given nothing more for a command once the person has left the team', async () => {
    expect((await askToken(lin)).status).toBe(200);
    ca.standin.state.setTeamMember(GITHUB.webTeam, PERSONS.lin, false);
    try {
      await ca.running.ca.store.updateTable('sessions').set({ memberships: null }).execute();
      expect(refusal(await askToken(lin))).toEqual({ status: 403, code: 'policy-denied' });
    } finally {
      ca.standin.state.setTeamMember(GITHUB.webTeam, PERSONS.lin, true);
      await ca.running.ca.store.updateTable('sessions').set({ memberships: null }).execute();
    }
  });

  test('is given nothing more for a command that another policy does not give', async () => {
    const { inventory, services } = ca.caOptions();
    const policies = (text: string) => [{ name: 'a.cedar', text }];
    await ca.running.reload(() => ({
      policies: policies(policyText.replace('context.service == "portal"', 'context.service == "chat"')),
      inventory,
      services,
    }));
    expect(refusal(await askToken(lin))).toEqual({ status: 403, code: 'policy-denied' });
    await ca.running.reload(() => ({ policies: policies(policyText), inventory, services }));
    expect((await askToken(lin)).status).toBe(200);
  });
});

describe('T4: a token or a proof of another kind', () => {
  test('opens nothing: what was made for a service, another service’s key, a proof of another request', async () => {
    const there = await ca.login('lin', ['urn:beacon:broker:portal', 'urn:beacon:ca']);
    const before = await given();
    const handed = { ...lin, accessToken: there.accessToken };
    expect(refusal(await askToken(handed))).toEqual({ status: 401, code: 'token-invalid' });
    expect(refusal(await askToken({ ...lin, proofKey: generateProofKey() }))).toMatchObject({ status: 401 });
    const raw = JSON.stringify({ v: 1, ...COMMAND });
    for (const proof of [
      await ca.proof(lin, 'POST', '/v1/decisions', raw),
      await ca.proof(lin, 'GET', '/v1/github-token', raw),
      await ca.proof(lin, 'POST', '/v1/github-token'),
      await ca.proof(lin, 'POST', '/v1/github-token', raw.replace('web-01', 'db-01')),
    ])
      expect(refusal(await ca.ask(lin, 'POST', '/v1/github-token', undefined, { raw, proof }))).toMatchObject(
        { status: 401 },
      );
    expect(await given()).toBe(before);
  });

  test('one proof at thirty doors at once gives one token', async () => {
    const raw = JSON.stringify({ v: 1, ...COMMAND });
    const proof = await ca.proof(lin, 'POST', '/v1/github-token', raw);
    const before = await given();
    const replies = await Promise.all(
      Array.from({ length: 30 }, () => ca.ask(lin, 'POST', '/v1/github-token', undefined, { raw, proof })),
    );
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(new Set(replies.filter(({ status }) => status !== 200).map(({ body }) => body['code']))).toEqual(
      new Set(['proof-replayed']),
    );
    expect(await given()).toBe(before + 1);
  });
});

test('T5: where the record cannot be written, no token is given', async () => {
  const grant = await grantOf(lin);
  const { store } = ca.running.ca;
  await sql`create trigger full before insert on records begin select raise(abort, 'full'); end`.execute(
    store,
  );
  for (const body of [{ grant }, COMMAND]) {
    const reply = await askToken(lin, body);
    expect(reply.status).toBeGreaterThanOrEqual(500);
    expect(reply.body).not.toHaveProperty('token');
  }
  await sql`drop trigger full`.execute(store);
  expect((await askToken(lin, { grant })).status).toBe(200);
});

test('R10: a grant that is revoked while the token is on its way is given none', async () => {
  const { store } = ca.running.ca;
  const grant = await grantOf(lin);
  await sql`create trigger meanwhile after insert on used_proofs begin
    update certificates set revoked_at = 1 where grant_id = ${sql.lit(grant)}; end`.execute(store);
  const reply = await askToken(lin, { grant });
  await sql`drop trigger meanwhile`.execute(store);
  expect([reply.status, reply.body['code'], reply.body['token']]).toEqual([403, 'grant-refused', undefined]);
});

test('R10: a person who ends their session while the token is on its way gets a dead one at most', async () => {
  const kim = await ca.loginAtPortal('kim');
  const { id } = (await ca.ask(kim, 'GET', '/v1/sessions/current')).body['session'];
  const [reply, ended] = await Promise.all([askToken(kim), ca.ask(ada, 'DELETE', `/v1/sessions/${id}`)]);
  expect(ended.status).toBe(200);
  const token = reply.body['token'];
  if (token !== undefined) expect(ca.standin.state.tokens.get(token)).toBeUndefined();
});
