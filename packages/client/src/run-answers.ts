/**
 * What a broker's API answers about runs (`@beacon/protocol/http/runs`), read by hand into values: times as `Date`, names
 * as the programs of this language write them. This package loads no schemas.
 */
import {
  RUN_PHASES,
  RUN_WISHES,
  type RunEventKind,
  type RunPhase,
  type RunWish,
  STEP_OUTCOMES,
} from '@beacon/protocol/run-words';
import type { Json } from '@beacon/protocol/strict-json';
import type { Answer } from './answer.ts';

export interface Run {
  readonly id: string;
  readonly person: string;
  /** The client that asked; undefined for the portal. */
  readonly service: string | undefined;
  readonly host: string;
  readonly login: string;
  readonly kind: 'command' | 'procedure';
  /** The name of the command or procedure. */
  readonly title: string;
  readonly params: Readonly<Record<string, string>>;
  readonly phase: RunPhase;
  readonly attempt: number;
  readonly steps: readonly RunStep[];
  readonly end:
    | { readonly how: 'failed' | 'cancelled' | 'denied' | 'interrupted'; readonly reason: string }
    | undefined;
  readonly github: { readonly scope: string; readonly runner: string; readonly state: string } | undefined;
  /** What is left behind, by name, and what to do about it. */
  readonly left: readonly string[];
  readonly created: Date;
  readonly updated: Date;
  readonly retryOf: string | undefined;
  /** What the person may press now. */
  readonly possible: readonly RunWish[];
  /** The number of the last event so far. */
  readonly lastEvent: number;
}

export interface RunStep {
  readonly command: string;
  readonly outcome: (typeof STEP_OUTCOMES)[number];
  readonly preparation: 'none' | 'register' | 'online' | 'drain';
  /** Under which it was last asked for. */
  readonly grant: string | undefined;
}

export interface RunEvent {
  /** Counts up within a run. */
  readonly seq: number;
  readonly kind: RunEventKind;
  readonly time: Date;
  /**
   * | kind | data |
   * |---|---|
   * | `phase` | `{attempt, phase, reason?}` |
   * | `step` | `{step, command, outcome, code?, signal?, duration_ms?, reason?}` |
   * | `stdout`, `stderr` | `{step, text}` or `{step, base64}`; `undo: true` where a step was taken back |
   * | `truncated` | `{step, max_output_bytes}` or `{reason}` |
   * | `note` | `{text}` |
   * | `over` | `{phase, reason?, left}`; the last |
   */
  readonly data: { readonly [key: string]: Json };
}

export function readRun(run: Answer): Run {
  const end = run.has('end') ? run.object('end') : undefined;
  const github = run.has('github') ? run.object('github') : undefined;
  return {
    id: run.text('id', 26),
    person: run.name('person', 'person'),
    service: run.optionalText('service', 63),
    host: run.name('host', 'host'),
    login: run.name('login', 'login'),
    kind: run.word('kind', ['command', 'procedure']),
    title: run.text('title', 200),
    params: run.map('params'),
    phase: run.word('phase', RUN_PHASES),
    attempt: run.integer('attempt', 1),
    steps: run.objects('steps').map((step) => ({
      command: step.name('command', 'command'),
      outcome: step.word('outcome', STEP_OUTCOMES),
      preparation: step.word('preparation', ['none', 'register', 'online', 'drain']),
      grant: step.optionalText('grant', 26),
    })),
    end:
      end === undefined
        ? undefined
        : {
            how: end.word('how', ['failed', 'cancelled', 'denied', 'interrupted']),
            reason: end.text('reason'),
          },
    github:
      github === undefined
        ? undefined
        : {
            scope: github.text('scope', 200),
            runner: github.text('runner', 200),
            state: github.text('state', 20),
          },
    left: run.texts('left'),
    created: run.time('created'),
    updated: run.time('updated'),
    retryOf: run.optionalText('retry_of', 26),
    possible: run.texts('possible').flatMap((wish) => RUN_WISHES.filter((known) => known === wish)),
    lastEvent: run.integer('last_event', 0),
  };
}
