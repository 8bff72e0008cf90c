/**
 * What policies name: entities (to check their ids, and to pass only named teams to a decision) and the values that are
 * compared with parts of the request (so that a denial is searched for changes that some policy speaks of, no others).
 */
import type { CedarValueJson, Expr, PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import { everyExpression, isContext, literalOf, readNode } from './expression.ts';

export interface EntityName {
  readonly type: string;
  readonly id: string;
}

/** What one policy, or all of them together, name. */
export interface Mentions {
  readonly entities: readonly EntityName[];
  /** Seconds at or next to which a comparison with `context.lifetime_seconds` may change. */
  readonly lifetimes: readonly number[];
  readonly services: readonly string[];
  readonly namesLogin: boolean;
}

/** Collects what one policy names. */
export function mentionsOf(policy: PolicyJson): Mentions {
  const expressions = policy.conditions.flatMap((clause) => [...everyExpression(clause.body)]);
  const literals = expressions.map(literalOf).filter((value) => value !== undefined);
  return {
    entities: [
      ...entitiesIn(policy.principal),
      ...entitiesIn(policy.action),
      ...entitiesIn(policy.resource),
    ].concat(literals.flatMap(entitiesIn)),
    lifetimes: expressions.flatMap(lifetimesIn),
    services: expressions.flatMap(servicesIn),
    namesLogin: expressions.some((expression) => isContext(expression, 'login')),
  };
}

/** What any of them names, each once and in order. */
export function joinMentions(all: readonly Mentions[]): Mentions {
  const entities = new Map<string, EntityName>();
  for (const entity of all.flatMap((each) => each.entities))
    entities.set(`${entity.type} ${entity.id}`, entity);
  return {
    entities: [...entities.keys()].sort().flatMap((key) => entities.get(key) ?? []),
    lifetimes: [...new Set(all.flatMap((each) => each.lifetimes))].sort((a, b) => b - a),
    services: [...new Set(all.flatMap((each) => each.services))].sort(),
    namesLogin: all.some((each) => each.namesLogin),
  };
}

/** The ids of one type of entity, sorted. */
export function idsOf(mentions: Mentions, type: string): string[] {
  return mentions.entities.filter((entity) => entity.type === type).map((entity) => entity.id);
}

/** Every `{type, id}` anywhere in a scope or a literal. */
function entitiesIn(value: unknown): EntityName[] {
  if (typeof value !== 'object' || value === null) return [];
  if ('type' in value && 'id' in value && typeof value.type === 'string' && typeof value.id === 'string') {
    return [{ type: value.type, id: value.id }];
  }
  return Object.values(value).flatMap(entitiesIn);
}

const comparisons = new Set(['==', '!=', '<', '<=', '>', '>=']);

function lifetimesIn(expression: Expr): number[] {
  const node = readNode(expression);
  if (node === null || !comparisons.has(node.kind)) return [];
  if (!node.children.some((child) => isContext(child, 'lifetime_seconds'))) return [];
  return node.children
    .map(literalOf)
    .filter((value) => typeof value === 'number')
    .flatMap((seconds) => [seconds + 1, seconds, seconds - 1]);
}

function servicesIn(expression: Expr): string[] {
  const node = readNode(expression);
  if (node === null || !(node.kind === '==' || node.kind === 'contains')) return [];
  if (!node.children.some((child) => isContext(child, 'service'))) return [];
  return node.children
    .flatMap((child) => (readNode(child)?.kind === 'Set' ? [...everyExpression(child)] : [child]))
    .map(literalOf)
    .filter((value: CedarValueJson | undefined) => typeof value === 'string');
}
