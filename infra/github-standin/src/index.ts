/** GitHub's part in Beacon, played for tests and the demo; it never enters what is installed. */
export { StandinError, type StandinErrorCode } from './error.ts';
export type { Fault, FaultEffect } from './fault.ts';
export { type FaultEndpoint, type FaultMode, namedFault } from './fault-mode.ts';
export { type RunnerArchitecture, runnerArchive } from './runner-archive.ts';
export type { Repository, Runner, RunnerJob, RunnerOrder, RunnerScope } from './runner-state.ts';
export { type Standin, startStandin } from './server.ts';
export type {
  App,
  AppKind,
  Installation,
  MembershipState,
  Organization,
  Person,
  StandinState,
  Team,
  Token,
} from './state.ts';
