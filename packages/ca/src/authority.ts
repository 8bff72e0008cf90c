/** What the CA itself may be asked for (`ca.hosts`, `ca.revoke`, …): a question to policy like any other. */
import { type AuthorityAction, type Decision, unmapAddress } from '@beacon/policy';
import type { Caller } from './access-token.ts';
import type { Ca } from './ca.ts';
import { denialError } from './decision.ts';
import { recordRefusal } from './write.ts';

/** Whether policy lets the caller do this at the CA. */
export async function decideAuthority(
  ca: Ca,
  caller: Caller,
  action: AuthorityAction,
  ip: string,
): Promise<Decision> {
  const { policy } = ca;
  const memberships = await ca.memberships(caller, policy);
  return policy.decide({
    person: { id: caller.person, teams: memberships.teams, organizations: memberships.organizations },
    commands: { authority: action },
    service: caller.service,
    sourceAddress: unmapAddress(ip),
    now: ca.now(),
  });
}

/** True without a record; for what is shown more or less of. */
export async function hasAuthority(
  ca: Ca,
  caller: Caller,
  action: AuthorityAction,
  ip: string,
): Promise<boolean> {
  return (await decideAuthority(ca, caller, action, ip)).allowed;
}

/** Throws CaError `policy-denied` after the refusal is recorded. */
export async function requireAuthority(
  ca: Ca,
  caller: Caller,
  action: AuthorityAction,
  ip: string,
): Promise<void> {
  const decision = await decideAuthority(ca, caller, action, ip);
  if (decision.allowed) return;
  const denied = denialError(decision);
  await recordRefusal(ca, caller, denied, { facts: { action }, ip });
  throw denied;
}
