/**
 * What the stand-in knows about self-hosted runners: repositories with who administers them, registration and removal
 * tokens, runner groups, runners with their sessions, and the jobs that it hands out. A runner belongs to one scope, a
 * repository or an organisation; tokens are of the whole scope, as at GitHub. Nothing here speaks HTTP.
 */
import { StandinError } from './error.ts';
import { randomText } from './random-text.ts';
import { ARCHITECTURES, type RunnerArchitecture } from './runner-archive.ts';

export type RepositoryRole = 'admin' | 'write' | 'read';

export interface Repository {
  readonly id: number;
  /** The organisation's id. */
  readonly owner: number;
  name: string;
  isPrivate: boolean;
  readonly roles: Map<number, RepositoryRole>;
}

/** Where runners are registered. */
export interface RunnerScope {
  readonly kind: 'repository' | 'organization';
  readonly id: number;
}

export interface RunnerGroup {
  readonly id: number;
  readonly organization: number;
  readonly name: string;
}

export interface RunnerToken {
  readonly scope: RunnerScope;
  readonly use: 'registration' | 'removal';
  readonly expiresAt: Date;
}

export interface RunnerJob {
  readonly id: number;
  readonly name: string;
  readonly scope: RunnerScope;
  readonly labels: readonly string[];
  /** A text for sh(1), which is the whole job. */
  readonly script: string;
  state: 'queued' | 'running' | 'done';
  runner: number | undefined;
  exit: number | undefined;
  output: string;
}

export interface Runner {
  readonly id: number;
  readonly scope: RunnerScope;
  readonly name: string;
  readonly labels: { readonly name: string; readonly isCustom: boolean }[];
  readonly group: number;
  readonly isEphemeral: boolean;
  readonly version: string;
  /** What the runner proves itself by. */
  readonly credential: string;
  hasSession: boolean;
  lastSeen: Date;
  job: RunnerJob | undefined;
  /** Messages that it is given before any job. */
  readonly orders: RunnerOrder[];
}

/** What a runner can be told, besides jobs; each ends it with the exit code of that name. */
export type RunnerOrder = 'terminate' | 'retry' | 'update' | 'refresh' | 'deprecated';
export const RUNNER_ORDERS: readonly RunnerOrder[] = [
  'terminate',
  'retry',
  'update',
  'refresh',
  'deprecated',
];

export type RunnerMessage = RunnerJob | RunnerOrder;

export interface NewRunner {
  readonly name: string;
  readonly labels: readonly string[];
  readonly hasDefaultLabels: boolean;
  readonly group: string | undefined;
  readonly isEphemeral: boolean;
  readonly version: string;
}

export const CHECKSUMS = ['given', 'missing', 'wrong'] as const;
export type Checksums = (typeof CHECKSUMS)[number];

export const DEFAULT_GROUP = 1;
const HOUR_MS = 60 * 60 * 1000;
/** A runner that was not heard for so long counts as offline. */
const UNHEARD_MS = 30_000;

export interface RunnerSurroundings {
  readonly now: () => Date;
  readonly nextId: () => number;
  /** Every secret that was ever given out. */
  readonly canaries: string[];
}

export class RunnerState {
  readonly repositories = new Map<number, Repository>();
  readonly groups: RunnerGroup[] = [];
  readonly tokens = new Map<string, RunnerToken>();
  readonly runners = new Map<number, Runner>();
  readonly jobs: RunnerJob[] = [];
  /** Newest last; what is in `deprecated` is sent away. */
  readonly versions: string[] = ['2.335.1', '2.336.0'];
  readonly deprecated = new Set<string>();
  /** What the downloads list says: without digests in `missing`, with another file's in `wrong`. */
  readonly offer: { checksums: Checksums; architectures: readonly RunnerArchitecture[] } = {
    checksums: 'given',
    architectures: ARCHITECTURES,
  };
  readonly #around: RunnerSurroundings;
  readonly #waiting = new Set<() => void>();

  constructor(around: RunnerSurroundings) {
    this.#around = around;
  }

  addRepository(given: { owner: number; name: string; id?: number; isPrivate?: boolean }): Repository {
    const repository: Repository = {
      id: given.id ?? this.#around.nextId(),
      owner: given.owner,
      name: given.name,
      isPrivate: given.isPrivate ?? true,
      roles: new Map(),
    };
    this.repositories.set(repository.id, repository);
    return repository;
  }

  addGroup(organization: number, name: string): RunnerGroup {
    const group = { id: this.#around.nextId(), organization, name };
    this.groups.push(group);
    return group;
  }

  /** A token of an hour for everything in the scope. */
  mintToken(scope: RunnerScope, use: RunnerToken['use']): { token: string; expiresAt: Date } {
    const token = `A${randomText(28).toUpperCase()}`;
    const expiresAt = new Date(this.#around.now().getTime() + HOUR_MS);
    this.tokens.set(token, { scope, use, expiresAt });
    this.#around.canaries.push(token);
    return { token, expiresAt };
  }

  /** The scope that the token opens, or undefined: expired, for something else, or never there. */
  scopeOf(token: string, use: RunnerToken['use']): RunnerScope | undefined {
    const found = this.tokens.get(token);
    return found?.use === use && found.expiresAt > this.#around.now() ? found.scope : undefined;
  }

  /** Throws StandinError `taken` (409), or `not-found` where there is no such group. */
  register(scope: RunnerScope, given: NewRunner): Runner {
    if (this.inScope(scope).some(({ name }) => name === given.name)) {
      throw new StandinError('taken', `A runner exists with the same name ${given.name}.`);
    }
    const group = this.groupNamed(scope, given.group ?? 'Default');
    if (group === undefined) {
      throw new StandinError(
        'not-found',
        `Could not find any self-hosted runner group named "${given.group}".`,
      );
    }
    const defaults = given.hasDefaultLabels ? ['self-hosted', 'Linux', 'X64'] : [];
    const runner: Runner = {
      id: this.#around.nextId(),
      scope,
      name: given.name,
      labels: [
        ...defaults.map((name) => ({ name, isCustom: false })),
        ...given.labels.map((name) => ({ name, isCustom: true })),
      ],
      group,
      isEphemeral: given.isEphemeral,
      version: given.version,
      credential: randomText(43),
      hasSession: false,
      lastSeen: this.#around.now(),
      job: undefined,
      orders: [],
    };
    this.#around.canaries.push(runner.credential);
    this.runners.set(runner.id, runner);
    return runner;
  }

  groupNamed(scope: RunnerScope, name: string): number | undefined {
    if (name.toLowerCase() === 'default') return DEFAULT_GROUP;
    return this.groups.find(
      (group) =>
        scope.kind === 'organization' &&
        group.organization === scope.id &&
        group.name.toLowerCase() === name.toLowerCase(),
    )?.id;
  }

  inScope(scope: RunnerScope): Runner[] {
    return [...this.runners.values()].filter((runner) => isSameScope(runner.scope, scope));
  }

  isOnline({ hasSession, lastSeen }: Runner): boolean {
    return hasSession && this.#around.now().getTime() - lastSeen.getTime() < UNHEARD_MS;
  }

  byCredential(credential: string): Runner | undefined {
    return [...this.runners.values()].find((runner) => runner.credential === credential);
  }

  /** False where it is busy: GitHub deletes no runner in the middle of a job. */
  remove(id: number): boolean {
    if (this.runners.get(id)?.job !== undefined) return false;
    this.runners.delete(id);
    this.#wake();
    return true;
  }

  queueJob(given: Pick<RunnerJob, 'scope' | 'labels' | 'script'> & { name?: string }): RunnerJob {
    const id = this.#around.nextId();
    const job: RunnerJob = {
      id,
      name: given.name ?? `job-${id}`,
      scope: given.scope,
      labels: given.labels,
      script: given.script,
      state: 'queued',
      runner: undefined,
      exit: undefined,
      output: '',
    };
    this.jobs.push(job);
    this.#wake();
    return job;
  }

  order(runner: number, order: RunnerOrder): void {
    const found = this.runners.get(runner);
    if (found === undefined) throw new StandinError('not-found', `There is no runner ${runner}`);
    found.orders.push(order);
    this.#wake();
  }

  /** False where another process has the session of the same credentials. */
  openSession(runner: Runner): boolean {
    if (this.isOnline(runner)) return false;
    runner.hasSession = true;
    runner.lastSeen = this.#around.now();
    return true;
  }

  closeSession(runner: Runner): void {
    runner.hasSession = false;
    this.#wake();
  }

  /** The next message, waited for; undefined when none came in time, or nobody is there any more to take it. */
  async nextMessage(
    runner: Runner,
    waitMs: number,
    isGone: () => boolean = () => false,
  ): Promise<RunnerMessage | undefined> {
    const end = Date.now() + waitMs;
    while (runner.hasSession && this.runners.has(runner.id) && !isGone()) {
      runner.lastSeen = this.#around.now();
      const message = this.#take(runner);
      const left = end - Date.now();
      if (message !== undefined || left <= 0) return message;
      await this.#change(Math.min(left, 1_000));
    }
    return undefined;
  }

  /** A job has ended; an ephemeral runner goes with it. */
  finishJob(runner: Runner, id: number, exit: number, output: string): boolean {
    const job = runner.job;
    if (job?.id !== id) return false;
    Object.assign(job, { state: 'done', exit, output });
    runner.job = undefined;
    runner.lastSeen = this.#around.now();
    if (runner.isEphemeral) this.runners.delete(runner.id);
    return true;
  }

  #take(runner: Runner): RunnerMessage | undefined {
    if (this.deprecated.has(runner.version)) return 'deprecated';
    const order = runner.orders.shift();
    if (order !== undefined) return order;
    if (runner.job !== undefined) return undefined;
    const labels = new Set(runner.labels.map(({ name }) => name.toLowerCase()));
    const job = this.jobs.find(
      (one) =>
        one.state === 'queued' &&
        isSameScope(one.scope, runner.scope) &&
        one.labels.every((label) => labels.has(label.toLowerCase())),
    );
    if (job === undefined) return undefined;
    job.state = 'running';
    job.runner = runner.id;
    runner.job = job;
    return job;
  }

  #change(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, waitMs);
      this.#waiting.add(done);
    });
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}

function isSameScope(a: RunnerScope, b: RunnerScope): boolean {
  return a.kind === b.kind && a.id === b.id;
}
