/**
 * After a gate has died (killed, crashed, or the machine restarted): what it left running is stopped by name, and what it
 * had started is taken back. Done by the watcher that each gate leaves behind, by the next gate before its first command,
 * and by `beacon gate recover`, whichever comes first; the one who adopts a session does it alone.
 */
import type { Gate } from './gate.ts';
import type { StartedCommand } from './session-journal.ts';
import { endFacts, undoAll } from './undo.ts';

/** Settles every session whose process is gone, and says how many there were. */
export async function recover(gate: Gate): Promise<number> {
  for (let count = 0; ; count++) {
    const state = gate.journal.adopt();
    if (state === undefined) return count;
    const { person, service, host, grant, serial } = state;
    const about = { person, service, host, grant };
    const last = state.started.findLast((entry) => entry.unit === state.unit);
    const lastKinds = last === undefined ? undefined : recordedKinds(gate, last);
    // What has ended is left alone: its unit's name may by now be that of another session's.
    const unit = lastKinds?.has('command-ended') === true ? null : state.unit;
    if (unit !== null) await gate.execution.stopUnit(unit);
    gate.records.append({ kind: 'session-recovered', ...about, facts: { serial, unit } });
    if (last !== undefined && unit !== null && lastKinds?.has('command-started') === true) {
      const end = { why: 'lost', code: null, signal: null, durationMs: 0, outputBytes: 0 } as const;
      gate.records.append({
        kind: 'command-ended',
        ...about,
        grant: last.grant,
        facts: { serial, index: last.index, command: last.command, ...endFacts(end) },
      });
    }
    await undoAll(
      gate,
      state,
      () => new Map(),
      (left) => gate.journal.keep(left),
      () => undefined,
    );
    gate.journal.settle(serial);
    gate.records.append({ kind: 'session-closed', ...about, facts: { serial, why: 'lost' } });
  }
}

/** What the chain has of a command: its beginning may be missing, where the gate died before it, and so may its end. */
function recordedKinds(gate: Gate, { grant, index }: StartedCommand): ReadonlySet<string> {
  const kinds = new Set<string>();
  for (const { record } of gate.records.select((one) => one.grant === grant)) {
    if (record.facts?.['index'] === index) kinds.add(record.kind);
  }
  return kinds;
}
