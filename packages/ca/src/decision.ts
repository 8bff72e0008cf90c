/** Puts a request to policy: who asks, through which service, from where, for what (DESIGN.md section 7). */
import { type Decision, type Denied, explain, type PolicyRequest, unmapAddress } from '@beacon/policy';
import type { Json } from '@beacon/protocol/strict-json';
import type { Ca, Memberships } from './ca.ts';
import { CaError } from './error.ts';
import type { Host } from './hosts.ts';
import type { AskedCommand } from './request.ts';

export interface Question {
  readonly person: string;
  readonly memberships: Memberships;
  readonly host: Host;
  readonly login: string;
  readonly lifetimeSeconds: number;
  /** Absent for `beacon ssh`. */
  readonly commands?: readonly AskedCommand[];
  readonly service: string;
  readonly ip: string;
}

/** The decision; pure but for the clock. */
export function decide(ca: Ca, question: Question): Decision {
  return ca.policy.decide(requestOf(ca, question));
}

/** Whether {@link decide} would allow it: for lists, where nobody is told what is missing. */
export function wouldAllow(ca: Ca, question: Question): boolean {
  return ca.policy.allows(requestOf(ca, question));
}

function requestOf(ca: Ca, question: Question): PolicyRequest {
  const { host, memberships } = question;
  return {
    person: { id: question.person, teams: memberships.teams, organizations: memberships.organizations },
    host: { id: host.id, logins: [...host.logins], labels: { ...host.labels }, pools: [...host.pools] },
    login: question.login,
    lifetimeSeconds: question.lifetimeSeconds,
    commands: question.commands === undefined ? 'ssh' : [...question.commands],
    service: question.service,
    sourceAddress: unmapAddress(question.ip),
    now: ca.now(),
  };
}

/** A denial as the answer `denied`, in one line: its reason, and what one change would have allowed it. */
export function denialError(denial: Denied): CaError {
  const [reason, ...ways] = explain(denial).split('\n');
  const help = ways.length === 0 ? '' : ` ${ways.join(' ').replaceAll(' - ', ' ')}.`;
  return new CaError('policy-denied', `${reason}${help}`, { denial: denialFacts(denial) });
}

/** What a denial says to programs. */
export function denialFacts(denial: Denied): { [key: string]: Json } {
  return {
    reason: { ...denial.reason },
    missing: denial.missing.map((missing) => ({ ...missing })),
    policies: [...denial.policies],
    policy_version: denial.version,
  };
}
