/**
 * A request in Cedar's terms: the person with those teams and organisations that matter, the host with its labels and
 * pools, and the context that the schema promises. Everything has been checked before (`request-check.ts`).
 */
import type { Context, EntityJson, TypeAndId } from '@cedar-policy/cedar-wasm/nodejs';
import type { Question } from './authorizer.ts';
import type { HostFacts, Inventory } from './inventory.ts';
import type { Relevance } from './relevance.ts';
import { isAuthorityRequest, type PersonFacts, type PolicyRequest } from './request.ts';
import { commandFacts } from './request-check.ts';

/** What a question is made from besides the request. */
interface Facts {
  readonly inventory: Inventory;
  readonly relevance: (action: string) => Relevance;
}

/** One question for every command; two invocations of one command are two questions, since permits may speak of parameters. */
export function* questionsOf(request: PolicyRequest, { inventory, relevance }: Facts): Generator<Question> {
  const principal = { type: 'Person', id: request.person.id };
  const person = (action: string): EntityJson => ({
    uid: principal,
    attrs: {},
    parents: groupsOf(request.person, relevance(action)),
  });
  const asker: Context = {
    service: request.service,
    source: { __extn: { fn: 'ip', arg: request.sourceAddress } },
    time: { __extn: { fn: 'datetime', arg: request.now.toISOString() } },
    weekday: weekdays[request.now.getUTCDay()] ?? '',
  };
  if (isAuthorityRequest(request)) {
    const resource = { type: 'Authority', id: 'ca' };
    const action = request.commands.authority;
    const entities = [person(action), { uid: resource, attrs: {}, parents: [] }];
    yield { principal, action, resource, context: asker, entities };
    return;
  }
  if (request.host === null) return;
  const resource = { type: 'Host', id: request.host.id };
  const context = { ...asker, lifetime_seconds: request.lifetimeSeconds, login: request.login };
  const commands = request.commands === 'ssh' ? [{ command: 'ssh', params: {} }] : request.commands;
  for (const { command, params } of commands) {
    const shown = Object.keys(commandFacts(inventory, command)?.params ?? {}).filter((name) =>
      Object.hasOwn(params, name),
    );
    yield {
      principal,
      action: command,
      resource,
      context: { ...context, params: Object.fromEntries(shown.map((name) => [name, params[name] ?? ''])) },
      entities: [person(command), entityOfHost(request.host, relevance(command))],
    };
  }
}

const weekdays = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;

function entityOfHost(host: HostFacts, { pools }: Relevance): EntityJson {
  const parents = host.pools.filter((pool) => pools.includes(pool)).map((id) => ({ type: 'Pool', id }));
  return { uid: { type: 'Host', id: host.id }, attrs: {}, parents, tags: { ...host.labels } };
}

function groupsOf(person: PersonFacts, { teams, organizations }: Relevance): TypeAndId[] {
  const inTeams = new Set(person.teams.in);
  const inOrganizations = new Set(person.organizations.in);
  return [
    ...teams.filter((id) => inTeams.has(id)).map((id) => ({ type: 'Team', id })),
    ...organizations.filter((id) => inOrganizations.has(id)).map((id) => ({ type: 'Org', id })),
  ];
}
