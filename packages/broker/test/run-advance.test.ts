/**
 * Every state that a run of up to three steps can reach, by every event in every order, a restart between any two of them
 * included; and the ways that people see, one by one.
 */
import { describe, expect, it, test } from '@jest/globals';
import {
  advance,
  isOver,
  type Move,
  newRun,
  type RunEvent,
  type RunState,
  type StepOutcome,
  type StepPlan,
} from '../src/index.ts';

const plain: StepPlan = { command: 'look-around', preparation: 'none', hasUndo: false };
const undoable: StepPlan = { command: 'put', preparation: 'none', hasUndo: true };
const secret: StepPlan = { command: 'register', preparation: 'register', hasUndo: true };
const drain: StepPlan = { command: 'stop', preparation: 'drain', hasUndo: false };

const shown: StepPlan = { command: 'status', preparation: 'online', hasUndo: false };

const OUTCOMES: readonly StepOutcome[] = ['waiting', 'succeeded', 'failed', 'undone', 'left', 'unknown'];

/** Each event that may come in this state, and those of an attempt that is over. */
function eventsOf(run: RunState): RunEvent[] {
  const { attempt } = run;
  const reason = 'because';
  const steps = run.steps.map((_, step) => step);
  return [
    { kind: 'restarted' },
    { kind: 'stopped' },
    ...(['cancel', 'look', 'resume', 'undo'] as const).map((kind) => ({ kind })),
    ...(['begin', 'allowed', 'prepared', 'certified', 'connected', 'replaced'] as const).map((kind) => ({
      attempt,
      kind,
    })),
    ...(['started', 'succeeded', 'closed', 'removed'] as const).map((kind) => ({ attempt, kind })),
    ...(['denied', 'failed', 'refused', 'unavailable', 'lost'] as const).map((kind) => ({
      attempt,
      kind,
      reason,
    })),
    ...steps.flatMap((step) => [
      { attempt, kind: 'undone' as const, step },
      { attempt, kind: 'left' as const, step },
    ]),
    ...OUTCOMES.map((outcome) => ({
      attempt,
      kind: 'found' as const,
      outcomes: steps.map(() => outcome),
    })),
    { attempt, kind: 'found', outcomes: steps.map((step) => (step === 0 ? 'undone' : 'waiting')) },
  ];
}

interface Visit {
  readonly run: RunState;
  readonly event: RunEvent;
  readonly move: Move;
}

/** Attempts beyond the second are as the second. */
const MOST_ATTEMPTS = 2;

function explore(first: RunState): { states: RunState[]; visits: Visit[] } {
  const seen = new Map([[JSON.stringify(first), first]]);
  const visits: Visit[] = [];
  for (const run of seen.values()) {
    for (const event of eventsOf(run)) {
      const move = advance(run, event);
      visits.push({ run, event, move });
      if (move.kind === 'refused' || move.run.attempt > MOST_ATTEMPTS) continue;
      seen.set(JSON.stringify(move.run), move.run);
    }
  }
  return { states: [...seen.values()], visits };
}

const PLANS: readonly (readonly [string, readonly [StepPlan, ...StepPlan[]]])[] = [
  ['one that cannot be taken back', [plain]],
  ['one with a secret', [secret]],
  ['two, as an upgrade has them', [drain, undoable]],
  ['two, the second when GitHub shows the runner', [secret, shown]],
  ['three, as provisioning has them', [undoable, plain, secret]],
];

describe.each(PLANS)('a run of steps: %s', (_, plan) => {
  const { states, visits } = explore(newRun(plan));
  const moves = visits.flatMap(({ run, event, move }) =>
    move.kind === 'moved' ? [{ before: run, event, run: move.run, effects: move.effects }] : [],
  );
  /** Looked through as a whole, for there are many. */
  const none = <Item>(items: readonly Item[], isWrong: (item: Item) => boolean) =>
    expect(items.filter(isWrong).slice(0, 3)).toEqual([]);
  const isOpen = (outcome: StepOutcome): boolean => outcome === 'sent' || outcome === 'started';

  it('reaches every end', () => {
    const phases = new Set(states.map(({ phase }) => phase));
    for (const phase of ['succeeded', 'failed', 'cancelled', 'denied', 'interrupted'] as const)
      expect(phases).toContain(phase);
  });

  it('stays as it is once it is over', () => {
    none(moves, ({ before }) => isOver(before));
  });

  it('can end from wherever it is', () => {
    const before = new Map<string, RunState[]>();
    for (const move of moves) {
      const key = JSON.stringify(move.run);
      before.set(key, [...(before.get(key) ?? []), move.before]);
    }
    const ending = new Map(states.filter(isOver).map((run) => [JSON.stringify(run), run]));
    for (const key of ending.keys())
      for (const run of before.get(key) ?? []) ending.set(JSON.stringify(run), run);
    none(states, (run) => !ending.has(JSON.stringify(run)));
  });

  it('R8: is interrupted by a restart or a stop wherever it is, and does nothing by itself then', () => {
    const restarts = visits.filter(
      ({ run, event }) =>
        ['restarted', 'stopped'].includes(event.kind) && !isOver(run) && run.phase !== 'interrupted',
    );
    expect(restarts.length).toBeGreaterThan(0);
    none(
      restarts,
      ({ move }) =>
        move.kind === 'refused' ||
        move.run.phase !== 'interrupted' ||
        move.run.isConnected ||
        move.effects.length > 0 ||
        move.run.steps.some(({ outcome }) => isOpen(outcome)),
    );
  });

  it('has written down that a step is sent before it is sent, and that a runner may be there before it is made', () => {
    none(moves, ({ run, effects }) =>
      effects.some(
        (effect) =>
          effect.do === 'send' &&
          (run.phase !== 'running' ||
            run.step !== effect.step ||
            run.steps[run.step]?.outcome !== 'sent' ||
            (run.steps[run.step]?.preparation === 'register' && run.github !== 'intended')),
      ),
    );
  });

  it('heeds a denial and a failure wherever somebody is asked for something', () => {
    const asking = ['deciding', 'preparing', 'certifying', 'connecting', 'replacing', 'removing', 'looking'];
    for (const kind of ['denied', 'unavailable'] as const)
      none(
        states.filter(({ phase }) => asking.includes(phase)),
        (run) => advance(run, { attempt: run.attempt, kind, reason: 'no' }).kind === 'refused',
      );
  });

  it('takes nothing for its own at GitHub before the host was asked to register', () => {
    none(
      moves.filter(({ before, run }) => before.github === 'nothing' && run.github !== 'nothing'),
      ({ effects }) =>
        !effects.some((effect) => effect.do === 'send' && plan[effect.step]?.preparation === 'register'),
    );
  });

  it('R8: sends a step only where it was not sent in this attempt, and after all before it have succeeded', () => {
    none(moves, ({ before, event, run, effects }) =>
      effects.some(
        (effect) =>
          effect.do === 'send' &&
          (before.steps[effect.step]?.outcome !== 'waiting' ||
            run.steps.slice(0, effect.step).some(({ outcome }) => outcome !== 'succeeded') ||
            !['connected', 'replaced', 'succeeded'].includes(event.kind)),
      ),
    );
  });

  it('begins another attempt only where the person resumes, and nothing of the last is unknown or in force', () => {
    none(
      moves.filter(({ before, run }) => run.attempt !== before.attempt),
      ({ before, event, run }) =>
        !(event.kind === 'resume'
          ? ['nothing', 'removed'].includes(before.github)
          : event.kind === 'removed') ||
        (event.kind === 'removed' && before.after !== 'again') ||
        before.steps.some(
          ({ outcome, hasUndo }) =>
            isOpen(outcome) ||
            outcome === 'unknown' ||
            outcome === 'left' ||
            (hasUndo && (outcome === 'succeeded' || outcome === 'failed')),
        ) ||
        run.github !== 'nothing' ||
        run.phase !== 'deciding',
    );
  });

  it('starts nothing any more once it was cancelled, has failed or was interrupted', () => {
    const starts = ['send', 'prepare', 'certify', 'connect', 'replace', 'end'];
    none(
      moves,
      ({ before, run, effects }) =>
        before.end !== undefined &&
        run.attempt === before.attempt &&
        effects.some((effect) => starts.includes(effect.do)),
    );
  });

  it('never heeds an answer to an attempt that is over', () => {
    none(
      visits,
      ({ run, event }) =>
        'attempt' in event && advance(run, { ...event, attempt: event.attempt + 1 }).kind !== 'refused',
    );
  });

  it('has succeeded only with every step, and failed only with what is left behind named', () => {
    none(
      states.filter(({ phase }) => phase === 'succeeded'),
      ({ steps, github }) =>
        steps.some(({ outcome }) => outcome !== 'succeeded') || !['nothing', 'kept'].includes(github),
    );
    none(
      states.filter((run) => isOver(run) && run.phase !== 'succeeded'),
      ({ steps, github, end }) =>
        end === undefined ||
        !['nothing', 'removed', 'left'].includes(github) ||
        steps.some(({ outcome, hasUndo }) => isOpen(outcome) || (hasUndo && outcome === 'unknown')),
    );
  });

  it('asks GitHub to remove only what it may have made there, and the gate to take back only newest first', () => {
    none(moves, ({ run, effects }) =>
      effects.some(
        (effect) =>
          (effect.do === 'remove' && run.github !== 'intended' && run.github !== 'left') ||
          (effect.do === 'take-back' &&
            effect.steps.some(
              (step, at) => plan[step]?.hasUndo !== true || step >= (effect.steps[at - 1] ?? plan.length),
            )),
      ),
    );
  });
});

describe('the ways that people see', () => {
  const provision = newRun([undoable, plain, secret, undoable]);
  type Kinds = Parameters<typeof walk>[1];

  /** Lets the events come, and lists what was done. */
  function walk(
    first: RunState,
    events: readonly (
      | RunEvent
      | Exclude<RunEvent, { kind: 'found' }>['kind']
      | readonly ['undone' | 'left', number]
    )[],
  ): { run: RunState; done: string[] } {
    let run = first;
    const done: string[] = [];
    for (const given of events) {
      const { attempt } = run;
      const event =
        typeof given === 'string'
          ? ({ attempt, kind: given, reason: given } as RunEvent)
          : Array.isArray(given)
            ? ({ attempt, kind: given[0], step: given[1] } as RunEvent)
            : (given as RunEvent);
      const move = advance(run, event);
      if (move.kind === 'refused') throw new Error(`${event.kind}: ${move.reason}`);
      run = move.run;
      for (const effect of move.effects) done.push(Object.values(effect).join(' '));
    }
    return { run, done };
  }
  const upTo: Kinds = ['begin', 'allowed', 'certified', 'connected'];
  const step: Kinds = ['started', 'succeeded'];
  const whole: Kinds = [...upTo, ...step, ...step, 'prepared', 'certified', 'replaced', ...step, ...step];

  test('provisions: the secret is made after the first steps, and comes with a certificate of its own', () => {
    const { run, done } = walk(provision, [...whole, 'closed']);
    expect(run).toMatchObject({ phase: 'succeeded', github: 'kept' });
    expect(done).toEqual([
      ...['decide', 'certify 0 2', 'connect', 'send 0', 'send 1'],
      ...['prepare 2 register', 'certify 2 4', 'replace', 'send 2', 'send 3', 'end'],
    ]);
  });

  test('drains before it stops', () => {
    const { done } = walk(newRun([drain, plain]), ['begin', 'allowed', 'prepared', 'certified', 'connected']);
    expect(done).toEqual(['decide', 'prepare 0 drain', 'certify 0 2', 'connect', 'send 0']);
  });

  test('fails: the gate takes back, then GitHub is asked', () => {
    const { run, done } = walk(provision, [
      ...whole.slice(0, -1),
      'failed',
      ['undone', 3],
      ['undone', 2],
      ['undone', 0],
      'closed',
      'removed',
    ]);
    expect(run).toMatchObject({ phase: 'failed', github: 'removed', end: { reason: 'failed' } });
    // Without a last word the gate would wait for a minute.
    expect(done.slice(-2)).toEqual(['cancel', 'remove']);
  });

  test('is denied at once, or for a step in the middle', () => {
    expect(walk(provision, ['begin', 'denied']).run).toMatchObject({ phase: 'denied', github: 'nothing' });
    const { run, done } = walk(provision, [
      ...upTo,
      ...step,
      ...step,
      'prepared',
      'denied',
      ['undone', 0],
      'closed',
    ]);
    // The host was not asked to register, so a runner of that name at GitHub is somebody else's.
    expect(run).toMatchObject({ phase: 'denied', github: 'nothing' });
    expect(done.at(-1)).toBe('cancel');
  });

  test('names what is left at GitHub when it cannot be removed: the person has logged out', () => {
    const { run } = walk(provision, [
      ...upTo,
      ...step,
      ...step,
      'prepared',
      'certified',
      'replaced',
      'started',
      'cancel',
      ['undone', 2],
      ['undone', 0],
      'closed',
      'unavailable',
    ]);
    expect(run).toMatchObject({ phase: 'cancelled', github: 'left' });
  });

  test('was lost, is looked at and resumed: the old runner goes before a new secret is made', () => {
    const lost = walk(provision, [...whole.slice(0, -1), 'lost']).run;
    expect(lost.phase).toBe('interrupted');
    expect(advance(lost, { kind: 'resume' })).toMatchObject({ kind: 'refused', reason: /look/ });
    const outcomes: StepOutcome[] = ['undone', 'succeeded', 'undone', 'undone'];
    const { run, done } = walk(lost, [
      'look',
      { attempt: 1, kind: 'found', outcomes },
      'resume',
      'removed',
      'allowed',
    ]);
    expect(done).toEqual(['look', 'remove', 'decide', 'certify 0 2']);
    expect(run).toMatchObject({ attempt: 2, github: 'nothing' });
  });

  test('was lost with the last word, and turns out to have been kept', () => {
    const lost = walk(provision, [...whole, 'lost']).run;
    const outcomes: StepOutcome[] = ['succeeded', 'succeeded', 'succeeded', 'succeeded'];
    expect(walk(lost, ['look', { attempt: 1, kind: 'found', outcomes }]).run).toMatchObject({
      phase: 'succeeded',
      github: 'kept',
      end: undefined,
    });
  });

  test('has not succeeded where the gate took back before it heard the last word', () => {
    const { run, done } = walk(provision, [
      ...whole,
      ['undone', 3],
      ['left', 2],
      ['undone', 0],
      'closed',
      'removed',
    ]);
    expect(run).toMatchObject({ phase: 'failed', github: 'removed' });
    expect(run.steps.map(({ outcome }) => outcome)).toEqual(['undone', 'succeeded', 'left', 'undone']);
    expect(done.at(-1)).toBe('remove');
  });

  test('names what the gate could not take back when it was tired of waiting for GitHub', () => {
    const waiting = walk(provision, [...upTo, ...step, ...step]).run;
    expect(waiting.phase).toBe('preparing');
    const { run } = walk(waiting, [['left', 0], 'closed']);
    expect(run).toMatchObject({ phase: 'failed', github: 'nothing' });
    expect(run.steps[0]?.outcome).toBe('left');
  });

  test('is taken back by the person', () => {
    const { run, done } = walk(provision, [
      ...[...whole.slice(0, -1), 'restarted' as const, 'undo' as const],
      ...[['undone', 3] as const, ['undone', 2] as const, ['undone', 0] as const],
      ...['closed' as const, 'removed' as const],
    ]);
    expect(done.slice(-2)).toEqual(['take-back 3,2,0', 'remove']);
    expect(run).toMatchObject({ phase: 'cancelled', github: 'removed' });
  });
});
