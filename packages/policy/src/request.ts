/**
 * The question and the answer. Every program that asks policy builds a `PolicyRequest` from facts it has established
 * itself; a `Decision` is a value in either case, complete enough to be recorded and shown.
 */
import type { Extension, Limits } from './annotation.ts';
import type { AuthorityAction, HostFacts } from './inventory.ts';

/** Why a membership could not be established. */
export type WhyUnknown = 'sso' | 'not-installed' | 'refused';

/** `organization`: for a team, the id of its organisation where it is known. `name` is always an organisation's. */
export interface UnknownMembership {
  readonly id: string;
  readonly why: WhyUnknown;
  readonly name?: string;
  readonly organization?: string;
}

/** `in` is what is known for certain; an unknown membership never allows anything. All ids are `<provider>:<number>`. */
export interface Memberships {
  readonly in: readonly string[];
  readonly unknown: readonly UnknownMembership[];
}

export interface PersonFacts {
  readonly id: string;
  readonly teams: Memberships;
  readonly organizations: Memberships;
}

/** `secrets`: the names of the secret parameters that were committed to; checked against the inventory when given. */
export interface Invocation {
  readonly command: string;
  readonly params: Readonly<Record<string, string>>;
  readonly secrets?: readonly string[];
}

/**
 * A command and what takes it back. Both are one question, the command's: so the undo must be the one that the inventory
 * names, and parameters that both have must be equal.
 */
export interface CommandAsked extends Invocation {
  readonly undo?: Invocation;
}

interface Asker {
  readonly person: PersonFacts;
  readonly service: string;
  /** Canonical; an IPv4 address that a socket shows as `::ffff:…` goes through `unmapAddress` first. */
  readonly sourceAddress: string;
  readonly now: Date;
}

/** May the person enter this host as this login for these commands (or for an ordinary login, `ssh`)? */
export interface HostRequest extends Asker {
  readonly host: HostFacts | null;
  readonly login: string;
  readonly lifetimeSeconds: number;
  readonly commands: readonly CommandAsked[] | 'ssh';
  /** Extensions that the caller cannot do without; for `ssh` only. */
  readonly extensions?: readonly Extension[];
}

/** May the person do this at the CA itself? */
export interface AuthorityRequest extends Asker {
  readonly commands: { readonly authority: AuthorityAction };
}

export type PolicyRequest = HostRequest | AuthorityRequest;

/** The closed list of reasons; stable, they stand in records. */
export type DenialCode =
  | 'command'
  | 'extensions'
  | 'forbidden'
  | 'host'
  | 'lifetime'
  | 'login'
  | 'no-permit'
  | 'parameter'
  | 'person'
  | 'policy-error'
  | 'service'
  | 'source'
  | 'undo';

/** One change which, made alone, would turn the denial into a permission. */
export type Missing =
  | { readonly kind: 'lifetime'; readonly longest_seconds: number }
  | { readonly kind: 'login'; readonly login: string }
  | { readonly kind: 'service'; readonly service: string }
  | { readonly kind: 'sso'; readonly organization: string; readonly name?: string }
  | {
      readonly kind: 'unknown';
      readonly of: 'team' | 'organization';
      readonly id: string;
      readonly why: WhyUnknown;
    }
  | { readonly kind: 'team'; readonly id: string }
  | { readonly kind: 'organization'; readonly id: string };

/** Changes that were not tried because the search is bounded. */
export interface LeftOut {
  readonly kind: Missing['kind'];
  readonly count: number;
}

/** `limits` are those of one permit; for several commands the lifetime is the shortest of theirs. */
export interface Allowed {
  readonly allowed: true;
  readonly policies: readonly string[];
  readonly limits: Limits;
  readonly version: string;
}

/** `policies`: those that forbade, or that matched and did not cover the request. */
export interface Denied {
  readonly allowed: false;
  readonly reason: { readonly code: DenialCode; readonly text: string };
  readonly missing: readonly Missing[];
  readonly leftOut: readonly LeftOut[];
  readonly policies: readonly string[];
  readonly version: string;
}

export type Decision = Allowed | Denied;

/** A command on a host, asked about before its parameters are known. */
export interface CommandProspect extends Asker {
  readonly host: HostFacts;
  readonly login: string;
  readonly lifetimeSeconds: number;
  readonly command: string;
}

/** `depends`: on parameters that a policy looks at. `missing` is of a `no`. */
export interface Foresight {
  readonly allowed: 'yes' | 'no' | 'depends';
  readonly reason: { readonly code: DenialCode | 'allowed' | 'depends'; readonly text: string };
  readonly missing: readonly Missing[];
  readonly policies: readonly string[];
}

/** True for a question about the CA itself. */
export function isAuthorityRequest(request: PolicyRequest): request is AuthorityRequest {
  return typeof request.commands === 'object' && 'authority' in request.commands;
}

/** The actions that the request asks for, as policies name them. */
export function actionsOf(request: PolicyRequest): string[] {
  if (isAuthorityRequest(request)) return [request.commands.authority];
  return request.commands === 'ssh' ? ['ssh'] : request.commands.map(({ command }) => command);
}
