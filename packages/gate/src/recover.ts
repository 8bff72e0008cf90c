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
    const { person, service, host, grant, serial, unit } = state;
    const about = { person, service, host, grant };
    if (unit !== null) await gate.execution.stopUnit(unit);
    gate.records.append({ kind: 'session-recovered', ...about, facts: { serial, unit } });
    const stopped = state.started.find((entry) => entry.unit === unit);
    if (stopped !== undefined && runsByRecord(gate, stopped)) {
      const end = { why: 'lost', code: null, signal: null, durationMs: 0, outputBytes: 0 } as const;
      gate.records.append({
        kind: 'command-ended',
        ...about,
        grant: stopped.grant,
        facts: { serial, index: stopped.index, command: stopped.command, ...endFacts(end) },
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

/** Whether the chain has the beginning of a command and not its end: the gate may have died between record and journal. */
function runsByRecord(gate: Gate, { grant, index }: StartedCommand): boolean {
  const kinds = new Set<string>();
  for (const { record } of gate.records.select((one) => one.grant === grant)) {
    if (record.facts?.['index'] === index) kinds.add(record.kind);
  }
  return kinds.has('command-started') && !kinds.has('command-ended');
}
