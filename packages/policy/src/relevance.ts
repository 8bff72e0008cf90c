/**
 * For each action, what the policies that can speak of it name. A decision is given only those teams, organisations and
 * pools, and a denial is searched only for changes to them: it costs the same for a person in 5 teams and in 500, and
 * with policies for other commands.
 */
import type { LoadedPolicy } from './load.ts';
import { idsOf, joinMentions } from './mention.ts';

/** What matters to a question; each list sorted, lifetimes in seconds and the longest first. */
export interface Relevance {
  readonly teams: readonly string[];
  readonly organizations: readonly string[];
  readonly pools: readonly string[];
  readonly lifetimes: readonly number[];
  readonly services: readonly string[];
  readonly namesLogin: boolean;
}

/** What all these policies name together. */
export function relevanceOf(policies: readonly LoadedPolicy[]): Relevance {
  const mentions = joinMentions(policies.map((policy) => policy.mentions));
  const limits = policies.flatMap(({ effect, limits }) =>
    effect === 'permit' ? limits.maxLifetimeSeconds : [],
  );
  return {
    teams: idsOf(mentions, 'Team'),
    organizations: idsOf(mentions, 'Org'),
    pools: idsOf(mentions, 'Pool'),
    lifetimes: [...new Set([...limits, ...mentions.lifetimes])].sort((a, b) => b - a),
    services: mentions.services,
    namesLogin: mentions.namesLogin,
  };
}

/** The policies whose scope admits the action; a scope without an action admits all. */
export function policiesFor(policies: readonly LoadedPolicy[], action: string): LoadedPolicy[] {
  return policies.filter((policy) => policy.actions === 'all' || policy.actions.includes(action));
}
