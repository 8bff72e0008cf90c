/**
 * Where a policy may speak of teams and organisations. A membership may be unknown (single sign-on, a missing
 * installation, GitHub's refusal) and is then taken as absent; that is safe only where absence can do nothing but take
 * permission away. So `principal in Team::"…"` is legal in the scope of a `permit` and in its `when`, under nothing but
 * `&&` and `||`. In a `forbid`, an `unless`, under `!`, `== false`, `if`, inside a set or a call it is refused.
 */
import type { Expr, PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { PolicyErrorCode } from './error.ts';
import { entityOf, readNode, variableOf } from './expression.ts';

/** Why a policy is refused. */
export interface MembershipFault {
  readonly code: Extract<PolicyErrorCode, 'membership-in-forbid' | 'membership-negated' | 'parse'>;
  readonly text: string;
}

const inForbid: MembershipFault = {
  code: 'membership-in-forbid',
  text: 'a forbid may not ask for a team or organisation: while a membership is unknown, the forbid would not hold. Permit the others instead; what no policy permits is denied.',
};
const negated: MembershipFault = {
  code: 'membership-negated',
  text: 'a team or organisation may be asked for only in a permit\'s scope or in its "when", joined by && and ||: while a membership is unknown, "unless", "!", "==" or "if" would turn the doubt into a permission. Name those who may.',
};
const notLiteral: MembershipFault = {
  code: 'membership-negated',
  text: 'write a membership as principal in Team::"<provider>:<number>" (or Org::"…", or a list of one of them); one person is written principal == Person::"…".',
};

/** The first illegal mention of a membership in the policy, or null. */
export function faultOfMembership(policy: PolicyJson): MembershipFault | null {
  const scope = policy.principal;
  const inside = scope.op === 'in' ? scope : scope.op === 'is' ? scope.in : undefined;
  if (inside !== undefined) {
    if (policy.effect === 'forbid') return inForbid;
    if (!('entity' in inside) || !isGroup(inside.entity)) return notLiteral;
  }
  for (const clause of policy.conditions) {
    const fault = faultOf(clause.body, { policy, positive: clause.kind === 'when' });
    if (fault !== null) return fault;
  }
  return null;
}

function faultOf(expression: Expr, at: { policy: PolicyJson; positive: boolean }): MembershipFault | null {
  const node = readNode(expression);
  if (node === null)
    return { code: 'parse', text: 'a condition has a form that is not known here; write it simpler.' };
  const [left, right] = node.children;
  const asks = node.kind === 'in' || (node.kind === 'is' && right !== undefined);
  // `resource` and `action` are never persons (the schema); whatever else stands on the left could be one.
  if (asks && variableOf(left) !== 'resource' && variableOf(left) !== 'action') {
    if (at.policy.effect === 'forbid') return inForbid;
    if (!at.positive) return negated;
    return variableOf(left) === 'principal' && areGroups(right) ? null : notLiteral;
  }
  const positive = at.positive && (node.kind === '&&' || node.kind === '||');
  for (const child of node.children) {
    const fault = faultOf(child, { ...at, positive });
    if (fault !== null) return fault;
  }
  return null;
}

function areGroups(expression: Expr | undefined): boolean {
  if (expression === undefined) return false;
  const entity = entityOf(expression);
  if (entity !== null) return isGroup(entity);
  if (!('Set' in expression)) return false;
  const members = expression.Set as Expr[];
  return members.every((member) => isGroup(entityOf(member)));
}

function isGroup(entity: unknown): boolean {
  if (typeof entity !== 'object' || entity === null || !('type' in entity)) return false;
  return entity.type === 'Team' || entity.type === 'Org';
}
