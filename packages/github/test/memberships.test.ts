import { afterEach, describe, expect, it } from '@jest/globals';
import { ACME, failureOf, HUBOT, MONA, makeWorld, OPS, OTHER, OTHER_OPS, type World } from './world.ts';

let world: World;
afterEach(() => world.standin.close());

const named = {
  organizations: [`github:${ACME}`, `github:${OTHER}`],
  teams: [`github:${OPS}`, `github:${OTHER_OPS}`],
};

describe.each(['github-app', 'oauth-app'] as const)('memberships read with the token of a %s', (kind) => {
  it('tells known-in, and leaves known-out out', async () => {
    world = await makeWorld(kind);
    world.standin.state.setMember(OTHER, MONA, 'active');
    const before = Date.now();
    const read = await world.github.readMemberships(world.mint(), named);
    expect(read.organizations).toEqual({ in: [`github:${ACME}`, `github:${OTHER}`], unknown: [] });
    expect(read.teams).toEqual({ in: [`github:${OPS}`], unknown: [] });
    expect(read.readAt.getTime()).toBeGreaterThanOrEqual(before);
  });

  it('asks nothing when policies name nothing', async () => {
    world = await makeWorld(kind);
    const read = await world.github.readMemberships(world.mint(), { organizations: [], teams: [] });
    expect(read.organizations.in).toEqual([]);
    expect(world.standin.state.requests).toEqual([]);
  });

  it('reads every page of organisations and teams', async () => {
    world = await makeWorld(kind);
    const { state } = world.standin;
    const ids: string[] = [];
    for (let i = 0; i < 250; i++) {
      const organization = state.addOrganization({ id: 10_000 + i, login: `org-${i}` });
      state.setMember(organization.id, MONA, 'active');
      if (kind === 'github-app') state.installApp(organization.id, world.app.clientId);
      const team = state.addTeam({ id: 20_000 + i, organization: organization.id, slug: 'ops' });
      state.setTeamMember(team.id, MONA, true);
      ids.push(`github:${10_000 + i}`);
    }
    const read = await world.github.readMemberships(world.mint(), {
      organizations: ids,
      teams: ['github:20000', 'github:20249', 'github:20250'],
    });
    expect(read.organizations).toEqual({ in: ids, unknown: [] });
    expect(read.teams).toEqual({ in: ['github:20000', 'github:20249'], unknown: [] });
    expect(state.requests.filter((request) => request === 'GET /user/memberships/orgs')).toHaveLength(3);
  });

  it('works below the prefix of an Enterprise Server, with its own provider', async () => {
    world = await makeWorld(kind);
    const github = world.connect({ apiUrl: world.standin.enterpriseApiUrl, provider: 'ghes' });
    const read = await github.readMemberships(world.mint(), {
      organizations: [`ghes:${ACME}`],
      teams: [`ghes:${OPS}`],
    });
    expect(read.organizations.in).toEqual([`ghes:${ACME}`]);
    expect(read.teams.in).toEqual([`ghes:${OPS}`]);
  });

  it('O8: a pending membership is known-out, and so are its teams', async () => {
    world = await makeWorld(kind);
    world.standin.state.setMember(ACME, MONA, 'pending');
    const read = await world.github.readMemberships(world.mint(), {
      organizations: [`github:${ACME}`],
      teams: [],
    });
    expect(read.organizations).toEqual({ in: [], unknown: [] });
  });

  it('O8: a team that is listed does not count while the membership of its organisation is pending', async () => {
    world = await makeWorld(kind);
    const { state } = world.standin;
    state.setMember(ACME, MONA, 'pending');
    state.fault({
      path: '/user/teams',
      effect: { kind: 'answer', status: 200, body: [{ id: OPS, organization: { id: ACME } }] },
    });
    const read = await world.github.readMemberships(world.mint(), { organizations: [], teams: named.teams });
    expect(read.teams.in).toEqual([]);
  });

  it('O8: a team of another organisation with the same slug is not the named one', async () => {
    world = await makeWorld(kind);
    const { state } = world.standin;
    state.setMember(OTHER, MONA, 'active');
    state.setTeamMember(OPS, MONA, false);
    state.setTeamMember(OTHER_OPS, MONA, true);
    const read = await world.github.readMemberships(world.mint(), {
      organizations: [],
      teams: [`github:${OPS}`],
    });
    expect(read.teams.in).toEqual([]);
  });

  it('single sign-on makes an organisation and the teams unknown, with its name, until the person signs in', async () => {
    world = await makeWorld(kind);
    const { state } = world.standin;
    state.setSso(ACME, true);
    const token = world.mint();
    const asked = { organizations: [`github:${ACME}`], teams: [`github:${OPS}`] };
    expect(await world.github.readMemberships(token, asked)).toMatchObject({
      organizations: { in: [], unknown: [{ id: `github:${ACME}`, name: 'acme', why: 'sso' }] },
      teams: {
        in: [],
        unknown: [{ id: `github:${OPS}`, why: 'sso', organization: `github:${ACME}`, name: 'acme' }],
      },
    });
    state.setSsoSession(ACME, MONA, true);
    expect(await world.github.readMemberships(token, asked)).toMatchObject({
      organizations: { in: [`github:${ACME}`], unknown: [] },
      teams: { in: [`github:${OPS}`], unknown: [] },
    });
  });

  it('single sign-on of an organisation leaves what is listed known-in', async () => {
    world = await makeWorld(kind);
    world.standin.state.setMember(OTHER, MONA, 'active');
    world.standin.state.setSso(OTHER, true);
    expect(await world.github.readMemberships(world.mint(), named)).toMatchObject({
      organizations: { in: [`github:${ACME}`], unknown: [{ id: `github:${OTHER}`, why: 'sso' }] },
      teams: { in: [`github:${OPS}`], unknown: [{ id: `github:${OTHER_OPS}`, why: 'sso' }] },
    });
  });

  it('refuses a sign that single sign-on hides something when its form is not known', async () => {
    world = await makeWorld(kind);
    world.standin.state.fault({
      path: '/user/teams',
      effect: { kind: 'answer', status: 200, body: [], headers: { 'x-github-sso': 'partial-results' } },
    });
    expect((await failureOf(world.github.readMemberships(world.mint(), named))).code).toBe('malformed');
  });

  it.each([
    ['', 'refused'],
    ['required; url=https://github.com/orgs/acme/sso?authorization_request=x', 'sso'],
  ])('a 403 on the organisations makes everything unknown (X-GitHub-SSO: "%s")', async (header, why) => {
    world = await makeWorld(kind);
    world.standin.state.fault({
      path: '/user/memberships/orgs',
      effect: {
        kind: 'answer',
        status: 403,
        body: { message: 'no' },
        headers: header === '' ? {} : { 'x-github-sso': header },
      },
    });
    const read = await world.github.readMemberships(world.mint(), named);
    expect(read.organizations.in).toEqual([]);
    expect(read.teams.in).toEqual([]);
    expect(read.organizations.unknown.map((one) => one.why)).toEqual([why, why]);
    expect(read.teams.unknown.map((one) => one.why)).toEqual([why, why]);
  });

  it('a 403 on the teams makes the teams unknown and leaves the organisations known', async () => {
    world = await makeWorld(kind);
    world.standin.state.fault({
      path: '/user/teams',
      effect: { kind: 'answer', status: 403, body: { message: 'no' } },
    });
    const read = await world.github.readMemberships(world.mint(), {
      organizations: [`github:${ACME}`],
      teams: [`github:${OPS}`],
    });
    expect(read.organizations).toEqual({ in: [`github:${ACME}`], unknown: [] });
    expect(read.teams).toEqual({ in: [], unknown: [{ id: `github:${OPS}`, why: 'refused' }] });
  });

  it('O5: a membership that was taken away is gone at the next reading, and a token that was revoked is refused', async () => {
    world = await makeWorld(kind);
    const { state } = world.standin;
    const token = world.mint();
    const asked = { organizations: [`github:${ACME}`], teams: [`github:${OPS}`] };
    expect((await world.github.readMemberships(token, asked)).organizations.in).toHaveLength(1);
    state.setMember(ACME, MONA, null);
    const after = await world.github.readMemberships(token, asked);
    expect([...after.organizations.in, ...after.teams.in]).toEqual([]);
    state.revokeToken(token);
    expect((await failureOf(world.github.readMemberships(token, asked))).code).toBe('unauthorized');
  });

  it('gives nobody what another person has', async () => {
    world = await makeWorld(kind);
    const read = await world.github.readMemberships(world.mint(HUBOT), named);
    expect([...read.organizations.in, ...read.teams.in]).toEqual([]);
  });

  it('refuses ids of another provider, and without one', async () => {
    world = await makeWorld(kind);
    for (const id of ['ghes:42', '42', 'github:acme', 'github:042', 'github:42 ', 'github:']) {
      const asked = { organizations: [id], teams: [] };
      expect((await failureOf(world.github.readMemberships(world.mint(), asked))).code).toBe('configuration');
    }
  });
});

describe('a GitHub App', () => {
  it.each(['absent', 'suspended', 'without members: read'])(
    'makes an organisation unknown where its installation is %s',
    async (how) => {
      world = await makeWorld('github-app');
      const { state } = world.standin;
      if (how === 'absent') state.uninstallApp(ACME, world.app.clientId);
      else if (how === 'suspended') state.suspendApp(ACME, world.app.clientId, true);
      else state.installApp(ACME, world.app.clientId, null);
      const read = await world.github.readMemberships(world.mint(), {
        organizations: [`github:${ACME}`],
        teams: [`github:${OPS}`],
      });
      expect(read.organizations.unknown).toEqual([
        { id: `github:${ACME}`, name: 'acme', why: 'not-installed' },
      ]);
      expect(read.teams.unknown).toEqual([{ id: `github:${OPS}`, why: 'not-installed' }]);
    },
  );

  it('makes a team known-out where the person sees the installation', async () => {
    world = await makeWorld('github-app');
    world.standin.state.setTeamMember(OPS, MONA, false);
    const read = await world.github.readMemberships(world.mint(), {
      organizations: [`github:${ACME}`],
      teams: [`github:${OPS}`],
    });
    expect(read.teams).toEqual({ in: [], unknown: [] });
  });

  it('does not fail when names cannot be had', async () => {
    world = await makeWorld('github-app');
    world.standin.state.fault({ path: '/organizations/*', effect: { kind: 'hang' } });
    const read = await world.github.readMemberships(world.mint(HUBOT), {
      organizations: [`github:${ACME}`],
      teams: [],
    });
    expect(read.organizations.unknown).toEqual([{ id: `github:${ACME}`, why: 'not-installed' }]);
  });
});

describe('an OAuth App', () => {
  it('makes an organisation that restricts apps unknown, until it approves ours', async () => {
    world = await makeWorld('oauth-app');
    const { state } = world.standin;
    state.setAppRestriction(ACME, true);
    const token = world.mint();
    const asked = { organizations: [`github:${ACME}`], teams: [`github:${OPS}`] };
    const read = await world.github.readMemberships(token, asked);
    expect(read.organizations.unknown).toEqual([{ id: `github:${ACME}`, name: 'acme', why: 'refused' }]);
    expect(read.teams.unknown).toEqual([{ id: `github:${OPS}`, why: 'refused' }]);
    state.approveApp(ACME, world.app.clientId);
    expect((await world.github.readMemberships(token, asked)).teams.in).toEqual([`github:${OPS}`]);
  });

  it('makes an organisation known-out for somebody who is no member', async () => {
    world = await makeWorld('oauth-app');
    const read = await world.github.readMemberships(world.mint(HUBOT), {
      organizations: [`github:${ACME}`],
      teams: [`github:${OPS}`],
    });
    expect(read).toMatchObject({ organizations: { in: [], unknown: [] }, teams: { in: [], unknown: [] } });
  });

  it('makes everything unknown without the scope read:org', async () => {
    world = await makeWorld('oauth-app');
    const { token } = world.standin.state.mintToken({
      clientId: world.app.clientId,
      person: MONA,
      scopes: [],
    });
    const read = await world.github.readMemberships(token, named);
    expect(read.organizations.unknown.map(({ why }) => why)).toEqual(['refused', 'refused']);
    expect(read.teams.unknown).toHaveLength(2);
  });
});
