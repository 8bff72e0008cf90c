/** What is known of a run's steps, and what is no longer known when nobody was there to hear. */
import type { RunState, StepOutcome } from './run-state.ts';

/** Sent, and its end is not known yet. */
export function isOpen(outcome: StepOutcome | undefined): boolean {
  return outcome === 'sent' || outcome === 'started';
}

export function withOutcome(run: RunState, at: number, outcome: StepOutcome): RunState {
  return { ...run, steps: run.steps.map((step, index) => (index === at ? { ...step, outcome } : step)) };
}

/** Of what was sent and did not end nobody can say what became of it; of what ended, whether it was taken back. */
export function withUnknown(run: RunState): RunState {
  const forget = (outcome: StepOutcome, hasUndo: boolean): StepOutcome =>
    isOpen(outcome) || ((outcome === 'succeeded' || outcome === 'failed') && hasUndo) ? 'unknown' : outcome;
  return {
    ...run,
    steps: run.steps.map((step) => ({ ...step, outcome: forget(step.outcome, step.hasUndo) })),
  };
}
