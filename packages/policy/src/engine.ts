/**
 * The policy engine: made from files and an inventory, it answers for ever from exactly these. A reload makes a new
 * engine; whoever holds the old one still gets the old answers, with the old `version`, until it is closed.
 */
import { createHash } from 'node:crypto';
import { type Authorizer, openAuthorizer } from './authorizer.ts';
import { formatPlace, PolicyError } from './error.ts';
import { type CommandFacts, checkInventory, type Inventory } from './inventory.ts';
import { type Bench, type Judgement, judge } from './judge.ts';
import { formatLifetime } from './lifetime.ts';
import { type LoadedPolicy, loadPolicies, type PolicyFile, sortFiles } from './load.ts';
import { idsOf, joinMentions } from './mention.ts';
import { findMissing } from './missing.ts';
import { suggest } from './nearest.ts';
import { compilePattern } from './pattern.ts';
import { policiesFor, type Relevance, relevanceOf } from './relevance.ts';
import {
  actionsOf,
  type CommandProspect,
  type Decision,
  type Denied,
  type Foresight,
  type HostRequest,
  type Missing,
  type PolicyRequest,
} from './request.ts';
import { commandFacts, type ValueTest } from './request-check.ts';
import { actionNames, makeSchema } from './schema.ts';
import { boundsOf } from './unknown-params.ts';

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
  /** The hosts that policies name. Of any other its id makes no difference, only its logins, labels and pools. */
  readonly namedHosts: readonly string[];
  /** The commands that can be asked about, as the inventory lists them. */
  readonly commands: Readonly<Record<string, CommandFacts>>;
  /** What a reviewer should look at though it is legal: hosts and pools that the inventory does not list. */
  readonly notes: readonly string[];
  readonly decide: (request: PolicyRequest) => Decision;
  /** What `decide` says of `allowed`, without the search for what is missing: a tenth of the work where the answer is no. */
  readonly allows: (request: PolicyRequest) => boolean;
  /** What `decide` would say of a command whose parameters are not known yet; by the same text where none matters. */
  readonly foresee: (prospect: CommandProspect) => Foresight;
  /** Whether `foresee` would say anything but `no`, without the search for what is missing. */
  readonly mayAllow: (prospect: CommandProspect) => boolean;
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
  const open = (policies: Parameters<typeof openAuthorizer>[0]): Authorizer => {
    const opened = openAuthorizer(policies, schema);
    if ('faults' in opened) throw new PolicyError('schema', { file: 'policies' }, opened.faults.join('; '));
    return opened;
  };
  const authorizer = open(texts);
  const bounds = boundsOf(new Map(loaded.map((policy) => [policy.id, policy.json])));
  const certainly = bounds === undefined ? authorizer : open(bounds.certain);
  const possibly = bounds === undefined ? authorizer : open(bounds.possible);
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
  const anyValue = { matches: () => true };
  const certain: Bench = { ...bench, ...anyValue, authorizer: certainly };
  const possible: Bench = { ...bench, ...anyValue, authorizer: possibly };
  const isPermitted = new Set(
    [...byAction].flatMap(([action, policies]) =>
      policies.some(({ effect }) => effect === 'permit') ? [action] : [],
    ),
  );
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
    commands: inventory.commands,
    namedHosts: idsOf(joinMentions(loaded.map((policy) => policy.mentions)), 'Host'),
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
    mayAllow: (prospect) => {
      requireOpen();
      return isPermitted.has(prospect.command) && judge(possible, blank(prospect, inventory)).allowed;
    },
    foresee: (prospect) => {
      requireOpen();
      const request = blank(prospect, inventory);
      const sure = judge(certain, request);
      if (sure.allowed) {
        const text = `allowed by ${sure.policies.join(', ')}`;
        return { allowed: 'yes', reason: { code: 'allowed', text }, missing: [], policies: sure.policies };
      }
      const judgement = judge(possible, request);
      if (judgement.allowed) {
        const text = `It depends on the parameters: ${judgement.policies.join(', ')} may allow it.`;
        const { policies } = judgement;
        return { allowed: 'depends', reason: { code: 'depends', text }, missing: [], policies };
      }
      const search = findMissing(request, judgement, changesFor(request), (changed) =>
        judge(possible, changed),
      );
      return {
        allowed: 'no',
        reason: reasonOf(judgement, search.missing),
        missing: search.missing,
        policies: judgement.policies,
      };
    },
    close: () => {
      if (!closed) for (const each of new Set([authorizer, certainly, possibly])) each.close();
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

/** The request with every parameter empty: no policy that is asked about it looks at one. */
function blank({ command, ...asked }: CommandProspect, inventory: Inventory): HostRequest {
  const shown = Object.entries(commandFacts(inventory, command)?.params ?? {}).filter(
    ([, { secret }]) => secret !== true,
  );
  const params = Object.fromEntries(shown.map(([name]) => [name, '']));
  return { ...asked, commands: [{ command, params }] };
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
