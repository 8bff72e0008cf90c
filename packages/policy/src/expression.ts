/**
 * Walks the conditions of a policy in Cedar's JSON form. The set of node kinds is closed: a kind that is not known here
 * is refused by the callers, so that a new version of Cedar cannot smuggle a condition past our checks.
 */
import type { CedarValueJson, Expr } from '@cedar-policy/cedar-wasm/nodejs';

/** One node: its kind and the expressions directly below it. */
export interface ExpressionNode {
  readonly kind: string;
  readonly children: readonly Expr[];
}

const binary = new Set(
  '== != in < <= > >= && || + - * contains containsAll containsAny getTag hasTag'.split(' '),
);
const leaves = new Set(['Value', 'Var']);
const unary = new Set(['!', 'neg', 'isEmpty']);
/** Functions and methods of Cedar's extension types: their argument lists stand directly under their names. */
const extensionFunctions = new Set(
  [
    'ip isIpv4 isIpv6 isLoopback isMulticast isInRange',
    'decimal lessThan lessThanOrEqual greaterThan greaterThanOrEqual',
    'datetime duration offset durationSince toDate toTime toMilliseconds toSeconds toMinutes toHours toDays',
  ].flatMap((names) => names.split(' ')),
);

/** The node's kind and children; null when the kind is not known. */
export function readNode(expression: Expr): ExpressionNode | null {
  const [entry, ...rest] = Object.entries(expression as Record<string, unknown>);
  if (entry === undefined || rest.length > 0) return null;
  const [kind, body] = entry;
  if (leaves.has(kind)) return { kind, children: [] };
  if (extensionFunctions.has(kind) || kind === 'Set') return { kind, children: body as Expr[] };
  if (kind === 'Record') return { kind, children: Object.values(body as Record<string, Expr>) };
  const fields = body as Record<string, Expr>;
  const names = namesOfChildren(kind, fields);
  const children = names?.map((name) => fields[name]);
  return children?.every((child) => child !== undefined) ? { kind, children } : null;
}

function namesOfChildren(kind: string, fields: Record<string, unknown>): string[] | null {
  if (binary.has(kind)) return ['left', 'right'];
  if (unary.has(kind)) return ['arg'];
  if (kind === '.' || kind === 'has' || kind === 'like') return ['left'];
  if (kind === 'is') return 'in' in fields ? ['left', 'in'] : ['left'];
  if (kind === 'if-then-else') return ['if', 'then', 'else'];
  return null;
}

/** Every expression in the tree, the outermost first. Stops below nodes of unknown kind. */
export function* everyExpression(expression: Expr): Generator<Expr> {
  yield expression;
  for (const child of readNode(expression)?.children ?? []) yield* everyExpression(child);
}

/** The name of a variable (`principal`, `resource`, …), or null. */
export function variableOf(expression: Expr | undefined): string | null {
  return expression !== undefined && 'Var' in expression && typeof expression.Var === 'string'
    ? expression.Var
    : null;
}

/** A literal's value, or undefined. */
export function literalOf(expression: Expr | undefined): CedarValueJson | undefined {
  return expression !== undefined && 'Value' in expression ? (expression.Value as CedarValueJson) : undefined;
}

/** True for `context.NAME`. */
export function isContext(expression: Expr | undefined, name: string): boolean {
  if (expression === undefined || !('.' in expression)) return false;
  const access = expression['.'] as { left: Expr; attr: string };
  return variableOf(access.left) === 'context' && access.attr === name;
}

/** The entity that a literal names, or null. */
export function entityOf(expression: Expr | undefined): { type: string; id: string } | null {
  const value = literalOf(expression);
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !('__entity' in value))
    return null;
  return value['__entity'] as { type: string; id: string };
}
