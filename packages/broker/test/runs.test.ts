/** Runs through a real store to a real gate, both in this process: what happens, what is written down, what is left. */

import { parseRecord } from '@beacon/protocol/record';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { SmallHost } from '../../gate/test/small-host.ts';
import { engines } from '../../server/test/postgres.ts';
import {
  dialHost,
  type Engine,
  logOf,
  openRuns,
  openStore,
  orderOf,
  SmallCa,
  textOf,
} from './small-broker.ts';

describe.each(engines)('runs on $engine', ({ place }) => {
  let host: SmallHost;
  let ca: SmallCa;
  let engine: Engine;

  beforeEach(async () => {
    host = await SmallHost.open();
    host.allow({
      version: 1,
      commands: {
        greet: {
          summary: 'Says hello',
          argv: [host.script('greet', 'echo "hello $1"; echo quiet >&2'), '{name}'],
          params: { name: { pattern: '[a-z]+' } },
          timeout_seconds: 30,
          run_as: 'worker',
          max_output_bytes: 100_000,
        },
      },
    });
    ca = new SmallCa(host.ca);
    const store = await openStore(await place());
    engine = openRuns(store, { dial: dialHost(host), now: host.now });
  });

  afterEach(async () => {
    await engine.runs.close();
    await engine.commit.close();
    await engine.store.destroy();
    host.close();
  });

  it('runs one command, streams what it writes, and keeps a log and a trace of it', async () => {
    const order = orderOf([{ command: 'greet', params: { name: 'ada' } }]);
    const { run, isNew } = await engine.runs.create(order, ca.caller(), {});
    expect(isNew).toBe(true);
    const entries = await logOf(engine.runs, run.id);
    expect(textOf(entries)).toBe('hello ada\n');
    expect(textOf(entries, 'stderr')).toBe('quiet\n');
    expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, at) => at + 1));
    expect(entries.filter(({ kind }) => kind === 'phase').map(({ data }) => data['phase'])).toEqual([
      ...['deciding', 'certifying', 'connecting', 'running', 'ending', 'succeeded'],
    ]);
    expect(entries.at(-1)).toMatchObject({ kind: 'over', data: { phase: 'succeeded', left: [] } });
    const stored = await engine.runs.get(run.id);
    expect(stored?.state).toMatchObject({ phase: 'succeeded', steps: [{ outcome: 'succeeded' }] });
    expect(stored?.lastEvent).toBe(entries.at(-1)?.seq);
    expect(ca.asked).toEqual(['decide greet', 'certify greet']);
    const rows = await engine.store.selectFrom('records').select('line').orderBy('seq').execute();
    const records = rows.map(({ line }) => parseRecord(line));
    expect(records.map(({ kind }) => kind)).toEqual([
      ...['run-created', 'run-phase', 'run-phase', 'session-certified', 'run-phase', 'session-opened'],
      ...[
        'step-sent',
        'run-phase',
        'step-started',
        'step-succeeded',
        'run-phase',
        'session-closed',
        'run-phase',
      ],
    ]);
    const grant = stored?.grants[0]?.grant;
    expect(records.find(({ kind }) => kind === 'step-sent')).toMatchObject({ grant, host: 'build-01' });
    expect(host.kinds().slice(-4)).toEqual([
      ...['session-opened', 'command-started', 'command-ended', 'session-closed'],
    ]);
  });
});
