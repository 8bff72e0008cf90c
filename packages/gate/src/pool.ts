/**
 * Which account of a pool works for which value of a command's `exclusive` parameter (DESIGN.md section 5): one is bound
 * with the first command and stays bound, over restarts too, until the command that the allowlist names as `release` has
 * succeeded. So one runner's job never finds what another's set-up left in the same account.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Account, accountsOfPool } from './account.ts';
import { createOnce, isCode, makeFolder, removeDurably } from './durable-file.ts';
import { GateError } from './error.ts';
import { withLock } from './lock.ts';

export class Pools {
  readonly #folder: string;
  readonly #lock: string;
  readonly #passwd: string;

  constructor(folder: string, lock: string, passwd: string) {
    makeFolder(folder);
    this.#folder = folder;
    this.#lock = lock;
    this.#passwd = passwd;
  }

  /** The account that works for `value`; the first free one where there was none. Throws GateError `pool-empty`. */
  bind(pool: string, value: string): Account {
    return withLock(this.#lock, () => {
      const accounts = accountsOfPool(this.#passwd, pool);
      const bound = accounts.find((account) => this.#valueOf(account) === value);
      if (bound !== undefined) return bound;
      const free = accounts.find((account) => this.#valueOf(account) === undefined);
      if (free === undefined) {
        throw new GateError(
          'pool-empty',
          `all ${accounts.length} accounts of the pool ${pool} are in use: remove something, or make more accounts`,
        );
      }
      // An empty file is what a full disk or a kill has left of a binding.
      removeDurably(this.#place(free));
      createOnce(this.#place(free), value);
      return free;
    });
  }

  release(pool: string, value: string): void {
    withLock(this.#lock, () => {
      for (const account of accountsOfPool(this.#passwd, pool)) {
        if (this.#valueOf(account) === value) removeDurably(this.#place(account));
      }
    });
  }

  #valueOf(account: Account): string | undefined {
    try {
      return readFileSync(this.#place(account), 'utf8') || undefined;
    } catch (error) {
      if (isCode(error, 'ENOENT')) return undefined;
      throw new GateError('state-unavailable', 'the binding of an account cannot be read', { cause: error });
    }
  }

  #place({ name }: Account): string {
    return join(this.#folder, name);
  }
}
