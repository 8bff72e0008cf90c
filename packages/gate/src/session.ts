/**
 * One session of an admitted caller, from `hello` to `closed` (DESIGN.md section 5, "Session"): requests one after
 * another, and what was started taken back unless the client says `end`. A request for a command is `step.ts`, what is
 * written down `session-record.ts`, taking back `undo.ts`; here is their order.
 */
import type { Ending } from '@beacon/protocol/gate-event';
import { type GateRequest, parseGateRequest } from '@beacon/protocol/gate-request';
import { type Admission, admitReplacement } from './admit.ts';
import type { EventOutput } from './event-output.ts';
import type { Gate } from './gate.ts';
import type { LineInput } from './line-input.ts';
import { recover } from './recover.ts';
import { SessionRecord } from './session-record.ts';
import { StartedCommands } from './started-commands.ts';
import { type StepOptions, takeStep } from './step.ts';
import type { UndoOutcome } from './undo.ts';
import { GATE_VERSION } from './version.ts';

export interface SessionOptions {
  readonly gate: Gate;
  readonly admission: Admission;
  readonly input: LineInput;
  readonly output: EventOutput;
  /** Leaves somebody behind who calls `recover` if this process dies; the result sends them away. */
  readonly guard?: () => () => void;
}

/** A session whose `hello` was said. */
export interface OpenedSession {
  /** Serves it to its end, and says why it ended; `ended` and `cancelled` are in order. */
  readonly run: () => Promise<Ending>;
}

/** Longest time between two requests. */
const IDLE_MS = 60_000;
/** After a command has ended the client may still say `end`, though the grant's end has come meanwhile. */
const LAST_WORD_MS = 5_000;

/** Writes down that the session begins, and says `hello`. */
export function openSession(options: SessionOptions): OpenedSession {
  const session = new Session(options);
  session.open();
  return session;
}

class Session implements OpenedSession {
  readonly #gate: Gate;
  readonly #input: LineInput;
  readonly #output: EventOutput;
  readonly #record: SessionRecord;
  readonly #started: StartedCommands;
  readonly #step: StepOptions;
  #admission: Admission;
  /** A step has failed: nothing more may start. */
  #isOver = false;
  #lastUndo = 0;
  #dismissGuard: (() => void) | undefined;

  constructor({ gate, admission, input, output, guard }: SessionOptions) {
    this.#gate = gate;
    this.#input = input;
    this.#output = output;
    this.#admission = admission;
    const serial = String(admission.certificate.serial);
    this.#record = new SessionRecord(gate, output, serial);
    this.#started = new StartedCommands(gate, serial);
    this.#step = {
      gate,
      input,
      output,
      record: this.#record,
      started: this.#started,
      guard: () => {
        this.#dismissGuard ??= guard?.();
      },
    };
  }

  open(): void {
    const gate = this.#gate;
    const { grant, until } = this.#admission;
    const { digest } = gate.readAllowlist();
    const head = this.#record.append(grant, 'session-opened', {
      until: until.toISOString(),
      commands: grant.commands.map(({ command }) => command),
      allowlist: digest,
    });
    this.#output.write({
      event: 'hello',
      version: GATE_VERSION,
      host: gate.identity.host,
      grant: grant.grant,
      until: until.toISOString(),
      allowlist: digest,
      head,
      ...(gate.notice === undefined ? {} : { notice: gate.notice }),
    });
  }

  async run(): Promise<Ending> {
    let why: Ending = 'unavailable';
    try {
      await recover(this.#gate);
      why = await this.#serve();
    } finally {
      await this.#close(why);
    }
    return why;
  }

  async #serve(): Promise<Ending> {
    for (;;) {
      const input = await this.#input.next(this.#patienceMs());
      if (input.kind === 'closed') return 'lost';
      if (input.kind === 'idle') return 'idle';
      const request = this.#parse(input.line);
      if (request === undefined) continue;
      switch (request.kind) {
        case 'cancel':
          return 'cancelled';
        case 'end':
          return 'ended';
        case 'certificate':
          this.#replace(request.id, request.blob);
          break;
        case 'command': {
          const why = await takeStep(this.#step, request, this.#admission, this.#isOver);
          if (why === 'failed') await this.#giveUp();
          else if (why !== undefined) return why;
        }
      }
    }
  }

  /** Until when the next line is waited for: a minute, and not past the grant's end. */
  #patienceMs(): number {
    const end = Math.max(
      this.#admission.until.getTime(),
      this.#record.lastEnd + LAST_WORD_MS,
      this.#lastUndo + LAST_WORD_MS,
    );
    return Math.max(0, Math.min(IDLE_MS, end - this.#gate.now().getTime()));
  }

  #parse(line: string): GateRequest | undefined {
    try {
      return parseGateRequest(line);
    } catch (error) {
      this.#record.refuse(this.#admission.grant, undefined, error);
      return undefined;
    }
  }

  #replace(id: number, blob: Buffer): void {
    try {
      this.#admission = admitReplacement(blob, this.#admission, this.#gate);
      const { grant, until, certificate } = this.#admission;
      this.#record.append(grant, 'grant-replaced', {
        by_serial: String(certificate.serial),
        until: until.toISOString(),
        commands: grant.commands.map(({ command }) => command),
      });
      this.#output.write({ event: 'replaced', id, grant: grant.grant, until: until.toISOString() });
    } catch (error) {
      this.#record.refuse(this.#admission.grant, id, error);
    }
  }

  /** After a failed step: what was started is taken back, and nothing but built-in commands is answered any more. */
  async #giveUp(): Promise<void> {
    this.#isOver = true;
    await this.#undo();
    this.#lastUndo = this.#gate.now().getTime();
  }

  async #undo(): Promise<void> {
    const tell = (outcome: UndoOutcome): void => {
      const { entry, command } = outcome;
      if (outcome.kind === 'left') {
        this.#output.write({ event: 'left', id: entry.id, command, reason: outcome.reason });
        return;
      }
      const { code, signal, why } = outcome.end;
      this.#output.write({ event: 'undone', id: entry.id, command, code, signal, why, head: outcome.head });
    };
    await this.#started.undo(this.#admission, tell);
  }

  async #close(why: Ending): Promise<void> {
    const isKept = why === 'ended' || this.#started.isEmpty;
    if (!isKept) await this.#undo();
    this.#started.settle();
    const head = this.#record.append(this.#admission.grant, 'session-closed', { why });
    this.#dismissGuard?.();
    this.#output.write({ event: 'closed', why, head });
  }
}
