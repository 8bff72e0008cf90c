/**
 * The stand-in's own door, for a script that changes its state over HTTP: `POST /_standin/<action>` with one JSON
 * object; `GET /_standin` names the actions, `GET /_standin/state` and `GET /_standin/runners` show what is there. GitHub
 * has nothing like it. Anybody who reaches the port may use it.
 */
import { json, type Response, Router } from 'express';
import { StandinError } from './error.ts';
import type { Fault } from './fault.ts';
import { FAULT_ENDPOINTS, FAULT_MODES, namedFault } from './fault-mode.ts';
import { ARCHITECTURES } from './runner-archive.ts';
import { describeRunner } from './runner-rest.ts';
import { CHECKSUMS, RUNNER_ORDERS, type RunnerScope } from './runner-state.ts';
import type { StandinState } from './state.ts';

type Fields = Record<string, unknown>;

const actions: Record<string, (state: StandinState, fields: Fields) => unknown> = {
  'add-person': (state, f) => state.addPerson({ login: text(f, 'login'), ...optionalId(f) }),
  'rename-person': (state, f) => state.renamePerson(number(f, 'person'), text(f, 'login')),
  'set-member': (state, f) => {
    const membership = f['state'];
    if (membership !== 'active' && membership !== 'pending' && membership !== null) {
      throw new StandinError('configuration', 'state is "active", "pending" or null');
    }
    state.setMember(number(f, 'organization'), number(f, 'person'), membership);
  },
  'set-team-member': (state, f) =>
    state.setTeamMember(number(f, 'team'), number(f, 'person'), truth(f, 'member')),
  'set-sso': (state, f) => state.setSso(number(f, 'organization'), truth(f, 'enforced')),
  'set-sso-session': (state, f) =>
    state.setSsoSession(number(f, 'organization'), number(f, 'person'), truth(f, 'signed_in')),
  'install-app': (state, f) => state.installApp(number(f, 'organization'), text(f, 'client_id')),
  'uninstall-app': (state, f) => state.uninstallApp(number(f, 'organization'), text(f, 'client_id')),
  'set-app-restriction': (state, f) =>
    state.setAppRestriction(number(f, 'organization'), truth(f, 'restricted')),
  'mint-token': (state, f) =>
    state.mintToken({ clientId: text(f, 'client_id'), person: number(f, 'person') }),
  'revoke-grant': (state, f) => state.revokeGrant(text(f, 'client_id'), number(f, 'person')),
  'set-owner': (state, f) =>
    state.setOwner(number(f, 'organization'), number(f, 'person'), truth(f, 'owner')),
  'set-runner-permission': (state, f) =>
    state.setRunnerPermission(
      number(f, 'organization'),
      text(f, 'client_id'),
      f['permitted'] === 'read' ? 'read' : truth(f, 'permitted'),
    ),
  'queue-job': (state, f) => state.runners.queueJob({ ...job(f), script: text(f, 'script') }).id,
  'order-runner': (state, f) => {
    const order = RUNNER_ORDERS.find((one) => one === f['order']);
    if (order === undefined) {
      throw new StandinError('configuration', `order is one of ${RUNNER_ORDERS.join(', ')}`);
    }
    state.runners.order(number(f, 'runner'), order);
  },
  'add-runner': (state, f) => {
    const { scope, labels } = job(f);
    const version = state.runners.versions.at(-1) ?? '0.0.0';
    const wanted = { name: text(f, 'name'), labels, group: undefined, version };
    return state.runners.register(scope, {
      ...wanted,
      hasDefaultLabels: true,
      isEphemeral: f['ephemeral'] === true,
    }).id;
  },
  'remove-runner': (state, f) => state.runners.remove(number(f, 'runner')),
  'add-version': (state, f) => void state.runners.versions.push(text(f, 'version')),
  'deprecate-version': (state, f) => void state.runners.deprecated.add(text(f, 'version')),
  'set-downloads': (state, f) => {
    const { offer } = state.runners;
    const { checksums = offer.checksums, architectures = offer.architectures } = f;
    const words = CHECKSUMS.find((one) => one === checksums);
    const offered = ARCHITECTURES.filter(
      (one) => Array.isArray(architectures) && architectures.includes(one),
    );
    if (words === undefined || offered.length === 0) {
      throw new StandinError(
        'configuration',
        `checksums is one of ${CHECKSUMS.join(', ')}; architectures are of ${ARCHITECTURES.join(', ')}`,
      );
    }
    Object.assign(offer, { checksums: words, architectures: offered });
  },
  'fault-mode': (state, f) =>
    void state.fault(
      namedFault({
        endpoint: text(f, 'endpoint'),
        mode: text(f, 'mode'),
        ...(f['times'] === undefined ? {} : { times: number(f, 'times') }),
        ...(f['seconds'] === undefined ? {} : { seconds: number(f, 'seconds') }),
      }),
    ),
  // The body is trusted to be a Fault: only the developer who started the stand-in writes it.
  fault: (state, f) => void state.fault(f as unknown as Fault),
  'clear-faults': (state) => state.clearFaults(),
};

export function adminRoutes(state: StandinState): Router {
  const router = Router();
  router.get('/_standin/state', (_request, response) => {
    response.json({
      persons: [...state.persons.values()],
      organizations: [...state.organizations.values()].map(({ id, login, members }) => ({
        id,
        login,
        members: Object.fromEntries(members),
      })),
      teams: [...state.teams.values()].map((team) => ({ ...team, members: [...team.members] })),
      runners: [...state.runners.runners.values()].map((runner) => ({
        id: runner.id,
        name: runner.name,
        scope: runner.scope,
        online: state.runners.isOnline(runner),
        busy: runner.job !== undefined,
      })),
      jobs: state.runners.jobs,
      tokens: state.tokens.size,
      requests: state.requests,
    });
  });
  router.get('/_standin', (_request, response) => {
    response.json({
      actions: Object.keys(actions),
      fault_endpoints: FAULT_ENDPOINTS,
      fault_modes: FAULT_MODES,
      runner_orders: RUNNER_ORDERS,
    });
  });
  router.get('/_standin/runners', (_request, response) => {
    const runners = [...state.runners.runners.values()].map((runner) => ({
      scope: scopeName(state, runner.scope),
      ...describeRunner(state, runner),
      labels: runner.labels.map(({ name }) => name),
    }));
    const jobs = state.runners.jobs.map(({ id, name, scope, state: at, runner, exit }) => ({
      ...{ id, name, scope: scopeName(state, scope), state: at, runner: runner ?? null, exit: exit ?? null },
    }));
    response.json({ runners, jobs });
  });
  router.post('/_standin/:action', json(), (request, response) => {
    const action = actions[String(request.params['action'])];
    const body: unknown = request.body;
    if (action === undefined)
      return tell(response, 404, `The actions are ${Object.keys(actions).join(', ')}`);
    try {
      const fields: Fields = typeof body === 'object' && body !== null ? { ...body } : {};
      response.json({ ok: true, result: action(state, fields) ?? null });
    } catch (error) {
      if (!(error instanceof StandinError)) throw error;
      tell(response, error.code === 'not-found' ? 404 : 400, error.message);
    }
  });
  return router;
}

function scopeName(state: StandinState, scope: RunnerScope): string {
  const repository = scope.kind === 'repository' ? state.runners.repositories.get(scope.id) : undefined;
  const { login } = state.organization(repository?.owner ?? scope.id);
  return repository === undefined ? login : `${login}/${repository.name}`;
}

function tell(response: Response, status: number, message: string): void {
  response.status(status).json({ ok: false, message });
}

function optionalId(fields: Fields): { id?: number } {
  return fields['id'] === undefined ? {} : { id: number(fields, 'id') };
}

/** The scope is `{"repository": id}` or `{"organization": id}`. */
function job(fields: Fields): { scope: RunnerScope; labels: string[] } {
  const kind = fields['repository'] === undefined ? 'organization' : 'repository';
  const labels = Array.isArray(fields['labels']) ? fields['labels'].map(String) : [];
  return { scope: { kind, id: number(fields, kind) }, labels };
}

function number(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw new StandinError('configuration', `${name} must be a whole number`);
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new StandinError('configuration', `${name} must be a text`);
}

function truth(fields: Fields, name: string): boolean {
  const value = fields[name];
  if (typeof value === 'boolean') return value;
  throw new StandinError('configuration', `${name} must be true or false`);
}
