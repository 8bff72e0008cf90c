/**
 * What a session writes down: each record names the person, service, host and grant of the moment, and the serial of the
 * certificate that opened it. A refusal is recorded and answered in one breath.
 */
import type { ChainHead } from '@beacon/protocol/checkpoint';
import type { Grant } from '@beacon/protocol/grant';
import type { Json } from '@beacon/protocol/strict-json';
import type { CommandEnd } from './command-run.ts';
import { refusalOf } from './error.ts';
import type { EventOutput } from './event-output.ts';
import type { Gate } from './gate.ts';
import { endFacts } from './undo.ts';

export class SessionRecord {
  readonly serial: string;
  readonly #gate: Gate;
  readonly #output: EventOutput;
  #lastEnd = 0;

  constructor(gate: Gate, output: EventOutput, serial: string) {
    this.#gate = gate;
    this.#output = output;
    this.serial = serial;
  }

  /** When a command last ended, in milliseconds since 1970; 0 before. */
  get lastEnd(): number {
    return this.#lastEnd;
  }

  /** The record is on the disk when this returns. Throws GateError `state-unavailable`. */
  append(
    { person, service, host, grant }: Grant,
    kind: string,
    facts: { readonly [key: string]: Json },
  ): ChainHead {
    return this.#gate.records.append({
      kind,
      person,
      service,
      host,
      grant,
      facts: { serial: this.serial, ...facts },
    });
  }

  refuse(
    grant: Grant,
    id: number | undefined,
    error: unknown,
    facts: { readonly command?: string } = {},
  ): void {
    const { code, reason } = refusalOf(error);
    try {
      this.append(grant, 'command-refused', { code, ...facts });
    } catch {
      // Nothing has run; that the refusal is not written down is said by the machine's log alone.
    }
    this.#output.write({ event: 'refused', ...(id === undefined ? {} : { id }), code, reason });
  }

  /** Writes down how a command ended, and tells. */
  end(grant: Grant, id: number, index: number, command: string, end: CommandEnd): void {
    this.#lastEnd = this.#gate.now().getTime();
    const head = this.append(grant, 'command-ended', { index, command, ...endFacts(end) });
    const { code, signal, why, durationMs } = end;
    this.#output.write({ event: 'exit', id, code, signal, duration_ms: durationMs, why, head });
  }
}
