/**
 * A run whose broker dies: right after each durable write, before anything is done about it, and right before each. Another
 * broker takes the store over, and the person presses what there is to press. Nothing is done twice, nothing is forgotten.
 */

import { parseRecord } from '@beacon/protocol/record';
import { describe, expect, it } from '@jest/globals';
import { ThrowAwayCa } from '../../../infra/lab/throw-away-ca.ts';
import { possibleWishes, type RunDatabase, type RunOrder, type Runs, type StoredRun } from '../src/index.ts';
import { ScriptedHost } from './scripted-host.ts';
import { dying, HOST, logOf, openRuns, openStore, orderOf, resting, SmallCa } from './small-broker.ts';

const now = () => new Date();
const undo = (command: string) => ({ undo: { command: `undo-${command}`, params: {} } });

const ORDERS: readonly (readonly [string, RunOrder])[] = [
  ['one command that cannot be taken back', orderOf([{ command: 'greet' }])],
  [
    'the provisioning of a runner',
    orderOf(
      [
        { command: 'check' },
        { command: 'install', ...undo('install') },
        {
          command: 'configure',
          preparation: 'register',
          params: { name: 'runner-1' },
          secretNames: ['token'],
          ...undo('configure'),
        },
        { command: 'start', ...undo('start') },
      ],
      { kind: 'procedure', title: 'runner.provision', github: { scope: 'o/r', runner: 'runner-1' } },
    ),
  ],
];

interface Story {
  readonly run: StoredRun;
  readonly host: ScriptedHost;
  readonly store: RunDatabase;
  readonly runs: Runs;
  readonly writes: number;
}

/** Runs until the broker dies at this write, and on with another one, as the person wishes, to the end. */
async function live(
  order: RunOrder,
  dies: { at: number; when: 'before' | 'after' },
  wishes: readonly ('resume' | 'undo')[],
): Promise<Story> {
  const host = new ScriptedHost();
  const ca = new SmallCa(new ThrowAwayCa({ host: HOST, login: 'beacon' }, now));
  const store = await openStore({ file: ':memory:' });
  const first = openRuns(store, { dial: host.dial, github: host.github, now });
  const { commit, died, written } = dying(first.commit, dies);
  await first.runs.close();
  const doomed = openRuns(store, { dial: host.dial, github: host.github, now, commit });
  const made = await doomed.runs.create(order, ca.caller(), {}).catch(() => undefined);
  const id = made?.run.id ?? (await store.selectFrom('runs').select('id').executeTakeFirst())?.id;
  if (made !== undefined) await Promise.race([died, resting(doomed.runs, made.run.id)]);
  await doomed.runs.close();
  const { runs } = openRuns(store, { dial: host.dial, github: host.github, now });
  await runs.recover();
  if (id === undefined) throw new TypeError('no run was written down');
  let run = await resting(runs, id);
  for (const wish of ['look' as const, ...wishes, 'look' as const, 'undo' as const]) {
    if (!possibleWishes(run.state).includes(wish)) continue;
    await runs.wish(id, wish, ca.caller('another'));
    run = await resting(runs, id);
  }
  return { run, host, store, runs, writes: written() };
}

const NEVER = { at: Number.POSITIVE_INFINITY, when: 'after' } as const;

describe.each(ORDERS)('a run of %s', (_, order) => {
  const hasUndo = new Set(
    order.steps.filter(({ undo: one }) => one !== undefined).map(({ command }) => command),
  );

  async function expectInOrder({ run, host, store, runs }: Story): Promise<void> {
    expect(['succeeded', 'failed', 'cancelled', 'denied']).toContain(run.state.phase);
    // Each request has salts of its own; a step is asked for once in an attempt.
    expect(new Set(host.requests).size).toBe(host.requests.length);
    const attempts = run.state.attempt;
    for (const { command } of order.steps) {
      const times = host.started.filter(({ asked }) => asked.command === command).length;
      expect(times).toBeLessThanOrEqual(attempts);
    }
    const inForce = host.inForce.filter((command) => hasUndo.has(command));
    expect(inForce).toEqual(run.state.phase === 'succeeded' ? [...hasUndo] : []);
    expect(run.left).toEqual([]);
    if (order.github !== undefined) expect(host.runners.size).toBe(run.state.phase === 'succeeded' ? 1 : 0);
    const entries = await logOf(runs, run.id);
    expect(entries.filter(({ kind }) => kind === 'over')).toHaveLength(1);
    expect(entries.at(-1)).toMatchObject({ kind: 'over', seq: run.lastEvent });
    expect(entries.map(({ seq }) => seq)).toEqual(entries.map((__, at) => at + 1));
    const rows = await store.selectFrom('records').select('line').orderBy('seq').execute();
    const sent = rows.map(({ line }) => parseRecord(line)).filter(({ kind }) => kind === 'step-sent').length;
    const own = new Set(order.steps.map(({ command }) => command));
    expect(host.started.filter(({ asked }) => own.has(asked.command)).length).toBeLessThanOrEqual(sent);
    await runs.close();
    await store.destroy();
  }

  it('R8: is done once and kept when nobody dies', async () => {
    const story = await live(order, NEVER, []);
    expect(story.run.state.phase).toBe('succeeded');
    await expectInOrder(story);
  });

  it.each([
    ['after', ['resume']],
    ['before', ['undo']],
  ] as const)(
    'R8: comes to an end when the broker dies %s any write, and the person wishes %s',
    async (when, wishes) => {
      const { writes, store, runs } = await live(order, NEVER, []);
      await runs.close();
      await store.destroy();
      expect(writes).toBeGreaterThan(4);
      // The first makes the run; whoever did not get it written has none.
      for (let at = when === 'after' ? 1 : 2; at <= writes; at++) {
        await expectInOrder(await live(order, { at, when }, wishes));
      }
    },
  );
});
