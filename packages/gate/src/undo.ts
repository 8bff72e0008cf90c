/**
 * Taking back what a session started, newest first (DESIGN.md section 3.7): when the connection is lost, the run is
 * cancelled or a step fails, and after a crash of the gate. Each undo is a command of the allowlist that was granted with
 * the command it takes back. One that cannot run, may not (its grant is halted) or comes too late is left, by name.
 */

import type { ChainHead } from '@beacon/protocol/checkpoint';
import { FIRST_PREVIOUS } from '@beacon/protocol/record';
import type { Json } from '@beacon/protocol/strict-json';
import { type CommandEnd, freeAccount, isSuccess, prepare, runCommand } from './command-run.ts';
import { refusalOf } from './error.ts';
import type { Gate } from './gate.ts';
import { fillWith } from './plan.ts';
import { requireSafeProgram } from './safe-path.ts';
import type { SessionState, StartedCommand } from './session-journal.ts';

/** How long past the grant's end an undo may still run. */
export const UNDO_PAST_UNTIL_MS = 15 * 60_000;

const HALT_LOOK_MS = 1_000;

export type UndoOutcome =
  | {
      readonly kind: 'undone';
      readonly entry: StartedCommand;
      readonly command: string;
      readonly end: CommandEnd;
      readonly head: ChainHead;
    }
  | {
      readonly kind: 'left';
      readonly entry: StartedCommand;
      readonly command: string;
      readonly reason: string;
    };

/** Secret values of an undo, for as long as the process lives that was given them. */
export type SecretsOf = (entry: StartedCommand) => ReadonlyMap<string, string>;

/**
 * Works through `state.started` from the end and tells each outcome. `keep` is called with what is left to do before and
 * after each step. A full disk must not keep anything from being taken back: what cannot be kept or recorded is missing
 * there, and an undo may then be called once more by who recovers.
 */
export async function undoAll(
  gate: Gate,
  state: SessionState,
  secretsOf: SecretsOf,
  keep: (state: SessionState) => void,
  tell: (outcome: UndoOutcome) => void,
): Promise<void> {
  const tryToKeep = (now: SessionState): void => attempt(() => keep(now));
  for (let left = [...state.started]; ; ) {
    const entry = left.at(-1);
    if (entry === undefined) return;
    if (entry.undo !== null) tell(await undoOne(gate, state, left, entry, secretsOf(entry), tryToKeep));
    left = left.slice(0, -1);
    tryToKeep({ ...state, started: left, unit: null });
  }
}

async function undoOne(
  gate: Gate,
  state: SessionState,
  left: readonly StartedCommand[],
  entry: StartedCommand,
  secrets: ReadonlyMap<string, string>,
  keep: (state: SessionState) => void,
): Promise<UndoOutcome> {
  const command = entry.undo?.command ?? '';
  const about = { person: state.person, service: state.service, host: state.host, grant: entry.grant };
  const facts = { serial: state.serial, index: entry.index, command, of: entry.command };
  const record = (kind: string, more: { readonly [key: string]: Json }): ChainHead =>
    gate.records.append({ kind, ...about, facts: { ...facts, ...more } });
  const leave = (code: string, reason: string): UndoOutcome => {
    attempt(() => record('undo-left', { code }));
    return { kind: 'left', entry, command, reason };
  };
  const deadline = new Date(state.until).getTime() + UNDO_PAST_UNTIL_MS;
  if (isHalted(gate, entry.grant)) return leave('halted', 'the trust status halts this grant');
  if (gate.now().getTime() >= deadline) return leave('too-late', 'it is more than 15 minutes past the grant');
  if (entry.undo?.needsSecret === true && secrets.size === 0) {
    return leave('secret-gone', 'it needs a secret, which was never written down');
  }
  try {
    const allowlist = gate.readAllowlist();
    const filled = fillWith(allowlist, command, entry.undo?.params ?? '{}', secrets);
    requireSafeProgram(filled.argv[0], gate.owner);
    const prepared = prepare(gate, filled, `undo-${entry.grant}-${entry.index}`);
    keep({ ...state, started: left, unit: prepared.unit });
    attempt(() =>
      record('undo-started', {
        unit: prepared.unit,
        run_as: prepared.account.name,
        allowlist: allowlist.digest,
      }),
    );
    const end = await runCommand(gate, filled, prepared, { ...about }, undefined, (interrupt) => {
      const timer = setInterval(() => {
        if (gate.now().getTime() >= deadline) interrupt('timeout');
        else if (isHalted(gate, entry.grant)) interrupt('revoked');
      }, HALT_LOOK_MS);
      return () => clearInterval(timer);
    });
    if (isSuccess(end)) freeAccount(gate, filled);
    attempt(() => record('undo-ended', endFacts(end)));
    return { kind: 'undone', entry, command, end, head: lastHead(gate) };
  } catch (error) {
    const { code, reason } = refusalOf(error);
    return leave(code, reason);
  }
}

/** How a command ended, as a record says it. */
export function endFacts(end: CommandEnd): { readonly [key: string]: Json } {
  return {
    why: end.why,
    code: end.code,
    signal: end.signal,
    duration_ms: end.durationMs,
    output_bytes: end.outputBytes,
  };
}

/** A status that cannot be read halts nothing: revocation stops what goes forward, not what takes back. */
function isHalted(gate: Gate, grant: string): boolean {
  try {
    return gate.trust.read(gate.now()).status.halt.includes(grant);
  } catch {
    return false;
  }
}

/** Nothing where the chain cannot be read: the undo has run all the same. */
function lastHead(gate: Gate): ChainHead {
  try {
    return gate.records.last().head;
  } catch {
    return { seq: 0, hash: FIRST_PREVIOUS };
  }
}

function attempt(work: () => void): void {
  try {
    work();
  } catch {
    // What could not be written is missing in the chain, and was said in the machine's log.
  }
}
