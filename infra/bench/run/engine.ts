/** The broker's engine of runs over a store on disk and real connections, without HTTP. */
import { join } from 'node:path';
import {
  BrokerError,
  type Caller,
  createDialer,
  createRuns,
  type RunLogEntry,
  type RunOrder,
  type Runs,
  type RunTables,
  runMigrations,
} from '@beacon/broker';
import { createId } from '@beacon/protocol/id';
import {
  createGroupCommit,
  createLog,
  createRecords,
  migrate,
  openDatabase,
  type RecordTables,
  recordMigrations,
} from '@beacon/server';
import { PERSON } from '../../lab/throw-away-ca.ts';

export interface Engine {
  readonly runs: Runs;
  begin(host: string, commands: readonly string[], login?: string): Promise<string>;
  /** Until the run is over; throws when it has not succeeded. */
  over(run: string): Promise<void>;
  /** Resolves with the first entry of the log that is wanted. */
  first(run: string, wanted: (entry: RunLogEntry) => boolean): Promise<RunLogEntry>;
  close(): Promise<void>;
}

export async function openEngine(folder: string, caller: Caller): Promise<Engine> {
  const now = (): Date => new Date();
  const store = openDatabase<RunTables & RecordTables>({
    file: join(folder, 'broker.sqlite'),
  });
  await migrate(store, recordMigrations, runMigrations);
  const commit = createGroupCommit<RunTables & RecordTables>(store);
  const dialer = createDialer({ now, random: Math.random });
  const noGitHub = (): Promise<never> =>
    Promise.reject(new BrokerError('github-unavailable', 'there is none'));
  const runs = createRuns({
    store,
    commit,
    records: createRecords({ chain: 'broker', now }),
    dial: (options) => dialer.dial(options),
    github: { prepare: noGitHub, remove: noGitHub },
    log: createLog({ name: 'bench', level: 'silent' }),
    limits: { inWork: 1_000, inWorkPerPerson: 1_000, outputBytes: 16 * 1024 * 1024 },
    now,
  });
  const first: Engine['first'] = async (run, wanted) => {
    const stop = new AbortController();
    for await (const entry of runs.events(run, 0, stop.signal)) {
      if (wanted(entry)) return entry;
      if (entry.kind === 'over') throw new Error(`a run ended: ${JSON.stringify(entry.data)}`);
    }
    throw new Error('the log of a run ended');
  };
  return {
    runs,
    first,
    begin: async (host, commands, login = 'beacon') => {
      const { run } = await runs.create(orderOf(host, login, commands), caller, {});
      return run.id;
    },
    over: async (run) => {
      const { data } = await first(run, ({ kind }) => kind === 'over');
      if (data['phase'] !== 'succeeded') throw new Error(`a run did not succeed: ${JSON.stringify(data)}`);
    },
    close: async () => {
      await runs.close();
      await dialer.close();
      await commit.close();
      await store.destroy();
    },
  };
}

function orderOf(host: string, login: string, commands: readonly string[]): RunOrder {
  return {
    person: PERSON,
    service: 'bench',
    host,
    login,
    title: commands[0] ?? '',
    kind: 'command',
    params: {},
    steps: commands.map((command) => ({
      command,
      preparation: 'none',
      params: {},
      secretNames: [],
      timeoutSeconds: 60,
    })),
    fingerprint: createId(Date.now()),
  };
}
