/**
 * The runners of one scope, asked for with patience: while GitHub gives no answer it is asked again, a runner is deleted
 * when its job has ended, and what is gone is so because GitHub says it of the runner itself. Decides about no run.
 */
import type { GitHubRunner, RegistrationToken, RunnerScope, Runners } from '@beacon/github';
import { OUR_LABEL } from './built-in-procedures.ts';
import { BrokerError } from './error.ts';
import { asGitHubFailure, isPassing } from './github-failure.ts';

export interface Patience {
  /** That GitHub answers at all before a step. */
  readonly answerMs: number;
  /** That a runner that was started is shown online. */
  readonly onlineMs: number;
  /** That a runner which is taken back can be deleted. */
  readonly removeMs: number;
  /** Between two looks whether something is really gone. */
  readonly confirmMs: number;
}

export const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 8_000;

/** How long to wait the next time. */
export function longerPause(ms: number): number {
  return Math.min(ms * 1.5, LONGEST_PAUSE_MS);
}

export interface Clock {
  readonly nowMs: () => number;
  readonly sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

export interface Surroundings {
  readonly runners: Runners;
  readonly token: string;
  readonly clock: Clock;
  readonly patience: Patience;
  readonly signal: AbortSignal | undefined;
  readonly note: (text: string) => void;
}

export class RunnerPlace {
  readonly #scope: RunnerScope;
  readonly #around: Surroundings;

  constructor(scope: RunnerScope, around: Surroundings) {
    this.#scope = scope;
    this.#around = around;
  }

  registrationToken(): Promise<RegistrationToken> {
    const { runners, token, patience } = this.#around;
    return this.#ask(() => runners.registrationToken(token, this.#scope), patience.answerMs);
  }

  /** Until it is gone, and GitHub says so when asked for it alone. */
  async removeUntil(
    there: GitHubRunner,
    patienceMs: number,
    tooLong: () => never,
    onBusy: (leftMs: number) => void = () => undefined,
  ): Promise<void> {
    const { runners, token, clock, signal, patience } = this.#around;
    const deadline = clock.nowMs() + patienceMs;
    for (let pause = FIRST_PAUSE_MS; ; pause = longerPause(pause)) {
      // A reply that was lost is asked for again: what is gone is gone.
      const said = await this.#ask(() => runners.remove(token, this.#scope, there.id), patience.answerMs);
      if (said !== 'busy') break;
      const left = deadline - clock.nowMs();
      if (left <= 0) tooLong();
      onBusy(left);
      await clock.sleep(Math.min(pause, left), signal);
    }
    const after = clock.nowMs() + patience.answerMs;
    while (
      (await this.#ask(() => runners.get(token, this.#scope, there.id), patience.answerMs)) !== undefined
    ) {
      if (clock.nowMs() > after)
        throw new BrokerError(
          'github-unavailable',
          `GitHub has said that ${describeRunner(there)} is deleted, and lists it still: try again in a minute`,
        );
      await clock.sleep(FIRST_PAUSE_MS, signal);
    }
  }

  find(name: string): Promise<GitHubRunner | undefined> {
    const { runners, token, patience } = this.#around;
    return this.#ask(() => runners.findByName(token, this.#scope, name), patience.answerMs);
  }

  /** That nothing is there is believed the second time. */
  async findTwice(name: string): Promise<GitHubRunner | undefined> {
    const { clock, patience, signal } = this.#around;
    const first = await this.find(name);
    if (first !== undefined) return first;
    await clock.sleep(patience.confirmMs, signal);
    return this.find(name);
  }

  /** As it stands now; `seen` is what was found before. Asked once. */
  look(seen: GitHubRunner | undefined, name: string): Promise<GitHubRunner | undefined> {
    const { runners, token } = this.#around;
    return this.#ask(
      () =>
        seen === undefined
          ? runners.findByName(token, this.#scope, name)
          : runners.get(token, this.#scope, seen.id),
      0,
    );
  }

  /** Asks again while GitHub gives no answer and there is time. */
  async #ask<T>(work: () => Promise<T>, patienceMs: number): Promise<T> {
    const { clock, signal } = this.#around;
    const deadline = clock.nowMs() + patienceMs;
    for (let pause = FIRST_PAUSE_MS; ; pause *= 2) {
      signal?.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        const failure = asGitHubFailure(error);
        const wait = failure instanceof BrokerError ? (failure.retryAfterMs ?? pause) : pause;
        if (!isPassing(failure) || clock.nowMs() + wait > deadline) throw failure;
        await clock.sleep(wait, signal);
      }
    }
  }
}

export function isOurs({ labels }: GitHubRunner): boolean {
  return labels.some((label) => label.toLowerCase() === OUR_LABEL);
}

/** As people are shown it. */
export function describeRunner({ name, id, status }: GitHubRunner): string {
  return `${name} (id ${id}, ${status})`;
}
