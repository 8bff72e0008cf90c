import { createHash } from 'node:crypto';
import { createPolicyEngine, type Decision, type HostRequest, type PolicyEngine } from '@beacon/policy';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { engineOf, host, install, inTeams, inventory, memberOf, plain, state } from './world.ts';

interface Rule {
  effect: 'permit' | 'forbid';
  team: string | null;
  action: string | null;
  pool: string | null;
  env: string | null;
  login: string | null;
  lifetime: number;
}

function write(rule: Rule, index: number): string {
  const conditions = [
    ...(rule.env === null ? [] : [`resource.hasTag("env") && resource.getTag("env") == "${rule.env}"`]),
    ...(rule.login === null ? [] : [`context.login == "${rule.login}"`]),
  ];
  return [
    `@id("rule-${index}")`,
    rule.effect === 'permit' ? `@max_lifetime("${rule.lifetime}s")` : '',
    `${rule.effect}(`,
    rule.team === null ? 'principal,' : `principal in Team::"${rule.team}",`,
    // Without a named action, a login could not be asked for: the CA's own actions have none.
    rule.action === null
      ? 'action in [Action::"ssh", Action::"runner.state"],'
      : `action == Action::"${rule.action}",`,
    rule.pool === null ? 'resource)' : `resource in Pool::"${rule.pool}")`,
    conditions.length === 0 ? ';' : `when { ${conditions.join(' && ')} };`,
  ].join(' ');
}

/** The reference: what the rules mean, in the plainest words. */
function oracle(rules: readonly Rule[], request: HostRequest): boolean {
  const action = request.commands === 'ssh' ? 'ssh' : 'runner.state';
  const matching = rules.filter((rule) => {
    if (rule.team !== null && !request.person.teams.in.includes(rule.team)) return false;
    if (rule.action !== null && rule.action !== action) return false;
    if (rule.pool !== null && request.host?.pools.includes(rule.pool) !== true) return false;
    if (rule.env !== null && request.host?.labels['env'] !== rule.env) return false;
    return rule.login === null || rule.login === request.login;
  });
  if (matching.some((rule) => rule.effect === 'forbid')) return false;
  return matching.some((rule) => rule.lifetime >= request.lifetimeSeconds);
}

const maybe = <T>(...values: T[]) => fc.option(fc.constantFrom(...values), { nil: null, freq: 1 });
const rules = fc.array(
  fc
    .record<Rule>({
      effect: fc.oneof(
        { weight: 9, arbitrary: fc.constant('permit' as const) },
        { weight: 1, arbitrary: fc.constant('forbid' as const) },
      ),
      team: maybe('github:42', 'github:43'),
      action: maybe('ssh', 'runner.state'),
      pool: maybe('ci', 'gpu'),
      env: maybe('prod', 'test'),
      login: maybe('beacon', 'deploy'),
      lifetime: fc.constantFrom(60, 900, 3600),
    })
    .map((rule) => (rule.effect === 'forbid' ? { ...rule, team: null } : rule)),
  { minLength: 0, maxLength: 8, size: 'max' },
);

const hosts = [
  host('build-01'),
  host('bare'),
  { id: 'gpu-1', logins: ['beacon'], labels: { env: 'test' }, pools: ['gpu', 'ci'] },
];
const matrix: HostRequest[] = hosts.flatMap((each) =>
  [[], ['github:42'], ['github:42', 'github:43'], ['github:99']].flatMap((teams) =>
    each.logins.flatMap((login) =>
      [60, 901].flatMap((lifetimeSeconds) =>
        (['ssh', [state]] as const).map((commands) => ({
          ...inTeams(...teams),
          host: each,
          login,
          lifetimeSeconds,
          commands,
        })),
      ),
    ),
  ),
);

function withoutVersion(decision: Decision): Omit<Decision, 'version'> {
  const { version: _, ...rest } = decision;
  return rest;
}

describe('the policy engine', () => {
  test('P2: agrees with a reference evaluator over a generated matrix; P7: whatever the order of the rules', () => {
    let allowed = 0;
    let denied = 0;
    fc.assert(
      fc.property(rules, fc.shuffledSubarray(matrix, { minLength: 20, maxLength: 20 }), (list, requests) => {
        const texts = list.map(write);
        const forward = engineOf(texts.join('\n'));
        const backward = engineOf(...[...texts].reverse());
        for (const request of requests) {
          const decision = forward.decide(request);
          expect(decision.allowed).toBe(oracle(list, request));
          expect(forward.allows(request)).toBe(decision.allowed);
          expect(withoutVersion(backward.decide(request))).toEqual(withoutVersion(decision));
          if (decision.allowed) allowed += 1;
          else denied += 1;
        }
        forward.close();
        backward.close();
      }),
      { numRuns: 60 },
    );
    // Some 580 and 620 are, give or take seventy.
    expect(allowed).toBeGreaterThan(50);
    expect(denied).toBeGreaterThan(50);
  });

  test('P2: denies somebody in no team, on a host without labels, for a command without a rule', () => {
    const engine = engineOf(
      `permit(principal in Team::"github:42", action == Action::"runner.state", resource) when { resource.hasTag("env") && resource.getTag("env") == "prod" };`,
    );
    expect(engine.decide(inTeams('github:42')).allowed).toBe(true);
    expect(engine.decide(plain)).toMatchObject({ allowed: false, reason: { code: 'no-permit' } });
    expect(engine.decide({ ...inTeams('github:42'), host: host('bare') })).toMatchObject({
      reason: { code: 'no-permit' },
    });
    expect(engine.decide({ ...inTeams('github:42'), commands: 'ssh' })).toMatchObject({
      reason: { code: 'no-permit' },
    });
    expect(engine.decide({ ...inTeams('github:42'), commands: { authority: 'ca.hosts' } })).toMatchObject({
      reason: { code: 'no-permit' },
    });
  });

  test.each([
    ['Host::"build"', 'build', true],
    ['Host::"build"', 'builder', false],
    ['Host::"build"', 'build.', false],
    ['Host::"build"', 'BUILD', false],
    ['Host::"build-01"', 'build-01.example.org', false],
    ['Host::"build-01"', 'build-0l', false],
  ])('P3: a policy for %s asked about "%s" is allowed: %s', (named, id, allowed) => {
    const engine = engineOf(`permit(principal, action == Action::"runner.state", resource == ${named});`);
    expect(engine.decide({ ...plain, host: { ...host('bare'), id } }).allowed).toBe(allowed);
  });

  test('P3: "like" is the only pattern: "*" stands for any text, also for none and for slashes; everything else is exact', () => {
    const engine = engineOf(
      'permit(principal, action == Action::"runner.install", resource) when { context.params.repo like "acme/*" };',
    );
    const ask = (repo: string) =>
      engine.decide({ ...plain, commands: [{ ...install, params: { name: 'r1', repo } }] }).allowed;
    expect(ask('acme/site')).toBe(true);
    expect(['acme-evil/site', 'Acme/site', 'x/acme', 'evil/acme-site'].map(ask)).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });

  test.each([
    ['10.1.2.3', true],
    ['10.255.255.255', true],
    ['11.0.0.1', false],
    ['::ffff:10.1.2.3', false],
    ['::ffff:a01:203', false],
    ['0x0a.1.2.3', false],
    ['10.1.2.03', false],
    ['10.1.2', false],
    ['167837955', false],
    ['10.1.2.3/8', false],
    ['10.1.2.3.', false],
    [' 10.1.2.3', false],
    ['', false],
    ['localhost', false],
    ['2001:db8::1', true],
    ['2001:DB8::1', false],
    ['2001:db8:0::1', false],
    ['2001:db8::1%eth0', false],
    ['2001:db9::1', false],
  ])('P3: a permit for two networks asked from "%s" is allowed: %s', (sourceAddress, allowed) => {
    const engine = engineOf(
      'permit(principal, action == Action::"runner.state", resource) when { context.source.isInRange(ip("10.0.0.0/8")) || context.source.isInRange(ip("2001:db8::/32")) };',
    );
    expect(engine.decide({ ...plain, sourceAddress }).allowed).toBe(allowed);
  });

  test('shows time, weekday and service to policies, in UTC', () => {
    const engine = engineOf(
      `permit(principal, action == Action::"runner.state", resource) when {
         context.weekday == "wednesday" && context.time.toTime() >= duration("8h") && context.time.toTime() < duration("18h")
         && context.time < datetime("2026-03-05") && context.service == "cli" };`,
    );
    expect(engine.decide(plain).allowed).toBe(true);
    expect(engine.decide({ ...plain, now: new Date('2026-03-04T18:00:00Z') }).allowed).toBe(false);
    expect(engine.decide({ ...plain, now: new Date('2026-03-05T10:00:00Z') }).allowed).toBe(false);
    expect(engine.decide({ ...plain, now: new Date(Number.NaN) })).toMatchObject({
      reason: { code: 'policy-error' },
    });
  });

  test('a forbid wins over every permit and is named', () => {
    const engine = engineOf(
      '@id("all") permit(principal, action == Action::"runner.state", resource);',
      '@id("frozen") @reason("change freeze") forbid(principal, action, resource == Host::"build-01");',
    );
    expect(engine.decide(plain)).toMatchObject({
      allowed: false,
      reason: { code: 'forbidden' },
      policies: ['frozen'],
    });
    expect(engine.decide({ ...plain, host: host('bare') })).toMatchObject({
      allowed: true,
      policies: ['all'],
    });
  });

  test('a forbid that cannot be evaluated denies, where Cedar alone would allow', () => {
    const engine = engineOf(
      '@id("all") permit(principal, action == Action::"runner.state", resource);',
      '@id("overflow") forbid(principal, action == Action::"runner.state", resource) when { context.lifetime_seconds * 9223372036854775807 > 0 };',
    );
    expect(engine.decide(plain)).toMatchObject({
      allowed: false,
      reason: { code: 'policy-error' },
      policies: ['overflow'],
      missing: [],
    });
  });

  test.each([
    [30, 'allowed'],
    [600, 'allowed'],
    [601, 600],
    [3600, 600],
    [3601, 600],
    [29, null],
    [0, null],
    [-60, null],
    [60.5, null],
    [Number.NaN, null],
    [1e308, 600],
    [Number.POSITIVE_INFINITY, 600],
  ])('A3: %s seconds where ten minutes are the most: %s', (lifetimeSeconds, expected) => {
    const engine = engineOf(
      '@max_lifetime("10m") permit(principal, action == Action::"runner.state", resource);',
    );
    const decision = engine.decide({ ...plain, lifetimeSeconds });
    if (expected === 'allowed') {
      expect(decision).toMatchObject({ allowed: true, limits: { maxLifetimeSeconds: 600, extensions: [] } });
      return;
    }
    expect(decision).toMatchObject({ allowed: false, reason: { code: 'lifetime' } });
    expect('missing' in decision && decision.missing).toEqual(
      expected === null ? [] : [{ kind: 'lifetime', longest_seconds: expected }],
    );
  });

  test('A3: without an annotation a permit covers 15 minutes and no extension', () => {
    const engine = engineOf('permit(principal, action == Action::"ssh", resource);');
    const ask = (lifetimeSeconds: number) => engine.decide({ ...plain, commands: 'ssh', lifetimeSeconds });
    expect(ask(900)).toMatchObject({ allowed: true, limits: { maxLifetimeSeconds: 900, extensions: [] } });
    expect(ask(901)).toMatchObject({
      reason: { code: 'lifetime' },
      missing: [{ kind: 'lifetime', longest_seconds: 900 }],
    });
  });

  test('A3: a condition on the lifetime is found like an annotation, to the second', () => {
    const engine = engineOf(
      '@max_lifetime("1h") permit(principal, action == Action::"ssh", resource) when { context.lifetime_seconds < 700 };',
    );
    expect(engine.decide({ ...plain, commands: 'ssh', lifetimeSeconds: 1200 })).toMatchObject({
      reason: { code: 'lifetime', text: expect.stringContaining('longest that would be allowed is 699s') },
      missing: [{ kind: 'lifetime', longest_seconds: 699 }],
    });
  });

  describe('limits', () => {
    const engine = engineOf(
      '@id("long") @max_lifetime("1h") permit(principal, action == Action::"ssh", resource);',
      '@id("pty") @max_lifetime("10m") @extensions("permit-pty, permit-agent-forwarding") permit(principal, action == Action::"ssh", resource);',
    );
    const ask = (lifetimeSeconds: number, extensions: HostRequest['extensions'] = []) =>
      engine.decide({ ...plain, commands: 'ssh', lifetimeSeconds, extensions });

    test('of two permits are never mixed', () => {
      expect(ask(3600)).toMatchObject({
        allowed: true,
        policies: ['long'],
        limits: { maxLifetimeSeconds: 3600, extensions: [] },
      });
      expect(ask(60)).toMatchObject({
        allowed: true,
        policies: ['long'],
        limits: { maxLifetimeSeconds: 3600, extensions: [] },
      });
      expect(ask(60, ['permit-pty'])).toMatchObject({
        allowed: true,
        policies: ['pty'],
        limits: { maxLifetimeSeconds: 600, extensions: ['permit-agent-forwarding', 'permit-pty'] },
      });
      expect(ask(601, ['permit-pty'])).toMatchObject({
        allowed: false,
        reason: { code: 'lifetime' },
        missing: [{ kind: 'lifetime', longest_seconds: 600 }],
      });
      expect(ask(60, ['permit-X11-forwarding'])).toMatchObject({
        allowed: false,
        reason: { code: 'extensions' },
        missing: [],
      });
    });

    test('of several commands: each is covered by one permit, the shortest counts, all deciding policies are named', () => {
      const both = engineOf(
        '@id("state") @max_lifetime("5m") permit(principal, action == Action::"runner.state", resource);',
        '@id("install") @max_lifetime("1h") permit(principal, action == Action::"runner.install", resource);',
      );
      const asked = { ...plain, commands: [install, state] };
      expect(both.decide({ ...asked, lifetimeSeconds: 300 })).toMatchObject({
        allowed: true,
        policies: ['install', 'state'],
        limits: { maxLifetimeSeconds: 300 },
      });
      expect(both.decide(asked)).toMatchObject({
        allowed: false,
        policies: ['state'],
        missing: [{ kind: 'lifetime', longest_seconds: 300 }],
      });
      const one = engineOf('permit(principal, action == Action::"runner.install", resource);');
      expect(one.decide(asked)).toMatchObject({ allowed: false, reason: { code: 'no-permit' } });
    });

    test('a command gets no extension, whatever a permit for everything says', () => {
      const all = engineOf('@extensions("permit-pty") permit(principal, action, resource);');
      expect(all.decide(plain)).toMatchObject({ allowed: true, limits: { extensions: [] } });
    });
  });

  test('answers questions about the CA itself', () => {
    const engine = engineOf(
      '@id("admins") permit(principal in Team::"github:42", action in [Action::"ca.hosts", Action::"ca.revoke"], resource == Authority::"ca");',
    );
    expect(engine.decide({ ...inTeams('github:42'), commands: { authority: 'ca.hosts' } })).toMatchObject({
      allowed: true,
      policies: ['admins'],
    });
    expect(engine.decide({ ...inTeams('github:42'), commands: { authority: 'ca.rotate' } }).allowed).toBe(
      false,
    );
    expect(engine.decide({ ...plain, commands: { authority: 'ca.hosts' } })).toMatchObject({
      missing: [{ kind: 'team', id: 'github:42' }],
    });
  });

  test('names the teams and organisations that matter, and only those', () => {
    const engine = engineOf(
      'permit(principal in Team::"github:42", action, resource);',
      'permit(principal, action, resource) when { principal in [Org::"github:7", Org::"github:8"] || principal in Team::"github:41" };',
    );
    expect(engine.namedTeams).toEqual(['github:41', 'github:42']);
    expect(engine.namedOrganizations).toEqual(['github:7', 'github:8']);
    const person = { ...plain.person, organizations: memberOf('github:8', 'github:9') };
    expect(engine.decide({ ...plain, person }).allowed).toBe(true);
  });

  test('P4: the version is of the names and exact bytes of the files, whatever their order', () => {
    const version = (...files: [string, string][]): string =>
      createPolicyEngine({ inventory, files: files.map(([name, text]) => ({ name, text })) }).version;
    const base = version(['a', '// x\n'], ['b', '']);
    expect(base).toMatch(/^[0-9a-f]{64}$/);
    expect(base).toBe(
      createHash('sha256')
        .update('beacon-policy-1\0' + '1:a' + '5:// x\n' + '1:b' + '0:')
        .digest('hex'),
    );
    expect(version(['b', ''], ['a', '// x\n'])).toBe(base);
    const others = [
      version(['a', '// x']),
      version(['a', '// x\n']),
      version(['a', ''], ['b', '// x\n']),
      version(['a', '// x\r\n'], ['b', '']),
      version(),
    ];
    expect(new Set([base, ...others]).size).toBe(6);
  });

  test('P4: while policies are replaced, each decision is that of exactly the version it names', () => {
    const engines = [true, false].map((open) =>
      engineOf(open ? 'permit(principal, action == Action::"runner.state", resource);' : '// closed\n'),
    );
    const [open, shut] = engines as [PolicyEngine, PolicyEngine];
    let current = open;
    for (let round = 0; round < 500; round += 1) {
      if (round % 7 === 0) current = current === open ? shut : open;
      const decision = current.decide(plain);
      expect(decision.allowed).toBe(decision.version === open.version);
    }
  });
});
