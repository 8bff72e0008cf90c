/**
 * What this package, the store and the machine's files throw, as the programs of all servers tell it to a person: the
 * file first, what to do last, under a code that each program's error class has.
 */
import { storageFailure } from './database.ts';
import { ServerError, type ServerErrorCode } from './error.ts';

export interface ReadableFailure {
  readonly code: 'configuration' | 'file' | 'init-refused' | 'listen' | 'not-ready' | 'store' | 'store-newer';
  readonly message: string;
}

/** Undefined for what is none of these. */
export function readableFailure(error: unknown): ReadableFailure | undefined {
  const known = error instanceof ServerError ? error : storageFailure(error);
  if (known !== undefined) return { code: CODES[known.code] ?? 'configuration', message: known.message };
  return isFileFailure(error) ? { code: 'file', message: describeFileFailure(error) } : undefined;
}

const CODES: Partial<Record<ServerErrorCode, ReadableFailure['code']>> = {
  storage: 'store',
  'store-in-use': 'store',
  'store-newer': 'store-newer',
  listen: 'listen',
  'not-ready': 'not-ready',
  'init-refused': 'init-refused',
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

function describeFileFailure(error: FileFailure): string {
  const named = [error.path, error.dest].find((path) => typeof path === 'string');
  // A draft of `init` is nothing that the person named.
  const place = String(named ?? 'a file').replace(/\.new-[A-Za-z0-9]{6}(\/.*)?$/, '');
  return `${place}: ${REASONS[error.code] ?? `it failed (${error.code})`}`;
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
