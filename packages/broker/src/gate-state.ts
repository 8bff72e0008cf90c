/** What a host answers to `gate.state`, as outcomes of a run's steps. Pure; what cannot be read throws BrokerError. */
import { parseStrictJson } from '@beacon/protocol/strict-json';
import { BrokerError } from './error.ts';
import type { RunGrant } from './run-order.ts';
import type { StepOutcome } from './run-state.ts';

/** One command of a grant as the gate knows it; `index` counts within the grant. */
interface GateCommand {
  readonly index: number;
  readonly state: string;
  readonly hasSucceeded: boolean;
}

/** Reads the whole answer to one `gate.state`. Throws BrokerError `gate-malformed`. */
export function readGateState(text: string, grant: string): readonly GateCommand[] {
  try {
    const answer = parseStrictJson(text.trimEnd());
    if (!isObject(answer) || answer['v'] !== 1 || answer['grant'] !== grant) throw new TypeError('not asked');
    if (!Array.isArray(answer['commands'])) throw new TypeError('no commands');
    return answer['commands'].map((command: unknown) => {
      if (!isObject(command)) throw new TypeError('no command');
      const { index, state, why, code } = command;
      if (typeof index !== 'number' || typeof state !== 'string') throw new TypeError('no state');
      return { index, state, hasSucceeded: why === 'ended' && code === 0 };
    });
  } catch (error) {
    throw new BrokerError(
      'gate-malformed',
      'what the host says of the run cannot be read: look at its records there',
      { cause: error },
    );
  }
}

/**
 * `outcomes` with what the host says about the steps of this grant. A step that was sent under it and of which the host
 * has no record was not started: a gate writes down before it starts.
 */
export function withGateState(
  outcomes: readonly StepOutcome[],
  grant: RunGrant,
  commands: readonly GateCommand[],
): readonly StepOutcome[] {
  const known = new Map(commands.map((command) => [command.index, command]));
  const found = [...outcomes];
  for (const [index, step] of grant.steps.entries()) {
    const command = known.get(index);
    if (grant.purpose === 'undo') {
      if (command?.state === 'ended') found[step] = command.hasSucceeded ? 'undone' : 'left';
      else if (command !== undefined) found[step] = 'started';
    } else if (command !== undefined) {
      found[step] = outcomeOf(command);
    } else if (found[step] === 'unknown') {
      found[step] = 'waiting';
    }
  }
  return found;
}

function outcomeOf({ state, hasSucceeded }: GateCommand): StepOutcome {
  switch (state) {
    case 'running':
    case 'unsettled':
    case 'undoing':
      return 'started';
    case 'ended':
      return hasSucceeded ? 'succeeded' : 'failed';
    case 'undone':
      return 'undone';
    case 'undo-failed':
    case 'left':
      return 'left';
    default:
      return 'unknown';
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
