/**
 * One lock for all that the gates of a host share, held for one small change and released by the kernel when its holder
 * dies. Node knows no flock(2) and no fcntl(2), but its SQLite takes its locks by the latter: a transaction that is begun
 * on an empty file, and writes nothing, is such a lock. Starting the `flock` program instead cost a process each time.
 */
import { closeSync, openSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { GateError } from './error.ts';

const PATIENCE_MS = 10_000;

/** The locks that this process holds at the moment. */
const own = new Set<string>();

/**
 * Does `work` while nobody else does any; inside of another's work under the same lock it is done at once. Throws GateError
 * `state-unavailable` where the lock is not to be had.
 */
export function withLock<Result>(path: string, work: () => Result): Result {
  if (own.has(path)) return work();
  const held = take(path);
  own.add(path);
  try {
    return work();
  } finally {
    own.delete(path);
    held.close();
  }
}

/** The lock is given back when the result is closed. */
function take(path: string): DatabaseSync {
  let file: DatabaseSync | undefined;
  try {
    // SQLite would make it for others to read. Whoever closes the file gives up its locks, so this comes before.
    closeSync(openSync(path, 'a', 0o600));
    // Loaded by who needs a lock alone: what only reads the allowlist does not.
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
    file = new DatabaseSync(path, { timeout: PATIENCE_MS });
    // Without a journal in a file nothing is written; the lock is on the file itself.
    file.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return file;
  } catch (error) {
    file?.close();
    throw new GateError(
      'state-unavailable',
      `${path} cannot be locked: look at the disk, or for a gate that hangs`,
      {
        cause: error,
      },
    );
  }
}
