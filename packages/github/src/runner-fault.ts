/**
 * What a refusal of GitHub's means where runners are concerned, in words for the person who asked: which permission or
 * role is missing and whom to ask. GitHub answers 404 both for what is not there and for what a token may not see.
 */
import { GitHubError, type GitHubErrorFacts } from './error.ts';
import { formatScope, type RunnerScope } from './runner-scope.ts';

/** What was being done, as it stands in a sentence: `list the runners`. */
export interface Doing {
  readonly scope: RunnerScope;
  readonly host: string;
  readonly what: string;
  /** It changes something at GitHub. */
  readonly changes: boolean;
}

/** The error in the words of its scope; what has nothing to do with the scope as it is. */
export function explain(error: unknown, doing: Doing): unknown {
  if (!(error instanceof GitHubError)) return error;
  const { scope, host, what } = doing;
  const place = formatScope(scope);
  const facts = factsOf(error);
  const status = error.answeredStatus;
  if (error.code === 'refused') {
    return error.sso ? error : new GitHubError('refused', refusal(error, doing), facts);
  }
  if (status === 404) {
    return new GitHubError(
      'not-found',
      `${host} shows you no ${kindOf(scope)} ${place} whose runners you administer, so it did not ${what}. Check the spelling, that you have the role Admin there, and that Beacon's app is installed there.`,
      facts,
    );
  }
  if (status === 409) {
    return new GitHubError(
      'conflict',
      `${host} did not ${what}: it does not go with what is there already at ${place} (409). Look at the runners there, and try again.`,
      facts,
    );
  }
  if (status === 422) {
    return new GitHubError(
      'rejected',
      `${host} did not ${what} at ${place} (422). Try again later; if it lasts, do it at GitHub: ${place}, Settings, Actions, Runners.`,
      facts,
    );
  }
  const unheard = error.code === 'unavailable' && status === undefined && error.retryAfterMs === undefined;
  if (unheard && doing.changes) {
    return new GitHubError(
      'unavailable',
      `${error.message} Whether it could ${what} is not known: look at the runners of ${place}.`,
      { ...facts, mayHaveHappened: true },
    );
  }
  return error;
}

function refusal(error: GitHubError, { scope, host, what }: Doing): string {
  const place = formatScope(scope);
  const owner = scope.kind === 'repository' ? scope.owner : scope.organization;
  const permission = describePermission(error.permissions, scope);
  if (error.lacking === 'role') {
    return scope.kind === 'repository'
      ? `You do not administer ${place} at ${host}, so it did not ${what}. Ask an administrator of ${place} for the role Admin there.`
      : `You do not manage the runners of ${place} at ${host}, so it did not ${what}. Ask an owner of ${place} to do it, or for a role with "Manage organization runners and runner groups".`;
  }
  if (error.lacking === 'permission') {
    return `Beacon's app may not ${what} at ${place}: it lacks the permission ${permission}. Ask an owner of ${owner} to install the app there, or to accept that permission.`;
  }
  return `${host} does not let you ${what} at ${place}. It takes the role Admin there and, for Beacon's app, the permission ${permission}. Ask an owner of ${owner}.`;
}

const NAMES: Readonly<Record<string, string>> = {
  administration: 'Administration (of repositories)',
  organization_self_hosted_runners: 'Self-hosted runners (of organisations)',
};

function describePermission(given: string | undefined, scope: RunnerScope): string {
  const permission =
    given ??
    (scope.kind === 'repository' ? 'administration=write' : 'organization_self_hosted_runners=write');
  const name = NAMES[permission.split('=')[0] ?? ''];
  return name === undefined ? permission : `${permission}, which GitHub calls ${name}`;
}

function kindOf(scope: RunnerScope): string {
  return scope.kind === 'repository' ? 'repository' : 'organisation';
}

function factsOf(error: GitHubError): GitHubErrorFacts {
  return {
    ...(error.answeredStatus === undefined ? {} : { answeredStatus: error.answeredStatus }),
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    ...(error.requestId === undefined ? {} : { requestId: error.requestId }),
    ...(error.permissions === undefined ? {} : { permissions: error.permissions }),
    ...(error.lacking === undefined ? {} : { lacking: error.lacking }),
  };
}
