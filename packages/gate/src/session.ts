/**
 * One session of an admitted caller, from `hello` to `closed` (DESIGN.md section 5, "Session"): requests one after
 * another, each checked, recorded, run and recorded; and what was started taken back unless the client says `end`. The
 * rules of a request are `plan.ts`, what interrupts is `watch.ts`, taking back is `undo.ts`; here is their order.
 */

import type { ChainHead } from '@beacon/protocol/checkpoint';
import type { Ending } from '@beacon/protocol/gate-event';
import { type GateRequest, type Invocation, parseGateRequest } from '@beacon/protocol/gate-request';
import type { Json } from '@beacon/protocol/strict-json';
import { type Admission, admitReplacement, requireClock, requireTrusted } from './admit.ts';
import { answerBuiltIn, BUILT_IN_OUTPUT_BYTES, builtInGrant, isBuiltIn } from './built-in.ts';
import {
  type CommandEnd,
  freeAccount,
  isSuccess,
  type Prepared,
  prepare,
  runCommand,
} from './command-run.ts';
import { GateError, refusalOf } from './error.ts';
import type { EventOutput } from './event-output.ts';
import type { Gate } from './gate.ts';
import type { LineInput } from './line-input.ts';
import { matchGrant, type Plan, planCommand } from './plan.ts';
import { recover } from './recover.ts';
import { requireSafeProgram } from './safe-path.ts';
import { StartedCommands } from './started-commands.ts';
import { endFacts, type UndoOutcome } from './undo.ts';
import { GATE_VERSION } from './version.ts';
import { watch, whyNot } from './watch.ts';

export interface SessionOptions {
  readonly gate: Gate;
  readonly admission: Admission;
  readonly input: LineInput;
  readonly output: EventOutput;
  /** Leaves somebody behind who calls `recover` if this process dies; the result sends them away. */
  readonly guard?: () => () => void;
}

type CommandRequest = GateRequest & { kind: 'command' };

/** Longest time between two requests. */
const IDLE_MS = 60_000;
/** After a command has ended the client may still say `end`, though the grant's end has come meanwhile. */
const LAST_WORD_MS = 5_000;

/** Runs the session to its end, and says why it ended; `ended` and `cancelled` are in order. */
export async function runSession(options: SessionOptions): Promise<Ending> {
  return new Session(options).run();
}

class Session {
  readonly #gate: Gate;
  readonly #input: LineInput;
  readonly #output: EventOutput;
  readonly #options: SessionOptions;
  readonly #serial: string;
  #admission: Admission;
  readonly #started: StartedCommands;
  /** Why nothing more may start, once a step has failed. */
  #isOver = false;
  #lastEnd = 0;
  #dismissGuard: (() => void) | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#gate = options.gate;
    this.#input = options.input;
    this.#output = options.output;
    this.#admission = options.admission;
    this.#serial = String(options.admission.certificate.serial);
    this.#started = new StartedCommands(options.gate, this.#serial);
  }

  async run(): Promise<Ending> {
    this.#open();
    let why: Ending = 'unavailable';
    try {
      await recover(this.#gate);
      why = await this.#serve();
    } finally {
      await this.#close(why);
    }
    return why;
  }

  #open(): void {
    const gate = this.#gate;
    const { grant, until } = this.#admission;
    const { digest } = gate.readAllowlist();
    const head = this.#record('session-opened', {
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
          const why = await this.#command(request);
          if (why === 'failed') await this.#giveUp();
          else if (why !== undefined) return why;
        }
      }
    }
  }

  /** Until when the next line is waited for: a minute, and not past the grant's end. */
  #patienceMs(): number {
    const end = Math.max(this.#admission.until.getTime(), this.#lastEnd + LAST_WORD_MS);
    return Math.max(0, Math.min(IDLE_MS, end - this.#gate.now().getTime()));
  }

  #parse(line: string): GateRequest | undefined {
    try {
      return parseGateRequest(line);
    } catch (error) {
      this.#refuse(undefined, error, {});
      return undefined;
    }
  }

  #replace(id: number, blob: Buffer): void {
    try {
      this.#admission = admitReplacement(blob, this.#admission, this.#gate);
      const { grant, until, certificate } = this.#admission;
      this.#record('grant-replaced', {
        by_serial: String(certificate.serial),
        until: until.toISOString(),
        commands: grant.commands.map(({ command }) => command),
      });
      this.#output.write({ event: 'replaced', id, grant: grant.grant, until: until.toISOString() });
    } catch (error) {
      this.#refuse(id, error, {});
    }
  }

  /** Runs one command; the result says why the session cannot go on as before. */
  async #command(request: CommandRequest): Promise<Ending | undefined> {
    const { id, asked, undo } = request;
    let hasStarted = false;
    try {
      this.#requireStartable(asked.command);
      if (isBuiltIn(asked.command)) {
        this.#answer(id, asked, undo);
        return undefined;
      }
      const allowlist = this.#gate.readAllowlist();
      const plan = planCommand(this.#admission.grant, allowlist, asked, undo, this.#isStarted);
      requireSafeProgram(plan.argv[0], this.#gate.owner);
      if (plan.undo !== undefined) requireSafeProgram(plan.undo.argv[0], this.#gate.owner);
      const { grant } = this.#admission.grant;
      const prepared = prepare(this.#gate, plan, `${grant}-${plan.index}`);
      try {
        this.#start(request, plan, prepared, allowlist.digest);
      } catch (error) {
        prepared.release();
        throw error;
      }
      hasStarted = true;
      return await this.#run(id, plan, prepared);
    } catch (error) {
      this.#refuse(id, error, { command: asked.command });
      // It has run, but how it ended could not be written down: that is no step on which another could build.
      return hasStarted ? 'failed' : undefined;
    }
  }

  readonly #isStarted = (index: number): boolean =>
    this.#gate.marks.isStarted(this.#admission.grant.grant, index);

  #requireStartable(command: string): void {
    const { until, certificate } = this.#admission;
    if (this.#isOver && !isBuiltIn(command)) {
      throw new GateError(
        'run-over',
        'a step of this run has failed, and it was taken back: begin another run',
      );
    }
    if (this.#gate.now() >= until) {
      throw new GateError('grant-ended', `the grant ended at ${until.toISOString()}: ask for another`);
    }
    requireTrusted(certificate, this.#gate, this.#gate.now());
    requireClock(this.#gate);
  }

  /** Marks and writes down that a command starts; nothing runs unless all of it is on the disk. */
  #start(request: CommandRequest, plan: Plan, { unit, account }: Prepared, allowlist: string): void {
    const { grant, until } = this.#admission;
    this.#mark(plan.index, request.asked.command);
    const { id, undo } = request;
    const { command } = request.asked;
    const add = this.#started.expect({ id, grant, index: plan.index, command, unit, undo }, this.#admission);
    this.#dismissGuard ??= this.#options.guard?.();
    this.#record('command-started', {
      index: plan.index,
      command: request.asked.command,
      digest: plan.digest,
      undo: undo?.command ?? null,
      unit,
      run_as: account.name,
      allowlist,
      until: until.toISOString(),
    });
    add();
    this.#output.write({ event: 'started', id: request.id, command: request.asked.command });
  }

  #mark(index: number, command: string): void {
    const { grant, until } = this.#admission;
    if (!this.#gate.marks.markStarted(grant.grant, index, until)) {
      throw new GateError(
        'already-started',
        `${command} was started before, and starts only once: ask for another grant`,
      );
    }
  }

  async #run(id: number, plan: Plan, prepared: Prepared): Promise<Ending | undefined> {
    const { grant } = this.#admission;
    const facts = { person: grant.person, service: grant.service, grant: grant.grant };
    const end = await runCommand(this.#gate, plan, prepared, facts, { to: this.#output, id }, (interrupt) =>
      watch(this.#gate, this.#admission, this.#input, this.#output, interrupt),
    );
    this.#lastEnd = this.#gate.now().getTime();
    if (isSuccess(end)) freeAccount(this.#gate, plan);
    this.#started.rest(this.#admission);
    this.#tellEnd(id, plan.index, plan.command.name, end);
    if (isSuccess(end)) return undefined;
    if (end.why === 'ended' || end.why === 'timeout' || end.why === 'memory') return 'failed';
    // A unit that could not start is a failed step; trust that is gone ends the session.
    return end.why === 'unavailable' && whyNot(this.#gate, this.#admission) === undefined
      ? 'failed'
      : end.why;
  }

  #answer(id: number, asked: Invocation, undo: Invocation | undefined): void {
    if (!isBuiltIn(asked.command)) return;
    const about = builtInGrant(asked);
    const { index, digest } = matchGrant(this.#admission.grant, asked, undo, this.#isStarted);
    this.#mark(index, asked.command);
    this.#record('command-started', { index, command: asked.command, digest, about });
    const begin = performance.now();
    this.#output.write({ event: 'started', id, command: asked.command });
    let outputBytes = 0;
    for (const line of answerBuiltIn(asked.command, this.#gate.records, about)) {
      outputBytes += line.length + 1;
      if (outputBytes > BUILT_IN_OUTPUT_BYTES) {
        this.#output.write({ event: 'truncated', id, max_output_bytes: BUILT_IN_OUTPUT_BYTES });
        break;
      }
      this.#output.write({ event: 'stdout', id, text: `${line}\n` });
    }
    const durationMs = Math.round(performance.now() - begin);
    this.#tellEnd(id, index, asked.command, { code: 0, signal: null, why: 'ended', durationMs, outputBytes });
  }

  #tellEnd(id: number, index: number, command: string, end: CommandEnd): void {
    const head = this.#record('command-ended', { index, command, ...endFacts(end) });
    const { code, signal, why, durationMs } = end;
    this.#output.write({ event: 'exit', id, code, signal, duration_ms: durationMs, why, head });
  }

  /** After a failed step: what was started is taken back, and nothing but built-in commands is answered any more. */
  async #giveUp(): Promise<void> {
    this.#isOver = true;
    await this.#undo();
    this.#lastEnd = this.#gate.now().getTime();
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
    const head = this.#record('session-closed', { why });
    this.#dismissGuard?.();
    this.#output.write({ event: 'closed', why, head });
  }

  #refuse(id: number | undefined, error: unknown, facts: { readonly command?: string }): void {
    const { code, reason } = refusalOf(error);
    try {
      this.#record('command-refused', { code, ...facts });
    } catch {
      // Nothing has run; that the refusal is not written down is said by the machine's log alone.
    }
    this.#output.write({ event: 'refused', ...(id === undefined ? {} : { id }), code, reason });
  }

  #record(kind: string, facts: { readonly [key: string]: Json }): ChainHead {
    const { person, service, host, grant } = this.#admission.grant;
    return this.#gate.records.append({
      kind,
      person,
      service,
      host,
      grant,
      facts: { serial: this.#serial, ...facts },
    });
  }
}
