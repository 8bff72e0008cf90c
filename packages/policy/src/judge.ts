/**
 * One judgement of one request, without looking for ways out: asks Cedar about every command and finds for each the one
 * permit that covers all of it. Limits of two permits are never mixed; the order of the policies never matters.
 */
import type { Extension, Limits } from './annotation.ts';
import type { Authorizer, Question } from './authorizer.ts';
import type { Inventory } from './inventory.ts';
import { formatLifetime } from './lifetime.ts';
import type { LoadedPolicy } from './load.ts';
import { questionsOf } from './question.ts';
import type { Relevance } from './relevance.ts';
import {
  type Allowed,
  type Denied,
  type HostRequest,
  isAuthorityRequest,
  type PolicyRequest,
} from './request.ts';
import { faultOfRequest, type ValueTest } from './request-check.ts';

/** A decision before `version` and the search for what is missing. */
export type Judgement =
  | Pick<Allowed, 'allowed' | 'policies' | 'limits'>
  | Pick<Denied, 'allowed' | 'policies' | 'reason'>;

/** What a judgement is made from; all of it fixed when the engine was made. */
export interface Bench {
  readonly authorizer: Authorizer;
  readonly inventory: Inventory;
  readonly policies: ReadonlyMap<string, LoadedPolicy>;
  readonly relevance: (action: string) => Relevance;
  readonly matches: ValueTest;
}

/** Judges a request as it stands. */
export function judge(bench: Bench, request: PolicyRequest): Judgement {
  const fault = faultOfRequest(request, bench.inventory, bench.matches);
  if (fault !== null) return { allowed: false, reason: fault, policies: [] };
  const decided = new Set<string>();
  let limits: Limits | null = null;
  for (const question of questionsOf(request, bench)) {
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

function describe(request: PolicyRequest, action: string): string {
  return isAuthorityRequest(request) ? `to do ${action}` : `to ${describeOnHost(request, action)}`;
}

function describeOnHost({ host, login }: HostRequest, action: string): string {
  const where = `${login}@${host?.id ?? ''}`;
  return action === 'ssh' ? `log in to ${where}` : `run ${action} as ${where}`;
}
