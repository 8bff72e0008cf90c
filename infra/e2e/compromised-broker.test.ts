/**
 * A broker that was taken over: the thief has its files, and from its memory all that went through it, of sessions that go
 * on and of such as are over. Against a real CA, a real GitHub (the stand-in) and a real gate. Each refusal stands beside
 * the control that works, and in the CA's records where the CA knows whom it refuses.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CaApi,
  createCaApi,
  obtainCertificate,
  openBrokerSession,
  openSession,
  type SessionStorage,
} from '@beacon/client';
import type { Invocation } from '@beacon/protocol/gate-request';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';
import { logInProgram } from '../demo/broker-stage.ts';
import { Browser } from '../demo/browser.ts';
import { type GateCaller, requestOf } from '../demo/gate-caller.ts';
import { RunnerStage } from '../demo/runner-stage.ts';
import type { InitHost } from '../lab/init-host.ts';
import { whyNoLab } from '../lab/possible.ts';
import { invocation } from '../lab/throw-away-ca.ts';
import { answerTo, BrokerThief, EXCHANGE, type Loot, MARK } from './broker-thief.ts';
import { addHost, addRepositories, lay, OTHER, prepare } from './compromised-scene.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`a broker that was taken over is left out: ${why}\n`);

const ALICE = 'github:102';
const ADMINISTRATOR = 'github:101';
const CONFIGURE = 'runner.configure';
const ACCESS = 'urn:ietf:params:oauth:token-type:access_token';
/** All that a login gives to whoever holds what the broker holds. */
const GIVEN = {
  session: 'given',
  hosts: 'given',
  commands: 'given',
  decision: 'given',
  certificate: 'given',
  'github-token by grant': 'given',
  'github-token by command': 'given',
  'records of a grant': 'given',
};
const all = (code: string) => Object.fromEntries(Object.keys(GIVEN).map((name) => [name, code]));

(why === undefined ? describe : describe.skip)('a broker that was taken over', () => {
  let at: RunnerStage;
  let thief: BrokerThief;
  let administrator: CaApi;
  let browser: Browser;
  let program: SessionStorage;
  let alice: Loot;
  /** Of sessions that have ended: with the thief still. */
  const yesterday: Loot[] = [];

  beforeAll(async () => {
    at = await RunnerStage.open({ prepare, lay });
    addRepositories(at.stage);
    thief = await BrokerThief.breakIn(at);
    administrator = await apiOf(await logInProgram(at.stage, 'ada', []));
    await addHost(at.stage);
    ({ browser, program } = await aliceLogsIn());
    alice = await rob([30, 600]);
  }, 300_000);
  afterAll(() => at?.close());

  async function aliceLogsIn(): Promise<{ browser: Browser; program: SessionStorage }> {
    const [one, other] = await Promise.all([
      logInAtPortal('lin'),
      logInProgram(at.stage, 'lin', ['broker', OTHER]),
    ]);
    return { browser: one, program: other };
  }

  async function rob(spares: readonly number[]): Promise<Loot> {
    return thief.rob(browser, await tokenFor('broker'), spares);
  }

  async function logInAtPortal(person: string): Promise<Browser> {
    const made = new Browser();
    const consent = await made.submit(await made.get(`${at.broker.url}/login`), { person });
    const back = await made.submit(consent, { decision: 'allow' });
    expect(back.status).toBe(200);
    return made;
  }

  async function tokenFor(service: string): Promise<string> {
    return (await openBrokerSession(program, service)).accessToken();
  }

  /** The codes of what the CA has refused since a moment, with who was refused through what. */
  async function refusals(since: number): Promise<readonly string[]> {
    const { records } = await administrator.records({ after: String(since), limit: '500' });
    return records
      .map((line) => JSON.parse(line) as Recorded)
      .filter(({ kind, facts }) => kind === 'refused' || (kind === 'decision' && facts['allowed'] === false))
      .map(({ facts, service, person }) => `${facts['code'] ?? 'denied'} ${service} ${person ?? 'nobody'}`);
  }

  async function now(): Promise<number> {
    return (await administrator.records({ limit: '1', after: '999999' })).head.seq;
  }

  describe('while a person has a session with it', () => {
    let caller: GateCaller<InitHost>;
    beforeAll(() => {
      caller = thief.callerOf(alice.portal);
    });

    test('R10: acts for her within policy for this service: this is what a broker is', async () => {
      expect(await thief.everything(alice)).toEqual({
        renewal: 'given',
        exchange: 'given',
        portal: GIVEN,
        // A grant is of the session that asked for it.
        program: { ...GIVEN, 'github-token by grant': 'grant-unknown' },
        github: 'given',
      });
      const connection = await caller.open([MARK]);
      expect(await connection.run(MARK)).toMatchObject({ event: 'exit', code: 0 });
      await connection.end();
    });

    test('O11: has no tokens of hers from the store and the sealing key without her cookie', async () => {
      expect(thief.rows()).toHaveLength(1);
      const [name = '', value = ''] = alice.cookie.split('=');
      const [id = ''] = value.split('.');
      const guessed = `${name}=${id}.${Buffer.alloc(32, 7).toString('base64url')}`;
      expect(() => thief.openRow(guessed)).toThrow(expect.objectContaining({ code: 'seal' }));
      expect(thief.openRow(alice.cookie).portal.accessToken).toBe(alice.portal.accessToken);
    });

    test('R10: has no command, host or lifetime that policy gives her elsewhere, and no personal login', async () => {
      const since = await now();
      const wipe = { asked: invocation('mark.wipe') };
      const ask = (change: object, api = caller.api) => {
        const wish = {
          host: 'build-01',
          login: 'beacon',
          lifetime_seconds: 60,
          commands: [requestOf(MARK.asked)],
        };
        return api.decide({ ...wish, ...change });
      };
      const byHand = await apiOf(program);
      const changes = {
        command: { commands: [requestOf(wipe.asked)] },
        host: { host: 'prod-01' },
        lifetime: { lifetime_seconds: 3600 },
        login: { login: 'root' },
      };
      expect(await ask({}, caller.api)).toMatchObject({ allowed: true });
      for (const change of Object.values(changes))
        expect(await ask(change)).toMatchObject({ allowed: false });
      // She may wipe, and go to the other host, by her command line.
      expect(await ask(changes.command, byHand)).toMatchObject({ allowed: true });
      expect(await ask(changes.host, byHand)).toMatchObject({ allowed: true });

      expect(await answerTo(caller.ask([wipe]))).toBe('policy-denied');
      expect(await answerTo(caller.ask([MARK], 3600))).toBe('policy-denied');
      expect(await answerTo(caller.api.githubToken({ host: 'build-01', command: 'mark.wipe' }))).toBe(
        'policy-denied',
      );
      const personal = (api: CaApi) => obtainPersonal(api, 'build-01');
      expect(await answerTo(personal(caller.api))).toBe('service-refused');
      expect(await answerTo(personal(byHand))).toBe('given');
      expect(await refusals(since)).toEqual(
        expect.arrayContaining([`policy-denied broker ${ALICE}`, `service-refused broker ${ALICE}`]),
      );
    });

    test('R10: is no other service, and not her command line', async () => {
      const since = await now();
      const { refreshToken } = (await program.read()) ?? {};
      const other = { ...thief.service, clientId: OTHER };
      const renew = { grant_type: 'refresh_token', refresh_token: alice.refreshToken };
      expect(await code(thief.ask(renew, { client: other, key: alice.portal.key }))).toBe('invalid_client');
      const asCli = { ...renew, client_id: 'beacon-cli' };
      expect(await code(thief.ask(asCli, { client: null, key: alice.portal.key }))).toBe('invalid_grant');
      // What her command line was given for another service is none of this one's.
      expect(await thief.exchange(await tokenFor(OTHER))).toBe('invalid_request');
      // A refresh token of the command line's, should one ever come by: it is bound to a key that never leaves it.
      const stolen = {
        grant_type: 'refresh_token',
        refresh_token: refreshToken ?? '',
        client_id: 'beacon-cli',
      };
      expect(await code(thief.ask(stolen, { client: null }))).toMatch(/^invalid_(grant|dpop_proof)$/);
      expect(await code(thief.ask({ ...stolen, client_id: 'broker' }))).toBe('invalid_grant');
      // The session of her command line goes on all the same, and so does that of the broker.
      expect(await answerTo((await apiOf(program)).whoami())).toBe('given');
      expect(await refusals(since)).toEqual(
        expect.arrayContaining([
          `invalid_request broker nobody`,
          expect.stringMatching(/^invalid_grant broker/),
        ]),
      );
    });

    test('R10: is nobody else, whether they have no session with it or one', async () => {
      const since = await now();
      const [hers] = await administrator.sessions();
      const bob = thief.openRow(cookieOf(await logInAtPortal('mallory'), at.broker.url)).portal;
      const { api } = caller;
      expect(await thief.exchange(await forged(ADMINISTRATOR, hers?.id ?? ''))).toBe('invalid_request');
      expect(await answerTo(api.sessions(ADMINISTRATOR))).toBe('policy-denied');
      // In the same words whether there is such a session or not.
      expect(await answerTo(api.endSession(hers?.id ?? ''))).toBe('policy-denied');
      expect(await answerTo(api.endSession('0'.repeat(26)))).toBe('policy-denied');
      expect(await answerTo(api.changePerson(ADMINISTRATOR, 'disable', 'gone'))).toBe('policy-denied');
      expect(await answerTo(api.changeHost('build-01', 'disable', 'gone'))).toBe('policy-denied');
      expect(await answerTo(api.records({ person: ADMINISTRATOR }))).toBe('policy-denied');
      const order = {
        host: 'build-01',
        login: 'beacon',
        lifetime_seconds: 60,
        commands: [requestOf(MARK.asked)],
      };
      expect(await answerTo(api.decide({ ...order, person: 'github:103' }))).toBe('policy-denied');
      // Bob has a session, and nothing of Alice's.
      const asBob = thief.callerOf(bob);
      expect(await answerTo(asBob.api.whoami())).toBe('given');
      expect(await answerTo(asBob.ask([MARK]))).toBe('policy-denied');
      expect(await answerTo(asBob.api.githubToken({ grant: alice.grant }))).toBe('grant-unknown');
      // A token of Bob's with Alice's key is neither's.
      const mixed = thief.apiOf({ accessToken: bob.accessToken, key: alice.portal.key });
      expect(await answerTo(mixed.whoami())).toBe('proof-invalid');
      expect(await refusals(since)).toEqual(
        expect.arrayContaining([
          'invalid_request broker nobody',
          `policy-denied broker ${ALICE}`,
          'policy-denied broker github:103',
          'grant-unknown broker github:103',
        ]),
      );
    });

    test('has no argument at a gate other than policy saw, and no second use', async () => {
      const granted = invocation('mark.set', { name: 'seen' }, { token: 'told' });
      const held = await caller.ask([{ asked: granted }]);
      const connection = await caller.connect(held);
      const secret = granted.secrets.get('token');
      const others: readonly [Invocation, string][] = [
        [{ ...granted, params: '{"name":"other"}' }, 'arguments-differ'],
        [{ ...granted, salt: Buffer.alloc(32, 1) }, 'arguments-differ'],
        [
          {
            ...granted,
            secrets: new Map([['token', { salt: secret?.salt ?? Buffer.alloc(0), value: 'x' }]]),
          },
          'arguments-differ',
        ],
        [{ ...granted, secrets: new Map() }, 'arguments-differ'],
        [invocation('mark.wipe'), 'command-not-granted'],
      ];
      for (const [asked, code] of others)
        expect(await connection.run({ asked })).toMatchObject({ event: 'refused', code });
      expect(await connection.run({ asked: granted })).toMatchObject({ event: 'exit', code: 0 });
      expect(await connection.run({ asked: granted })).toMatchObject({ code: 'already-started' });
      await connection.end();
      expect(await thief.knock(held)).toBe('certificate-used');
      expect(await thief.knock(alice.used)).toBe('certificate-used');
      const marks = await at.host.script('cat /var/tmp/marks');
      expect(marks.split('\n').filter((line) => line.includes('seen'))).toEqual(['set seen']);
      expect(marks).not.toMatch(/wipe|other/);
      const refused = (await at.host.records()).filter((line) => line.includes('"arguments-differ"'));
      expect(refused).toHaveLength(4);
    });

    test('has no runner for another repository than the scope that policy saw', async () => {
      const since = await now();
      const configure = (scope: string, token = 'T') =>
        invocation(CONFIGURE, { name: 'r1', scope, labels: 'x', group: 'Default', mode: 'stays' }, { token });
      expect(await answerTo(caller.ask([{ asked: configure('elsewhere/app') }]))).toBe('policy-denied');
      // What the person's token reaches at GitHub is not the CA's to say: another repository of hers is in it.
      const mine = await registrationToken(alice.githubToken, 'example/app');
      const theirs = await registrationToken(alice.githubToken, 'example/other');
      const asked = configure('example/app', theirs);
      const connection = await caller.open([{ asked }]);
      expect(await connection.run({ asked: configure('example/other', theirs) })).toMatchObject({
        event: 'refused',
        code: 'arguments-differ',
      });
      await connection.end();
      // The host registers at the address that it makes from the scope, and GitHub takes no other repository's token there.
      expect(await register(theirs, 'example/app')).toBe(404);
      expect(await register(mine, 'example/app')).toBe(200);
      expect(await refusals(since)).toContain(`policy-denied broker ${ALICE}`);
    });

    test('T4: finds nothing taken twice of what it has overheard', async () => {
      const since = await now();
      expect(alice.overheard.length).toBeGreaterThan(3);
      const answers = await thief.replay(alice);
      expect(new Set(answers)).toEqual(new Set(['proof-replayed']));
      expect((await refusals(since)).filter((one) => one === `proof-replayed broker ${ALICE}`)).toHaveLength(
        answers.length,
      );
    });
  });

  describe('after the session has ended', () => {
    test('R10: by logging out: has nothing more, and what it still holds falls with its revocation', async () => {
      const since = await now();
      const out = await browser.submit(await browser.get(`${at.broker.url}/`), {});
      expect(out).toMatchObject({ status: 200 });
      await endSession(program);
      yesterday.push(alice);
      expect(await thief.everything(alice)).toEqual({
        renewal: 'invalid_grant',
        exchange: 'invalid_request',
        portal: all('session-ended'),
        program: all('session-ended'),
        github: '401',
      });
      expect(thief.rows().some(({ id_hash }) => alice.cookie.includes(id_hash))).toBe(false);
      // A certificate lives on for its minutes, as a run does that was begun: until it is taken back.
      const [, spare] = alice.spare;
      if (spare === undefined) throw new Error('there is no certificate left');
      await administrator.revoke({ v: 1, by: 'person', value: ALICE, reason: 'the broker was taken over' });
      await at.host.script('/usr/lib/beacon/beacon host sync');
      expect(await thief.knock(spare)).toBe('shut-out');
      expect(await at.host.sshdLog()).toMatch(/revoked/i);
      expect(await refusals(since)).toEqual(
        expect.arrayContaining([expect.stringMatching(/^invalid_request broker/)]),
      );
    }, 120_000);

    test('R10: by an administrator, who ends session and certificates in one: has nothing more', async () => {
      ({ browser, program } = await aliceLogsIn());
      const loot = await rob([600, 600]);
      const [control, spare] = loot.spare;
      if (control === undefined || spare === undefined) throw new Error('there are too few certificates');
      expect(await thief.knock(control)).toBe('given');
      await administrator.revoke({ v: 1, by: 'person', value: ALICE, reason: 'the broker was taken over' });
      yesterday.push(loot);
      expect(await thief.everything(loot)).toEqual({
        renewal: 'invalid_grant',
        exchange: 'invalid_request',
        portal: all('session-ended'),
        program: all('session-ended'),
        github: '401',
      });
      await at.host.script('/usr/lib/beacon/beacon host sync');
      expect(await thief.knock(spare)).toBe('shut-out');
    }, 120_000);

    test('R10: by its absolute end: has nothing more, nor a certificate that outlives it', async () => {
      const { caConfiguration } = at.stage;
      const configuration = readFileSync(caConfiguration, 'utf8');
      writeFileSync(caConfiguration, configuration.replace('max_hours: 8', 'max_hours: 0.01'));
      await at.stage.restart();
      ({ browser, program } = await aliceLogsIn());
      const loot = await rob([300]);
      const [spare] = loot.spare;
      if (spare === undefined) throw new Error('there is no certificate');
      expect(spare.obtained.shortenedBySession).toBe(true);
      yesterday.push(loot);
      await sleep(Math.max(0, spare.obtained.validBefore.getTime() - Date.now()) + 2_000);
      for (let tries = 0; tries < 60 && (await thief.askGitHub(loot.githubToken)) === 'given'; tries++)
        await sleep(500);
      const found = await thief.everything(loot);
      expect(found).toMatchObject({ renewal: 'invalid_grant', exchange: 'invalid_request', github: '401' });
      for (const answers of [found['portal'], found['program']])
        expect(new Set(Object.values(answers as object))).toEqual(new Set(['token-expired']));
      expect(await thief.knock(spare)).toBe('shut-out');
    }, 180_000);
  });

  describe('while nobody has a session', () => {
    test('R10: runs nothing anywhere, with all that it ever had', async () => {
      // She may be with her command line still: all sessions end, the administrator's too.
      for (const { id } of await administrator.sessions(ALICE)) await administrator.endSession(id);
      for (const { id } of await administrator.sessions('github:103')) await administrator.endSession(id);
      for (const { id } of await administrator.sessions())
        await administrator.endSession(id).catch(() => undefined);
      const forgedToken = await forged(ALICE, '0'.repeat(26));
      const [loot] = yesterday;
      if (loot === undefined) throw new Error('there is no loot');
      const target = { audience: 'urn:beacon:ca', subject_token_type: ACCESS };
      const exchange = { grant_type: EXCHANGE, ...target };
      const alone: readonly [string, Readonly<Record<string, string>>, string][] = [
        ['its key alone', { grant_type: 'client_credentials', scope: 'beacon' }, 'unsupported_grant_type'],
        [
          'a made-up code',
          {
            grant_type: 'authorization_code',
            code: 'x'.repeat(43),
            redirect_uri: `${at.broker.url}/callback`,
            code_verifier: 'v'.repeat(43),
          },
          'invalid_grant',
        ],
        [
          'a made-up device code',
          { grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code: 'x'.repeat(43) },
          'invalid_request',
        ],
        [
          'an assertion of its own',
          { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: forgedToken },
          'unsupported_grant_type',
        ],
        ['a token of its own', { ...exchange, subject_token: forgedToken }, 'invalid_request'],
        ['an opaque token', { ...exchange, subject_token: loot.portal.accessToken }, 'invalid_request'],
        ['a refresh token', { ...exchange, subject_token: loot.refreshToken }, 'invalid_request'],
        ['a GitHub token', { ...exchange, subject_token: loot.githubToken }, 'invalid_request'],
        ['a handed token', { ...exchange, subject_token: loot.handed }, 'invalid_request'],
        [
          'an actor',
          { ...exchange, subject_token: loot.handed, actor_token: forgedToken, actor_token_type: ACCESS },
          'invalid_request',
        ],
      ];
      const answers: [string, string][] = [];
      for (const [what, parameters] of alone) answers.push([what, await code(thief.ask(parameters))]);
      expect(answers).toEqual(alone.map(([what, , refusal]) => [what, refusal]));

      for (const each of yesterday) {
        const found = await thief.everything(each);
        expect(JSON.stringify(found)).not.toContain('given');
        expect(found).toMatchObject({ renewal: 'invalid_grant', exchange: 'invalid_request', github: '401' });
        for (const replayed of await thief.replay(each))
          expect(replayed).toMatch(/^(token-expired|session-ended|proof-invalid|proof-replayed)$/);
        for (const held of [...each.spare, each.used]) expect(await thief.knock(held)).toBe('shut-out');
      }
      // An honest broker forgot the cookie with the logout; of sessions that others end it asks the CA once a minute.
      const { status } = await fetch(`${at.broker.url}/api/runs`, { headers: { cookie: loot.cookie } });
      expect(status).toBe(401);
      expect(await at.host.sshdLog()).toMatch(/expired/i);
      const control = await code(thief.ask({ grant_type: 'refresh_token', refresh_token: 'x' }));
      expect(control).toBe('invalid_grant');
      // What was refused to a service that has proven itself stands in the records.
      administrator = await apiOf(await logInProgram(at.stage, 'ada', []));
      const recorded = await refusals(0);
      for (const refusal of new Set(alone.map(([, , one]) => one)))
        expect(recorded.some((one) => one.startsWith(`${refusal} broker`))).toBe(true);
    }, 120_000);
  });

  /** A token that looks like the CA's, by the only key that the thief has. */
  function forged(person: string, session: string): Promise<string> {
    return new SignJWT({ sid: session, client_id: 'beacon-cli', cnf: { jkt: 'A'.repeat(43) } })
      .setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', kid: thief.service.keyId })
      .setIssuer(at.stage.caUrl)
      .setSubject(person)
      .setAudience('urn:beacon:broker:broker')
      .setJti('made-by-the-thief')
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(thief.service.privateKey);
  }

  async function registrationToken(token: string, repository: string): Promise<string> {
    const url = `${at.stage.standin.enterpriseApiUrl}/repos/${repository}/actions/runners/registration-token`;
    const answer = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    expect(answer.status).toBe(201);
    return ((await answer.json()) as { token: string }).token;
  }

  async function register(token: string, repository: string): Promise<number> {
    const { url } = at.stage.standin;
    const body = new URLSearchParams({ url: `${url}/${repository}`, name: 'r1', version: '2.300.0' });
    const headers = { authorization: `RemoteAuth ${token}` };
    return (await fetch(`${url}/actions/runner-registration`, { method: 'POST', headers, body })).status;
  }
});

interface Recorded {
  readonly kind: string;
  readonly person?: string;
  readonly service?: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

async function apiOf(login: SessionStorage): Promise<CaApi> {
  return createCaApi(await openSession(login));
}

async function endSession(login: SessionStorage): Promise<void> {
  const api = await apiOf(login);
  await api.endSession((await api.whoami()).session.id);
}

async function code(answer: Promise<{ readonly code: string }>): Promise<string> {
  return (await answer).code;
}

function obtainPersonal(api: CaApi, host: string): Promise<unknown> {
  return obtainCertificate(api, { host, login: 'beacon', lifetimeSeconds: 60 });
}

function cookieOf(browser: Browser, url: string): string {
  return [...browser.cookies(url)].map(([name, value]) => `${name}=${value}`).join('; ');
}
