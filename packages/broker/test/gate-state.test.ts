/** What a host says of a grant, as what is known of a run's steps. */
import { describe, expect, it } from '@jest/globals';
import { readGateState, withGateState } from '../src/gate-state.ts';
import type { RunGrant, StepOutcome } from '../src/index.ts';

const GRANT = '0'.repeat(26);
const grant: RunGrant = { grant: GRANT, attempt: 1, steps: [1, 2], purpose: 'steps' };
const answer = (...commands: readonly object[]) => JSON.stringify({ v: 1, grant: GRANT, commands });
const command = (index: number, state: string, more: object = {}) => ({
  index,
  command: 'c',
  state,
  ...more,
});

describe('the answer to gate.state', () => {
  it.each([
    ['running', {}, 'started'],
    ['undoing', {}, 'started'],
    ['unsettled', { why: 'ended', code: 0 }, 'started'],
    ['ended', { why: 'ended', code: 0 }, 'succeeded'],
    ['ended', { why: 'ended', code: 3 }, 'failed'],
    ['ended', { why: 'timeout', code: 0 }, 'failed'],
    ['undone', { why: 'ended', code: 0 }, 'undone'],
    ['undo-failed', { why: 'ended', code: 1 }, 'left'],
    ['left', {}, 'left'],
    ['something new', {}, 'unknown'],
  ] as const)('says of a command that is %s %j that its step is %s', (state, more, outcome) => {
    const known = readGateState(`${answer(command(1, state, more))}\n`, GRANT);
    expect(withGateState(['succeeded', 'waiting', 'unknown'], grant, known)[2]).toBe(outcome);
  });

  it('says of a step that was sent and that it does not know that it was not started; nothing of others', () => {
    const known = readGateState(answer(), GRANT);
    expect(withGateState(['unknown', 'unknown', 'undone'], grant, known)).toEqual([
      'unknown',
      'waiting',
      'undone',
    ]);
  });

  it('says by the grant of an undo whether the step was taken back', () => {
    const undo: RunGrant = { ...grant, steps: [0], purpose: 'undo' };
    const after = (one: object): StepOutcome | undefined =>
      withGateState(['succeeded', 'waiting'], undo, readGateState(answer(one), GRANT))[0];
    expect(after(command(0, 'ended', { why: 'ended', code: 0 }))).toBe('undone');
    expect(after(command(0, 'ended', { why: 'ended', code: 1 }))).toBe('left');
    expect(after(command(0, 'running'))).toBe('started');
    expect(withGateState(['succeeded'], undo, readGateState(answer(), GRANT))).toEqual(['succeeded']);
  });

  it.each([
    '',
    '{',
    '[]',
    'null',
    JSON.stringify({ v: 2, grant: GRANT, commands: [] }),
    JSON.stringify({ v: 1, grant: '1'.repeat(26), commands: [] }),
    JSON.stringify({ v: 1, grant: GRANT, commands: {} }),
    JSON.stringify({ v: 1, grant: GRANT, commands: [7] }),
    JSON.stringify({ v: 1, grant: GRANT, commands: [{ index: '0', state: 'ended' }] }),
    `${answer()}\n${answer()}`,
  ])('is refused where it is none: %j', (text) => {
    expect(() => readGateState(text, GRANT)).toThrow(expect.objectContaining({ code: 'gate-malformed' }));
  });
});
