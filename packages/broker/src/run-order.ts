/**
 * What a run is made of and what is told of it (DESIGN.md section 3): the order that is written down whole when it is
 * made, the run as it is stored, whom it acts for, its log, and what whoever serves runs may ask of them. No secret
 * stands in an order or a stored run.
 */
import type { CaApi } from '@beacon/client';
import type { Json } from '@beacon/protocol/strict-json';
import type { Preparation, RunPhase, RunState, Wish } from './run-state.ts';

/** One command of a run, with all that is decided before the first is sent. */
export interface PlannedStep {
  readonly command: string;
  readonly preparation: Preparation;
  readonly params: Readonly<Record<string, string>>;
  /** The secret parameters of the command. Their values come with the wish, or from the preparation. */
  readonly secretNames: readonly string[];
  readonly undo?: { readonly command: string; readonly params: Readonly<Record<string, string>> };
  readonly timeoutSeconds: number;
}

export interface RunOrder {
  readonly person: string;
  /** The OAuth client that asked; undefined for the portal. */
  readonly service: string | undefined;
  readonly host: string;
  readonly login: string;
  /** The name of the command or the procedure. */
  readonly title: string;
  readonly kind: 'command' | 'procedure';
  /** As the person gave them. */
  readonly params: Readonly<Record<string, string>>;
  /** At least one. The first has no preparation, for what is fetched from GitHub needs a grant of this run. */
  readonly steps: readonly PlannedStep[];
  /** Where the runner is registered, and the name that it is to have there. */
  readonly github?: { readonly scope: string; readonly runner: string };
  readonly idempotencyKey?: string;
  /** Of the request: the same key with another fingerprint is another request. */
  readonly fingerprint: string;
  readonly retryOf?: string;
}

/** A grant of this run; the commands in it are those of `steps`, in this order. */
export interface RunGrant {
  readonly grant: string;
  readonly attempt: number;
  readonly steps: readonly number[];
  /** What it was asked for. `undo` and `look` are sessions of their own. */
  readonly purpose: 'steps' | 'undo' | 'look';
}

export interface StoredRun extends Omit<RunOrder, 'github'> {
  readonly id: string;
  readonly state: RunState;
  readonly created: Date;
  readonly updated: Date;
  readonly grants: readonly RunGrant[];
  readonly github?: NonNullable<RunOrder['github']> & { readonly runnerId?: number };
  /** What is left behind, each by name and with what to do about it. */
  readonly left: readonly string[];
  /** The number of the last entry of its log. */
  readonly lastEvent: number;
}

/** Whom a run acts for. Lives in memory only. */
export interface Caller {
  readonly person: string;
  /** The same for the same login. */
  readonly sessionKey: string;
  readonly api: CaApi;
}

/** GitHub's side of a run. The token is forgotten when the promise settles. */
export interface RunGitHub {
  /** Throws BrokerError `github-…`. */
  prepare(
    run: StoredRun,
    what: Exclude<Preparation, 'none'>,
    token: string,
    note: (text: string) => void,
    signal: AbortSignal,
  ): Promise<PreparedStep>;
  /** The intended runner is not there any more when this resolves. Throws BrokerError `github-…`. */
  remove(run: StoredRun, token: string, note: (text: string) => void, signal: AbortSignal): Promise<void>;
}

export interface PreparedStep {
  /** Values of secret parameters of the step. */
  readonly secrets: Readonly<Record<string, string>>;
  readonly runnerId?: number;
}

/**
 * | kind | data |
 * |---|---|
 * | `phase` | `{attempt, phase, reason?}` |
 * | `step` | `{step, command, outcome, code?, signal?, duration_ms?, reason?}` |
 * | `stdout`, `stderr` | `{step, text}` or `{step, base64}` |
 * | `truncated` | `{step, max_output_bytes}` or `{reason}` |
 * | `note` | `{text}` |
 * | `over` | `{phase, reason?, left}`; the last of a log |
 */
export interface RunLogEntry {
  /** Rises within a run; a number may be missing where output was kept no longer. */
  readonly seq: number;
  readonly time: Date;
  readonly kind: 'phase' | 'step' | 'stdout' | 'stderr' | 'truncated' | 'note' | 'over';
  readonly data: { readonly [key: string]: Json };
}

export interface RunFilter {
  readonly person?: string;
  readonly host?: string;
  readonly phase?: RunPhase;
  /** Only runs made before this one. */
  readonly before?: string;
  /** At most this many, 1 to 200. */
  readonly limit: number;
}

/** Runs, as whoever serves them sees them. */
export interface Runs {
  /**
   * Writes the run down and begins it. The same idempotency key of the same person with the same fingerprint answers the
   * run that is there. Throws BrokerError `idempotency-conflict` for another fingerprint.
   */
  create(
    order: RunOrder,
    caller: Caller,
    secrets: Readonly<Record<string, string>>,
  ): Promise<{ readonly run: StoredRun; readonly isNew: boolean }>;
  get(id: string): Promise<StoredRun | undefined>;
  /** Newest first. */
  list(filter: RunFilter): Promise<readonly StoredRun[]>;
  /** Throws BrokerError `run-unknown`, or `wish-refused` with the reason. */
  wish(
    id: string,
    kind: Wish['kind'],
    caller: Caller,
    secrets?: Readonly<Record<string, string>>,
  ): Promise<StoredRun>;
  /** Newer credentials of the same person and login, for the runs in work. */
  refresh(caller: Caller): void;
  /**
   * The log after `after`: what is stored, then what comes, without loss or doubling; ends after `over` or when the signal
   * is aborted.
   */
  events(id: string, after: number, signal: AbortSignal): AsyncIterable<RunLogEntry>;
  /** At start: what a dead process had in work becomes interrupted. Answers how many runs. */
  recover(): Promise<number>;
  /** Every minute: forgets what is kept no longer, interrupts what another dead process left. */
  maintain(): Promise<void>;
  /** Whether no new ones are taken any more. */
  readonly isStopping: boolean;
  /**
   * Takes no new runs from now on, and lets those in work end until `graceMs` are over or `atOnce` is aborted; then
   * interrupts them. Answers how many were interrupted.
   */
  drain(graceMs: number, atOnce: AbortSignal): Promise<number>;
  /** Stops what is in work here as if the process had died, and waits until nothing is written any more. */
  close(): Promise<void>;
}
