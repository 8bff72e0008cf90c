/**
 * What the packages below and the machine's files throw, in the words and kinds of this package, for the command line to
 * print: the file first, what to do last.
 */
import { GitHubError } from '@beacon/github';
import { PolicyError } from '@beacon/policy';
import { ServerError, storageFailure } from '@beacon/server';
import { CaError, type CaErrorCode } from './error.ts';

/** What the packages below throw, in the words and kinds of this one. */
export function readableFailure(error: unknown): unknown {
  if (error instanceof PolicyError) return new CaError('policy', error.message, { cause: error });
  if (error instanceof GitHubError)
    return new CaError(GITHUB_CODES[error.code] ?? 'github-unavailable', error.message, { cause: error });
  const known = error instanceof ServerError ? error : storageFailure(error);
  if (known !== undefined)
    return new CaError(SERVER_CODES[known.code] ?? 'configuration', known.message, { cause: error });
  return isFileFailure(error) ? fileFailure(error) : error;
}

const GITHUB_CODES: Readonly<Record<string, CaErrorCode>> = {
  'not-found': 'person-unknown',
  configuration: 'configuration',
};

const SERVER_CODES: Readonly<Record<string, CaErrorCode>> = {
  storage: 'store',
  'store-in-use': 'store',
  'store-newer': 'store-newer',
  listen: 'listen',
  'not-ready': 'not-ready',
};

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'this program may not read or write there: run it as whoever may, or name another place',
  EPERM: 'this program may not do that there: run it as whoever may, or name another place',
  EEXIST: 'something is there already: name another place',
  ENOENT: 'there is no such file or folder: make it first, or name another place',
  ENOTDIR: 'this is not a folder, or something above it is not: name another place',
  EISDIR: 'this is a folder, and a file was expected: name a file',
  ENOSPC: 'the disk is full: make space, then try again',
  EROFS: 'the file system is read-only: name another place',
};

/** A failure of the machine's files, by name. */
function fileFailure(error: FileFailure): CaError {
  const named = [error.path, error.dest].find((path) => typeof path === 'string');
  // A draft of `init` is nothing that the person named.
  const place = String(named ?? 'a file').replace(/\.new-[A-Za-z0-9]{6}(\/.*)?$/, '');
  return new CaError('file', `${place}: ${REASONS[error.code] ?? `it failed (${error.code})`}`, {
    cause: error,
  });
}

interface FileFailure {
  readonly code: string;
  readonly path?: unknown;
  readonly dest?: unknown;
}

function isFileFailure(error: unknown): error is FileFailure {
  return (
    typeof error === 'object' &&
    error !== null &&
    'syscall' in error &&
    'code' in error &&
    typeof error.code === 'string'
  );
}
