/**
 * What GitHub says of a person's memberships, among those that policies name. At most 60 seconds old at a decision; read
 * with the session's own token; when GitHub gives no answer there is none, never "no restrictions" and never an old one.
 */
import { type GitHub, GitHubError } from '@beacon/github';
import type { PolicyEngine } from '@beacon/policy';
import type { Ca, Memberships } from './ca.ts';
import { CaError } from './error.ts';
import type { Session, Sessions } from './session.ts';

/** How old memberships may be at a decision. */
export const MEMBERSHIPS_FRESH_MS = 60_000;

interface Kept {
  readonly policy: string;
  readonly organizations: Memberships['organizations'];
  readonly teams: Memberships['teams'];
}

export interface MembershipOptions {
  readonly sessions: Sessions;
  readonly github: Pick<GitHub, 'readMemberships'>;
  readonly now: () => Date;
}

/** The two readers that {@link Ca} holds. */
export function createMemberships(options: MembershipOptions): Pick<Ca, 'memberships' | 'membershipsOf'> {
  const reading = new Map<string, Promise<Memberships>>();

  async function fresh(session: Session, policy: PolicyEngine): Promise<Memberships> {
    const kept = keptMemberships(session.memberships, policy, options);
    if (kept !== undefined) return kept;
    const key = `${session.id} ${policy.version}`;
    const running = reading.get(key);
    if (running !== undefined) return running;
    const next = readMemberships(session, policy, options).finally(() => reading.delete(key));
    reading.set(key, next);
    return next;
  }

  return {
    async memberships(caller, policy) {
      const kept = keptMemberships(caller.memberships, policy, options);
      if (kept !== undefined) return kept;
      const session = await options.sessions.findAlive(caller.sessionId);
      if (session === undefined)
        throw new CaError('session-ended', 'your session has ended: run `beacon login`');
      return fresh(session, policy);
    },
    async membershipsOf(person, policy) {
      const [session] = await options.sessions.listAlive(person);
      return session === undefined ? undefined : fresh(session, policy);
    },
  };
}

function keptMemberships(
  stored: Session['memberships'],
  policy: PolicyEngine,
  { now }: MembershipOptions,
): Memberships | undefined {
  if (stored === undefined) return undefined;
  const age = now().getTime() - stored.at.getTime();
  if (age < 0 || age >= MEMBERSHIPS_FRESH_MS) return undefined;
  const kept = JSON.parse(stored.text) as Kept;
  // Another policy may name a team that was not asked for.
  if (kept.policy !== policy.version) return undefined;
  return { organizations: kept.organizations, teams: kept.teams, readAt: stored.at };
}

async function readMemberships(
  session: Session,
  policy: PolicyEngine,
  options: MembershipOptions,
): Promise<Memberships> {
  const { github, sessions, now } = options;
  const token = await sessions.githubToken(session.id);
  if (token === undefined) throw new CaError('session-ended', 'your session has ended: run `beacon login`');
  const version = policy.version;
  const at = now();
  try {
    const { organizations, teams } = await github.readMemberships(token, {
      organizations: [...policy.namedOrganizations],
      teams: [...policy.namedTeams],
    });
    const kept: Kept = { policy: version, organizations, teams };
    await sessions.writeMemberships(session.id, JSON.stringify(kept), at);
    return { organizations, teams, readAt: at };
  } catch (error) {
    throw asCaError(error);
  }
}

function asCaError(error: unknown): unknown {
  if (!(error instanceof GitHubError)) return error;
  if (error.code === 'unauthorized') {
    return new CaError('sign-in-needed', 'GitHub no longer accepts your sign-in: run `beacon login` again', {
      cause: error,
    });
  }
  const { retryAfterMs } = error;
  return new CaError(
    'github-unavailable',
    `GitHub gave no answer about your memberships, so nothing was decided: try again ${retryAfterMs === undefined ? 'shortly' : `in ${Math.max(1, Math.ceil(retryAfterMs / 1000))} s`}`,
    { cause: error, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) },
  );
}
