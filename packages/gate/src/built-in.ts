/**
 * The two commands that every gate answers itself, granted and recorded like any other: `gate.state`, what a grant
 * started, ended and undid, and `gate.records`, the lines of a grant exactly as they stand in the chain. Both name the
 * grant by their one parameter, `grant`, which policy sees.
 */
import { BUILT_IN_COMMANDS } from '@beacon/protocol/allowlist';
import { parseParams } from '@beacon/protocol/arguments-digest';
import type { Invocation } from '@beacon/protocol/gate-request';
import { isId } from '@beacon/protocol/id';
import type { Json } from '@beacon/protocol/strict-json';
import { GateError } from './error.ts';
import type { Gate } from './gate.ts';
import type { Records } from './records.ts';

export type BuiltInCommand = (typeof BUILT_IN_COMMANDS)[number];

/** The most bytes of an answer; what is older comes first, so a cut answer lacks the newest. */
export const BUILT_IN_OUTPUT_BYTES = 4_194_304;

export function isBuiltIn(command: string): command is BuiltInCommand {
  return (BUILT_IN_COMMANDS as readonly string[]).includes(command);
}

/** The grant that a built-in command is asked about. Throws GateError. */
export function builtInGrant({ params, secrets }: Invocation): string {
  const { grant, ...others } = parseParams(params);
  const [unknown] = [...Object.keys(others), ...secrets.keys()];
  if (unknown !== undefined) {
    throw new GateError('parameter-unknown', `there is no parameter ${unknown}: the only one is grant`);
  }
  if (grant === undefined) throw new GateError('parameter-missing', 'the parameter grant is missing');
  if (!isId(grant)) throw new GateError('value-refused', 'the parameter grant is not the id of a grant');
  return grant;
}

/** The lines of the answer. */
export function* answerBuiltIn(
  command: BuiltInCommand,
  { records, journal }: Pick<Gate, 'records' | 'journal'>,
  grant: string,
): Generator<string> {
  const ofGrant = records.select((record) => record.grant === grant);
  switch (command) {
    case 'gate.records':
      for (const { line } of ofGrant) yield line;
      return;
    case 'gate.state':
      yield JSON.stringify({
        v: 1,
        grant,
        commands: [...stateOf(ofGrant, journal.unsettled(grant)).values()],
      });
      return;
  }
}

interface CommandState {
  readonly index: number;
  readonly command: string;
  /** `unsettled`: it has ended, and its session goes on, which may take it back still. */
  readonly state: 'running' | 'unsettled' | 'ended' | 'undoing' | 'undone' | 'undo-failed' | 'left';
  readonly why?: Json;
  readonly code?: Json;
  readonly signal?: Json;
}

const STATE_OF: Readonly<Record<string, CommandState['state']>> = {
  'command-started': 'running',
  'command-ended': 'ended',
  'undo-started': 'undoing',
  'undo-ended': 'undone',
  'undo-left': 'left',
};

function stateOf(
  lines: ReturnType<Records['select']>,
  unsettled: ReadonlySet<number>,
): Map<number, CommandState> {
  const states = new Map<number, CommandState>();
  for (const { record } of lines) {
    const { index, command, of, why, code, signal } = record.facts ?? {};
    const state = STATE_OF[record.kind];
    if (state === undefined || typeof index !== 'number' || typeof command !== 'string') continue;
    const hasFailed = state === 'undone' && (why !== 'ended' || code !== 0);
    states.set(index, {
      index,
      command: typeof of === 'string' ? of : command,
      state: hasFailed ? 'undo-failed' : state === 'ended' && unsettled.has(index) ? 'unsettled' : state,
      ...(why === undefined ? {} : { why }),
      ...(code === undefined ? {} : { code }),
      ...(signal === undefined ? {} : { signal }),
    });
  }
  return states;
}
