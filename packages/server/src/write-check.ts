/**
 * Whether the store can be written, for `/readyz`, which everybody may ask: what the latest write has shown counts for two
 * seconds; after that one small write is tried. However often it is asked, that is one write in two seconds.
 */
import type { Transaction } from './database.ts';
import { ServerError } from './error.ts';
import type { GroupCommit } from './group-commit.ts';

const FRESH_MS = 2_000;

/** A readiness check that rejects while the store takes no writes. `probe` changes something that nobody misses. */
export function createWriteCheck<Tables>(
  commit: Pick<GroupCommit<Tables>, 'write' | 'latest'>,
  probe: (transaction: Transaction<Tables>) => Promise<unknown>,
  nowMs: () => number = () => performance.now(),
): () => Promise<void> {
  let trying: Promise<unknown> | undefined;
  return async () => {
    const { latest } = commit;
    if (latest === undefined || nowMs() - latest.atMs >= FRESH_MS) {
      trying ??= commit.write(probe).finally(() => {
        trying = undefined;
      });
      await trying;
    } else if (latest.failed) {
      throw new ServerError('storage', 'the latest write failed: the next one is tried in two seconds');
    }
  };
}
