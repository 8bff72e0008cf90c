/**
 * How a broker that stops in order leaves its runs: it takes no new ones, those in work may end by themselves for a while,
 * and those that have not are written down as interrupted, so that their hosts take back and everybody sees why.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BrokerError } from './error.ts';
import type { RunWorker } from './run-worker.ts';

export interface StoppingOptions {
  readonly workers: ReadonlyMap<string, Pick<RunWorker, 'interrupt'>>;
  /** Written down, or about to be, and not in work yet. */
  readonly beginning: ReadonlySet<string>;
  readonly now: () => Date;
}

const LOOK_EVERY_MS = 50;
/** What a process that follows may take to answer. */
const RESTART_MS = 5_000;

export class RunStopping {
  readonly #options: StoppingOptions;
  #until: number | undefined;

  constructor(options: StoppingOptions) {
    this.#options = options;
  }

  get isStopping(): boolean {
    return this.#until !== undefined;
  }

  /** Throws BrokerError `stopping` where nothing new may begin. */
  requireGoingOn(): void {
    if (this.#until === undefined) return;
    const left = Math.max(0, this.#until - this.#options.now().getTime());
    throw new BrokerError(
      'stopping',
      'the broker is stopping and takes no new runs: try again when it is there again',
      { retryAfterMs: left + RESTART_MS },
    );
  }

  /** Waits for those in work until `graceMs` are over or `atOnce` is aborted; answers how many were interrupted. */
  async drain(graceMs: number, atOnce: AbortSignal): Promise<number> {
    const { workers, beginning, now } = this.#options;
    this.#until = now().getTime() + graceMs;
    const enough = AbortSignal.any([atOnce, AbortSignal.timeout(graceMs)]);
    while (workers.size + beginning.size > 0 && !enough.aborted)
      await sleep(LOOK_EVERY_MS, undefined, { signal: enough }).catch(() => undefined);
    this.#until = now().getTime();
    const late = [...workers.values()];
    await Promise.all(late.map((one) => one.interrupt()));
    return late.length;
  }
}
