/**
 * What a person may run on a host through a service, before the parameters are known. Information for who chooses: what
 * counts is decided when a certificate is asked for.
 */
import type { CommandProspect, Foresight } from '@beacon/policy';
import { unmapAddress } from '@beacon/policy';
import { MIN_LIFETIME_SECONDS } from '@beacon/protocol/http/certificates';
import type { Caller } from './access-token.ts';
import type { Ca, Memberships } from './ca.ts';
import type { Host } from './hosts.ts';

/** Who asks, through what, from where: the same for all commands of one request. */
export interface Asking {
  readonly caller: Caller;
  readonly memberships: Memberships;
  readonly ip: string;
}

/** The login that runs enter, where a host has it. */
const RUN_LOGIN = 'beacon';

/** A host's logins, that of runs first. */
export function loginsForRuns({ logins }: Pick<Host, 'logins'>): readonly string[] {
  return logins.toSorted((a, b) => Number(b === RUN_LOGIN) - Number(a === RUN_LOGIN));
}

/** What policy would say of the command, by the login that it says most of. */
export function foreseeOnHost(
  ca: Ca,
  asking: Asking,
  host: Host,
  command: string,
): Foresight & { readonly login: string } {
  const [first = '', ...others] = loginsForRuns(host);
  let best = { ...ca.policy.foresee(prospectOf(ca, asking, host, first, command)), login: first };
  for (const login of others) {
    if (best.allowed === 'yes') break;
    const prospect = prospectOf(ca, asking, host, login, command);
    if (!ca.policy.mayAllow(prospect)) continue;
    const found = ca.policy.foresee(prospect);
    if (best.allowed === 'no' || found.allowed === 'yes') best = { ...found, login };
  }
  return best;
}

function prospectOf(
  ca: Ca,
  { caller, memberships, ip }: Asking,
  host: Host,
  login: string,
  command: string,
): CommandProspect {
  const { id, logins, labels, pools } = host;
  return {
    person: { id: caller.person, teams: memberships.teams, organizations: memberships.organizations },
    host: { id, logins: [...logins], labels: { ...labels }, pools: [...pools] },
    login,
    lifetimeSeconds: MIN_LIFETIME_SECONDS,
    command,
    service: caller.service,
    sourceAddress: unmapAddress(ip),
    now: ca.now(),
  };
}
