/**
 * How a run moves (DESIGN.md section 3): state and event in, the next state and what is to be done out. The caller writes
 * the state down before it does anything, so a kill between the two leaves a run that says more was begun than was, never
 * less. A step is sent at most once in an attempt, and another attempt needs the person, who knows what became of the
 * first. Effects of one run are carried out one after the other, in the order in which they came; so what removes a
 * runner at GitHub comes after what makes it, whichever answer is late. Pure.
 */
import {
  isOver,
  type Report,
  type RunEffect,
  type RunEnd,
  type RunEvent,
  type RunState,
  type StepOutcome,
} from './run-state.ts';
import { isOpen, withOutcome, withUnknown } from './step-outcome.ts';

export type Move =
  | { readonly kind: 'moved'; readonly run: RunState; readonly effects: readonly RunEffect[] }
  /** Nothing has changed. `reason` is for the person where a wish was refused, else for the log. */
  | { readonly kind: 'refused'; readonly reason: string };

export function advance(run: RunState, event: RunEvent): Move {
  if (event.kind === 'restarted' || event.kind === 'stopped') {
    if (isOver(run) || run.phase === 'interrupted') return refused('nothing was going on');
    return interrupt(
      run,
      event.kind === 'stopped'
        ? 'Beacon was stopped while the run was in work'
        : 'Beacon let go of the run while it was in work: it was started anew, or could not write down what happened',
    );
  }
  if (isOver(run)) return refused('the run is over');
  switch (event.kind) {
    case 'cancel':
      return cancel(run);
    case 'look':
      if (run.phase !== 'interrupted') return refused('only a run that was interrupted can be looked at');
      return moved({ ...run, phase: 'looking' }, { do: 'look' });
    case 'resume':
      return resume(run);
    case 'undo':
      return takeBack(run);
    default:
      if (event.attempt !== run.attempt) return refused('an answer to an attempt that is over');
      return report(run, event);
  }
}

function report(run: RunState, event: Report): Move {
  switch (run.phase) {
    case 'queued':
      if (event.kind === 'begin') return moved({ ...run, phase: 'deciding' }, { do: 'decide' });
      break;
    case 'deciding':
      if (event.kind === 'allowed') return approach(run);
      if (isFailure(event)) return stop(run, endOf(event));
      break;
    case 'preparing':
      if (event.kind === 'prepared') return certify(run);
      if (isFailure(event)) return stop(run, endOf(event));
      break;
    case 'certifying':
      if (event.kind === 'certified') {
        return run.isConnected
          ? moved({ ...run, phase: 'replacing' }, { do: 'replace' })
          : moved({ ...run, phase: 'connecting' }, { do: 'connect' });
      }
      if (isFailure(event)) return stop(run, endOf(event));
      break;
    case 'connecting':
      if (event.kind === 'connected') return send({ ...run, isConnected: true });
      // Nothing was sent, so nothing can be going on there.
      if (isFailure(event) || event.kind === 'lost' || event.kind === 'refused') {
        return stop(run, endOf(event));
      }
      break;
    case 'replacing':
      if (event.kind === 'replaced') return send(run);
      if (event.kind === 'refused' || isFailure(event)) return stop(run, endOf(event));
      break;
    case 'running':
      return reportOfStep(run, event);
    case 'ending':
      if (event.kind === 'closed') {
        const github = run.github === 'intended' ? 'kept' : run.github;
        return moved({ ...run, phase: 'succeeded', isConnected: false, github });
      }
      break;
    case 'undoing':
    case 'taking-back':
      return reportOfUndo(run, event);
    case 'removing':
      if (event.kind === 'removed') return afterGithub({ ...run, github: 'removed' });
      if (isFailure(event)) return afterGithub({ ...run, github: 'left', after: 'end' });
      break;
    case 'looking':
      if (event.kind === 'found') return found(run, event.outcomes);
      if (isFailure(event) || event.kind === 'lost') return moved({ ...run, phase: 'interrupted' });
      break;
    default:
      break;
  }
  // The connection may go in any phase in which there is one, and the gate may be tired of waiting and take back.
  if (run.isConnected && event.kind === 'lost') return interrupt(run, event.reason);
  if (run.isConnected && (event.kind === 'undone' || event.kind === 'left')) return takenBack(run, event);
  if (run.isConnected && event.kind === 'closed') {
    return afterUndo({ ...run, isConnected: false, end: closedBy(run) });
  }
  return refused(`${event.kind} does not belong to a run that is ${run.phase}`);
}

function reportOfStep(run: RunState, event: Report): Move {
  const current = run.steps[run.step]?.outcome;
  switch (event.kind) {
    case 'started':
      if (current !== 'sent') return refused('the step has started already');
      return moved(withOutcome(run, run.step, 'started'));
    case 'succeeded': {
      const done = withOutcome(run, run.step, 'succeeded');
      if (run.step + 1 === run.steps.length) return moved({ ...done, phase: 'ending' }, { do: 'end' });
      const next = { ...done, step: run.step + 1 };
      return run.steps[next.step]?.preparation === 'none' ? send(next) : approach(next);
    }
    case 'failed':
      // The gate takes back by itself when a step has failed, and then waits for a last word.
      return moved(
        {
          ...withOutcome(run, run.step, 'failed'),
          phase: 'undoing',
          end: { how: 'failed', reason: event.reason },
        },
        { do: 'cancel' },
      );
    case 'refused': {
      const github = isRegistering(run) ? 'nothing' : run.github;
      const end: RunEnd = { how: 'failed', reason: event.reason };
      return stop({ ...withOutcome(run, run.step, 'refused'), github }, end);
    }
    case 'lost':
      return interrupt(run, event.reason);
    case 'undone':
    case 'left':
      // The gate has stopped the step, because of a revocation say.
      return takenBack(run, event);
    case 'closed':
      return afterUndo({ ...withUnknown(run), isConnected: false, end: closedBy(run) });
    default:
      return refused(`${event.kind} does not belong to a step that runs`);
  }
}

/** The gate takes back without having been asked to: whatever was still to come does not. */
function takenBack(run: RunState, event: Report): Move {
  return reportOfUndo({ ...run, phase: 'undoing', end: closedBy(run) }, event);
}

function reportOfUndo(run: RunState, event: Report): Move {
  switch (event.kind) {
    case 'undone':
    case 'left':
      switch (run.steps[event.step]?.outcome) {
        case undefined:
          return refused('there is no such step');
        case 'undone':
        case event.kind:
          return refused('that is known already');
        default:
          return moved(withOutcome(run, event.step, event.kind));
      }
    // How the step ended that was stopped.
    case 'started':
    case 'succeeded':
    case 'failed':
    case 'refused':
      if (run.phase === 'undoing' && isOpen(run.steps[run.step]?.outcome)) {
        return moved(withOutcome(run, run.step, event.kind));
      }
      return refused('the step has ended already');
    case 'closed':
      return afterUndo({ ...withUnknown(run), isConnected: false });
    case 'unavailable':
    case 'denied':
      if (run.phase !== 'taking-back') break;
      return moved({ ...run, phase: 'interrupted', end: { how: 'interrupted', reason: event.reason } });
    case 'lost':
      return interrupt(run, event.reason);
    default:
      break;
  }
  return refused(`${event.kind} does not belong to a run that is taken back`);
}

/** Towards the current step: first what it needs of GitHub, then a certificate. */
function approach(run: RunState): Move {
  const what = run.steps[run.step]?.preparation ?? 'none';
  if (what === 'none') return certify(run);
  return moved({ ...run, phase: 'preparing' }, { do: 'prepare', step: run.step, what });
}

function certify(run: RunState): Move {
  const later = run.steps.findIndex(({ preparation }, at) => at > run.step && preparation !== 'none');
  const to = later === -1 ? run.steps.length : later;
  return moved({ ...run, phase: 'certifying' }, { do: 'certify', from: run.step, to });
}

function send(run: RunState): Move {
  // Only now may a runner of that name be ours: one that was there before belongs to somebody else.
  const github = isRegistering(run) ? 'intended' : run.github;
  return moved(
    { ...withOutcome(run, run.step, 'sent'), phase: 'running', github },
    { do: 'send', step: run.step },
  );
}

function isRegistering({ steps, step }: RunState): boolean {
  return steps[step]?.preparation === 'register';
}

/** The run will not succeed: what is open at the gate is taken back there, and then what is at GitHub. */
function stop(run: RunState, end: RunEnd): Move {
  if (run.isConnected) return moved({ ...run, phase: 'undoing', end }, { do: 'cancel' });
  return afterUndo({ ...run, end });
}

function afterUndo(run: RunState): Move {
  // What may have to be taken back still is not called an end: the person may look.
  if (run.steps.some(({ outcome, hasUndo }) => outcome === 'unknown' && hasUndo)) {
    return interrupt(run, run.end?.reason ?? 'the gate did not say what became of a step');
  }
  if (run.github !== 'intended') return afterGithub({ ...run, after: 'end' });
  return moved({ ...run, phase: 'removing', after: 'end' }, { do: 'remove' });
}

function afterGithub(run: RunState): Move {
  if (run.after === 'again') return again(run);
  const how = run.end?.how ?? 'failed';
  return moved({ ...run, phase: how === 'interrupted' ? 'failed' : how });
}

function interrupt(run: RunState, reason: string): Move {
  return moved({
    ...withUnknown(run),
    phase: 'interrupted',
    isConnected: false,
    after: 'end',
    end: { how: 'interrupted', reason },
  });
}

function cancel(run: RunState): Move {
  const end: RunEnd = { how: 'cancelled', reason: 'the person cancelled the run' };
  switch (run.phase) {
    case 'ending':
      return refused('all steps have succeeded already: undo takes them back');
    case 'undoing':
    case 'removing':
      return refused('it is being taken back already');
    case 'taking-back':
      return giveUp(run);
    case 'interrupted':
    case 'looking':
      return refused('nothing of it runs here any more: look, resume or undo');
    case 'connecting': {
      // Not even a session is there; whoever connects is told to leave it.
      const stopped = stop(run, end);
      return stopped.kind === 'moved'
        ? { ...stopped, effects: [{ do: 'disconnect' }, ...stopped.effects] }
        : stopped;
    }
    default:
      return stop(run, end);
  }
}

function found(run: RunState, outcomes: readonly StepOutcome[]): Move {
  if (outcomes.length !== run.steps.length) return refused('an answer about other steps');
  const steps = run.steps.map((step, at) => ({ ...step, outcome: outcomes[at] ?? step.outcome }));
  // The gate was told to keep them, and only the answer was lost.
  if (outcomes.every((outcome) => outcome === 'succeeded')) {
    const github = run.github === 'intended' ? 'kept' : run.github;
    return moved({ ...run, phase: 'succeeded', steps, github, end: undefined });
  }
  return moved({ ...run, phase: 'interrupted', steps });
}

/** Another attempt from the first step on: what the last one had done was taken back when its session was lost. */
function resume(run: RunState): Move {
  if (run.phase !== 'interrupted') return refused('only a run that was interrupted can be resumed');
  const open = run.steps.find(
    ({ outcome, hasUndo }) =>
      outcome === 'unknown' ||
      outcome === 'left' ||
      isOpen(outcome) ||
      // What has failed is taken back by the gate too, and then the host says so.
      ((outcome === 'succeeded' || outcome === 'failed') && hasUndo),
  );
  if (open !== undefined) {
    return refused(
      `${open.command} is ${open.outcome} on the host: look what became of it, or undo, and then resume`,
    );
  }
  // A secret is made anew, so what was registered with the old one goes first.
  if (run.github === 'intended' || run.github === 'left') {
    return moved({ ...run, phase: 'removing', after: 'again' }, { do: 'remove' });
  }
  return again(run);
}

function again(run: RunState): Move {
  const fresh: RunState = {
    ...run,
    phase: 'deciding',
    attempt: run.attempt + 1,
    step: 0,
    steps: run.steps.map((step) => ({ ...step, outcome: 'waiting' })),
    isConnected: false,
    github: 'nothing',
    end: undefined,
    after: 'end',
  };
  return moved(fresh, { do: 'decide' });
}

function takeBack(run: RunState): Move {
  if (run.phase !== 'interrupted') return refused('only a run that was interrupted can be undone: cancel it');
  const steps = inForce(run).reverse();
  const end: RunEnd = { how: 'cancelled', reason: 'the person had it taken back' };
  if (steps.length === 0) return afterUndo({ ...run, end });
  return moved({ ...run, phase: 'taking-back', end }, { do: 'take-back', steps });
}

/** An undo that does not end is not waited for any longer: what it has not taken back is named. */
function giveUp(run: RunState): Move {
  const given = inForce(run).reduce((left, step) => withOutcome(left, step, 'left'), run);
  const end: RunEnd = { how: 'cancelled', reason: 'the person cancelled the undo before it had ended' };
  return afterUndo({ ...given, end });
}

/** The steps of which something may be there still that can be taken back. */
function inForce({ steps }: RunState): number[] {
  return steps.flatMap(({ outcome, hasUndo }, at) =>
    hasUndo && outcome !== 'waiting' && outcome !== 'undone' && outcome !== 'refused' ? [at] : [],
  );
}

type Failure = Extract<Report, { readonly kind: 'unavailable' | 'denied' }>;

/** Of whatever is asked for, whoever is asked may say no, or nothing. */
function isFailure(event: Report): event is Failure {
  return event.kind === 'unavailable' || event.kind === 'denied';
}

function endOf({ kind, reason }: { readonly kind: Report['kind']; readonly reason: string }): RunEnd {
  return { how: kind === 'denied' ? 'denied' : 'failed', reason };
}

function closedBy(run: RunState): RunEnd {
  return run.end ?? { how: 'failed', reason: 'the gate ended the session' };
}

function moved(run: RunState, ...effects: readonly RunEffect[]): Move {
  return { kind: 'moved', run, effects };
}

function refused(reason: string): Move {
  return { kind: 'refused', reason };
}
