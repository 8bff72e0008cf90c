/**
 * The logs of runs for those who watch: what is stored, then what comes, without loss or doubling. An entry is shown only
 * when it is on the disk. All watchers of a run share its newest entries; whoever is too slow for them reads from the
 * store, so a watcher costs a place in the log and little more. What other processes write is looked for again and again.
 */
import { BrokerError } from './error.ts';
import type { RunLogEntry } from './run-order.ts';
import { isOver } from './run-state.ts';
import { type RunDatabase, readEntries, readRun } from './store.ts';

export interface RunLogs {
  /** These are on the disk. Until `leave`, no other process writes to this log. */
  publish(run: string, entries: readonly RunLogEntry[]): void;
  /** This process has nothing more to say of the run. */
  leave(run: string): void;
  watch(run: string, after: number, signal: AbortSignal): AsyncIterable<RunLogEntry>;
  close(): void;
}

export interface RunLogOptions {
  readonly store: RunDatabase;
  /** How often to look for what other processes have written; undefined where there are none. */
  readonly pollMs: number | undefined;
}

const TAIL_ENTRIES = 64;
const PAGE_ENTRIES = 32;

interface Live {
  /** The newest entries, without a gap; empty where the store is to be asked. */
  tail: readonly RunLogEntry[];
  /** Whether a run of this process writes to it. */
  isOurs: boolean;
  watchers: number;
  changes: number;
  readonly waiting: Set<() => void>;
}

export function createRunLogs({ store, pollMs }: RunLogOptions): RunLogs {
  const lives = new Map<string, Live>();
  let isClosed = false;

  const liveOf = (run: string): Live => {
    let live = lives.get(run);
    if (live === undefined) {
      live = { tail: [], isOurs: false, watchers: 0, changes: 0, waiting: new Set() };
      lives.set(run, live);
    }
    return live;
  };
  const wake = (live: Live): void => {
    live.changes += 1;
    for (const resume of [...live.waiting]) resume();
  };
  const drop = (run: string, live: Live): void => {
    if (live.watchers === 0 && !live.isOurs) lives.delete(run);
  };

  /** What comes after `after` and is at hand; undefined where only the store knows. */
  const fromTail = ({ tail }: Live, after: number): readonly RunLogEntry[] | undefined => {
    const first = tail[0];
    if (first === undefined || after + 1 < first.seq) return undefined;
    return tail.slice(Math.max(0, after + 1 - first.seq));
  };

  async function* watch(run: string, after: number, signal: AbortSignal): AsyncGenerator<RunLogEntry> {
    const live = liveOf(run);
    live.watchers += 1;
    try {
      for (let last = after; !signal.aborted && !isClosed; ) {
        const seen = live.changes;
        let entries = fromTail(live, last);
        if (entries === undefined) {
          const kept = await readRun(store, run);
          if (kept === undefined) throw new BrokerError('run-unknown', `there is no run ${run}`);
          entries = await readEntries(store, run, last, PAGE_ENTRIES);
          if (entries.length === 0 && isOver(kept.run.state)) return;
        }
        for (const entry of entries) {
          if (signal.aborted) return;
          last = entry.seq;
          yield entry;
          if (entry.kind === 'over') return;
        }
        if (entries.length === 0 && live.changes === seen) {
          await nextChange(live, signal, live.isOurs ? undefined : pollMs);
        }
      }
    } finally {
      live.watchers -= 1;
      drop(run, live);
    }
  }

  return {
    publish(run, entries) {
      const live = liveOf(run);
      live.isOurs = true;
      live.tail = [...live.tail, ...entries].slice(-TAIL_ENTRIES);
      wake(live);
    },
    leave(run) {
      const live = lives.get(run);
      if (live === undefined) return;
      live.isOurs = false;
      live.tail = [];
      wake(live);
      drop(run, live);
    },
    watch,
    close() {
      isClosed = true;
      for (const live of lives.values()) wake(live);
    },
  };
}

function nextChange(live: Live, signal: AbortSignal, pollMs: number | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = pollMs === undefined ? undefined : setTimeout(() => done(), pollMs);
    const done = (): void => {
      clearTimeout(timer);
      live.waiting.delete(done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    live.waiting.add(done);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}
