/**
 * One lock for all that the gates of a host share, held for one small change and released by the kernel when its holder
 * dies. Node knows no flock(2), so the `flock` program takes the lock on a file that this process holds open: the lock
 * belongs to the open file and stays when the program has ended.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { GateError } from './error.ts';

const FLOCK = '/usr/bin/flock';
const PATIENCE_SECONDS = 10;

/** The locks that this process holds at the moment. */
const own = new Set<string>();

/**
 * Does `work` while nobody else does any; inside of another's work under the same lock it is done at once. Throws GateError
 * `state-unavailable` where the lock is not to be had.
 */
export function withLock<Result>(path: string, work: () => Result): Result {
  if (own.has(path)) return work();
  let file: number;
  try {
    file = openSync(path, 'a', 0o600);
  } catch (error) {
    throw new GateError('state-unavailable', `${path} cannot be opened: look at the disk`, { cause: error });
  }
  try {
    const { status, error } = spawnSync(FLOCK, ['-x', '-w', String(PATIENCE_SECONDS), '3'], {
      stdio: ['ignore', 'ignore', 'ignore', file],
      env: {},
    });
    if (status !== 0) {
      throw new GateError('state-unavailable', `${path} stays locked: look for a gate that hangs`, {
        cause: error,
      });
    }
    own.add(path);
    return work();
  } finally {
    own.delete(path);
    closeSync(file);
  }
}
