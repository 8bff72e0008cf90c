import { type FaultEffect, type Runner, type Standin, startStandin } from '@beacon/github-standin';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  createRunners,
  type GitHubErrorCode,
  parseScope,
  type Runners,
  type RunnersSettings,
} from '../src/index.ts';
import { failureOf } from './world.ts';

const MONA = 1;
const HUBOT = 2;
const APP = 'Iv1';
const configuration = {
  apps: [{ client_id: APP, client_secret: 'standin-secret', callback_urls: ['http://127.0.0.1:1/cb'] }],
  persons: [
    { id: MONA, login: 'mona' },
    { id: HUBOT, login: 'hubot' },
  ],
  organizations: [
    {
      id: 42,
      login: 'acme',
      members: ['mona', 'hubot'],
      owners: ['mona'],
      apps: [APP],
      runner_groups: ['linux'],
      repositories: [
        { id: 5, name: 'site', writers: ['hubot'] },
        { id: 6, name: 'tools', public: true, admins: ['hubot'] },
      ],
    },
    { id: 43, login: 'other', members: ['mona'], owners: ['mona'], repositories: [{ id: 7, name: 'x' }] },
  ],
};
const SITE = parseScope('acme/site');
const ACME = parseScope('acme');
const PATH = '/repos/acme/site/actions/runners';

let standin: Standin;
let runners: Runners;
beforeEach(async () => {
  standin = await startStandin({ configuration });
  runners = connect();
});
afterEach(() => standin.close());

const connect = (changes: Partial<RunnersSettings> = {}): Runners =>
  createRunners({ apiUrl: standin.url, webUrl: standin.url, timeoutMs: 20_000, retryWaitMs: 5, ...changes });
const mint = (person = MONA) => standin.state.mintToken({ clientId: APP, person }).token;
const add = (name: string, organization = false): Runner =>
  standin.state.runners.register(
    organization ? { kind: 'organization', id: 42 } : { kind: 'repository', id: 5 },
    {
      name,
      labels: ['beacon'],
      hasDefaultLabels: true,
      group: undefined,
      isEphemeral: true,
      version: '2.336.0',
    },
  );
async function makeBusy(runner: Runner): Promise<void> {
  standin.state.runners.openSession(runner);
  standin.state.runners.queueJob({ scope: runner.scope, labels: [], script: ':' });
  await standin.state.runners.nextMessage(runner, 0);
}
const asked = (line: string) => standin.state.requests.filter((request) => request === line).length;

describe('a registration token', () => {
  it.each([SITE, ACME])('is given for an hour', async (scope) => {
    const { token, expiresAt } = await runners.registrationToken(mint(), scope);
    expect(standin.state.canaries).toContain(token);
    expect(expiresAt.getTime() - Date.now()).toBeGreaterThan(3_500_000);
  });

  it('is asked for once more when the reply is lost: one that nobody uses ends by itself', async () => {
    standin.state.fault({ path: `${PATH}/registration-token`, effect: { kind: 'lost-reply' }, times: 1 });
    expect((await runners.registrationToken(mint(), SITE)).token).not.toBe('');
    expect(asked(`POST ${PATH}/registration-token`)).toBe(2);
  });

  it('is given to many at once without a queue', async () => {
    const token = mint();
    const given = await Promise.all(Array.from({ length: 8 }, () => runners.registrationToken(token, SITE)));
    expect(new Set(given.map((one) => one.token)).size).toBe(8);
  });
});

describe('runners', () => {
  it('are listed whole, over pages', async () => {
    for (let number = 0; number < 105; number += 1) add(`r-${number}`);
    add('elsewhere', true);
    const listed = await runners.list(mint(), SITE);
    expect(listed).toHaveLength(105);
    expect(listed[0]).toEqual({
      id: expect.any(Number),
      name: 'r-0',
      os: 'linux',
      status: 'offline',
      busy: false,
      labels: ['self-hosted', 'Linux', 'X64', 'beacon'],
      ephemeral: true,
      version: '2.336.0',
      group: 1,
    });
    expect(await runners.list(mint(), ACME)).toMatchObject([{ name: 'elsewhere' }]);
  });

  it('are listed anew when one goes between two pages and another would be missed', async () => {
    const made = Array.from({ length: 150 }, (_, number) => add(`r-${number}`));
    let pages = 0;
    const fetch: typeof globalThis.fetch = async (input, init) => {
      const answer = await globalThis.fetch(input, init);
      pages += 1;
      if (pages === 1) standin.state.runners.remove(made[5]?.id ?? 0);
      return answer;
    };
    const names = (await connect({ fetch }).list(mint(), SITE)).map(({ name }) => name);
    expect(names).toHaveLength(149);
    expect(names).toContain('r-100');
    expect(names).not.toContain('r-5');
    expect(pages).toBe(4);
  });

  it('are found by their exact name, also where GitHub does not filter', async () => {
    add('build');
    const { id } = add('build-1');
    expect(await runners.findByName(mint(), SITE, 'build-1')).toMatchObject({ id });
    expect(await runners.findByName(mint(), SITE, 'build-2')).toBeUndefined();
    const unfiltered: typeof globalThis.fetch = (input, init) =>
      globalThis.fetch(String(input).replace(/name=[^&]*&/, ''), init);
    expect(await connect({ fetch: unfiltered }).findByName(mint(), SITE, 'build-1')).toMatchObject({ id });
  });

  it('are shown with what they do', async () => {
    const runner = add('one');
    await makeBusy(runner);
    expect(await runners.get(mint(), SITE, runner.id)).toMatchObject({ status: 'online', busy: true });
    expect(await runners.get(mint(), SITE, runner.id + 1)).toBeUndefined();
  });

  it('are gone only where the place itself still answers', async () => {
    const { id } = add('one');
    const token = mint();
    standin.state.setOwner(42, MONA, false);
    expect((await failureOf(runners.get(token, SITE, id))).code).toBe('not-found');
    expect((await failureOf(runners.remove(token, SITE, id))).code).toBe('not-found');
    expect((await failureOf(runners.findByName(token, SITE, 'one'))).code).toBe('not-found');
  });

  it('are removed once, but not in the middle of a job', async () => {
    const runner = add('one');
    await makeBusy(runner);
    expect(await runners.remove(mint(), SITE, runner.id)).toBe('busy');
    standin.state.runners.finishJob({ ...runner, isEphemeral: false }, runner.job?.id ?? 0, 0, '');
    Object.assign(runner, { job: undefined });
    expect(await runners.remove(mint(), SITE, runner.id)).toBe('removed');
    expect(await runners.remove(mint(), SITE, runner.id)).toBe('gone');
  });

  it('are gone when the reply to their removal is lost', async () => {
    const { id } = add('one');
    standin.state.fault({
      method: 'DELETE',
      path: `${PATH}/${id}`,
      effect: { kind: 'lost-reply' },
      times: 1,
    });
    expect(await runners.remove(mint(), SITE, id)).toBe('gone');
    const next = add('two').id;
    standin.state.fault({ method: 'DELETE', path: `${PATH}/${next}`, effect: { kind: 'lost-reply' } });
    const failure = await failureOf(runners.remove(mint(), SITE, next));
    expect(failure).toMatchObject({ code: 'unavailable', mayHaveHappened: true });
    expect(failure.message).toMatch(/is not known: look at the runners of acme\/site/);
  });
});

describe('what there is besides', () => {
  it('are programs for each architecture, with their digests', async () => {
    const downloads = await runners.downloads(mint(), SITE);
    expect(downloads.map(({ architecture }) => architecture)).toEqual(['x64', 'arm64', 'arm']);
    expect(downloads[0]).toMatchObject({
      os: 'linux',
      version: '2.336.0',
      filename: 'actions-runner-linux-x64-2.336.0.tar.gz',
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  it('are groups', async () => {
    expect(await runners.groups(mint(), 'acme')).toEqual([
      { id: 1, name: 'Default', isDefault: true },
      { id: expect.any(Number), name: 'linux', isDefault: false },
    ]);
  });

  it('is all there below /api/v3 of an Enterprise Server', async () => {
    const { id } = add('one');
    const enterprise = connect({ apiUrl: standin.enterpriseApiUrl });
    expect(await enterprise.findByName(mint(), SITE, 'one')).toMatchObject({ id });
    expect(await enterprise.places(mint())).not.toHaveLength(0);
    expect(await enterprise.remove(mint(), SITE, id)).toBe('removed');
  });
});

describe('where a person may add runners', () => {
  it('is told with the reason where not', async () => {
    expect(await runners.places(mint())).toEqual([
      { scope: 'acme', kind: 'organization', isPublic: false, mayAdd: true },
      { scope: 'acme/site', kind: 'repository', isPublic: false, mayAdd: true },
      { scope: 'acme/tools', kind: 'repository', isPublic: true, mayAdd: true },
    ]);
    expect(await runners.places(mint(HUBOT))).toMatchObject([
      { scope: 'acme', mayAdd: false, reason: expect.stringMatching(/Ask an owner of acme/) },
      {
        scope: 'acme/site',
        mayAdd: false,
        reason: expect.stringMatching(/Ask an administrator of acme\/site for the role Admin/),
      },
      { scope: 'acme/tools', mayAdd: true },
    ]);
  });

  it('names the permission that the app lacks', async () => {
    standin.state.setRunnerPermission(42, APP, false);
    const places = await runners.places(mint());
    expect(places.map(({ mayAdd }) => mayAdd)).toEqual([false, false, false]);
    expect(places[0]?.reason).toMatch(/organization_self_hosted_runners=write.*Ask an owner of acme/);
    expect(places[1]?.reason).toMatch(/administration=write.*Ask an owner of acme/);
    standin.state.setRunnerPermission(42, APP, 'read');
    expect((await runners.places(mint())).map(({ mayAdd }) => mayAdd)).toEqual([false, false, false]);
    standin.state.suspendApp(42, APP, true);
    expect((await runners.places(mint()))[0]?.reason).toMatch(/suspended at acme/);
  });

  it('is in what the person owns too; what no token of an app can manage is left out', async () => {
    const permissions = { administration: 'write' };
    const reply = (path: string, body: unknown) =>
      standin.state.fault({ path, effect: { kind: 'answer', status: 200, body } });
    reply('/user/installations', {
      total_count: 2,
      installations: [
        { id: 8, account: { slug: 'big' }, target_type: 'Enterprise', permissions: {} },
        { id: 9, account: { login: 'mona' }, target_type: 'User', permissions, suspended_at: null },
      ],
    });
    reply('/user/installations/9/repositories', {
      total_count: 2,
      repositories: [
        { full_name: 'mona/site', private: false, permissions: { admin: true } },
        { full_name: 'mona_acme/site', private: true, permissions: { admin: true } },
      ],
    });
    expect(await runners.places(mint())).toEqual([
      { scope: 'mona/site', kind: 'repository', isPublic: true, mayAdd: true },
      expect.objectContaining({
        scope: 'mona_acme/site',
        mayAdd: false,
        reason: expect.stringMatching(/no repository of such a name/),
      }),
    ]);
  });

  it('says so where single sign-on hides it', async () => {
    standin.state.setSso(42, true);
    expect(await runners.places(mint())).toMatchObject([
      { scope: 'acme', mayAdd: false, reason: expect.stringMatching(/single sign-on/) },
    ]);
  });

  it('is an error, and no list without the place, where GitHub does not answer', async () => {
    for (const path of ['/user/installations*', '/orgs/acme/actions/runners']) {
      standin.state.fault({ path, effect: { kind: 'answer', status: 503, body: {} } });
      expect((await failureOf(runners.places(mint()))).code).toBe('unavailable');
      standin.state.clearFaults();
    }
  });
});

describe('a refusal', () => {
  it('says which permission is missing, and whom to ask', async () => {
    standin.state.setRunnerPermission(42, APP, false);
    const site = await failureOf(runners.registrationToken(mint(), SITE));
    expect(site).toMatchObject({
      code: 'refused',
      permissions: 'administration=write',
      lacking: 'permission',
    });
    expect(site.message).toMatch(/administration=write.*Ask an owner of acme/);
    const acme = await failureOf(runners.list(mint(), ACME));
    expect(acme.permissions).toBe('organization_self_hosted_runners=read');
  });

  it('says which role is missing, and whom to ask', async () => {
    const failure = await failureOf(runners.registrationToken(mint(HUBOT), SITE));
    expect(failure).toMatchObject({ code: 'refused', lacking: 'role' });
    expect(failure.message).toMatch(/You do not administer acme\/site.*Ask an administrator of acme\/site/);
  });

  it('of a place that the person does not see says so', async () => {
    const failure = await failureOf(runners.registrationToken(mint(HUBOT), parseScope('other/x')));
    expect(failure.code).toBe('not-found');
    expect(failure.message).toMatch(/no repository other\/x/);
  });

  it('of single sign-on says to sign in', async () => {
    standin.state.setSso(42, true);
    expect(await failureOf(runners.list(mint(), ACME))).toMatchObject({ code: 'refused', sso: true });
  });

  it('comes before anything is asked, where nothing can be meant', async () => {
    expect((await failureOf(runners.get(mint(), SITE, 1.5))).code).toBe('configuration');
    expect((await failureOf(runners.findByName(mint(), SITE, 'a\nb'))).code).toBe('configuration');
    expect((await failureOf(runners.list('no token', SITE))).code).toBe('unauthorized');
    expect(standin.state.requests).toEqual([]);
  });
});

const answer = (status: number, headers: Record<string, string> = {}): FaultEffect => ({
  kind: 'answer',
  status,
  body: { message: 'no' },
  headers,
});
const faults: [string, FaultEffect, GitHubErrorCode[]][] = [
  ['401', answer(401), ['unauthorized']],
  ['403', answer(403), ['refused']],
  ['404', answer(404), ['not-found']],
  ['409', answer(409), ['conflict']],
  ['422', answer(422), ['rejected']],
  ['429', { kind: 'too-many-requests', seconds: 30 }, ['rate-limited']],
  ['500', answer(500), ['unavailable']],
  ['503 with a time', answer(503, { 'retry-after': '7' }), ['unavailable']],
  ['no answer', { kind: 'hang' }, ['unavailable']],
  ['a slow answer', { kind: 'delay', delayMs: 2000 }, ['unavailable']],
  ['a lost reply', { kind: 'lost-reply' }, ['unavailable']],
  ['a reset', { kind: 'reset' }, ['unavailable']],
  ['truncated JSON', { kind: 'truncated-json' }, ['unavailable']],
  ['a page of HTML', { kind: 'garbage' }, ['unavailable']],
  ['an object that says nothing', { kind: 'answer', status: 200, body: {} }, ['malformed']],
  ['a list of nothing that fits', { kind: 'answer', status: 200, body: [{}] }, ['malformed', 'unavailable']],
];
const calls: [string, string, (runners: Runners, token: string) => Promise<unknown>][] = [
  [
    'registrationToken',
    `${PATH}/registration-token`,
    (github, token) => github.registrationToken(token, SITE),
  ],
  ['list', PATH, (github, token) => github.list(token, SITE)],
  ['findByName', PATH, (github, token) => github.findByName(token, SITE, 'one')],
  ['get', `${PATH}*`, (github, token) => github.get(token, SITE, 1)],
  ['remove', `${PATH}*`, (github, token) => github.remove(token, SITE, 1)],
  ['downloads', `${PATH}/downloads`, (github, token) => github.downloads(token, SITE)],
  ['groups', '/orgs/acme/actions/runner-groups', (github, token) => github.groups(token, 'acme')],
];

describe.each(calls)('%s', (name, path, call) => {
  it.each(faults)('O7: ends in an error, never in an empty answer: %s', async (fault, effect, codes) => {
    const token = mint();
    standin.state.fault({ path, effect });
    const slow = ['hang', 'delay'].includes(effect.kind);
    const asked = call(connect({ timeoutMs: slow ? 60 : 20_000 }), token);
    if (name === 'remove' && fault === '422') {
      expect(await asked).toBe('busy');
      return;
    }
    const failure = await failureOf(asked);
    const isWrongForRemoval =
      effect.kind === 'garbage' || (effect.kind === 'answer' && effect.status === 200);
    expect(name === 'remove' && isWrongForRemoval ? ['malformed'] : codes).toContain(failure.code);
    if (fault === '503 with a time') expect(failure.retryAfterMs).toBe(7000);
    if (fault === '429') expect(failure.retryAfterMs).toBe(30_000);
    for (const secret of standin.state.canaries) {
      expect(`${failure.message}${failure.stack}${JSON.stringify(failure)}`).not.toContain(secret);
    }
  });
});

describe('a GitHub that is down', () => {
  it('is left alone after a few tries', async () => {
    standin.state.fault({ path: '*', effect: answer(503) });
    const github = connect();
    for (let times = 0; times < 5; times += 1) await failureOf(github.list(mint(), SITE));
    const before = standin.state.requests.length;
    expect((await failureOf(github.list(mint(), SITE))).retryAfterMs).toBeGreaterThan(0);
    expect(standin.state.requests).toHaveLength(before);
  });
});
