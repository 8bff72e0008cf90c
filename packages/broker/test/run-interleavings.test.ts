/**
 * Runs to which everything happens in an order that nobody chose: answers come late, commands fail, connections and
 * brokers go, the person presses whatever there is, others watch. Whatever the order: no step is asked for twice in an
 * attempt, the log of each run ends with `over`, and nothing is in force of a run that did not succeed, unless it is named.
 */
import { describe, expect, it } from '@jest/globals';
import { ThrowAwayCa } from '../../../infra/lab/throw-away-ca.ts';
import { BrokerError, possibleWishes, type RunLogEntry, type RunOrder, type Runs } from '../src/index.ts';
import { ScriptedHost } from './scripted-host.ts';
import { HOST, logOf, openRuns, openStore, orderOf, resting, SmallCa } from './small-broker.ts';

const now = () => new Date();

/** The same numbers for the same seed. */
function chances(seed: number): { of(one: number): boolean; below(limit: number): number } {
  let state = seed;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return { of: (one) => next() < 1 / one, below: (limit) => Math.floor(next() * limit) };
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

function someOrder(chance: ReturnType<typeof chances>): RunOrder {
  const count = 1 + chance.below(4);
  const steps = Array.from({ length: count }, (_, at) => {
    const command = `step-${at}`;
    const undo = chance.of(2) ? { undo: { command: `undo-${command}`, params: {} } } : {};
    const registers = at > 0 && chance.of(4) && { preparation: 'register' as const, secretNames: ['token'] };
    return { command, params: { name: 'runner-1' }, ...undo, ...(registers || {}) };
  });
  const isFirst = steps.findIndex((step) => 'preparation' in step);
  const once = steps.map((step, at) =>
    at !== isFirst && 'preparation' in step
      ? { ...step, preparation: 'none' as const, secretNames: [] }
      : step,
  );
  return orderOf(once, isFirst === -1 ? {} : { github: { scope: 'o/r', runner: 'runner-1' } });
}

async function watching(
  runs: Runs,
  id: string,
  after: number,
  pause: number,
  seen: RunLogEntry[],
): Promise<void> {
  for await (const entry of runs.events(id, after, new AbortController().signal)) {
    seen.push(entry);
    await turns(pause);
  }
}

describe('runs to which everything happens at once', () => {
  it.each(Array.from({ length: 8 }, (_, seed) => seed))('R8: stay in order (seed %i)', async (seed) => {
    const chance = chances(seed * 7919 + 1);
    const store = await openStore({ file: ':memory:' });
    for (let story = 0; story < 6; story++) {
      const host = new ScriptedHost();
      const ca = new SmallCa(new ThrowAwayCa({ host: HOST, login: 'beacon' }, now));
      let isCalm = false;
      const late = () => turns(isCalm ? 0 : chance.below(12));
      const failing = () =>
        !isCalm && chance.of(9) ? new BrokerError('host-unreachable', 'not now') : undefined;
      ca.behaviour.decide = async () => {
        await late();
        return { allowed: isCalm || !chance.of(20), reason: 'policy' };
      };
      ca.behaviour.certify = late;
      host.beforeHello = late;
      host.unreachable = failing;
      host.githubFails = failing;
      host.behave = (command) => {
        if (isCalm) return {};
        // What hangs is stopped by its time-out, which is the gate's; here that is the person who cancels.
        const canHang = command !== 'gate.state';
        if (chance.of(12)) return { loses: chance.of(2) ? 'before' : 'after' };
        return {
          output: chance.of(2) ? ['some text'] : [],
          code: chance.of(8) ? 1 : 0,
          hangs: canHang && chance.of(10),
        };
      };
      let { runs } = openRuns(store, { dial: host.dial, github: host.github, now });
      const order = someOrder(chance);
      const { run } = await runs.create(order, ca.caller(), {});
      const watchers: { after: number; seen: RunLogEntry[]; done: Promise<void> }[] = [];
      for (let happening = 0; happening < 14; happening++) {
        await turns(chance.below(25));
        if (chance.of(3)) {
          const seen: RunLogEntry[] = [];
          const after = chance.below(6);
          watchers.push({ after, seen, done: watching(runs, run.id, after, chance.below(4), seen) });
        }
        if (chance.of(7)) host.cut();
        if (chance.of(10)) {
          await runs.close();
          await Promise.all(watchers.splice(0).map(({ done }) => done));
          ({ runs } = openRuns(store, { dial: host.dial, github: host.github, now }));
          await runs.recover();
        }
        if (chance.of(2)) {
          const wish = (['cancel', 'look', 'resume', 'undo'] as const)[chance.below(4)] ?? 'look';
          await runs.wish(run.id, wish, ca.caller('another')).catch((error: unknown) => {
            expect(error).toMatchObject({ code: 'wish-refused' });
          });
        }
      }
      isCalm = true;
      let last = await runs.get(run.id);
      for (let tries = 0; last !== undefined && possibleWishes(last.state)[0] !== 'retry'; tries++) {
        if (last.state.phase === 'succeeded') break;
        expect(tries).toBeLessThan(8);
        const wish = possibleWishes(last.state).includes('undo') && tries > 0 ? 'undo' : 'look';
        const wished = last.state.phase === 'interrupted' ? wish : 'cancel';
        await runs.wish(run.id, wished, ca.caller('another')).catch(() => undefined);
        last = await resting(runs, run.id);
      }
      const entries = await logOf(runs, run.id);
      expect(entries.at(-1)).toMatchObject({ kind: 'over', seq: last?.lastEvent });
      expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, at) => at + 1));
      for (const { after, seen, done } of watchers) {
        await done;
        expect(seen).toEqual(entries.filter(({ seq }) => seq > after));
      }
      const keyOf = (grant: string, index: number): string => {
        const granted = last?.grants.find((one) => one.grant === grant);
        return granted?.purpose === 'steps'
          ? `${granted.attempt} ${granted.steps[index]}`
          : `${grant} ${index}`;
      };
      const sent = host.started.map(({ grant, index }) => keyOf(grant, index));
      expect(new Set(sent).size).toBe(sent.length);
      const undoable = order.steps.filter(({ undo }) => undo !== undefined).map(({ command }) => command);
      const inForce = host.inForce.filter((command) => undoable.includes(command));
      const isKept = last?.state.phase === 'succeeded';
      const unnamed = inForce.filter((command) => !last?.left.some((text) => text.startsWith(command)));
      if (!isKept) expect(unnamed).toEqual([]);
      if (!isKept && last?.left.length === 0) expect(host.runners.size).toBe(0);
      await runs.close();
    }
    await store.destroy();
  });
});
