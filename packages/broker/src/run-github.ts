/**
 * GitHub's side of a run (DESIGN.md section 3.8): a registration token at the last moment, a runner taken away before it
 * is stopped, the look whether it came online, and its removal where the run is taken back. A runner's name was written
 * down with the run before any of it, so that one whose making nobody heard of is found by name. GitHub's refusal to
 * delete a busy runner is the one test that no job slips past. What has not our label is never touched, and what a
 * run itself has registered it knows by a mark.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type GitHubRunner, parseScope, type Runners } from '@beacon/github';
import { DEFAULT_WAIT_SECONDS, OUR_LABEL } from './built-in-procedures.ts';
import { BrokerError } from './error.ts';
import { asGitHubFailure, isPassing } from './github-failure.ts';
import { REGISTRATION_SECRET, WAIT_PARAMETER } from './procedure.ts';
import type { PreparedStep, RunGitHub, StoredRun } from './run-order.ts';
import { markOf } from './runner-mark.ts';
import {
  type Clock,
  describeRunner,
  FIRST_PAUSE_MS,
  isOurs,
  longerPause,
  type Patience,
  RunnerPlace,
  type Surroundings,
} from './runner-place.ts';

export interface RunGitHubSettings {
  readonly runners: Runners;
  /** Where a runner of that name on that host was registered, as far as runs tell. */
  readonly scopeOf?: (host: string, runner: string) => Promise<string | undefined>;
  /** How long GitHub is waited for; the gate's own patience is a minute, so those before a step stay below it. */
  readonly patience?: Partial<Patience>;
  readonly now: () => Date;
  /** Rejects when the signal is aborted. */
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

/** How often a run says that it still waits. */
const SAY_AGAIN_MS = 10_000;
const PATIENCE: Patience = { answerMs: 10_000, onlineMs: 40_000, removeMs: 45_000, confirmMs: 2_000 };
export function createRunGitHub(settings: RunGitHubSettings): RunGitHub {
  const patience = { ...PATIENCE, ...settings.patience };
  const clock: Clock = {
    nowMs: () => settings.now().getTime(),
    sleep:
      settings.sleep ?? (async (ms, signal) => void (await delay(ms, undefined, signal ? { signal } : {}))),
  };
  const { runners, scopeOf } = settings;
  const at = (run: StoredRun, token: string, note: (text: string) => void, signal?: AbortSignal) =>
    new RunAtGitHub(run, { runners, token, clock, patience, signal, note });

  return {
    async prepare(run, what, token, note, signal) {
      const place = at(run, token, note, signal);
      switch (what) {
        case 'register':
          return place.register();
        case 'drain': {
          const name = run.steps[run.state.step]?.params['name'] ?? '';
          await refuseOtherScope(run, name, scopeOf);
          await place.drain(name, waitOf(run));
          return { secrets: {} };
        }
        case 'online':
          return place.awaitOnline();
      }
    },
    remove: (run, token, note, signal) => at(run, token, note, signal).removeIntended(),
  };
}

/** One run's side of GitHub. */
class RunAtGitHub {
  readonly #run: StoredRun;
  readonly #place: RunnerPlace;
  readonly #where: string;
  readonly #intended: string;
  readonly #around: Surroundings;

  constructor(run: StoredRun, around: Surroundings) {
    if (run.github === undefined)
      throw new BrokerError('internal', 'a run without a place at GitHub asks for something there');
    this.#run = run;
    this.#around = around;
    this.#where = run.github.scope;
    this.#intended = run.github.runner;
    try {
      this.#place = new RunnerPlace(parseScope(run.github.scope), around);
    } catch (error) {
      throw asGitHubFailure(error);
    }
  }

  async register(): Promise<PreparedStep> {
    const name = this.#intended;
    const there = await this.#place.find(name);
    if (there !== undefined) await this.#removeOwnLeftover(there);
    const made = await this.#place.registrationToken();
    this.#around.note(
      `GitHub gave a registration token for ${this.#where}, until ${made.expiresAt.toISOString()}`,
    );
    return { secrets: { [REGISTRATION_SECRET]: made.token } };
  }

  /** The name is taken: only by what an attempt of this very run has left may it be freed. */
  async #removeOwnLeftover(there: GitHubRunner): Promise<void> {
    const isRepeated = this.#run.state.attempt > 1 || this.#run.retryOf !== undefined;
    if (!isRepeated || !this.#isOwn(there) || there.status === 'online' || there.busy) {
      throw new BrokerError(
        'github-conflict',
        `${this.#where} has a runner ${describeRunner(there)} already: give another name, or retire that one first`,
      );
    }
    this.#around.note(`an attempt before has left ${describeRunner(there)} at GitHub: it is removed`);
    await this.#place.removeUntil(there, this.#around.patience.answerMs, () => {
      throw this.#stillBusy(there, 'Nothing was registered. Give another name');
    });
  }

  async drain(name: string, waitMs: number): Promise<void> {
    const { note } = this.#around;
    const there = await this.#place.findTwice(name);
    if (there === undefined) {
      note(`GitHub has no runner ${name} at ${this.#where} any more: it gives it no jobs`);
      return;
    }
    this.#refuseForeign(there);
    let saidMs: number | undefined;
    await this.#place.removeUntil(
      there,
      waitMs,
      () => {
        throw this.#stillBusy(
          there,
          `Nothing was changed. Try again when the job has ended (${WAIT_PARAMETER} waits up to 40 s), or cancel the job at GitHub; the command runner.stop, asked for by itself, cancels it and stops the runner at once`,
        );
      },
      (leftMs) => {
        const nowMs = this.#around.clock.nowMs();
        if (saidMs !== undefined && nowMs - saidMs < SAY_AGAIN_MS) return;
        const what =
          there.status === 'offline'
            ? 'is offline and has a job that never ended: cancel that job at GitHub'
            : 'has a job, which goes on';
        const seconds = Math.ceil(leftMs / 1_000);
        note(
          saidMs !== undefined
            ? `${name} still has a job; ${seconds} s more`
            : `${name} ${what}; it is waited for, ${seconds} s at most`,
        );
        saidMs = nowMs;
      },
    );
    note(`GitHub has let go of ${describeRunner(there)}: it was idle, and gets no more jobs`);
  }

  async awaitOnline(): Promise<PreparedStep> {
    const { clock, patience, note, signal } = this.#around;
    const name = this.#intended;
    const deadline = clock.nowMs() + patience.onlineMs;
    let seen: GitHubRunner | undefined;
    let unasked: BrokerError | undefined;
    let absences = 0;
    const mark = markOf(this.#run.steps);
    for (let pause = FIRST_PAUSE_MS; ; pause = longerPause(pause)) {
      try {
        const there = await this.#place.look(seen, name);
        const isForeign = mark !== undefined && there !== undefined && !this.#isOwn(there);
        seen = isForeign ? undefined : there;
        unasked = undefined;
        absences = seen === undefined ? absences + 1 : 0;
      } catch (error) {
        if (!(error instanceof BrokerError) || !isPassing(error)) throw error;
        unasked = error;
      }
      if (unasked === undefined && seen?.status === 'online') {
        note(
          `GitHub shows ${describeRunner(seen)}${seen.busy ? ', with a job already' : ', waiting for jobs'}`,
        );
        return { secrets: {}, runnerId: seen.id };
      }
      if (absences > 1 && this.#isForOneJob()) {
        note(`GitHub lists ${name} no more: its one job came at once and is done, or was cancelled`);
        return { secrets: {} };
      }
      if (clock.nowMs() + pause > deadline) break;
      await clock.sleep(pause, signal);
    }
    if (unasked !== undefined) {
      note(`the runner runs; whether GitHub shows it online could not be asked: ${unasked.message}`);
      return seen === undefined ? { secrets: {} } : { secrets: {}, runnerId: seen.id };
    }
    const seconds = Math.round(patience.onlineMs / 1_000);
    throw new BrokerError(
      'github-unavailable',
      `${name} was started, and GitHub has not shown it online at ${this.#where} within ${seconds} s, so it is taken back: look whether the host reaches GitHub, whether its clock is right, and at githubstatus.com`,
    );
  }

  async removeIntended(): Promise<void> {
    // Of what was being made when the host was stopped a first look may not know yet.
    const there = await this.#place.findTwice(this.#intended);
    if (there === undefined) return;
    if (markOf(this.#run.steps) === undefined) this.#refuseForeign(there);
    // No two have one name, so where somebody else's is there, ours is not.
    if (!this.#isOwn(there)) {
      this.#around.note(
        `${describeRunner(there)} at ${this.#where} was not registered by this run: it is left as it is`,
      );
      return;
    }
    await this.#place.removeUntil(there, this.#around.patience.removeMs, () => {
      throw this.#stillBusy(
        there,
        `It was left there. When its job has ended, delete it: ${this.#where}, Settings, Actions, Runners; GitHub does so by itself after 14 days, after one for a single job`,
      );
    });
  }

  /** Registered by this run, or by one that it retries. */
  #isOwn(there: GitHubRunner): boolean {
    const mark = markOf(this.#run.steps);
    return mark === undefined ? isOurs(there) : there.labels.some((label) => label.toLowerCase() === mark);
  }

  #refuseForeign(there: GitHubRunner): void {
    if (isOurs(there)) return;
    throw new BrokerError(
      'github-conflict',
      `the runner ${describeRunner(there)} at ${this.#where} has not the label ${OUR_LABEL}, so it is not Beacon's to remove: delete it there yourself`,
    );
  }

  #stillBusy(there: GitHubRunner, remedy: string): BrokerError {
    return new BrokerError(
      'github-busy',
      `${describeRunner(there)} at ${this.#where} still has a job. ${remedy}.`,
    );
  }

  #isForOneJob(): boolean {
    return this.#run.steps.some(({ params }) => params['mode'] === 'one-job');
  }
}

/** A name that is not at this scope is taken for gone; so the scope had better be the one where it is. */
async function refuseOtherScope(
  run: StoredRun,
  name: string,
  scopeOf: RunGitHubSettings['scopeOf'],
): Promise<void> {
  const known = await scopeOf?.(run.host, name);
  if (known === undefined || known.toLowerCase() === run.github?.scope.toLowerCase()) return;
  throw new BrokerError(
    'github-refused',
    `${name} on ${run.host} was not registered at ${run.github?.scope}: give the scope where it was`,
  );
}

function waitOf({ params }: StoredRun): number {
  return Number(params[WAIT_PARAMETER] ?? DEFAULT_WAIT_SECONDS) * 1_000;
}
