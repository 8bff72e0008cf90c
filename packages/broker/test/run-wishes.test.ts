/** What a person may press, and what a run says that it has left behind. */
import { describe, expect, it } from '@jest/globals';
import { leftBehind, newRun, possibleWishes, type RunPhase, type RunState } from '../src/index.ts';

const plan = { command: 'put', preparation: 'none', hasUndo: true } as const;
const first = newRun([plan]);
const inPhase = (phase: RunPhase, more: Partial<RunState> = {}): RunState => ({ ...first, phase, ...more });

describe('the wishes that are possible', () => {
  it.each([
    ['queued', ['cancel']],
    ['deciding', ['cancel']],
    ['running', ['cancel']],
    ['ending', []],
    ['undoing', []],
    ['removing', []],
    ['looking', []],
    ['taking-back', ['cancel']],
    ['interrupted', ['look', 'resume', 'undo']],
    ['succeeded', []],
    ['failed', ['retry']],
    ['cancelled', ['retry']],
    ['denied', ['retry']],
  ] as const)('at a run that is %s are %j', (phase, wishes) => {
    expect(possibleWishes(inPhase(phase))).toEqual(wishes);
  });

  it('do not hold resuming while nobody knows what became of a step', () => {
    const run = inPhase('interrupted', { steps: [{ ...plan, outcome: 'unknown' }] });
    expect(possibleWishes(run)).toEqual(['look', 'undo']);
  });
});

describe('what is left behind', () => {
  const order = {
    host: 'build-01',
    steps: [
      {
        command: 'put',
        preparation: 'none' as const,
        params: {},
        secretNames: [],
        timeoutSeconds: 1,
        undo: { command: 'take', params: {} },
      },
    ],
    github: { scope: 'o/r', runner: 'r-1' },
  };

  it('is named, on the host and at GitHub, each with its remedy', () => {
    const run = inPhase('failed', { steps: [{ ...plan, outcome: 'left' }], github: 'left' });
    expect(leftBehind(order, run, new Map([[0, 'the disk is full']]))).toEqual([
      'put on build-01 was not taken back (the disk is full): run take there with the same parameters',
      expect.stringMatching(/^the runner r-1 may still be registered at o\/r: .*remove it there$/),
    ]);
  });

  it('is nothing where all was taken back, or kept', () => {
    const undone = inPhase('failed', { steps: [{ ...plan, outcome: 'undone' }], github: 'removed' });
    expect(leftBehind(order, undone, new Map())).toEqual([]);
    expect(leftBehind(order, inPhase('succeeded', { github: 'kept' }), new Map())).toEqual([]);
  });
});
