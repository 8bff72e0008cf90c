/** Small files that are on the disk, whole, when the function returns. Failures are GateError `state-unavailable`. */
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { GateError } from './error.ts';

/** Makes a file that was not there; false, and nothing changed, where it was. */
export function createOnce(path: string, text: string): boolean {
  return asState(path, () => {
    try {
      writeFresh(path, text);
    } catch (error) {
      if (isCode(error, 'EEXIST')) return false;
      throw error;
    }
    syncFolder(dirname(path));
    return true;
  });
}

/** Puts a file in the place of another, which is never seen half. The caller holds the lock. */
export function replaceFile(path: string, text: string): void {
  asState(path, () => {
    const fresh = `${path}.new`;
    rmSync(fresh, { force: true });
    // Its content before it has the name; that it was there under the other need not outlast anything.
    writeFresh(fresh, text);
    renameSync(fresh, path);
    syncFolder(dirname(path));
  });
}

/** Gives a file another name in its folder. */
export function renameDurably(path: string, to: string): void {
  asState(path, () => {
    renameSync(path, to);
    syncFolder(dirname(path));
  });
}

export function removeDurably(path: string): void {
  asState(path, () => {
    rmSync(path, { force: true });
    syncFolder(dirname(path));
  });
}

/** The folder, with those above it, for its owner alone. */
export function makeFolder(path: string): void {
  asState(path, () => mkdirSync(path, { recursive: true, mode: 0o700 }));
}

export function isCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}

/** Its content is on the disk, which its name is not yet; a file without content has only its name. */
function writeFresh(path: string, text: string): void {
  const file = openSync(path, 'wx', 0o600);
  try {
    if (text === '') return;
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function asState<Result>(path: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (error instanceof GateError) throw error;
    throw new GateError('state-unavailable', `${path} cannot be written: look at the disk`, { cause: error });
  }
}
