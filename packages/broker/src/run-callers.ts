/**
 * Whom the runs in work act for: the newest credentials of each login, known for as long as one of its runs is in work, and
 * how many runs each person has. In memory alone.
 */
import type { Caller } from './run-order.ts';

/** One run's hold on its caller. */
export interface HeldCaller {
  /** The newest credentials of the login; undefined once it was let go of. */
  current(): Caller | undefined;
  letGo(): void;
}

export class RunCallers {
  readonly #logins = new Map<string, { caller: Caller; runs: number }>();
  readonly #runsOf = new Map<string, number>();
  #runs = 0;

  /** Of all persons. */
  get runs(): number {
    return this.#runs;
  }

  hold(caller: Caller): HeldCaller {
    this.#runs += 1;
    const key = keyOf(caller);
    const { person } = caller;
    this.#logins.set(key, { caller, runs: (this.#logins.get(key)?.runs ?? 0) + 1 });
    this.#runsOf.set(person, this.runsOf(person) + 1);
    let isHeld = true;
    return {
      current: () => (isHeld ? this.#logins.get(key)?.caller : undefined),
      letGo: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#runs -= 1;
        const login = this.#logins.get(key);
        if (login !== undefined && login.runs > 1) this.#logins.set(key, { ...login, runs: login.runs - 1 });
        else this.#logins.delete(key);
        const left = this.runsOf(person) - 1;
        if (left > 0) this.#runsOf.set(person, left);
        else this.#runsOf.delete(person);
      },
    };
  }

  runsOf(person: string): number {
    return this.#runsOf.get(person) ?? 0;
  }

  refresh(caller: Caller): void {
    const login = this.#logins.get(keyOf(caller));
    if (login !== undefined) this.#logins.set(keyOf(caller), { ...login, caller });
  }
}

function keyOf({ person, sessionKey }: Caller): string {
  return `${person} ${sessionKey}`;
}
