/**
 * What the packages below and the machine's files throw, in the words and kinds of this package, for the command line to
 * print: the file first, what to do last.
 */
import { GitHubError } from '@beacon/github';
import { PolicyError } from '@beacon/policy';
import { readableFailure as readServerFailure } from '@beacon/server';
import { CaError, type CaErrorCode } from './error.ts';

/** What the packages below throw, in the words and kinds of this one. */
export function readableFailure(error: unknown): unknown {
  if (error instanceof PolicyError) return new CaError('policy', error.message, { cause: error });
  if (error instanceof GitHubError)
    return new CaError(GITHUB_CODES[error.code] ?? 'github-unavailable', error.message, { cause: error });
  const known = readServerFailure(error);
  return known === undefined ? error : new CaError(known.code, known.message, { cause: error });
}

const GITHUB_CODES: Readonly<Record<string, CaErrorCode>> = {
  'not-found': 'person-unknown',
  configuration: 'configuration',
};
