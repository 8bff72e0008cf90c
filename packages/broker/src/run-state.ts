/**
 * What a run is (DESIGN.md section 3): its phase, its steps with what is known of each, and what it has made at GitHub.
 * A value that is written down whole. What happens to it and what is to be done about that are values too; how one leads
 * to the other stands in `run-advance.ts`. No input, no output, no time.
 */

/**
 * What has to be done at GitHub right before a step: a secret for it, the runner taken away there first, or waiting until
 * it is seen online there.
 */
export type Preparation = 'none' | 'register' | 'drain' | 'online';

export interface StepPlan {
  readonly command: string;
  readonly preparation: Preparation;
  readonly hasUndo: boolean;
}

/**
 * `waiting`: not asked for. `sent`: asked for, or about to be; nobody has said that it began. `unknown`: it was sent, and
 * then nobody was there to hear. `left`: it should have been taken back and was not.
 */
export type StepOutcome =
  | 'waiting'
  | 'sent'
  | 'started'
  | 'succeeded'
  | 'failed'
  | 'refused'
  | 'unknown'
  | 'undone'
  | 'left';

export interface StepState extends StepPlan {
  readonly outcome: StepOutcome;
}

export type RunPhase =
  /** Written down; nothing has been asked of anybody. */
  | 'queued'
  /** The CA is asked whether all of it would be allowed. */
  | 'deciding'
  /** GitHub is asked for what the current step needs. */
  | 'preparing'
  /** The CA is asked for a certificate for the steps up to the next that needs something of GitHub. */
  | 'certifying'
  | 'connecting'
  /** The open session is given the next certificate. */
  | 'replacing'
  | 'running'
  /** All steps have succeeded; the gate is told to keep them. */
  | 'ending'
  /** The gate takes back what it saw start. */
  | 'undoing'
  /** What was made at GitHub is removed there. */
  | 'removing'
  /** Nobody knows what goes on at the host, and nothing is done until the person says what. */
  | 'interrupted'
  /** The host is asked what became of the steps. */
  | 'looking'
  /** The person had the steps taken back, by a session of its own. */
  | 'taking-back'
  | 'succeeded'
  | 'failed'
  | 'cancelled'
  | 'denied';

/** Why a run does not go on. `reason` is for the person. */
export interface RunEnd {
  readonly how: 'failed' | 'cancelled' | 'denied' | 'interrupted';
  readonly reason: string;
}

export interface RunState {
  readonly phase: RunPhase;
  /** Counts from 1; answers to an earlier attempt are nobody's any more. */
  readonly attempt: number;
  /** The step that is in work, or the next. */
  readonly step: number;
  readonly steps: readonly StepState[];
  /** Whether a session with the gate is open, as far as is known. */
  readonly isConnected: boolean;
  /** `intended`: the host was asked to register it, so it may be there. `left`: it may be there still, by name. */
  readonly github: 'nothing' | 'intended' | 'kept' | 'removed' | 'left';
  /** Set when it is clear that the run will not succeed in this attempt. */
  readonly end: RunEnd | undefined;
  /** What follows when GitHub's side is removed: the end, or another attempt. */
  readonly after: 'end' | 'again';
}

/** What others report. All but `restarted` and `stopped` belong to one attempt. */
export type Report =
  | { readonly kind: 'begin' }
  | { readonly kind: 'allowed' }
  | { readonly kind: 'denied'; readonly reason: string }
  | { readonly kind: 'prepared' }
  | { readonly kind: 'certified' }
  | { readonly kind: 'connected' }
  | { readonly kind: 'replaced' }
  | { readonly kind: 'started' }
  | { readonly kind: 'succeeded' }
  /** The command has ended badly, by its own status or a limit. */
  | { readonly kind: 'failed'; readonly reason: string }
  /** The gate did not start the command. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** Somebody who was asked did not do it: CA, GitHub, sshd or the gate. */
  | { readonly kind: 'unavailable'; readonly reason: string }
  | { readonly kind: 'undone'; readonly step: number }
  | { readonly kind: 'left'; readonly step: number }
  /** The gate has said its last word. */
  | { readonly kind: 'closed' }
  /** The connection is gone without one. */
  | { readonly kind: 'lost'; readonly reason: string }
  | { readonly kind: 'removed' }
  /** What the host says of the steps, in their order; `unknown` where it says nothing. */
  | { readonly kind: 'found'; readonly outcomes: readonly StepOutcome[] };

/** What the person presses. */
export type Wish = { readonly kind: 'cancel' | 'look' | 'resume' | 'undo' };

export type RunEvent =
  | ({ readonly attempt: number } & Report)
  | Wish
  /** The broker has started anew: whatever was going on, nobody has heard its end. */
  | { readonly kind: 'restarted' }
  /** The broker is ending in order, and waits for the run no longer. */
  | { readonly kind: 'stopped' };

/** What is to be done once the state that came with it is on the disk. */
export type RunEffect =
  | { readonly do: 'decide' | 'connect' | 'replace' | 'end' | 'cancel' | 'disconnect' | 'remove' | 'look' }
  | { readonly do: 'prepare'; readonly step: number; readonly what: Exclude<Preparation, 'none'> }
  /** A certificate for the steps `from` up to and without `to`. */
  | { readonly do: 'certify'; readonly from: number; readonly to: number }
  | { readonly do: 'send'; readonly step: number }
  /** The undos of these steps, in this order, by a session of their own. */
  | { readonly do: 'take-back'; readonly steps: readonly number[] };

const OVER: readonly RunPhase[] = ['succeeded', 'failed', 'cancelled', 'denied'];

export function isOver({ phase }: RunState): boolean {
  return OVER.includes(phase);
}

/** A run that was just written down. */
export function newRun(steps: readonly [StepPlan, ...StepPlan[]]): RunState {
  return {
    phase: 'queued',
    attempt: 1,
    step: 0,
    steps: steps.map((plan) => ({ ...plan, outcome: 'waiting' })),
    isConnected: false,
    github: 'nothing',
    end: undefined,
    after: 'end',
  };
}
