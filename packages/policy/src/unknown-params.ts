/**
 * What policies say of a command whose parameters are not known yet: each policy twice, once as if all that it asks of
 * parameters were so, once as if it were not. Permits that match at least and forbids that match at most are what may be
 * allowed; the other way round is what is allowed for certain. Nothing is ever granted by this: a request with its
 * parameters is decided by the policies as they stand.
 */
import type { Expr, PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import { isContext, readNode, variableOf } from './expression.ts';

/** Policies by id. */
export interface Bounds {
  readonly possible: Readonly<Record<string, PolicyJson>>;
  readonly certain: Readonly<Record<string, PolicyJson>>;
}

/** Both readings of all policies; undefined when no policy looks at parameters. */
export function boundsOf(policies: ReadonlyMap<string, PolicyJson>): Bounds | undefined {
  if (![...policies.values()].some(looksAtParams)) return undefined;
  const reading = (widened: PolicyJson['effect']) =>
    Object.fromEntries(
      [...policies].flatMap(([id, policy]) => {
        if (!looksAtParams(policy)) return [[id, policy] as const];
        return policy.effect === widened ? [[id, widen(policy)] as const] : [];
      }),
    );
  return { possible: reading('permit'), certain: reading('forbid') };
}

function looksAtParams(policy: PolicyJson): boolean {
  return policy.conditions.some(({ body }) => readsParams(body));
}

/** Without those of its conditions that look at parameters: it matches whatever it matched, and perhaps more. */
function widen(policy: PolicyJson): PolicyJson {
  const conditions = policy.conditions.flatMap((condition) => {
    const joint = condition.kind === 'when' ? '&&' : '||';
    const kept = partsOf(condition.body, joint).filter((part) => !readsParams(part));
    const [first, ...rest] = kept;
    if (first === undefined) return [];
    return [{ ...condition, body: rest.reduce<Expr>((left, right) => join(joint, left, right), first) }];
  });
  return { ...policy, conditions };
}

function partsOf(expression: Expr, joint: '&&' | '||'): Expr[] {
  const node = readNode(expression);
  return node?.kind === joint ? node.children.flatMap((child) => partsOf(child, joint)) : [expression];
}

function join(joint: '&&' | '||', left: Expr, right: Expr): Expr {
  return joint === '&&' ? { '&&': { left, right } } : { '||': { left, right } };
}

/** Whether it looks at `context.params`, or at the context in a way that is not known here. */
function readsParams(expression: Expr): boolean {
  if (isContext(expression, 'params')) return true;
  const node = readNode(expression);
  if (node === null || variableOf(expression) === 'context') return true;
  if (node.kind === '.' && variableOf(node.children[0]) === 'context') return false;
  return node.children.some(readsParams);
}
