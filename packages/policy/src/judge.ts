/**
 * One judgement of one request, without looking for ways out: asks Cedar about every command and finds for each the one
 * permit that covers all of it. Limits of two permits are never mixed; the order of the policies never matters.
 */
import type { Context, EntityJson, TypeAndId } from '@cedar-policy/cedar-wasm/nodejs';
import type { Extension, Limits } from './annotation.ts';
import type { Authorizer, Question } from './authorizer.ts';
import type { HostFacts, Inventory } from './inventory.ts';
import { formatLifetime } from './lifetime.ts';
import type { LoadedPolicy } from './load.ts';
import {
  type Allowed,
  type Denied,
  type HostRequest,
  isAuthorityRequest,
  type PolicyRequest,
} from './request.ts';
import { commandFacts, faultOfRequest, type ValueTest } from './request-check.ts';

/** A decision before `version` and the search for what is missing. */
export type Judgement =
  | Pick<Allowed, 'allowed' | 'policies' | 'limits'>
  | Pick<Denied, 'allowed' | 'policies' | 'reason'>;

/** What a judgement is made from; all of it fixed when the engine was made. */
export interface Bench {
  readonly authorizer: Authorizer;
  readonly inventory: Inventory;
  readonly policies: ReadonlyMap<string, LoadedPolicy>;
  readonly named: {
    readonly teams: readonly string[];
    readonly organizations: readonly string[];
    readonly pools: readonly string[];
  };
  readonly matches: ValueTest;
}

/** Judges a request as it stands. */
export function judge(bench: Bench, request: PolicyRequest): Judgement {
  const fault = faultOfRequest(request, bench.inventory, bench.matches);
  if (fault !== null) return { allowed: false, reason: fault, policies: [] };
  const decided = new Set<string>();
  let limits: Limits | null = null;
  for (const question of questionsOf(bench, request)) {
    const judgement = judgeQuestion(bench, request, question);
    if (!judgement.allowed) return judgement;
    for (const policy of judgement.policies) decided.add(policy);
    limits = limits === null ? judgement.limits : shorter(limits, judgement.limits);
  }
  if (limits === null)
    return { allowed: false, reason: { code: 'command', text: 'Nothing was asked for.' }, policies: [] };
  return { allowed: true, policies: [...decided].sort(), limits };
}

function judgeQuestion(bench: Bench, request: PolicyRequest, question: Question): Judgement {
  const verdict = bench.authorizer.ask(question);
  const what = `${request.person.id} ${describe(request, question.action)}`;
  const deny = (
    code: Denied['reason']['code'],
    text: string,
    policies: readonly string[] = [],
  ): Judgement => ({
    allowed: false,
    reason: { code, text },
    policies,
  });
  switch (verdict.kind) {
    case 'error':
      return deny(
        'policy-error',
        'A policy could not be evaluated, so nothing is allowed; tell whoever reviews the policies.',
        verdict.policies,
      );
    case 'forbid':
      return deny('forbidden', `A policy forbids ${what}.`, verdict.forbids);
    case 'none':
      return deny('no-permit', `No policy permits ${what}.`);
    case 'allow':
      break;
  }
  const permits = verdict.permits.flatMap((id) => bench.policies.get(id) ?? []);
  if (isAuthorityRequest(request))
    return { allowed: true, policies: verdict.permits, limits: { maxLifetimeSeconds: 0, extensions: [] } };
  const longEnough = permits.filter((permit) => permit.limits.maxLifetimeSeconds >= request.lifetimeSeconds);
  if (longEnough.length === 0) {
    return deny(
      'lifetime',
      `No policy permits ${what} for ${formatLifetime(request.lifetimeSeconds)}.`,
      verdict.permits,
    );
  }
  const wanted = request.extensions ?? [];
  const covering = longEnough.filter((permit) =>
    wanted.every((each) => permit.limits.extensions.includes(each)),
  );
  const [chosen] = covering.sort(byWidth);
  if (chosen === undefined) {
    return deny('extensions', `No policy permits ${what} with ${wanted.join(' and ')}.`, verdict.permits);
  }
  const extensions: readonly Extension[] = request.commands === 'ssh' ? chosen.limits.extensions : [];
  return { allowed: true, policies: [chosen.id], limits: { ...chosen.limits, extensions } };
}

/** The longest lifetime first, then the most extensions, then the id: the same permit whatever the order of the files. */
function byWidth(a: LoadedPolicy, b: LoadedPolicy): number {
  return (
    b.limits.maxLifetimeSeconds - a.limits.maxLifetimeSeconds ||
    b.limits.extensions.length - a.limits.extensions.length ||
    (a.id < b.id ? -1 : 1)
  );
}

function shorter(a: Limits, b: Limits): Limits {
  return b.maxLifetimeSeconds < a.maxLifetimeSeconds ? b : a;
}

function* questionsOf(bench: Bench, request: PolicyRequest): Generator<Question> {
  const principal = { type: 'Person', id: request.person.id };
  const person: EntityJson = { uid: principal, attrs: {}, parents: parentsOf(bench, request) };
  const asker: Context = {
    service: request.service,
    source: { __extn: { fn: 'ip', arg: request.sourceAddress } },
    time: { __extn: { fn: 'datetime', arg: request.now.toISOString() } },
    weekday: weekdays[request.now.getUTCDay()] ?? '',
  };
  if (isAuthorityRequest(request)) {
    const resource = { type: 'Authority', id: 'ca' };
    const entities = [person, { uid: resource, attrs: {}, parents: [] }];
    yield { principal, action: request.commands.authority, resource, context: asker, entities };
    return;
  }
  if (request.host === null) return;
  const host = entityOfHost(bench, request.host);
  const context = { ...asker, lifetime_seconds: request.lifetimeSeconds, login: request.login };
  const commands = request.commands === 'ssh' ? [{ command: 'ssh', params: {} }] : request.commands;
  for (const { command, params } of commands) {
    // A permit may speak of a parameter, so each invocation is a question of its own.
    const shown = Object.keys(commandFacts(bench.inventory, command)?.params ?? {}).filter((name) =>
      Object.hasOwn(params, name),
    );
    yield {
      principal,
      action: command,
      resource: host.uid,
      context: { ...context, params: Object.fromEntries(shown.map((name) => [name, params[name] ?? ''])) },
      entities: [person, host],
    };
  }
}

const weekdays = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;

function entityOfHost(bench: Bench, host: HostFacts): EntityJson & { uid: TypeAndId } {
  const parents = host.pools
    .filter((pool) => bench.named.pools.includes(pool))
    .map((id) => ({ type: 'Pool', id }));
  return { uid: { type: 'Host', id: host.id }, attrs: {}, parents, tags: { ...host.labels } };
}

/** Only what some policy names is passed on: a decision costs the same for a person in 5 teams and in 500. */
function parentsOf({ named }: Bench, { person }: PolicyRequest): TypeAndId[] {
  const teams = new Set(person.teams.in);
  const organizations = new Set(person.organizations.in);
  return [
    ...named.teams.filter((id) => teams.has(id)).map((id) => ({ type: 'Team', id })),
    ...named.organizations.filter((id) => organizations.has(id)).map((id) => ({ type: 'Org', id })),
  ];
}

function describe(request: PolicyRequest, action: string): string {
  return isAuthorityRequest(request) ? `to do ${action}` : `to ${describeOnHost(request, action)}`;
}

function describeOnHost({ host, login }: HostRequest, action: string): string {
  const where = `${login}@${host?.id ?? ''}`;
  return action === 'ssh' ? `log in to ${where}` : `run ${action} as ${where}`;
}
