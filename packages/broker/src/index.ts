/** Runs commands on hosts for people. */
export { BUILT_IN_PROCEDURES, DEFAULT_WAIT_SECONDS, OUR_LABEL } from './built-in-procedures.ts';
export { type BrokerConfiguration, brokerConfiguration, readBrokerConfiguration } from './configuration.ts';
export { type BrokerOptions, createBroker, type RunningBroker } from './create-broker.ts';
export { createDialer, type Dialer, type DialerOptions, type DialOptions } from './dialer.ts';
export { BrokerError, type BrokerErrorCode, type BrokerErrorOptions } from './error.ts';
export type { GateSession, SessionEnd } from './gate-session.ts';
export { asGitHubFailure } from './github-failure.ts';
export { main } from './main.ts';
export {
  type HostCommand,
  missingFacts,
  type ProcedurePlan,
  type ProcedureRequest,
  planProcedure,
} from './plan-procedure.ts';
export {
  checkProcedure,
  describeDefects,
  type GitHubFact,
  type Procedure,
  type ProcedureDefect,
  type ProcedureGitHub,
  type ProcedureParameter,
  type ProcedureStep,
  type WhenAbsent,
} from './procedure.ts';
export { completeFromGitHub } from './procedure-defaults.ts';
export { proceduresFile, readProcedures } from './procedures-configuration.ts';
export { advance, type Move } from './run-advance.ts';
export { createRunGitHub, type RunGitHubSettings } from './run-github.ts';
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
export type { RunRetention } from './run-retention.ts';
export type { Dial, RunConnection } from './run-session.ts';
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
export { leftBehind, type PossibleWish, possibleWishes } from './run-wishes.ts';
export type { Patience } from './runner-place.ts';
export {
  ABSENCE_MS,
  type HostRunner,
  joinRunners,
  type MadeRunner,
  OUTDATED_AFTER_MS,
  type RunnerCondition,
  type RunnerFinding,
  type RunnerLook,
  readRunnerList,
} from './runner-state.ts';
export { createRuns, type RunLimits, type RunsOptions } from './runs.ts';
export type { JumpHost } from './ssh-arguments.ts';
export { type RunDatabase, type RunTables, runMigrations } from './store.ts';
