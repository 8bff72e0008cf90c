/**
 * What is missing: tries single changes that policies speak of, deciding anew for each, and reports those that would
 * turn the denial into a permission. The search is bounded; what was left out is counted, never guessed.
 */
import type { Judgement } from './judge.ts';
import { isLifetime } from './lifetime.ts';
import type { Relevance } from './relevance.ts';
import {
  type HostRequest,
  isAuthorityRequest,
  type LeftOut,
  type Memberships,
  type Missing,
  type PolicyRequest,
  type UnknownMembership,
} from './request.ts';

/** Decisions that one denial may cost at most. */
export const mostTries = 64;
/** Ways out that one denial names at most: more are no help to a person. */
export const mostFound = 16;

interface Try {
  readonly missing: Missing;
  readonly request: PolicyRequest;
}

/** All single changes that would help, the cheapest for the person first. */
export function findMissing(
  request: PolicyRequest,
  denied: Extract<Judgement, { allowed: false }>,
  changes: Relevance,
  decide: (request: PolicyRequest) => Judgement,
): { missing: Missing[]; leftOut: LeftOut[] } {
  const found = new Map<string, Missing>();
  const skipped = new Map<Missing['kind'], number>();
  let tries = 0;
  let longestFound = false;
  let groupsHelp: boolean | null = null;
  for (const each of triesFor(request, denied, changes)) {
    const { kind } = each.missing;
    if (kind === 'lifetime' && longestFound) continue;
    if (isOfGroup(each) && groupsHelp === null && tries < mostTries) {
      // Memberships only ever add permission, so where all of them together do not help, none does.
      tries += 1;
      groupsHelp = decide(withAllGroups(request, changes)).allowed;
    }
    if (isOfGroup(each) && groupsHelp === false) continue;
    if (tries >= mostTries || found.size >= mostFound) {
      skipped.set(kind, (skipped.get(kind) ?? 0) + 1);
      continue;
    }
    tries += 1;
    if (!decide(each.request).allowed) continue;
    longestFound ||= kind === 'lifetime';
    found.set(JSON.stringify(each.missing), each.missing);
  }
  return { missing: [...found.values()], leftOut: [...skipped].map(([kind, count]) => ({ kind, count })) };
}

function triesFor(
  request: PolicyRequest,
  denied: Extract<Judgement, { allowed: false }>,
  changes: Relevance,
): Try[] {
  switch (denied.reason.code) {
    case 'no-permit':
    case 'extensions':
      return [
        ...triesOnHost(request, changes),
        ...triesOfService(request, changes),
        ...triesOfGroups(request, changes),
      ];
    case 'lifetime':
    case 'login':
    case 'forbidden':
      // Another membership takes no forbid away, and gives a host no login.
      return [
        ...triesOnHost(request, changes),
        ...(denied.reason.code === 'login' ? [] : triesOfService(request, changes)),
        ...(denied.reason.code === 'lifetime' ? triesOfGroups(request, changes) : []),
      ];
    case 'command':
    case 'host':
    case 'parameter':
    case 'person':
    case 'policy-error':
    case 'service':
    case 'source':
    case 'undo':
      return [];
  }
}

function triesOnHost(request: PolicyRequest, changes: Relevance): Try[] {
  if (isAuthorityRequest(request)) return [];
  return [
    ...changes.lifetimes
      .filter((seconds) => isLifetime(seconds) && seconds < request.lifetimeSeconds)
      .map(
        (seconds): Try => ({
          missing: { kind: 'lifetime', longest_seconds: seconds },
          request: { ...request, lifetimeSeconds: seconds },
        }),
      ),
    ...triesOfLogin(request, changes),
  ];
}

function triesOfLogin(request: HostRequest, changes: Relevance): Try[] {
  const logins = request.host?.logins ?? [];
  if (!changes.namesLogin && logins.includes(request.login)) return [];
  return [...logins]
    .filter((login) => login !== request.login)
    .sort()
    .map((login) => ({ missing: { kind: 'login', login }, request: { ...request, login } }));
}

function triesOfService(request: PolicyRequest, { services }: Relevance): Try[] {
  return services
    .filter((service) => service !== request.service)
    .map((service) => ({ missing: { kind: 'service', service }, request: { ...request, service } }));
}

function triesOfGroups(request: PolicyRequest, { teams, organizations }: Relevance): Try[] {
  const { person } = request;
  const withTeam = (id: string): PolicyRequest => ({
    ...request,
    person: { ...person, teams: joined(person.teams, id) },
  });
  const withOrganization = (id: string): PolicyRequest => ({
    ...request,
    person: { ...person, organizations: joined(person.organizations, id) },
  });
  const unknownTeam = (id: string) => person.teams.unknown.find((each) => each.id === id);
  const unknownOrganization = (id: string) => person.organizations.unknown.find((each) => each.id === id);
  const tries = [
    ...teams
      .filter((id) => !person.teams.in.includes(id))
      .map(
        (id): Try => ({
          missing: missingTeam(id, unknownTeam(id), person.organizations.unknown),
          request: withTeam(id),
        }),
      ),
    ...organizations
      .filter((id) => !person.organizations.in.includes(id))
      .map(
        (id): Try => ({
          missing: missingOrganization(id, unknownOrganization(id)),
          request: withOrganization(id),
        }),
      ),
  ];
  const isDoubt = ({ missing }: Try): boolean => missing.kind === 'sso' || missing.kind === 'unknown';
  return [...tries.filter(isDoubt), ...tries.filter((each) => !isDoubt(each))];
}

function withAllGroups(request: PolicyRequest, { teams, organizations }: Relevance): PolicyRequest {
  const person = {
    ...request.person,
    teams: joined(request.person.teams, ...teams),
    organizations: joined(request.person.organizations, ...organizations),
  };
  return { ...request, person };
}

function isOfGroup({ missing: { kind } }: Try): boolean {
  return kind === 'sso' || kind === 'unknown' || kind === 'team' || kind === 'organization';
}

function joined(memberships: Memberships, ...ids: string[]): Memberships {
  return { ...memberships, in: [...memberships.in, ...ids] };
}

function missingOrganization(id: string, unknown: UnknownMembership | undefined): Missing {
  if (unknown === undefined) return { kind: 'organization', id };
  if (unknown.why !== 'sso') return { kind: 'unknown', of: 'organization', id, why: unknown.why };
  return sso(unknown);
}

/** A team behind single sign-on is missing a sign-in to its organisation, where it is clear which that is. */
function missingTeam(
  id: string,
  unknown: UnknownMembership | undefined,
  organizations: readonly UnknownMembership[],
): Missing {
  if (unknown === undefined) return { kind: 'team', id };
  const behindSso = organizations.filter((each) => each.why === 'sso');
  const own = behindSso.find((each) => each.id === unknown.organization);
  const onlyOne = unknown.organization === undefined && behindSso.length === 1 ? behindSso[0] : undefined;
  if (unknown.why !== 'sso') return { kind: 'unknown', of: 'team', id, why: unknown.why };
  const organization = own ?? onlyOne;
  if (organization !== undefined) return sso(organization);
  if (unknown.organization !== undefined) {
    const { organization: id, name } = unknown;
    return sso({ id, why: 'sso', ...(name === undefined ? {} : { name }) });
  }
  return { kind: 'unknown', of: 'team', id, why: 'sso' };
}

function sso({ id, name }: UnknownMembership): Missing {
  return { kind: 'sso', organization: id, ...(name === undefined ? {} : { name }) };
}
