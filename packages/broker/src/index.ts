/** Runs commands on hosts for people. So far: what a run is, and how it moves. */
export { BrokerError, type BrokerErrorCode, type BrokerErrorOptions } from './error.ts';
export { advance, type Move } from './run-advance.ts';
export type {
  Caller,
  PlannedStep,
  PreparedStep,
  RunFilter,
  RunGitHub,
  RunGrant,
  RunLogEntry,
  RunOrder,
  Runs,
  StoredRun,
} from './run-order.ts';
export {
  isOver,
  newRun,
  type Preparation,
  type RunEffect,
  type RunEnd,
  type RunEvent,
  type RunPhase,
  type RunState,
  type StepOutcome,
  type StepPlan,
  type StepState,
} from './run-state.ts';
