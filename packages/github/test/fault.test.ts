import { inspect } from 'node:util';
import type { FaultEffect } from '@beacon/github-standin';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { GitHub, GitHubErrorCode } from '../src/index.ts';
import { ACME, failureOf, makeWorld, OPS, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await makeWorld();
});
afterEach(() => world.standin.close());

const named = { organizations: [`github:${ACME}`], teams: [`github:${OPS}`] };

/** Every call, and each path that it depends on. */
const calls: [string, string, (github: GitHub, token: string) => Promise<unknown>][] = [
  ['readIdentity', '/user', (github, token) => github.readIdentity(token)],
  ['checkToken', '/applications/*', (github, token) => github.checkToken(token)],
  ['deleteToken', '/applications/*', (github, token) => github.deleteToken(token)],
  ['readMemberships', '/user/memberships/orgs', (github, token) => github.readMemberships(token, named)],
  ['readMemberships', '/user/teams', (github, token) => github.readMemberships(token, named)],
  [
    'readMemberships',
    '/user/installations',
    (github, token) => github.readMemberships(token, { organizations: ['github:43'], teams: [] }),
  ],
  ['findPersonByLogin', '/users/mona', (github) => github.findPersonByLogin('mona')],
];

const json = (status: number, body: unknown): FaultEffect => ({ kind: 'answer', status, body });

const faults: [string, FaultEffect, GitHubErrorCode[]][] = [
  ['500', json(500, { message: 'x' }), ['unavailable']],
  ['502', json(502, {}), ['unavailable']],
  ['503', json(503, {}), ['unavailable']],
  ['504 without a body', { kind: 'answer', status: 504 }, ['unavailable']],
  ['429', { kind: 'too-many-requests', seconds: 30 }, ['rate-limited']],
  ['403 of the primary limit', { kind: 'primary-limit', seconds: 120 }, ['rate-limited']],
  ['403 of a secondary limit', { kind: 'secondary-limit', seconds: 60 }, ['rate-limited']],
  ['304 that nobody asked for', { kind: 'answer', status: 304 }, ['unavailable']],
  ['409, which pagination would take for the end', json(409, {}), ['malformed']],
  ['410', json(410, {}), ['malformed']],
  [
    'a redirect',
    { kind: 'answer', status: 302, headers: { location: 'https://evil.example/' } },
    ['malformed'],
  ],
  ['204, which pagination would take for an empty list', { kind: 'answer', status: 204 }, ['malformed']],
  ['a connection reset', { kind: 'reset' }, ['unavailable']],
  ['a connection cut in the body', { kind: 'cut' }, ['unavailable']],
  ['truncated JSON', { kind: 'truncated-json' }, ['unavailable']],
  ['a page of HTML', { kind: 'garbage' }, ['unavailable', 'malformed']],
  ['an empty body', { kind: 'answer', status: 200 }, ['unavailable', 'malformed']],
  ['an endless body', { kind: 'endless' }, ['malformed', 'unavailable']],
  ['null', json(200, null), ['unavailable', 'malformed']],
  ['a number', json(200, 5), ['unavailable', 'malformed']],
  ['an object that says nothing', json(200, {}), ['malformed']],
  ['a list of nothing that fits', json(200, [{}]), ['malformed']],
  ['no answer', { kind: 'hang' }, ['unavailable']],
  ['no end of the answer', { kind: 'hang-in-body' }, ['unavailable']],
];

describe.each(calls)('%s when %s fails', (name, path, call) => {
  it.each(faults)('O7: ends in an error, never in an empty answer: %s', async (fault, effect, codes) => {
    const token = world.mint();
    world.standin.state.fault({ path, effect });
    const slow = ['hang', 'hang-in-body', 'endless'].includes(effect.kind);
    const github = slow ? world.connect({ timeoutMs: 300 }) : world.github;
    if (name === 'deleteToken' && (fault === 'truncated JSON' || effect.kind === 'cut')) return; // no body to cut
    if (name === 'deleteToken' && effect.kind === 'hang-in-body') return;
    if (name === 'deleteToken' && 'status' in effect && effect.status === 204) return; // that is what it waits for
    const failure = await failureOf(call(github, token));
    expect(codes).toContain(failure.code);
    expectNoSecret(failure);
  });

  it('O7: a 401 is told from a fault', async () => {
    const token = world.mint();
    world.standin.state.fault({ path, effect: json(401, { message: 'Bad credentials' }) });
    const failure = await failureOf(call(world.github, token));
    expect(failure.code).toBe(path.startsWith('/applications') ? 'app-refused' : 'unauthorized');
    expectNoSecret(failure);
  });

  it('passes over one fault that goes away', async () => {
    const token = world.mint();
    world.standin.state.fault({ path, effect: json(502, {}), times: 1 });
    await call(world.github, token);
    world.standin.state.fault({ path, effect: { kind: 'reset' }, times: 1 });
    if (name !== 'deleteToken') await call(world.github, token);
  });

  it('Q2: asks twice at most, and once when GitHub asks to wait', async () => {
    const token = world.mint();
    const { state } = world.standin;
    const count = () =>
      state.requests.filter((line) => line.split(' ')[1]?.startsWith(path.replace('*', ''))).length;
    const exact =
      path === '/user' ? () => state.requests.filter((line) => line === 'GET /user').length : count;
    state.fault({ path, effect: { kind: 'too-many-requests', seconds: 1 }, times: 1 });
    await failureOf(call(world.github, token));
    expect(exact()).toBe(1);
    state.fault({ path, effect: json(500, {}) });
    await failureOf(call(world.github, token));
    expect(exact()).toBe(3);
  });

  it('a plain 403 is no error of the network', async () => {
    const token = world.mint();
    world.standin.state.fault({ path, effect: json(403, { message: 'Resource not accessible' }) });
    if (name === 'readMemberships') {
      const read = await world.github.readMemberships(token, {
        organizations: ['github:43'],
        teams: named.teams,
      });
      expect(read.teams.unknown.length + read.organizations.unknown.length).toBeGreaterThan(0);
      return;
    }
    const failure = await failureOf(call(world.github, token));
    expect(failure.code).toBe('refused');
    expectNoSecret(failure);
  });
});

describe('waiting', () => {
  it.each([
    ['retry-after', { kind: 'too-many-requests', seconds: 30 }, 30_000],
    ['the reset of the primary limit', { kind: 'primary-limit', seconds: 120 }, 120_000],
    ['a minute when nothing is said', json(429, {}), 60_000],
    [
      'a minute when what is said is no time',
      { kind: 'answer', status: 429, body: {}, headers: { 'retry-after': 'soon' } },
      60_000,
    ],
  ] satisfies [string, FaultEffect, number][])('takes %s', async (_what, effect, expected) => {
    world.standin.state.fault({ path: '/user', effect });
    const failure = await failureOf(world.github.readIdentity(world.mint()));
    expect(failure.code).toBe('rate-limited');
    if (effect.kind !== 'primary-limit') return void expect(failure.retryAfterMs).toBe(expected);
    // A time of day is told, in whole seconds, and some have passed since.
    expect(failure.retryAfterMs).toBeGreaterThan(expected - 60_000);
    expect(failure.retryAfterMs).toBeLessThanOrEqual(expected + 1_000);
  });

  it('Q2: a hundred calls to a GitHub that hangs all end at the deadline', async () => {
    world.standin.state.fault({ path: '*', effect: { kind: 'hang' } });
    const github = world.connect({ timeoutMs: 500 });
    const failures = await Promise.all(
      Array.from({ length: 100 }, () => failureOf(github.readMemberships(world.mint(), named))),
    );
    expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(['unavailable']));
    // One after another they take 50 s.
  }, 30_000);

  it('Q2: many calls with one token that hang do not hold up another call', async () => {
    const { state } = world.standin;
    const [slow, quick] = [world.mint(), world.mint()];
    const github = world.connect({ timeoutMs: 5_000 });
    state.fault({ path: '/applications/*', effect: { kind: 'hang' }, times: 1 });
    const order: string[] = [];
    const hanging = failureOf(github.checkToken(slow)).finally(() => order.push('slow'));
    while (state.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await github.checkToken(quick).then(() => order.push('quick'));
    expect((await hanging).code).toBe('unavailable');
    expect(order).toEqual(['quick', 'slow']);
  });
});

describe('pages', () => {
  it('O7: a fault on a later page is an error, not a shorter list', async () => {
    const { state } = world.standin;
    const token = world.mint();
    for (let i = 0; i < 150; i++) {
      const organization = state.addOrganization({ id: 10_000 + i, login: `org-${i}` });
      state.installApp(organization.id, world.app.clientId);
      state.setMember(organization.id, state.person(583231).id, 'active');
    }
    for (const effect of [json(409, {}), json(500, {}), { kind: 'truncated-json' }] satisfies FaultEffect[]) {
      let page = 0;
      const fetch: typeof globalThis.fetch = async (input, init) => {
        if (String(input).includes('memberships') && ++page === 2)
          state.fault({ path: '/user/memberships/*', effect });
        return globalThis.fetch(input, init);
      };
      const asked = { organizations: named.organizations, teams: [] };
      const failure = await failureOf(world.connect({ fetch }).readMemberships(token, asked));
      expect(['malformed', 'unavailable']).toContain(failure.code);
      state.clearFaults();
    }
  });

  it('never follows a link to another place with the token', async () => {
    const seen: string[] = [];
    const fetch: typeof globalThis.fetch = (input, init) => {
      seen.push(new URL(String(input)).host);
      return globalThis.fetch(input, init);
    };
    for (const link of ['http://127.0.0.1:9/user/memberships/orgs?page=2', 'https://evil.example/x']) {
      world.standin.state.fault({
        path: '/user/memberships/orgs',
        effect: { kind: 'answer', status: 200, body: [], headers: { link: `<${link}>; rel="next"` } },
      });
      const failure = await failureOf(world.connect({ fetch }).readMemberships(world.mint(), named));
      expect(failure.code).toBe('malformed');
      world.standin.state.clearFaults();
    }
    expect(new Set(seen)).toEqual(new Set([new URL(world.standin.url).host]));
  });

  it('ends a list that never ends', async () => {
    const again = `<${world.standin.url}/user/teams?page=2>; rel="next"`;
    world.standin.state.fault({
      path: '/user/teams',
      effect: { kind: 'answer', status: 200, body: [], headers: { link: again } },
    });
    expect((await failureOf(world.github.readMemberships(world.mint(), named))).code).toBe('malformed');
  });
});

describe('settings', () => {
  it.each([
    ['http://github.example/api/v3', 'plain HTTP to another machine'],
    ['https://u:p@github.example/', 'credentials'],
    ['https://github.example/?x=1', 'a query'],
    ['github.example', 'no address'],
    ['ftp://127.0.0.1/', 'another scheme'],
  ])('refuses %s as an address (%s)', (apiUrl) => {
    expect(() => world.connect({ apiUrl })).toThrow(expect.objectContaining({ code: 'configuration' }));
    expect(() => world.connect({ webUrl: apiUrl })).toThrow(
      expect.objectContaining({ code: 'configuration' }),
    );
  });

  it('gives the addresses of the web flow', () => {
    const github = world.connect({ apiUrl: 'https://ghes.example/api/v3/', webUrl: 'https://ghes.example/' });
    expect(github.urls).toEqual({
      authorize: 'https://ghes.example/login/oauth/authorize',
      token: 'https://ghes.example/login/oauth/access_token',
      profile: 'https://ghes.example/api/v3/user',
    });
  });
});

/** No token and no client secret stands anywhere in the error, however it is shown. */
function expectNoSecret(failure: Error): void {
  const shown = [
    failure.message,
    failure.stack ?? '',
    JSON.stringify(failure),
    inspect(failure, { depth: 20, showHidden: true }),
    inspect(failure.cause, { depth: 20, showHidden: true }),
    String(failure),
  ].join('\n');
  const secrets = [
    ...world.standin.state.canaries,
    Buffer.from(`${world.app.clientId}:${world.app.clientSecret}`).toString('base64'),
  ];
  expect(secrets.length).toBeGreaterThan(2);
  for (const secret of secrets) expect(shown).not.toContain(secret);
}
