/** Runs through a real store to a real gate, both in this process: what happens, what is written down, what is left. */

import { parseRecord } from '@beacon/protocol/record';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ThrowAwayCa } from '../../../infra/lab/throw-away-ca.ts';
import { SmallHost } from '../../gate/test/small-host.ts';
import { engines } from '../../server/test/postgres.ts';
import { isOver, type RunFilter, type RunLogEntry } from '../src/index.ts';
import { ScriptedHost } from './scripted-host.ts';
import {
  dialHost,
  dying,
  type Engine,
  HOST,
  logOf,
  openRuns,
  openStore,
  orderOf,
  PERSON,
  resting,
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
    expect(ca.asked).toEqual(['certify greet']);
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

  it('makes one run of the same request, however often it comes, and refuses another under its key', async () => {
    const order = { ...orderOf([{ command: 'greet', params: { name: 'ada' } }]), idempotencyKey: 'key-1' };
    const made = await Promise.all([1, 2, 3].map(() => engine.runs.create(order, ca.caller(), {})));
    expect(made.map(({ isNew }) => isNew).sort()).toEqual([false, false, true]);
    expect(new Set(made.map(({ run }) => run.id)).size).toBe(1);
    const [first] = made;
    if (first !== undefined) await resting(engine.runs, first.run.id);
    expect((await engine.runs.create(order, ca.caller(), {})).run.state.phase).toBe('succeeded');
    await expect(
      engine.runs.create({ ...order, fingerprint: 'another' }, ca.caller(), {}),
    ).rejects.toMatchObject({ code: 'idempotency-conflict' });
    const other = { ...order, person: 'github:7', fingerprint: 'another' };
    expect((await engine.runs.create(other, ca.caller(), {})).isNew).toBe(true);
    expect(host.kinds().filter((kind) => kind === 'command-started').length).toBeLessThanOrEqual(2);
  });

  it('lists runs newest first, by person, host and phase, page by page', async () => {
    const ids: string[] = [];
    for (const name of ['ada', 'lin', 'kim']) {
      host.clock += 1_000;
      const { run } = await engine.runs.create(
        orderOf([{ command: 'greet', params: { name } }]),
        ca.caller(),
        {},
      );
      await resting(engine.runs, run.id);
      ids.unshift(run.id);
    }
    const idsOf = async (filter: RunFilter) => (await engine.runs.list(filter)).map(({ id }) => id);
    expect(await idsOf({ limit: 10 })).toEqual(ids);
    expect(await idsOf({ limit: 1 })).toEqual(ids.slice(0, 1));
    expect(await idsOf({ limit: 10, ...(ids[0] === undefined ? {} : { before: ids[0] }) })).toEqual(
      ids.slice(1),
    );
    expect(await idsOf({ limit: 10, person: PERSON, host: HOST, phase: 'succeeded' })).toEqual(ids);
    expect(await idsOf({ limit: 10, person: 'github:1' })).toEqual([]);
    expect(await idsOf({ limit: 10, phase: 'failed' })).toEqual([]);
  });

  it('forgets output after its time and says so, then the run; never its records', async () => {
    const { run } = await engine.runs.create(
      orderOf([{ command: 'greet', params: { name: 'ada' } }]),
      ca.caller(),
      {},
    );
    await resting(engine.runs, run.id);
    await engine.runs.maintain();
    const before = await logOf(engine.runs, run.id);
    host.clock += 31 * 86_400_000;
    await engine.runs.maintain();
    const pruned = await logOf(engine.runs, run.id);
    expect(textOf(pruned)).toBe('');
    expect(pruned.filter(({ kind }) => kind === 'truncated')).toMatchObject([
      { data: { reason: 'output is kept for 30 days' } },
    ]);
    const isOutput = ({ kind }: RunLogEntry) => ['stdout', 'stderr', 'truncated'].includes(kind);
    expect(pruned.filter((entry) => !isOutput(entry))).toEqual(before.filter((entry) => !isOutput(entry)));
    host.clock += 365 * 86_400_000;
    await engine.runs.maintain();
    expect(await engine.runs.get(run.id)).toBeUndefined();
    expect((await engine.store.selectFrom('run_log').selectAll().execute()).length).toBe(0);
    expect((await engine.store.selectFrom('records').selectAll().execute()).length).toBeGreaterThan(10);
  });

  it('is interrupted where its store fails, as soon as the store is there again', async () => {
    const { commit, died } = dying(engine.commit, { at: 4, when: 'before' });
    const failing = openRuns(engine.store, { dial: dialHost(host), now: host.now, commit });
    const { run } = await failing.runs.create(
      orderOf([{ command: 'greet', params: { name: 'ada' } }]),
      ca.caller(),
      {},
    );
    await died;
    await failing.runs.close();
    expect(isOver((await engine.runs.get(run.id))?.state ?? run.state)).toBe(false);
    host.clock += 91_000;
    await engine.runs.maintain();
    expect((await engine.runs.get(run.id))?.state.phase).toBe('interrupted');
    await engine.runs.wish(run.id, 'undo', ca.caller());
    expect((await resting(engine.runs, run.id)).state.phase).toBe('cancelled');
    expect(host.kinds()).not.toContain('command-started');
  });
});

const [, postgres] = engines;

describe('two processes on one store', () => {
  it("watch and cancel each other's runs, and take up those of one that is gone; what it had left to do is not done", async () => {
    if (postgres === undefined) return;
    const place = await postgres.place();
    const [scripted, clock] = [new ScriptedHost(), { ms: Date.now() }];
    const now = () => new Date(clock.ms);
    const ca = new SmallCa(new ThrowAwayCa({ host: HOST, login: 'beacon' }, now));
    const options = { dial: scripted.dial, github: scripted.github, now };
    const one = openRuns(await openStore(place), options);
    const other = openRuns(await openStore(place), options);
    scripted.behave = () => ({ hangs: true, output: ['on it'] });
    const first = await one.runs.create(orderOf([{ command: 'wait' }]), ca.caller(), {});
    const seen = logOf(other.runs, first.run.id);
    await logOf(other.runs, first.run.id, ({ kind }) => kind === 'stdout');
    expect(await other.runs.recover()).toBe(0);
    await expect(other.runs.wish(first.run.id, 'look', ca.caller())).rejects.toMatchObject({
      code: 'wish-refused',
    });
    await other.runs.wish(first.run.id, 'cancel', ca.caller());
    expect((await seen).at(-1)).toMatchObject({ kind: 'over', data: { phase: 'cancelled' } });

    const slow = Promise.withResolvers<void>();
    const connecting = Promise.withResolvers<void>();
    scripted.beforeHello = () => {
      connecting.resolve();
      return slow.promise;
    };
    const second = await one.runs.create(orderOf([{ command: 'wait' }]), ca.caller(), {});
    await connecting.promise;
    clock.ms += 91_000;
    expect(await other.runs.recover()).toBe(1);
    expect((await other.runs.get(second.run.id))?.state.phase).toBe('interrupted');
    const started = scripted.requests.length;
    slow.resolve();
    scripted.beforeHello = undefined;
    await other.runs.wish(second.run.id, 'undo', ca.caller());
    expect((await resting(other.runs, second.run.id)).state.phase).toBe('cancelled');
    expect(scripted.requests.length).toBe(started);

    // One that nobody heeded, for the process was dead, is not heeded when the person resumes.
    scripted.behave = (command) => ({ hangs: command === 'wait' });
    const third = await one.runs.create(orderOf([{ command: 'wait' }]), ca.caller(), {});
    await logOf(other.runs, third.run.id, ({ data }) => data['phase'] === 'running');
    await one.runs.close();
    await other.runs.wish(third.run.id, 'cancel', ca.caller());
    clock.ms += 91_000;
    expect(await other.runs.recover()).toBe(1);
    const left = await other.store
      .selectFrom('runs')
      .select('cancel_by')
      .where('id', '=', third.run.id)
      .execute();
    expect(left).toEqual([{ cancel_by: null }]);
    for (const { runs, commit, store } of [one, other]) {
      await runs.close();
      await commit.close();
      await store.destroy();
    }
  });
});
