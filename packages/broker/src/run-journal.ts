/**
 * Writes down what has happened to a run: its row, its records and the entries of its log in one unit, so that all or
 * nothing of it is there. Only from the state that was seen, so that of two processes one learns that the run is no
 * longer its own, and does nothing.
 */
import type { GroupCommit, Records, RecordTables } from '@beacon/server';
import { createdRecord } from './broker-records.ts';
import { BrokerError } from './error.ts';
import type { RunDraft } from './run-draft.ts';
import type { StoredRun } from './run-order.ts';
import { isOver } from './run-state.ts';
import { changeRun, insertEntries, insertRun, type KeptRun, type RunTables, readRunByKey } from './store.ts';

export type RunCommit = Pick<GroupCommit<RunTables & RecordTables>, 'write'>;

export interface JournalOptions {
  readonly commit: RunCommit;
  readonly records: Pick<Records, 'append'>;
  /** The name of this process among those that share the store. */
  readonly worker: string;
  /** In milliseconds since 1970: until when a run that is written down now is this process' own. */
  readonly leaseUntil: () => number;
}

export interface Written {
  readonly version: number;
  readonly leaseUntil: number;
}

export interface RunJournal {
  /** The run that stands there with the same idempotency key, or undefined when this one was written down. */
  create(run: StoredRun): Promise<KeptRun | undefined>;
  /**
   * On the disk when it resolves. Throws BrokerError `closed` when another process has the run, and
   * ServerError `storage`; nothing was written then.
   */
  write(draft: RunDraft, version: number): Promise<Written>;
}

export function createRunJournal({ commit, records, worker, leaseUntil }: JournalOptions): RunJournal {
  return {
    create: (run) =>
      commit.write(async (tx) => {
        if (run.idempotencyKey !== undefined) {
          const known = await readRunByKey(tx, run.person, run.idempotencyKey);
          if (known !== undefined) return known;
        }
        await insertRun(tx, run, { worker, until: leaseUntil() });
        await records.append(tx, createdRecord(run));
        return undefined;
      }),
    async write(draft, version) {
      const { run } = draft;
      // Before the write: it may take long.
      const until = leaseUntil();
      const isResting = isOver(run.state) || run.state.phase === 'interrupted';
      await commit.write(async (tx) => {
        const isOurs = await changeRun(tx, {
          id: run.id,
          version,
          phase: run.state.phase,
          state: JSON.stringify(run.state),
          grants: JSON.stringify(run.grants),
          left: JSON.stringify(run.left),
          runner_id: run.github?.runnerId ?? null,
          updated: run.updated.getTime(),
          last_event: run.lastEvent,
          worker: isResting ? null : worker,
          lease_until: isResting ? 0 : until,
        });
        if (!isOurs)
          throw new BrokerError('closed', 'another process has taken up this run: look at it again');
        for (const record of draft.records) await records.append(tx, record);
        await insertEntries(tx, run.id, draft.entries);
      });
      return { version: version + 1, leaseUntil: until };
    },
  };
}
