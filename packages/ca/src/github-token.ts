/**
 * `POST /v1/github-token`: gives the person's own GitHub token to a service that has the right to it, for a run that
 * policy allowed (DESIGN.md section 3.1). It is opened for this one answer, recorded before it is given, and never kept or
 * logged. It can only be had for a session that goes on: the token is that session's, and goes with it.
 */
import { createHash } from 'node:crypto';
import type { GitHubTokenAnswer, GitHubTokenRequest } from '@beacon/protocol/http/github';
import type { Caller } from './access-token.ts';
import type { Ca, Tx } from './ca.ts';
import { CaError } from './error.ts';
import { foreseeOnHost } from './host-commands.ts';
import { findUsableHost } from './issue.ts';
import type { CertificateRow } from './rows.ts';
import { pinRules } from './rules.ts';
import { refuseService } from './services.ts';
import { recordRefusal, write } from './write.ts';

/** How long a host goes on undoing past a grant's end (DESIGN.md section 3.7): GitHub's side of it needs the token. */
const UNDO_MS = 15 * 60_000;

/** What the token is for, as its record says. */
interface Purpose {
  readonly host: string;
  readonly grant?: string;
  readonly facts: Readonly<Record<string, string | string[]>>;
}

/** Throws CaError; every refusal of a known caller leaves a record. */
export async function giveGithubToken(
  running: Ca,
  caller: Caller,
  body: GitHubTokenRequest,
  ip: string,
): Promise<GitHubTokenAnswer> {
  const ca = pinRules(running);
  try {
    refuseService(ca, caller.service, 'github-token');
    ca.requireClock();
    const purpose =
      'grant' in body
        ? await purposeOfGrant(ca, caller, body.grant)
        : await purposeOfCommand(ca, caller, body, ip);
    const token = await ca.sessions.githubToken(caller.sessionId);
    if (token === undefined)
      throw new CaError('sign-in-needed', 'GitHub no longer knows your sign-in: run `beacon login` again');
    return { token, record: await recordGiven(ca, caller, purpose, ip) };
  } catch (error) {
    if (error instanceof CaError) await recordRefused(ca, caller, body, error, ip);
    throw error;
  }
}

async function purposeOfGrant(ca: Ca, caller: Caller, grant: string): Promise<Purpose> {
  const row = await readGrant(ca.store, grant);
  requireOwnGrant(ca, caller, grant, row);
  return { host: row.host, grant, facts: {} };
}

async function readGrant(store: Pick<Tx, 'selectFrom'>, grant: string): Promise<CertificateRow | undefined> {
  return store.selectFrom('certificates').selectAll().where('grant_id', '=', grant).executeTakeFirst();
}

/**
 * The grant is of a run, of this person, this service and this session, and neither revoked nor long over. Of another's
 * grant nothing is told, not even that there is one.
 */
function requireOwnGrant(
  ca: Ca,
  caller: Caller,
  grant: string,
  row: CertificateRow | undefined,
): asserts row is CertificateRow {
  const isOwn =
    row?.kind === 'user' &&
    row.person === caller.person &&
    row.service === caller.service &&
    row.session === caller.sessionId;
  if (!isOwn)
    throw new CaError(
      'grant-unknown',
      `your session has no grant ${grant} by this service: ask for one first`,
    );
  if ((JSON.parse(row.commands) as string[]).length === 0)
    throw new CaError('grant-refused', `the grant ${grant} is of no run: ask for one with commands`);
  if (row.revoked_at !== null)
    throw new CaError('grant-refused', `the grant ${grant} was revoked: nothing more is done for it`);
  if (ca.now().getTime() > row.valid_before + UNDO_MS)
    throw new CaError('grant-refused', `the grant ${grant} is over: ask for another`);
}

/** For what a person looks at before a run: policy must say that they may run the command there, perhaps. */
async function purposeOfCommand(
  ca: Ca,
  caller: Caller,
  { host: id, command }: { readonly host: string; readonly command: string },
  ip: string,
): Promise<Purpose> {
  refuseService(ca, caller.service, 'run-certificates');
  const host = await findUsableHost(ca, id);
  const asking = { caller, memberships: await ca.memberships(caller, ca.policy), ip };
  const { allowed, reason, missing, policies, login } = foreseeOnHost(ca, asking, host, command);
  if (allowed === 'no')
    throw new CaError(
      'policy-denied',
      `${command} on ${id} is denied, so GitHub is not asked. ${reason.text}`,
      {
        denial: {
          reason: { ...reason },
          missing: missing.map((each) => ({ ...each })),
          policies: [...policies],
          policy_version: ca.policy.version,
        },
      },
    );
  return {
    host: id,
    facts: { command, login, allowed, policies: [...policies], policy_version: ca.policy.version },
  };
}

async function recordGiven(ca: Ca, caller: Caller, { host, grant, facts }: Purpose, ip: string) {
  const { seq, hash } = await write(ca, caller, async (tx) => {
    // A revocation may have come in between.
    if (grant !== undefined) requireOwnGrant(ca, caller, grant, await readGrant(tx, grant));
    return ca.records.append(tx, {
      kind: 'github-token-given',
      person: caller.person,
      service: caller.service,
      host,
      ...(grant === undefined ? {} : { grant }),
      facts: {
        session: createHash('sha256').update(caller.sessionId).digest('base64url'),
        ...facts,
        source: await ca.records.hide(tx, ip, caller.person),
      },
    });
  });
  return { seq, hash };
}

function recordRefused(
  ca: Ca,
  caller: Caller,
  body: GitHubTokenRequest,
  error: CaError,
  ip: string,
): Promise<void> {
  const asked = 'grant' in body ? { asked_grant: body.grant } : { command: body.command };
  const denial = error.denial === undefined ? {} : { denial: JSON.stringify(error.denial) };
  return recordRefusal(ca, caller, error, {
    ...('grant' in body ? {} : { host: body.host }),
    facts: { asked: 'github-token', ...asked, ...denial },
    ip,
  });
}
