/**
 * What a person's token may read: who they are, their organisations and teams, where the app is installed (REST
 * documentation, "Users", "Organizations", "Organization members", "Teams", "Apps: installations"). Organisations that
 * the token does not see are left out of lists; those behind single sign-on are named by id in `X-GitHub-SSO`.
 */
import { type Request, type RequestHandler, type Response, Router } from 'express';
import { refuse, refuseForSso, reply, replyPage } from './reply.ts';
import type { Installation, Organization, Person, StandinState, Team, Token } from './state.ts';

type Handler = (request: Request, response: Response, token: Token) => void;

export interface Addresses {
  readonly webUrl: string;
}

export function restRoutes(state: StandinState, addresses: () => Addresses): Router {
  const router = Router();
  const withToken = (handler: Handler) => requireToken(state, handler);
  const page = (request: Request, response: Response, rows: readonly unknown[]) =>
    replyPage(request, response, rows);

  router.get(
    '/user',
    withToken((request, response, token) =>
      reply(request, response, personProfile(state.person(token.person))),
    ),
  );

  router.get('/users/:login', (request, response) => {
    const found = state.findLogin(String(request.params['login']));
    replyPublic(request, response, state, found);
  });

  router.get('/user/:id', (request, response, next) => {
    const id = String(request.params['id']);
    if (!/^[0-9]+$/.test(id)) return next();
    replyPublic(
      request,
      response,
      state,
      state.persons.get(Number(id)) ?? state.organizations.get(Number(id)),
    );
  });

  router.get('/organizations/:id', (request, response) => {
    const found = state.organizations.get(Number(request.params['id']));
    if (found === undefined) refuse(response, 404, 'Not Found');
    else reply(request, response, organizationSummary(found));
  });

  router.get(
    '/user/orgs',
    withToken((request, response, token) => {
      if (lacksScope(state, token, ['read:org', 'write:org', 'admin:org', 'user'], response)) return;
      const seen = seenBy(state, token, response).filter(
        ({ members }) => members.get(token.person) === 'active',
      );
      page(request, response, seen.map(organizationSummary));
    }),
  );

  router.get(
    '/user/memberships/orgs',
    withToken((request, response, token) => {
      if (lacksScope(state, token, ['read:org', 'write:org', 'admin:org'], response)) return;
      const wanted = request.query['state'];
      if (wanted !== undefined && wanted !== 'active' && wanted !== 'pending') {
        return refuse(response, 422, 'Validation Failed');
      }
      const seen = seenBy(state, token, response).filter(
        ({ members }) => wanted === undefined || members.get(token.person) === wanted,
      );
      page(
        request,
        response,
        seen.map((organization) => membership(state, token, organization)),
      );
    }),
  );

  router.get(
    '/user/memberships/orgs/:org',
    withToken((request, response, token) => {
      if (lacksScope(state, token, ['read:org', 'write:org', 'admin:org'], response)) return;
      const named = state.findLogin(String(request.params['org']));
      const organization = named === undefined ? undefined : state.organizations.get(named.id);
      if (!organization?.members.has(token.person)) return refuse(response, 404, 'Not Found');
      switch (state.visibility(token, organization)) {
        case 'sso':
          return refuseForSso(response, addresses().webUrl, organization.login);
        case 'not-installed':
          return refuse(response, 403, 'Resource not accessible by integration');
        case 'restricted':
          return refuse(
            response,
            403,
            `Although you appear to have the correct authorization credentials, the \`${organization.login}\` organization has enabled OAuth App access restrictions, meaning that data access to third-parties is limited.`,
          );
        case 'visible':
          return reply(request, response, membership(state, token, organization));
      }
    }),
  );

  router.get(
    '/user/teams',
    withToken((request, response, token) => {
      if (lacksScope(state, token, ['user', 'repo', 'read:org', 'write:org', 'admin:org'], response)) return;
      const seen = new Map(
        seenBy(state, token, response)
          .filter(({ members }) => members.get(token.person) === 'active')
          .map((organization) => [organization.id, organization]),
      );
      const rows = [...state.teams.values()].flatMap((team) => {
        const organization = seen.get(team.organization);
        return organization !== undefined && team.members.has(token.person)
          ? [teamSummary(team, organization)]
          : [];
      });
      page(request, response, rows);
    }),
  );

  router.get(
    '/user/installations',
    withToken((request, response, token) => {
      if (state.app(token.clientId).kind !== 'github-app') {
        return refuse(
          response,
          403,
          'You must authenticate with an access token authorized to a GitHub App in order to list installations',
        );
      }
      const rows = [...state.organizations.values()].flatMap((organization) => {
        const installation = organization.installations.get(token.clientId);
        if (installation === undefined || organization.members.get(token.person) !== 'active') return [];
        return [
          {
            id: installation.id,
            account: organizationSummary(organization),
            target_id: organization.id,
            target_type: 'Organization',
            permissions: permissionsOf(installation),
            suspended_at: installation.suspended ? '2026-01-01T00:00:00Z' : null,
          },
        ];
      });
      replyPage(request, response, rows, (installations) => ({
        total_count: rows.length,
        installations,
      }));
    }),
  );
  return router;
}

function permissionsOf({ members, runners }: Installation): Record<string, string> {
  return {
    ...(members === null ? {} : { members }),
    ...(runners === null ? {} : { administration: runners, organization_self_hosted_runners: runners }),
  };
}

export function requireToken(state: StandinState, handler: Handler): RequestHandler {
  return (request, response) => {
    const header = request.get('authorization');
    if (header === undefined) return refuse(response, 401, 'Requires authentication');
    const given = /^(?:bearer|token) ([A-Za-z0-9_]{1,255})$/i.exec(header)?.[1];
    const token = given === undefined ? undefined : state.findToken(given);
    if (token === undefined) return refuse(response, 401, 'Bad credentials');
    if (state.app(token.clientId).kind === 'oauth-app')
      response.set('x-oauth-scopes', token.scopes.join(', '));
    handler(request, response, token);
  };
}

/** Scopes are an OAuth App's; a GitHub App's permissions are looked at per organisation. */
function lacksScope(state: StandinState, token: Token, enough: string[], response: Response): boolean {
  if (state.app(token.clientId).kind === 'github-app') return false;
  if (token.scopes.some((scope) => enough.includes(scope))) return false;
  response.set('x-accepted-oauth-scopes', enough.join(', '));
  refuse(response, 403, 'You need at least read:org scope.');
  return true;
}

/** The organisations of the token's person that the token sees; the header tells which single sign-on hides. */
function seenBy(state: StandinState, token: Token, response: Response): Organization[] {
  const own = [...state.organizations.values()].filter(({ members }) => members.has(token.person));
  const hidden = own.filter((organization) => state.visibility(token, organization) === 'sso');
  if (hidden.length > 0) {
    response.set('x-github-sso', `partial-results; organizations=${hidden.map(({ id }) => id).join(',')}`);
  }
  return own.filter((organization) => state.visibility(token, organization) === 'visible');
}

function replyPublic(
  request: Request,
  response: Response,
  state: StandinState,
  found: Person | Organization | undefined,
): void {
  if (found === undefined) refuse(response, 404, 'Not Found');
  else if (state.persons.has(found.id)) reply(request, response, personProfile(found));
  else reply(request, response, { ...organizationSummary(found), type: 'Organization' });
}

export function personSummary({ id, login }: Person): Record<string, unknown> {
  return { login, id, node_id: `U_${id}`, type: 'User', site_admin: false };
}

function personProfile(person: Pick<Person, 'id' | 'login' | 'name'>): Record<string, unknown> {
  return { ...personSummary(person), name: person.name, email: null, created_at: '2020-01-01T00:00:00Z' };
}

export function organizationSummary({ id, login, name }: Pick<Organization, 'id' | 'login' | 'name'>) {
  return { login, id, node_id: `O_${id}`, description: name };
}

function membership(state: StandinState, token: Token, organization: Organization): unknown {
  return {
    state: organization.members.get(token.person),
    role: organization.owners.has(token.person) ? 'admin' : 'member',
    organization: organizationSummary(organization),
    user: personSummary(state.person(token.person)),
  };
}

function teamSummary(team: Team, organization: Organization): unknown {
  return {
    id: team.id,
    node_id: `T_${team.id}`,
    slug: team.slug,
    name: team.name,
    privacy: 'closed',
    permission: 'pull',
    parent: null,
    organization: { ...organizationSummary(organization), type: 'Organization' },
  };
}
