/**
 * The REST API about self-hosted runners (REST documentation, "Self-hosted runners", "Self-hosted runner groups", and
 * of "Repositories" and "Apps: installations" what tells where a person may add runners), for repositories and
 * organisations. Enterprises are not here: their endpoints take no token of an app.
 *
 * Order of refusal, as documented: 404 where the token does not see the place, 403 where the app lacks the permission
 * (named in `x-accepted-github-permissions`) or the person does not administer it, 422 for a body, 409 for a name.
 */
import { createHash } from 'node:crypto';
import { json, type Request, type RequestHandler, type Response, Router } from 'express';
import { StandinError } from './error.ts';
import { refuse, refuseForSso, reply, replyPage } from './reply.ts';
import { type Addresses, organizationSummary, requireToken } from './rest.ts';
import { archiveName, runnerArchive } from './runner-archive.ts';
import { DEFAULT_GROUP, type Repository, type Runner, type RunnerScope } from './runner-state.ts';
import type { Organization, StandinState, Token } from './state.ts';

type ScopeHandler = (request: Request, response: Response, scope: RunnerScope) => void;

export function runnerRoutes(state: StandinState, addresses: () => Addresses): Router {
  const router = Router();
  const { runners } = state;

  for (const [base, kind] of [
    ['/repos/:owner/:repo/actions', 'repository'],
    ['/orgs/:owner/actions', 'organization'],
  ] as const) {
    const at = (handler: ScopeHandler): RequestHandler =>
      requireToken(state, (request, response, token) => {
        const scope = managedScope(state, addresses, request, response, token, kind);
        if (scope !== undefined) handler(request, response, scope);
      });

    for (const use of ['registration', 'removal'] as const) {
      router.post(
        `${base}/runners/${use === 'removal' ? 'remove' : use}-token`,
        at((_request, response, scope) => {
          const { token, expiresAt } = runners.mintToken(scope, use);
          response.status(201).json({ token, expires_at: expiresAt.toISOString() });
        }),
      );
    }

    router.get(
      `${base}/runners/downloads`,
      at((request, response) => reply(request, response, downloads(state, addresses().webUrl))),
    );

    router.get(
      `${base}/runners`,
      at((request, response, scope) => {
        const name = request.query['name'];
        const rows = runners.inScope(scope).filter((runner) => name === undefined || runner.name === name);
        const wrap = (page: readonly unknown[]) => ({ total_count: rows.length, runners: page });
        replyPage(
          request,
          response,
          rows.map((runner) => describeRunner(state, runner)),
          wrap,
        );
      }),
    );

    router.post(
      `${base}/runners/generate-jitconfig`,
      json(),
      at((request, response, scope) => {
        const made = registerJit(state, request, response, scope);
        if (made === undefined) return;
        response.status(201).json({
          runner: describeRunner(state, made),
          encoded_jit_config: jitConfig(made, addresses().webUrl),
        });
      }),
    );

    const one = (handler: (request: Request, response: Response, runner: Runner) => void) =>
      at((request, response, scope) => {
        const found = runners.inScope(scope).find(({ id }) => String(id) === request.params['id']);
        if (found === undefined) refuse(response, 404, 'Not Found');
        else handler(request, response, found);
      });

    router.get(
      `${base}/runners/:id`,
      one((request, response, runner) => reply(request, response, describeRunner(state, runner))),
    );

    router.delete(
      `${base}/runners/:id`,
      one((_request, response, runner) => {
        if (runners.remove(runner.id)) response.status(204).end();
        else
          refuse(response, 422, `Runner "${runner.name}" is currently running a job and cannot be deleted.`);
      }),
    );

    router.get(`${base}/runners/:id/labels`, one(replyLabels));
    router.post(`${base}/runners/:id/labels`, json(), one(changeLabels));
    router.put(`${base}/runners/:id/labels`, json(), one(changeLabels));
    router.delete(`${base}/runners/:id/labels`, one(changeLabels));
  }

  router.get(
    '/orgs/:owner/actions/runner-groups',
    requireToken(state, (request, response, token) => {
      const scope = managedScope(state, addresses, request, response, token, 'organization');
      if (scope === undefined) return;
      const rows = [
        { id: DEFAULT_GROUP, name: 'Default', visibility: 'all', default: true },
        ...runners.groups
          .filter(({ organization }) => organization === scope.id)
          .map(({ id, name }) => ({ id, name, visibility: 'all', default: false })),
      ];
      replyPage(request, response, rows, (page) => ({
        total_count: rows.length,
        runner_groups: page,
      }));
    }),
  );

  router.get(
    '/repos/:owner/:repo',
    requireToken(state, (request, response, token) => {
      const found = seenRepository(state, request, token);
      if (found === undefined) refuse(response, 404, 'Not Found');
      else reply(request, response, describeRepository(state, found, token.person));
    }),
  );

  router.get(
    '/user/installations/:id/repositories',
    requireToken(state, (request, response, token) => {
      const organization = [...state.organizations.values()].find(
        ({ installations }) => String(installations.get(token.clientId)?.id) === request.params['id'],
      );
      if (organization?.members.get(token.person) !== 'active') return refuse(response, 404, 'Not Found');
      if (organization.sso && !organization.ssoSessions.has(token.person)) {
        return refuseForSso(response, addresses().webUrl, organization.login);
      }
      const rows = [...runners.repositories.values()]
        .filter(({ owner }) => owner === organization.id)
        .filter((repository) => isSeen(state, repository, token.person))
        .map((repository) => describeRepository(state, repository, token.person));
      replyPage(request, response, rows, (repositories) => ({
        total_count: rows.length,
        repositories,
      }));
    }),
  );
  return router;
}

/** The place that the address names, if the token may administer its runners; else it is refused. */
function managedScope(
  state: StandinState,
  addresses: () => Addresses,
  request: Request,
  response: Response,
  token: Token,
  kind: RunnerScope['kind'],
): RunnerScope | undefined {
  const organization = organizationOf(state, request);
  const repository = kind === 'repository' ? seenRepository(state, request, token) : undefined;
  const hidden =
    kind === 'repository' ? repository === undefined : organization?.members.get(token.person) !== 'active';
  const app = state.app(token.clientId);
  const installation = organization?.installations.get(token.clientId);
  if (organization === undefined || hidden) {
    refuse(response, 404, 'Not Found');
    return undefined;
  }
  if (organization.sso && !organization.ssoSessions.has(token.person)) {
    refuseForSso(response, addresses().webUrl, organization.login);
    return undefined;
  }
  const permission = kind === 'repository' ? 'administration' : 'organization_self_hosted_runners';
  const needed = request.method === 'GET' ? 'read' : 'write';
  response.set('x-accepted-github-permissions', `${permission}=${needed}`);
  const isPermitted =
    app.kind === 'github-app'
      ? [needed, 'write'].includes(installation?.runners ?? '') && installation?.suspended === false
      : token.scopes.includes(kind === 'repository' ? 'repo' : 'admin:org');
  if (!isPermitted) {
    refuse(response, 403, 'Resource not accessible by integration');
    return undefined;
  }
  const isAdministrator =
    organization.owners.has(token.person) || repository?.roles.get(token.person) === 'admin';
  if (!isAdministrator) {
    refuse(
      response,
      403,
      `Must have admin rights to ${kind === 'repository' ? 'Repository' : 'Organization'}.`,
    );
    return undefined;
  }
  return { kind, id: repository?.id ?? organization.id };
}

function organizationOf(state: StandinState, request: Request): Organization | undefined {
  const found = state.findLogin(String(request.params['owner']));
  return found === undefined ? undefined : state.organizations.get(found.id);
}

function seenRepository(state: StandinState, request: Request, token: Token): Repository | undefined {
  const owner = organizationOf(state, request);
  const wanted = String(request.params['repo']).toLowerCase();
  const found = [...state.runners.repositories.values()].find(
    (repository) => repository.owner === owner?.id && repository.name.toLowerCase() === wanted,
  );
  return found !== undefined && isSeen(state, found, token.person) ? found : undefined;
}

function isSeen(state: StandinState, { owner, isPrivate, roles }: Repository, person: number): boolean {
  return !isPrivate || roles.has(person) || state.organization(owner).owners.has(person);
}

function describeRepository(state: StandinState, repository: Repository, person: number): unknown {
  const owner = state.organization(repository.owner);
  const role = owner.owners.has(person) ? 'admin' : repository.roles.get(person);
  return {
    id: repository.id,
    node_id: `R_${repository.id}`,
    name: repository.name,
    full_name: `${owner.login}/${repository.name}`,
    private: repository.isPrivate,
    visibility: repository.isPrivate ? 'private' : 'public',
    owner: { ...organizationSummary(owner), type: 'Organization' },
    permissions: { admin: role === 'admin', push: role === 'admin' || role === 'write', pull: true },
  };
}

/** As GitHub shows it. */
export function describeRunner(state: StandinState, runner: Runner): Record<string, unknown> {
  return {
    id: runner.id,
    name: runner.name,
    os: 'linux',
    status: state.runners.isOnline(runner) ? 'online' : 'offline',
    busy: runner.job !== undefined,
    ephemeral: runner.isEphemeral,
    version: runner.version,
    runner_group_id: runner.group,
    labels: describeLabels(runner),
  };
}

function describeLabels({ labels }: Runner): unknown[] {
  return labels.map(({ name, isCustom }, index) => ({
    id: index + 1,
    name,
    type: isCustom ? 'custom' : 'read-only',
  }));
}

function replyLabels(request: Request, response: Response, runner: Runner): void {
  reply(request, response, { total_count: runner.labels.length, labels: describeLabels(runner) });
}

/** POST adds, PUT replaces, DELETE removes the custom labels. */
function changeLabels(request: Request, response: Response, runner: Runner): void {
  const given = request.method === 'DELETE' ? [] : readLabels(request.body, 0);
  if (given === undefined) {
    refuse(response, 422, 'Validation Failed');
    return;
  }
  const kept = request.method === 'POST' ? runner.labels : runner.labels.filter(({ isCustom }) => !isCustom);
  const added = given.filter((name) => kept.every((label) => label.name !== name));
  runner.labels.splice(0, runner.labels.length, ...kept, ...added.map((name) => ({ name, isCustom: true })));
  replyLabels(request, response, runner);
}

function readLabels(body: unknown, least: number): string[] | undefined {
  const labels: unknown = typeof body === 'object' && body !== null && 'labels' in body ? body.labels : null;
  if (!Array.isArray(labels) || labels.length < least || labels.length > 100) return undefined;
  return labels.every((label): label is string => typeof label === 'string' && label !== '')
    ? labels
    : undefined;
}

/** Makes the record at once, offline; only the labels that were sent; in the group that was sent. */
function registerJit(
  state: StandinState,
  request: Request,
  response: Response,
  scope: RunnerScope,
): Runner | undefined {
  const body: { name?: unknown; runner_group_id?: unknown } =
    typeof request.body === 'object' && request.body !== null ? request.body : {};
  const labels = readLabels(body, 1);
  if (typeof body.name !== 'string' || typeof body.runner_group_id !== 'number' || labels === undefined) {
    refuse(response, 422, 'Validation Failed');
    return undefined;
  }
  const groups = state.runners.groups.filter(({ organization }) => organization === scope.id);
  const group = groups.find(({ id }) => id === body.runner_group_id)?.name;
  if (group === undefined && body.runner_group_id !== DEFAULT_GROUP) {
    refuse(response, 404, 'Not Found');
    return undefined;
  }
  try {
    return state.runners.register(scope, {
      name: body.name,
      labels,
      hasDefaultLabels: false,
      group,
      isEphemeral: true,
      version: newestVersion(state),
    });
  } catch (error) {
    if (!(error instanceof StandinError)) throw error;
    refuse(response, 409, `Already exists - ${error.message}`);
    return undefined;
  }
}

/** Base64 of a JSON map from the runner's files to their content in base64. */
function jitConfig(runner: Runner, webUrl: string): string {
  const files = {
    '.runner': { agentId: runner.id, agentName: runner.name, serverUrl: webUrl, ephemeral: true },
    '.credentials': { scheme: 'OAuth', data: { clientId: String(runner.id) } },
    '.credentials_rsaparams': runner.credential,
  };
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const encoded = Object.entries(files).map(([name, content]) => [
    name,
    base64(typeof content === 'string' ? content : JSON.stringify(content)),
  ]);
  return base64(JSON.stringify(Object.fromEntries(encoded)));
}

function newestVersion(state: StandinState): string {
  return state.runners.versions.at(-1) ?? '0.0.0';
}

function downloads(state: StandinState, webUrl: string): unknown[] {
  const version = newestVersion(state);
  const { checksums, architectures } = state.runners.offer;
  return architectures.map((architecture) => {
    const filename = archiveName(version, architecture);
    const wrong = createHash('sha256').update(filename).digest('hex');
    return {
      os: 'linux',
      architecture,
      download_url: `${webUrl}/actions/runner/releases/download/v${version}/${filename}`,
      filename,
      ...(checksums === 'missing'
        ? {}
        : { sha256_checksum: checksums === 'wrong' ? wrong : runnerArchive(version, architecture).sha256 }),
    };
  });
}
