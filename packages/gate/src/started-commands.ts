/**
 * What one session has started and may have to take back, oldest first: in this process with the secrets of its undos,
 * and on the disk without them. Nothing is started before it stands here.
 */
import type { Invocation } from '@beacon/protocol/gate-request';
import type { Grant } from '@beacon/protocol/grant';
import type { Admission } from './admit.ts';
import type { Gate } from './gate.ts';
import type { SessionState, StartedCommand } from './session-journal.ts';
import { type UndoOutcome, undoAll } from './undo.ts';

/** A command that is about to start. */
export interface Starting {
  readonly id: number;
  readonly grant: Grant;
  readonly index: number;
  readonly command: string;
  readonly unit: string;
  readonly undo: Invocation | undefined;
}

export class StartedCommands {
  readonly #gate: Gate;
  readonly #serial: string;
  readonly #undoSecrets = new Map<StartedCommand, ReadonlyMap<string, string>>();
  #entries: readonly StartedCommand[] = [];
  #isKept = false;

  /** `serial` is that of the certificate which opened the session. */
  constructor(gate: Gate, serial: string) {
    this.#gate = gate;
    this.#serial = serial;
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** On the disk when it returns; the result adds it for this process too, once it is certain to start. */
  expect(starting: Starting, admission: Admission): () => void {
    const { id, grant, index, command, unit, undo } = starting;
    const kept =
      undo === undefined
        ? null
        : { command: undo.command, params: undo.params, needsSecret: undo.secrets.size > 0 };
    const entry: StartedCommand = { id, grant: grant.grant, index, command, unit, undo: kept };
    const state = this.#state(admission);
    this.#isKept = true;
    this.#gate.journal.keep({ ...state, started: [...state.started, entry], unit });
    return () => {
      this.#entries = [...this.#entries, entry];
      if (undo === undefined) return;
      const secrets = [...undo.secrets].map(([name, { value }]) => [name, value] as const);
      this.#undoSecrets.set(entry, new Map(secrets));
    };
  }

  /** Takes all of it back, newest first, and tells each outcome. */
  async undo(admission: Admission, tell: (outcome: UndoOutcome) => void): Promise<void> {
    await undoAll(
      this.#gate,
      this.#state(admission),
      (entry) => this.#undoSecrets.get(entry) ?? new Map(),
      (state) => this.#gate.journal.keep(state),
      tell,
    );
    this.#entries = [];
  }

  /** Nothing is left to do. */
  settle(): void {
    if (this.#isKept) this.#gate.journal.settle(this.#serial);
    this.#isKept = false;
  }

  #state({ grant, until }: Admission): SessionState {
    return {
      serial: this.#serial,
      person: grant.person,
      service: grant.service,
      host: grant.host,
      grant: grant.grant,
      until: until.toISOString(),
      unit: null,
      started: this.#entries,
    };
  }
}
