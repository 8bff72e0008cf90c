/** What GitHub refused or did not answer, as the broker's own error; GitHub's side has put it in words for the person. */
import { GitHubError, type GitHubErrorCode } from '@beacon/github';
import { BrokerError, type BrokerErrorCode } from './error.ts';

const codes: Readonly<Record<GitHubErrorCode, BrokerErrorCode>> = {
  unavailable: 'github-unavailable',
  'rate-limited': 'github-limited',
  unauthorized: 'github-unauthenticated',
  refused: 'github-denied',
  'foreign-token': 'github-unauthenticated',
  'app-refused': 'github-unavailable',
  'not-found': 'github-not-found',
  conflict: 'github-conflict',
  rejected: 'github-refused',
  malformed: 'github-unavailable',
  configuration: 'github-refused',
};

/** A GitHubError as BrokerError `github-…`; anything else as it is. */
export function asGitHubFailure(error: unknown): unknown {
  if (!(error instanceof GitHubError)) return error;
  const { retryAfterMs } = error;
  return new BrokerError(codes[error.code], error.message, {
    cause: error,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** Asking again later may help. */
export function isPassing(error: unknown): boolean {
  return (
    error instanceof BrokerError && (error.code === 'github-unavailable' || error.code === 'github-limited')
  );
}
