/**
 * What the packages below and the machine's files throw, in the words and kinds of this package, for the command line to
 * print: the file first, what to do last.
 */
import { ServerError, storageFailure } from '@beacon/server';
import { BrokerError, type BrokerErrorCode } from './error.ts';

/** What the packages below throw, in the words and kinds of this one. */
export function readableFailure(error: unknown): unknown {
  const known = error instanceof ServerError ? error : storageFailure(error);
  if (known !== undefined)
    return new BrokerError(SERVER_CODES[known.code] ?? 'configuration', known.message, { cause: error });
  return isFileFailure(error) ? fileFailure(error) : error;
}

const SERVER_CODES: Readonly<Record<string, BrokerErrorCode>> = {
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

interface FileFailure {
  readonly code: string;
  readonly path?: unknown;
  readonly dest?: unknown;
}

function fileFailure(error: FileFailure): BrokerError {
  const named = [error.path, error.dest].find((path) => typeof path === 'string');
  // A draft of `init` is nothing that the person named.
  const place = String(named ?? 'a file').replace(/\.new-[A-Za-z0-9]{6}(\/.*)?$/, '');
  return new BrokerError('file', `${place}: ${REASONS[error.code] ?? `it failed (${error.code})`}`, {
    cause: error,
  });
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
