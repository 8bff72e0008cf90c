/** Runs commands on hosts for people. So far: what a run is, and how it moves. */
export { advance, type Move } from './run-advance.ts';
export {
  isOver,
  newRun,
  type RunEffect,
  type RunEnd,
  type RunEvent,
  type RunPhase,
  type RunState,
  type StepOutcome,
  type StepPlan,
  type StepState,
} from './run-state.ts';
