/**
 * The words that a broker's answers about runs and runners are told with, as closed lists: apart from the schemas of
 * `http/runs.ts` and `http/runners.ts`, so that a program that loads no schemas reads by the same ones.
 */

/** What a person may press. */
export const RUN_WISHES = ['cancel', 'look', 'resume', 'retry', 'undo'] as const;
export type RunWish = (typeof RUN_WISHES)[number];

export const RUN_PHASES = [
  'queued',
  'deciding',
  'preparing',
  'certifying',
  'connecting',
  'replacing',
  'running',
  'ending',
  'undoing',
  'removing',
  'interrupted',
  'looking',
  'taking-back',
  'succeeded',
  'failed',
  'cancelled',
  'denied',
] as const;
export type RunPhase = (typeof RUN_PHASES)[number];

export const STEP_OUTCOMES = [
  'waiting',
  'sent',
  'started',
  'succeeded',
  'failed',
  'refused',
  'unknown',
  'undone',
  'left',
] as const;

export const RUN_EVENT_KINDS = ['phase', 'step', 'stdout', 'stderr', 'truncated', 'note', 'over'] as const;
export type RunEventKind = (typeof RUN_EVENT_KINDS)[number];

export const RUNNER_FINDINGS = [
  'idle',
  'busy',
  'offline',
  /** Offline, and GitHub has it over a job that never ended. */
  'zombie-busy',
  /** Below GitHub's newest version, after which it is given no jobs some day. */
  'outdated',
  /** GitHub has it and its host has not. */
  'orphan-at-github',
  /** A host has it and GitHub has not. */
  'orphan-on-host',
  /** Missing at GitHub, and not long enough to believe it. */
  'unconfirmed',
] as const;
