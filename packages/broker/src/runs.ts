/**
 * All runs of a broker (DESIGN.md section 3): made, found, watched, wished about, taken up again after a crash, forgotten in
 * the end. One worker for each that is in work here. Several processes may share a PostgreSQL store: a run is in work of
 * the process that holds its lease, and interrupted by whoever finds a lease that ran out.
 */
import { randomBytes } from 'node:crypto';
import { createId } from '@beacon/protocol/id';
import { isShared, type Log, type Records } from '@beacon/server';
import { BrokerError } from './error.ts';
import { HeadReports } from './head-reports.ts';
import { type HeldCaller, RunCallers } from './run-callers.ts';
import { RunDraft } from './run-draft.ts';
import { createRunJournal, type RunCommit } from './run-journal.ts';
import { renewLeases, takeCancelWishes, wishCancel } from './run-lease.ts';
import { createRunLogs } from './run-log.ts';
import type { Caller, RunGitHub, RunOrder, Runs, StoredRun } from './run-order.ts';
import { DEFAULT_RUN_RETENTION, pruneRuns, type RunRetention } from './run-retention.ts';
import type { Dial } from './run-session.ts';
import { isOver, newRun, type StepPlan, type Wish } from './run-state.ts';
import { RunStopping } from './run-stopping.ts';
import { RunWorker } from './run-worker.ts';
import { type KeptRun, listRuns, type RunDatabase, readRun, runsInWork } from './store.ts';

export interface RunsOptions {
  readonly store: RunDatabase;
  readonly commit: RunCommit;
  readonly records: Records;
  readonly dial: Dial;
  readonly github: RunGitHub;
  readonly now: () => Date;
  readonly log: Pick<Log, 'info' | 'warn' | 'error'>;
  readonly retention?: RunRetention;
  readonly limits?: RunLimits;
  /** Gives that many random bytes; tests fix them. */
  readonly random?: (length: number) => Buffer;
}

export interface RunLimits {
  /** Runs in work at once in this process. Default 1,000. */
  readonly inWork: number;
  /** Of one person. Default 100. */
  readonly inWorkPerPerson: number;
  /** What the log keeps of the output of one attempt of a run. Default 16 MiB. */
  readonly outputBytes: number;
}

const DEFAULT_LIMITS: RunLimits = { inWork: 1_000, inWorkPerPerson: 100, outputBytes: 16 * 1024 * 1024 };

/**
 * Longer than a gate waits for the next line (60 s): where a process was stopped between writing that a step is sent and
 * sending it, and another one has meanwhile taken up the run, the session in which it would be sent is closed.
 */
const LEASE_MS = 90_000;
const RENEW_MS = 20_000;
/** How often processes that share a store look for each other's wishes and entries. */
const SHARED_POLL_MS = 500;

export function createRuns(options: RunsOptions): Runs {
  const { store, commit, records, now, log } = options;
  const retention = options.retention ?? DEFAULT_RUN_RETENTION;
  const limits = options.limits ?? DEFAULT_LIMITS;
  const random = options.random ?? randomBytes;
  const sharesStore = isShared(store);
  const workers = new Map<string, RunWorker>();
  /** Written down, or about to be, and not in work yet. */
  const beginning = new Set<string>();
  const stopping = new RunStopping({ workers, beginning, now });
  const callers = new RunCallers();
  const heads = new HeadReports({ store, records, log });
  const worker = createId(now().getTime());
  let isClosed = false;
  const leaseUntil = (): number => now().getTime() + LEASE_MS;
  const journal = createRunJournal({ commit, records, worker, leaseUntil });
  const logs = createRunLogs({ store, pollMs: sharesStore ? SHARED_POLL_MS : undefined });
  const timers = sharesStore
    ? [
        setInterval(() => void quietly('leases were not renewed', renew), RENEW_MS),
        setInterval(() => void quietly('wishes were not looked for', heedWishes), SHARED_POLL_MS),
      ]
    : [];
  for (const timer of timers) timer.unref();

  async function quietly(what: string, work: () => Promise<void>): Promise<void> {
    try {
      if (!isClosed) await work();
    } catch (error) {
      log.warn({ err: error }, what);
    }
  }

  async function renew(): Promise<void> {
    if (workers.size === 0) return;
    const until = leaseUntil();
    const known = [...workers];
    const ours = new Set(await commit.write((tx) => renewLeases(tx, worker, until)));
    for (const [id, one] of known) {
      if (ours.has(id)) one.renewed(until);
      // Another process has taken it up, or is about to.
      else if (workers.get(id) === one && !beginning.has(id)) one.stop();
    }
  }

  async function heedWishes(): Promise<void> {
    if (workers.size === 0) return;
    for (const id of await commit.write((tx) => takeCancelWishes(tx, worker))) {
      // A run that is over meanwhile needs no cancelling.
      await workers
        .get(id)
        ?.wish('cancel')
        .catch(() => undefined);
    }
  }

  function requireRoom(person: string): void {
    stopping.requireGoingOn();
    if (isClosed) throw new BrokerError('closed', 'the broker is stopping: try again in a moment');
    if (callers.runs < limits.inWork && callers.runsOf(person) < limits.inWorkPerPerson) return;
    throw new BrokerError('too-many-runs', 'too many runs are in work: wait until one of them has ended', {
      retryAfterMs: 5_000,
    });
  }

  function work(kept: KeptRun, held: HeldCaller, secrets: Readonly<Record<string, string>>): RunWorker {
    const { id } = kept.run;
    const made = new RunWorker({
      run: kept.run,
      version: kept.version,
      secrets,
      journal,
      logs,
      log,
      now,
      random,
      dial: options.dial,
      github: options.github,
      maxOutputBytes: limits.outputBytes,
      leaseUntil: sharesStore ? kept.leaseUntil : undefined,
      caller: held.current,
      onRest: (run, head) => {
        workers.delete(id);
        const last = held.current();
        held.letGo();
        if (last !== undefined && !isClosed) heads.report(last, run.host, head);
      },
    });
    workers.set(id, made);
    return made;
  }

  /** What a dead process had in work becomes interrupted; false where somebody else was faster. */
  async function interrupt(kept: KeptRun): Promise<boolean> {
    const draft = new RunDraft(kept.run, now(), new Map());
    if (draft.apply({ kind: 'restarted' }) !== undefined) return false;
    try {
      await journal.write(draft, kept.version);
    } catch (error) {
      if (error instanceof BrokerError && error.code === 'closed') return false;
      throw error;
    }
    logs.publish(kept.run.id, draft.entries);
    logs.leave(kept.run.id);
    return true;
  }

  async function interruptOrphans(): Promise<number> {
    let count = 0;
    for (const kept of await runsInWork(store)) {
      if (workers.has(kept.run.id) || beginning.has(kept.run.id)) continue;
      const isOthers = sharesStore && kept.worker !== worker && kept.leaseUntil > now().getTime();
      if (!isOthers && (await interrupt(kept))) count += 1;
    }
    return count;
  }

  async function wish(
    id: string,
    kind: Wish['kind'],
    caller: Caller,
    secrets: Readonly<Record<string, string>> = {},
  ): Promise<StoredRun> {
    for (let tries = 0; tries < 5; tries++) {
      const here = workers.get(id);
      if (here?.person === caller.person) {
        const answer = await here.wish(kind, secrets);
        if (answer !== undefined) return answer;
      }
      const kept = await readRun(store, id);
      // Another person's is as one that is not there.
      if (kept?.run.person !== caller.person)
        throw new BrokerError('run-unknown', `there is no run ${id}: look at your runs`);
      if (isOver(kept.run.state))
        throw new BrokerError('wish-refused', 'the run is over: retry begins another');
      if (kept.run.state.phase === 'interrupted') {
        if (workers.has(id)) continue;
        requireRoom(kept.run.person);
        const taken = await takeUp(kept, kind, caller, secrets);
        if (taken !== undefined) return taken;
      } else if (sharesStore && kept.worker !== worker && kept.leaseUntil > now().getTime()) {
        if (kind !== 'cancel')
          throw new BrokerError('wish-refused', 'the run is in work: cancel it, or wait');
        await commit.write((tx) => wishCancel(tx, id, caller.person));
        return kept.run;
      } else if (!workers.has(id) && !beginning.has(id)) {
        await interrupt(kept);
      }
    }
    throw new BrokerError('wish-refused', 'the run moves too fast: look at it again');
  }

  /** Works on a run that rests, for a wish; where it is refused there is nothing to do. */
  async function takeUp(
    kept: KeptRun,
    kind: Wish['kind'],
    caller: Caller,
    secrets: Readonly<Record<string, string>>,
  ): Promise<StoredRun | undefined> {
    const { id } = kept.run;
    beginning.add(id);
    const made = work(kept, callers.hold(caller), secrets);
    try {
      return await made.wish(kind, secrets);
    } catch (error) {
      made.stop();
      throw error;
    } finally {
      beginning.delete(id);
    }
  }

  return {
    async create(order, caller, secrets) {
      requireRoom(order.person);
      const run = storedRun(order, now(), random);
      const until = leaseUntil();
      beginning.add(run.id);
      // It counts from here on: of those that come at once, not all find the same room.
      const held = callers.hold(caller);
      let isInWork = false;
      try {
        const known = await journal.create(run);
        if (known === undefined) {
          work({ run, version: 1, worker, leaseUntil: until }, held, secrets).begin();
          isInWork = true;
          return { run, isNew: true };
        }
        if (known.run.fingerprint === order.fingerprint) return { run: known.run, isNew: false };
      } finally {
        beginning.delete(run.id);
        if (!isInWork) held.letGo();
      }
      throw new BrokerError(
        'idempotency-conflict',
        'this idempotency key belongs to another request: take a new key for a new run',
      );
    },
    get: async (id) => (await readRun(store, id))?.run,
    list: (filter) => listRuns(store, filter),
    wish,
    refresh: (caller) => callers.refresh(caller),
    events: (id, after, signal) => logs.watch(id, after, signal),
    recover: interruptOrphans,
    async maintain() {
      await interruptOrphans();
      await pruneRuns(commit, now(), retention);
    },
    get isStopping() {
      return stopping.isStopping;
    },
    drain: (graceMs, atOnce) => stopping.drain(graceMs, atOnce),
    async close() {
      isClosed = true;
      for (const timer of timers) clearInterval(timer);
      const ended = [...workers.values()].map((one) => {
        one.stop();
        return one.ended;
      });
      logs.close();
      heads.close();
      await Promise.all(ended);
    },
  };
}

function storedRun(order: RunOrder, time: Date, random: (length: number) => Buffer): StoredRun {
  const [first, ...others] = order.steps.map(
    ({ command, preparation, undo }): StepPlan => ({ command, preparation, hasUndo: undo !== undefined }),
  );
  if (first === undefined)
    throw new BrokerError('request-malformed', 'a run has at least one step: name a command');
  return {
    ...order,
    id: createId(time.getTime(), random),
    state: newRun([first, ...others]),
    created: time,
    updated: time,
    grants: [],
    left: [],
    lastEvent: 0,
  };
}
