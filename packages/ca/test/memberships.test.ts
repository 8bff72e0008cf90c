import type { FaultEffect } from '@beacon/github-standin';
import { createSealer } from '@beacon/server';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { GITHUB, type LoggedIn, PERSONS, policyText, type Reply, refusal, SmallCa } from './small-ca.ts';

let ca: SmallCa;
let lin: LoggedIn;
beforeAll(async () => {
  ca = await SmallCa.start();
  lin = await ca.login('lin');
});
afterAll(() => ca.close());
afterEach(() => {
  ca.standin.state.clearFaults();
});

/** Past the minute for which GitHub's answer is used; the clock that certificates are dated by goes on. */
async function later(): Promise<void> {
  const { store } = ca.running.ca;
  const sealer = createSealer(ca.keys.sealing);
  const rows = await store.selectFrom('sessions').selectAll().execute();
  for (const { id, memberships, memberships_at: at } of rows) {
    if (memberships === null || at === null) continue;
    const place = (time: number) => `sessions/${id}/memberships/${time}`;
    const text = sealer.open(memberships, place(at)).toString();
    const older = { memberships: sealer.seal(text, place(at - 60_001)), memberships_at: at - 60_001 };
    await store.updateTable('sessions').set(older).where('id', '=', id).execute();
  }
}

const membershipRequests = () =>
  ca.standin.state.requests.filter((line) =>
    /^GET \/user\/(teams|orgs|memberships|installations)|^GET \/orgs/.test(line),
  ).length;

/** Of GitHub's answers that never come, no more is waited for than this. */
const impatient = () => ({ ...ca.options.github, timeoutMs: 600 });

const effects: [string, FaultEffect][] = [
  ['answers 500', { kind: 'answer', status: 500 }],
  ['answers 502', { kind: 'answer', status: 502 }],
  ['answers 304', { kind: 'answer', status: 304 }],
  ['answers an empty object', { kind: 'answer', status: 200, body: {} }],
  ['answers null', { kind: 'answer', status: 200, body: null }],
  ['gives no byte', { kind: 'hang' }],
  ['stops within the body', { kind: 'hang-in-body' }],
  ['cuts the JSON', { kind: 'truncated-json' }],
  ['cuts the connection', { kind: 'cut' }],
  ['resets the connection', { kind: 'reset' }],
  ['answers with a portal’s page', { kind: 'garbage' }],
  ['answers without end', { kind: 'endless' }],
  ['has no requests left', { kind: 'primary-limit', seconds: 600 }],
  ['asks to wait', { kind: 'secondary-limit', seconds: 600 }],
  ['answers 429', { kind: 'too-many-requests', seconds: 600 }],
];

describe('GitHub fails', () => {
  test.each(effects)('O7: nothing is decided when it %s: 503, and a record', async (_what, effect) => {
    const isSlow = ['hang', 'hang-in-body', 'endless'].includes(effect.kind);
    if (isSlow) await ca.restart({ github: impatient() });
    await later();
    ca.standin.state.fault({ path: '*', effect });
    const serials = await ca.serials();
    const reply = await ca.sign(lin);
    expect(refusal(reply)).toEqual({ status: 503, code: 'github-unavailable' });
    expect(await ca.serials()).toEqual(serials);
    expect(await ca.lastRecord()).toMatchObject({ kind: 'refused', facts: { code: 'github-unavailable' } });
    ca.standin.state.clearFaults();
    // Whose patience is so short may find a busy machine slow, and asks again.
    let recovered = await ca.sign(lin);
    while (isSlow && recovered.status === 503) recovered = await ca.sign(lin);
    expect(recovered.status).toBe(201);
    if (isSlow) await ca.restart();
  });

  test('asks to sign in again when GitHub takes the token no longer', async () => {
    const kim = await ca.login('kim');
    for (const [clientId] of ca.standin.state.apps) ca.standin.state.revokeGrant(clientId, PERSONS.kim);
    await later();
    expect(refusal(await ca.sign(kim))).toEqual({ status: 401, code: 'sign-in-needed' });
  });
});

describe('GitHub says when to come back, or nothing at all', () => {
  test('Q2: the wait that GitHub asks for is passed on', async () => {
    await later();
    ca.standin.state.fault({ path: '*', effect: { kind: 'secondary-limit', seconds: 42 } });
    const reply = await ca.sign(lin);
    expect(refusal(reply)).toEqual({ status: 503, code: 'github-unavailable' });
    expect(Number(reply.headers.get('retry-after'))).toBe(42);
    expect(reply.body['detail']).toContain('in 42 s');
  });

  test('Q2: when it hangs, requests are refused at once after some have waited, and soon go on when it is well', async () => {
    const kim = await ca.login('kim');
    let nowMs = 0;
    await ca.restart({ github: { ...impatient(), circuit: { monotonicMs: () => nowMs } } });
    await later();
    ca.standin.state.fault({ path: '*', effect: { kind: 'hang' } });
    const before = ca.standin.state.requests.length;
    for (let i = 0; i < 5; i += 1) expect((await ca.sign(lin)).status).toBe(503);
    const asked = ca.standin.state.requests.length;
    expect(asked).toBeGreaterThan(before);
    const replies = await Promise.all(Array.from({ length: 40 }, (_, at) => ca.sign(at % 2 ? kim : lin)));
    for (const reply of replies) {
      expect(refusal(reply)).toEqual({ status: 503, code: 'github-unavailable' });
      expect(Number(reply.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    }
    expect(ca.standin.state.requests.length).toBe(asked);
    ca.standin.state.clearFaults();
    for (const who of [lin, kim]) {
      let reply: Reply;
      do {
        nowMs += 5_000;
        reply = await ca.sign(who);
      } while (reply.status === 503);
      expect(reply.status).toBe(201);
    }
    await ca.restart();
  });
});

describe('memberships change', () => {
  test('O5: somebody who was taken out of the team is denied after at most 60 seconds', async () => {
    const own = await SmallCa.start();
    const sam = await own.login('sam');
    const at = Date.now();
    own.clock.frozenAt = new Date(at);
    try {
      expect((await own.sign(sam)).status).toBe(201);
      own.standin.state.setTeamMember(GITHUB.webTeam, PERSONS.sam, false);
      own.clock.frozenAt = new Date(at + 59_999);
      expect((await own.sign(sam)).status).toBe(201);
      own.clock.frozenAt = new Date(at + 60_000);
      const denied = await own.sign(sam);
      expect(refusal(denied)).toEqual({ status: 403, code: 'policy-denied' });
      expect(denied.body['denial'].missing).toContainEqual({ kind: 'team', id: 'github:7001' });
      own.standin.state.setTeamMember(GITHUB.webTeam, PERSONS.sam, true);
      own.clock.frozenAt = new Date(at + 120_000);
      expect((await own.sign(sam)).status).toBe(201);
    } finally {
      await own.close();
    }
  });

  test('a clock that steps back makes no memberships fresh', async () => {
    ca.clock.offsetMs = 50_000;
    await later();
    expect((await ca.sign(lin)).status).toBe(201);
    const before = membershipRequests();
    ca.clock.offsetMs = 0;
    expect((await ca.sign(lin)).status).toBe(201);
    expect(membershipRequests()).toBeGreaterThan(before);
  });

  test('many requests at once ask GitHub once', async () => {
    await later();
    const before = membershipRequests();
    await ca.sign(lin);
    const once = membershipRequests() - before;
    await later();
    const replies = await Promise.all(Array.from({ length: 20 }, () => ca.sign(lin)));
    expect(replies.map(({ status }) => status)).toEqual(Array(20).fill(201));
    expect(membershipRequests() - before - once).toBe(once);
  });

  test('P3, P4: another policy asks GitHub anew for the teams that it names, and its version is recorded', async () => {
    expect((await ca.sign(lin)).status).toBe(201);
    const version = ca.running.ca.policy.version;
    const other = policyText.replace(
      'Team::"github:7001", action == Action::"ssh"',
      'Team::"github:7002", action == Action::"ssh"',
    );
    await ca.restart({ policies: [{ name: 'a.cedar', text: other }] });
    ca.standin.state.addTeam({ organization: GITHUB.example, id: 7002, slug: 'other' });
    expect((await ca.sign(lin)).status).toBe(403);
    const { facts } = await ca.lastRecord();
    expect(JSON.parse(String(facts?.['denial']))).toMatchObject({
      policy_version: ca.running.ca.policy.version,
    });
    expect(ca.running.ca.policy.version).not.toBe(version);
    await ca.restart();
  });
});

describe('what is unknown', () => {
  test('O8: a team behind a single sign-on denies, and says whose single sign-on it is', async () => {
    const una = await ca.login('una');
    const denied = await ca.sign(una);
    expect(refusal(denied)).toEqual({ status: 403, code: 'policy-denied' });
    expect(denied.body['denial'].missing).toContainEqual({
      kind: 'sso',
      organization: 'github:7100',
      name: 'single',
    });
    expect(denied.body['detail']).toContain('sign in to the single sign-on of single');
  });

  test('a membership behind a single sign-on denies, and says to sign in there', async () => {
    const policy = `${policyText}
@id("single-logs-in") permit (principal in Org::"github:7100", action == Action::"ssh", resource in Pool::"web");`;
    await ca.restart({ policies: [{ name: 'a.cedar', text: policy }] });
    const una = await ca.login('una');
    const denied = await ca.sign(una);
    expect(refusal(denied)).toEqual({ status: 403, code: 'policy-denied' });
    expect(denied.body['denial'].missing).toContainEqual(
      expect.objectContaining({ kind: 'sso', organization: 'github:7100' }),
    );
    expect(denied.body['detail']).toMatch(/single sign-on/);
    const whoami = await ca.ask(una, 'GET', '/v1/sessions/current');
    expect(whoami.body['memberships'].unknown).toContainEqual(expect.objectContaining({ why: 'sso' }));
    ca.standin.state.setSsoSession(GITHUB.ssoOrganization, PERSONS.una, true);
    await later();
    expect((await ca.sign(una)).status).toBe(201);
  });
});

test('who can write to the store alone makes nobody a member, and keeps no old membership alive', async () => {
  const mallory = await ca.login('mallory');
  expect((await ca.sign(lin)).status).toBe(201);
  expect(refusal(await ca.sign(mallory))).toEqual({ status: 403, code: 'policy-denied' });
  const { store } = ca.running.ca;
  const rows = store.selectFrom('sessions').selectAll().where('memberships', 'is not', null);
  const of = (person: string) =>
    rows.where('person', '=', person).orderBy('id', 'desc').executeTakeFirstOrThrow();
  const [hers, theirs] = [await of('github:103'), await of('github:102')];
  expect(theirs.memberships).not.toContain('7001');
  const plain = JSON.stringify({
    policy: ca.running.ca.policy.version,
    organizations: { in: [], unknown: [] },
    teams: { in: ['github:7001'], unknown: [] },
  });
  for (const memberships of [theirs.memberships, plain]) {
    await store
      .updateTable('sessions')
      .set({ memberships, memberships_at: theirs.memberships_at })
      .where('id', '=', hers.id)
      .execute();
    expect(refusal(await ca.sign(mallory))).toEqual({ status: 403, code: 'policy-denied' });
  }
  const asked = membershipRequests();
  const soon = { memberships_at: Number(theirs.memberships_at) + 1_000 };
  await store.updateTable('sessions').set(soon).where('id', '=', theirs.id).execute();
  expect((await ca.sign(lin)).status).toBe(201);
  expect(membershipRequests()).toBeGreaterThan(asked);
});
