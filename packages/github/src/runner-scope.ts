/** Where runners are registered: one repository, or a whole organisation. Enterprises take no token of an app. */
import { GitHubError } from './error.ts';

export type RunnerScope =
  | { readonly kind: 'repository'; readonly owner: string; readonly repository: string }
  | { readonly kind: 'organization'; readonly organization: string };

const SCOPE = /^([A-Za-z0-9][A-Za-z0-9-]{0,38})(?:\/([A-Za-z0-9._-]{1,100}))?$/;

/** Reads `OWNER/REPOSITORY` or `ORGANISATION`, as hosts do. Throws GitHubError `configuration`. */
export function parseScope(text: string): RunnerScope {
  const [, owner, repository] = SCOPE.exec(text) ?? [];
  if (owner === undefined || repository === '.' || repository === '..') {
    throw new GitHubError(
      'configuration',
      `${JSON.stringify(text.slice(0, 150))} is neither OWNER/REPOSITORY nor an organisation's name. Write it as it stands in the address at GitHub.`,
    );
  }
  return repository === undefined
    ? { kind: 'organization', organization: owner }
    : { kind: 'repository', owner, repository };
}

/** The text that `parseScope` reads. */
export function formatScope(scope: RunnerScope): string {
  return scope.kind === 'repository' ? `${scope.owner}/${scope.repository}` : scope.organization;
}

/** The path of its runners in the REST API, with what stands in the braces. */
export function runnersOf(scope: RunnerScope): {
  path: '/repos/{owner}/{repo}/actions/runners' | '/orgs/{org}/actions/runners';
  names: Record<string, string>;
} {
  return scope.kind === 'repository'
    ? {
        path: '/repos/{owner}/{repo}/actions/runners',
        names: { owner: scope.owner, repo: scope.repository },
      }
    : { path: '/orgs/{org}/actions/runners', names: { org: scope.organization } };
}
