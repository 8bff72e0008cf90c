/**
 * What a person may press at a run, and what a run has left behind, by name and with what to do about it: both follow from
 * its state. Pure.
 */
import { advance } from './run-advance.ts';
import type { RunOrder } from './run-order.ts';
import { isOver, type RunState } from './run-state.ts';

/** `retry` is a run of its own, made from the same order. */
export type PossibleWish = 'cancel' | 'look' | 'resume' | 'retry' | 'undo';

export function possibleWishes(state: RunState): readonly PossibleWish[] {
  if (isOver(state)) return state.phase === 'succeeded' ? [] : ['retry'];
  return (['cancel', 'look', 'resume', 'undo'] as const).filter(
    (kind) => advance(state, { kind }).kind === 'moved',
  );
}

/** `reasons` says of each step that was left why it was. */
export function leftBehind(
  order: Pick<RunOrder, 'host' | 'steps' | 'github'>,
  state: RunState,
  reasons: ReadonlyMap<number, string>,
): readonly string[] {
  const left = state.steps.flatMap(({ outcome, command, hasUndo }, at) => {
    if (outcome !== 'left' && !(outcome === 'unknown' && hasUndo && isOver(state))) return [];
    const undo = order.steps[at]?.undo?.command;
    const reason = reasons.get(at);
    const why = reason === undefined ? '' : ` (${reason})`;
    const remedy = undo === undefined ? 'look on the host' : `run ${undo} there with the same parameters`;
    return [`${command} on ${order.host} was not taken back${why}: ${remedy}`];
  });
  if (state.github !== 'left' || order.github === undefined) return left;
  const { scope, runner } = order.github;
  return [
    ...left,
    `the runner ${runner} may still be registered at ${scope}: look at the runners in its settings at GitHub, and remove it there`,
  ];
}
