import type { Denied, HostRequest, Memberships, PolicyRequest } from '@beacon/policy';
import { describe, expect, test } from '@jest/globals';
import { engineOf, host, inTeams, memberOf, plain } from './world.ts';

const engine = engineOf(`
@id("team") @max_lifetime("30m") permit(principal in Team::"github:42", action == Action::"ssh", resource);
@id("org") permit(principal in Org::"github:7", action == Action::"ssh", resource) when { context.login == "deploy" };
@id("web") permit(principal, action == Action::"ssh", resource) when { context.service == "portal" && context.lifetime_seconds <= 60 };
@id("both") permit(principal in Team::"github:50", action == Action::"runner.state", resource) when { principal in Team::"github:51" };
`);
const ssh: HostRequest = { ...plain, commands: 'ssh', login: 'deploy' };
const person = (teams: Memberships, organizations: Memberships): HostRequest['person'] => ({
  id: 'github:1',
  teams,
  organizations,
});

function denied(request: PolicyRequest, by = engine): Denied {
  const decision = by.decide(request);
  if (decision.allowed) throw new Error('was allowed');
  return decision;
}

describe('what is missing', () => {
  test('names every single change that a policy speaks of and that would be enough', () => {
    expect(denied(ssh).missing).toEqual([
      { kind: 'team', id: 'github:42' },
      { kind: 'organization', id: 'github:7' },
    ]);
    expect(denied({ ...ssh, lifetimeSeconds: 60 }).missing).toEqual([
      { kind: 'service', service: 'portal' },
      { kind: 'team', id: 'github:42' },
      { kind: 'organization', id: 'github:7' },
    ]);
    expect(
      denied({ ...ssh, login: 'beacon', person: person(memberOf(), memberOf('github:7')) }).missing,
    ).toEqual([
      { kind: 'login', login: 'deploy' },
      { kind: 'team', id: 'github:42' },
    ]);
  });

  test('says nothing when two changes would be needed, or none would help', () => {
    expect(denied(plain).missing).toEqual([]);
    expect(denied(inTeams('github:50')).missing).toEqual([{ kind: 'team', id: 'github:51' }]);
    expect(denied({ ...ssh, commands: { authority: 'ca.rotate' } }).missing).toEqual([]);
  });

  test('A3: names the longest lifetime, and a team whose members may have longer', () => {
    expect(
      denied({ ...ssh, person: person(memberOf('github:42'), memberOf()), lifetimeSeconds: 3600 }),
    ).toMatchObject({
      reason: { code: 'lifetime' },
      policies: ['team'],
      missing: [{ kind: 'lifetime', longest_seconds: 1800 }],
    });
    expect(
      denied({ ...ssh, person: person(memberOf(), memberOf('github:7')), lifetimeSeconds: 1200 }).missing,
    ).toEqual([
      { kind: 'lifetime', longest_seconds: 900 },
      { kind: 'team', id: 'github:42' },
    ]);
  });

  test('names another login when the one asked for does not exist', () => {
    const request = { ...inTeams('github:42'), commands: 'ssh' as const, host: host('bare'), login: 'root' };
    expect(denied(request)).toMatchObject({
      reason: { code: 'login' },
      missing: [{ kind: 'login', login: 'beacon' }],
    });
  });

  test('asks for a sign-in where an unknown membership would allow, and never allows by it', () => {
    const unknownOrganization = { in: [], unknown: [{ id: 'github:7', name: 'acme', why: 'sso' as const }] };
    expect(denied({ ...ssh, person: person(memberOf(), unknownOrganization) }).missing).toEqual([
      { kind: 'sso', organization: 'github:7', name: 'acme' },
      { kind: 'team', id: 'github:42' },
    ]);
    const unknownTeam = { in: [], unknown: [{ id: 'github:42', why: 'sso' as const }] };
    expect(
      denied({ ...ssh, login: 'beacon', person: person(unknownTeam, unknownOrganization) }).missing,
    ).toEqual([{ kind: 'sso', organization: 'github:7', name: 'acme' }]);
    expect(denied({ ...ssh, login: 'beacon', person: person(unknownTeam, memberOf()) }).missing).toEqual([
      { kind: 'unknown', of: 'team', id: 'github:42', why: 'sso' },
    ]);
    const ofOrganization = {
      in: [],
      unknown: [{ id: 'github:42', why: 'sso' as const, organization: 'github:9' }],
    };
    expect(
      denied({ ...ssh, login: 'beacon', person: person(ofOrganization, unknownOrganization) }).missing,
    ).toEqual([{ kind: 'sso', organization: 'github:9' }]);
    const named = {
      in: [],
      unknown: [{ ...ofOrganization.unknown[0], id: 'github:42', why: 'sso' as const, name: 'acme' }],
    };
    expect(denied({ ...ssh, login: 'beacon', person: person(named, memberOf()) }).missing).toEqual([
      { kind: 'sso', organization: 'github:9', name: 'acme' },
    ]);
    const notInstalled = { in: [], unknown: [{ id: 'github:7', why: 'not-installed' as const }] };
    expect(denied({ ...ssh, person: person(memberOf(), notInstalled) }).missing).toContainEqual({
      kind: 'unknown',
      of: 'organization',
      id: 'github:7',
      why: 'not-installed',
    });
  });

  test('a forbid is undone by no membership, only by what it speaks of', () => {
    const guarded = engineOf(
      '@id("team") permit(principal in Team::"github:42", action == Action::"ssh", resource);',
      '@id("root") forbid(principal, action == Action::"ssh", resource) when { context.login == "deploy" };',
    );
    const request = { ...inTeams('github:42'), commands: 'ssh' as const, login: 'deploy' };
    expect(denied(request, guarded)).toMatchObject({
      reason: { code: 'forbidden' },
      missing: [{ kind: 'login', login: 'beacon' }],
    });
    expect(denied({ ...request, person: plain.person }, guarded).missing).toEqual([]);
  });

  test('is a bounded search that counts what it left out', () => {
    const permit = (index: number, condition = ''): string =>
      `permit(principal in Team::"github:${1000 + index}", action == Action::"ssh", resource) ${condition};`;
    const hundred = Array.from({ length: 100 }, (_, index) => index);
    const enough = denied(ssh, engineOf(...hundred.map((index) => permit(index))));
    expect(enough.missing).toHaveLength(16);
    expect(enough.leftOut).toEqual([{ kind: 'team', count: 84 }]);
    const elsewhere = 'when { resource in Pool::"gpu" }';
    const needle = denied(
      ssh,
      engineOf(...hundred.map((index) => permit(index, index === 99 ? '' : elsewhere))),
    );
    expect(needle.missing).toEqual([]);
    expect(needle.leftOut).toEqual([{ kind: 'team', count: 37 }]);
  });
});
