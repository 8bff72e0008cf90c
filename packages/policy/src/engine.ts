/**
 * The policy engine: made from files and an inventory, it answers for ever from exactly these. A reload makes a new
 * engine; whoever holds the old one still gets the old answers, with the old `version`, until it is closed.
 */
import { createHash } from 'node:crypto';
import { openAuthorizer } from './authorizer.ts';
import { formatPlace, PolicyError } from './error.ts';
import { checkInventory, type Inventory } from './inventory.ts';
import { type Bench, type Judgement, judge } from './judge.ts';
import { formatLifetime } from './lifetime.ts';
import { type LoadedPolicy, loadPolicies, type PolicyFile, sortFiles } from './load.ts';
import { findMissing } from './missing.ts';
import { suggest } from './nearest.ts';
import { compilePattern } from './pattern.ts';
import { policiesFor, type Relevance, relevanceOf } from './relevance.ts';
import { actionsOf, type Decision, type Denied, type Missing, type PolicyRequest } from './request.ts';
import type { ValueTest } from './request-check.ts';
import { actionNames, makeSchema } from './schema.ts';

/** `provider`: the CA's identity provider; when given, ids of another one are refused in policies. */
export interface PolicyEngineOptions {
  readonly files: readonly PolicyFile[];
  readonly inventory: Inventory;
  readonly provider?: string;
}

/** Answers questions from one fixed set of policies. */
export interface PolicyEngine {
  /** SHA-256, lower-case hex, over the names and exact bytes of the files; stands in every record of a decision. */
  readonly version: string;
  /** Ids of all policies, sorted. */
  readonly policies: readonly string[];
  /** The only teams and organisations whose memberships matter; others need not be looked up. */
  readonly namedTeams: readonly string[];
  readonly namedOrganizations: readonly string[];
  /** What a reviewer should look at though it is legal: hosts and pools that the inventory does not list. */
  readonly notes: readonly string[];
  readonly decide: (request: PolicyRequest) => Decision;
  /** What `decide` says of `allowed`, without the search for what is missing: a tenth of the work where the answer is no. */
  readonly allows: (request: PolicyRequest) => boolean;
  /** Gives the memory back; a closed engine throws PolicyError `closed`. */
  readonly close: () => void;
}

/** Loads and checks everything once; throws PolicyError with code and place for the first thing that is wrong. */
export function createPolicyEngine({ files, inventory, provider }: PolicyEngineOptions): PolicyEngine {
  checkInventory(inventory);
  const schema = makeSchema(inventory);
  const known = { actions: actionNames(inventory), ...(provider === undefined ? {} : { provider }) };
  const loaded = loadPolicies(files, schema, known);
  const texts = Object.fromEntries(loaded.map((policy) => [policy.id, policy.text]));
  const authorizer = openAuthorizer(texts, schema);
  if ('faults' in authorizer)
    throw new PolicyError('schema', { file: 'policies' }, authorizer.faults.join('; '));
  const byAction = new Map(known.actions.map((action) => [action, policiesFor(loaded, action)]));
  const relevances = new Map([...byAction].map(([action, policies]) => [action, relevanceOf(policies)]));
  const nothing = relevanceOf([]);
  const everything = relevanceOf(loaded);
  const bench: Bench = {
    authorizer,
    inventory,
    policies: new Map(loaded.map((policy) => [policy.id, policy])),
    relevance: (action) => relevances.get(action) ?? nothing,
    matches: compilePatterns(inventory),
  };
  const changesFor = (request: PolicyRequest): Relevance => {
    const [first = '', ...others] = new Set(actionsOf(request));
    if (others.length === 0) return bench.relevance(first);
    const policies = [first, ...others].flatMap((action) => byAction.get(action) ?? []);
    return relevanceOf([...new Set(policies)]);
  };
  const version = versionOf(files);
  let closed = false;
  const requireOpen = () => {
    if (closed)
      throw new PolicyError(
        'closed',
        { file: 'policies' },
        'these policies have been replaced; ask the new ones.',
      );
  };
  return {
    version,
    policies: loaded.map((policy) => policy.id).sort(),
    namedTeams: everything.teams,
    namedOrganizations: everything.organizations,
    notes: notesOf(loaded, inventory),
    allows: (request) => {
      requireOpen();
      return judge(bench, request).allowed;
    },
    decide: (request) => {
      requireOpen();
      const judgement = judge(bench, request);
      if (judgement.allowed) return { ...judgement, version };
      const search = findMissing(request, judgement, changesFor(request), (changed) => judge(bench, changed));
      return { ...judgement, reason: reasonOf(judgement, search.missing), ...search, version };
    },
    close: () => {
      if (!closed) authorizer.close();
      closed = true;
    },
  };
}

/** A condition on the lifetime denies like `@max_lifetime` does: both are the reason `lifetime`, with the longest. */
function reasonOf(
  { reason }: Extract<Judgement, { allowed: false }>,
  missing: readonly Missing[],
): Denied['reason'] {
  const shorter = missing.find((each) => each.kind === 'lifetime');
  if (shorter === undefined || !['lifetime', 'no-permit', 'extensions'].includes(reason.code)) return reason;
  const text = `${reason.text} The longest that would be allowed is ${formatLifetime(shorter.longest_seconds)}.`;
  return { code: 'lifetime', text };
}

function compilePatterns(inventory: Inventory): ValueTest {
  const tests = new Map<string, (value: string) => boolean>();
  for (const [command, facts] of Object.entries(inventory.commands)) {
    for (const [name, { pattern }] of Object.entries(facts.params))
      tests.set(`${command} ${name}`, compilePattern(pattern));
  }
  return (command, parameter, value) => tests.get(`${command} ${parameter}`)?.(value) === true;
}

/** Name and bytes of each file, both preceded by their length, so that no two sets of files look the same. */
function versionOf(files: readonly PolicyFile[]): string {
  const hash = createHash('sha256').update('beacon-policy-1\0');
  for (const part of sortFiles(files).flatMap((file) => [file.name, file.text])) {
    hash.update(`${Buffer.byteLength(part)}:`).update(part);
  }
  return hash.digest('hex');
}

function notesOf(loaded: readonly LoadedPolicy[], inventory: Inventory): string[] {
  const hosts = Object.keys(inventory.hosts);
  if (hosts.length === 0) return [];
  const known: Record<string, string[]> = {
    Host: hosts,
    Pool: Object.values(inventory.hosts).flatMap((host) => host.pools),
  };
  return loaded.flatMap((policy) =>
    policy.mentions.entities
      .filter(({ type, id }) => known[type]?.includes(id) === false)
      .map(
        ({ type, id }) =>
          `${formatPlace(policy.place)}: the inventory lists no ${type}::"${id}".${suggest(id, known[type] ?? [])}`,
      ),
  );
}
