/**
 * Where a person may add runners, as far as GitHub tells an app's user token (REST documentation, "Apps: installations"):
 * the installations that the person sees, the repositories in each with the person's rights, and, for an organisation,
 * whether it answers the question about its runners. Where the app is not installed nothing is seen, nor listed.
 */
import { type Fields, malformed, readFields, readId, readList, readLogin } from './answer.ts';
import type { Conversation } from './connection.ts';
import { GitHubError } from './error.ts';
import { readTruth } from './runner-answer.ts';
import { explain } from './runner-fault.ts';
import { parseScope, type RunnerScope } from './runner-scope.ts';

export interface RunnerPlace {
  /** `OWNER/REPOSITORY` or `ORGANISATION`. */
  readonly scope: string;
  readonly kind: RunnerScope['kind'];
  readonly mayAdd: boolean;
  /** Where not: what is missing, and whom to ask. */
  readonly reason?: string;
  /** Anybody can see it and propose changes, which a runner there would run. */
  readonly isPublic: boolean;
}

interface Installation {
  readonly id: string;
  readonly owner: string;
  readonly isOrganization: boolean;
  readonly isSuspended: boolean;
  readonly permissions: Fields;
}

const WHAT = 'add runners';

export async function askPlaces(conversation: Conversation, host: string): Promise<readonly RunnerPlace[]> {
  const pages = await conversation.askAll('GET /user/installations');
  const installations = pages.flatMap(({ data }) =>
    readList(data, 'the installations').flatMap((row) => readInstallation(row) ?? []),
  );
  const found = await Promise.all(
    installations.map(async (installation) => [
      ...(installation.isOrganization ? [await askOrganization(conversation, host, installation)] : []),
      ...(await askRepositories(conversation, host, installation)),
    ]),
  );
  return found.flat().sort((a, b) => (a.scope < b.scope ? -1 : 1));
}

/** A custom role may manage runners without being an owner, and no list tells who has it: only the question itself does. */
async function askOrganization(
  conversation: Conversation,
  host: string,
  installation: Installation,
): Promise<RunnerPlace> {
  const scope: RunnerScope = { kind: 'organization', organization: installation.owner };
  const place = { scope: installation.owner, kind: scope.kind, isPublic: false };
  const missing = whatAppLacks(installation, scope, host);
  if (missing !== undefined) return { ...place, mayAdd: false, reason: missing };
  try {
    await conversation.ask('GET /orgs/{org}/actions/runners', { org: installation.owner, per_page: 1 });
    return { ...place, mayAdd: true };
  } catch (error) {
    return { ...place, mayAdd: false, reason: reasonOf(error, scope, host) };
  }
}

async function askRepositories(
  conversation: Conversation,
  host: string,
  installation: Installation,
): Promise<readonly RunnerPlace[]> {
  if (installation.isSuspended) return [];
  try {
    const route = 'GET /user/installations/{id}/repositories';
    const pages = await conversation.askAll(route, { id: installation.id });
    return pages.flatMap(({ data }) =>
      readList(data, 'the repositories').map((row) => readRepository(row, installation, host)),
    );
  } catch (error) {
    // Single sign-on hides what is there, and the organisation's own row says so.
    if (error instanceof GitHubError && (error.code === 'refused' || error.answeredStatus === 404)) return [];
    throw error;
  }
}

function readRepository(row: unknown, installation: Installation, host: string): RunnerPlace {
  const fields = readFields(row, 'a repository');
  const name = fields['full_name'];
  if (typeof name !== 'string' || name.length > 200) throw malformed("a repository's name", 'a text');
  const isPublic = !readTruth(fields['private'], 'whether a repository is private');
  const rights = readFields(fields['permissions'], 'the rights in a repository');
  const place = { scope: name, kind: 'repository' as const, isPublic };
  const refuse = (reason: string): RunnerPlace => ({ ...place, mayAdd: false, reason });
  let scope: RunnerScope;
  try {
    scope = parseScope(name);
  } catch {
    return refuse('Hosts take no repository of such a name. Move it, or rename its owner.');
  }
  const missing = whatAppLacks(installation, scope, host);
  if (!readTruth(rights['admin'], 'the right to administer')) return refuse(inWords(scope, host, 'role'));
  return missing === undefined ? { ...place, mayAdd: true } : refuse(missing);
}

function whatAppLacks(installation: Installation, scope: RunnerScope, host: string): string | undefined {
  if (installation.isSuspended) {
    return `Beacon's app is suspended at ${installation.owner}. Ask an owner of ${installation.owner} to unsuspend it.`;
  }
  const needed = scope.kind === 'repository' ? 'administration' : 'organization_self_hosted_runners';
  return installation.permissions[needed] === 'write' ? undefined : inWords(scope, host, 'permission');
}

/** The words of the refusal that GitHub would answer. */
function inWords(scope: RunnerScope, host: string, lacking: 'permission' | 'role'): string {
  return reasonOf(new GitHubError('refused', '', { lacking }), scope, host);
}

/** Throws what is no refusal: a place that could not be asked about is not one without runners. */
function reasonOf(error: unknown, scope: RunnerScope, host: string): string {
  const explained = explain(error, { scope, host, what: WHAT, changes: false });
  if (!(explained instanceof GitHubError)) throw explained;
  if (explained.code !== 'refused' && explained.code !== 'not-found') throw explained;
  return explained.message;
}

/** Undefined for an enterprise's: its runners take no token of an app. */
function readInstallation(row: unknown): Installation | undefined {
  const fields = readFields(row, 'an installation');
  const isOrganization = fields['target_type'] === 'Organization';
  if (!isOrganization && fields['target_type'] !== 'User') return undefined;
  return {
    id: readId(fields['id'], "an installation's id"),
    owner: readLogin(
      readFields(fields['account'], "an installation's owner")['login'],
      "an installation's owner",
    ),
    isOrganization,
    isSuspended: (fields['suspended_at'] ?? null) !== null,
    permissions: readFields(fields['permissions'], "an installation's permissions"),
  };
}
