/** A decision in a few lines for the person who asked: what was decided, by which policy, and what would help. */
import { formatLifetime } from './lifetime.ts';
import type { Decision, Missing } from './request.ts';

/** Lines joined by newlines, without one at the end. Ids are shown as they stand; whoever knows names may add them. */
export function explain(decision: Decision): string {
  const by = decision.policies.length === 0 ? '' : ` (${decision.policies.join(', ')})`;
  if (decision.allowed) {
    const { maxLifetimeSeconds, extensions } = decision.limits;
    const limits = [
      ...(maxLifetimeSeconds > 0 ? [`for at most ${formatLifetime(maxLifetimeSeconds)}`] : []),
      ...(extensions.length > 0 ? [`with ${extensions.join(', ')}`] : []),
    ];
    return [`Allowed${by}.`, ...(limits.length > 0 ? [`Limits: ${limits.join(', ')}.`] : [])].join('\n');
  }
  return [
    `Denied${by}: ${decision.reason.text}`,
    ...(decision.missing.length > 0 ? ['Any one of these would be enough:'] : []),
    ...decision.missing.map((each) => `- ${explainMissing(each)}`),
    ...decision.leftOut.map(({ kind, count }) => `- ${count} more of kind "${kind}" were not tried`),
  ].join('\n');
}

/** One way out, as an instruction. */
function explainMissing(missing: Missing): string {
  switch (missing.kind) {
    case 'lifetime':
      return `ask for ${formatLifetime(missing.longest_seconds)} or less`;
    case 'login':
      return `use the login ${missing.login}`;
    case 'service':
      return `come through the service ${missing.service}`;
    case 'sso':
      return `sign in to the single sign-on of ${missing.name ?? `organisation ${missing.organization}`}, then log in again`;
    case 'unknown':
      if (missing.why === 'sso')
        return `sign in to the single sign-on of the organisation of ${missing.of} ${missing.id}, then log in again`;
      return missing.why === 'not-installed'
        ? `have the app installed where ${missing.of} ${missing.id} can be seen: whether you belong to it is unknown`
        : `log in again: whether you belong to ${missing.of} ${missing.id} could not be read`;
    case 'team':
      return `become a member of team ${missing.id}`;
    case 'organization':
      return `become a member of organisation ${missing.id}`;
  }
}
