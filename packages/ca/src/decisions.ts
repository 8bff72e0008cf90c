/**
 * `POST /v1/decisions`: what `POST /v1/certificates` would decide, without a key, a serial or a grant; one record of kind
 * `decision`. About another person, or another service than the caller's, only with `ca.decisions`.
 */
import type { Decision } from '@beacon/policy';
import type { DecisionAnswer, DecisionRequest } from '@beacon/protocol/http/certificates';
import type { Caller } from './access-token.ts';
import { requireAuthority } from './authority.ts';
import type { Ca, Memberships } from './ca.ts';
import { decide } from './decision.ts';
import type { CaError } from './error.ts';
import { findUsableHost } from './issue.ts';
import { readCommands } from './request.ts';
import { pinRules } from './rules.ts';
import { serviceRefusal } from './services.ts';
import { write } from './write.ts';

/** Throws CaError for what cannot be put to policy at all; a denial is an answer. */
export async function decideOnly(
  running: Ca,
  caller: Caller,
  body: DecisionRequest,
  ip: string,
): Promise<DecisionAnswer> {
  const ca = pinRules(running);
  const person = body.person ?? caller.person;
  const service = body.service ?? caller.service;
  if (person !== caller.person || service !== caller.service)
    await requireAuthority(ca, caller, 'ca.decisions', ip);
  const commands = body.commands === undefined ? undefined : readCommands(body.commands);
  const decision = decide(ca, {
    person,
    memberships: await membershipsFor(ca, caller, person),
    host: await findUsableHost(ca, body.host),
    login: body.login,
    lifetimeSeconds: body.lifetime_seconds,
    ...(commands === undefined ? {} : { commands: commands.asked }),
    service,
    ip,
  });
  const right = commands === undefined ? 'personal-certificates' : 'run-certificates';
  const outcome = outcomeOf(decision, serviceRefusal(ca, service, right));
  const record = await write(ca, caller, async (tx) =>
    ca.records.append(tx, {
      kind: 'decision',
      person: caller.person,
      service: caller.service,
      host: body.host,
      facts: {
        about: person,
        login: body.login,
        lifetime_seconds: body.lifetime_seconds,
        allowed: outcome.allowed,
        reason: outcome.reason.code,
        policies: outcome.policies,
        policy_version: decision.version,
        ...(commands === undefined ? {} : { commands: commands.asked.map(({ command }) => command) }),
        source: await ca.records.hide(tx, ip, caller.person),
      },
    }),
  );
  return { ...outcome, policy_version: decision.version, record: { seq: record.seq, hash: record.hash } };
}

/** Of somebody without a session at this CA nothing is known: every membership that policies name is unknown. */
async function membershipsFor(ca: Ca, caller: Caller, person: string): Promise<Memberships> {
  if (person === caller.person) return ca.memberships(caller, ca.policy);
  const known = await ca.membershipsOf(person, ca.policy);
  if (known !== undefined) return known;
  const unknown = (ids: Iterable<string>) => [...ids].map((id) => ({ id, why: 'refused' as const }));
  return {
    organizations: { in: [], unknown: unknown(ca.policy.namedOrganizations) },
    teams: { in: [], unknown: unknown(ca.policy.namedTeams) },
    readAt: ca.now(),
  };
}

/** What the service may not ask for anybody is denied before policy has a say, as it is for a certificate. */
function outcomeOf(
  decision: Decision,
  refusal: CaError | undefined,
): Omit<DecisionAnswer, 'policy_version' | 'record'> {
  if (refusal !== undefined) {
    const reason = { code: refusal.code, text: refusal.message };
    return { allowed: false, reason, missing: [], policies: [], limits: null };
  }
  const policies = [...decision.policies];
  if (decision.allowed) {
    const reason = { code: 'allowed', text: `allowed by ${policies.join(', ')}` };
    return { allowed: true, reason, missing: [], policies, limits: limitsOf(decision) };
  }
  return { allowed: false, reason: decision.reason, missing: [...decision.missing], policies, limits: null };
}

function limitsOf(decision: Extract<Decision, { allowed: true }>) {
  return {
    max_lifetime_seconds: decision.limits.maxLifetimeSeconds,
    extensions: [...decision.limits.extensions],
  };
}
