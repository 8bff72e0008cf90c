/**
 * One command that a session is asked for (DESIGN.md section 5): checked, marked, written down, run, written down. The
 * rules are `plan.ts`, what interrupts is `watch.ts`; here is their order. Taking back is not done here.
 */
import type { Ending } from '@beacon/protocol/gate-event';
import type { GateRequest, Invocation } from '@beacon/protocol/gate-request';
import { type Admission, requireClock, requireTrusted } from './admit.ts';
import {
  answerBuiltIn,
  BUILT_IN_OUTPUT_BYTES,
  type BuiltInCommand,
  builtInGrant,
  isBuiltIn,
} from './built-in.ts';
import { freeAccount, isSuccess, type Prepared, prepare, runCommand } from './command-run.ts';
import { GateError } from './error.ts';
import type { EventOutput } from './event-output.ts';
import type { Gate } from './gate.ts';
import type { LineInput } from './line-input.ts';
import { matchGrant, type Plan, planCommand } from './plan.ts';
import { requireSafeProgram } from './safe-path.ts';
import type { SessionRecord } from './session-record.ts';
import type { StartedCommands } from './started-commands.ts';
import { watch, whyNot } from './watch.ts';

export interface StepOptions {
  readonly gate: Gate;
  readonly input: LineInput;
  readonly output: EventOutput;
  readonly record: SessionRecord;
  readonly started: StartedCommands;
  /** Is called before the first command of the session starts. */
  readonly guard: () => void;
}

export type CommandRequest = GateRequest & { readonly kind: 'command' };

/**
 * Works off one request under `admission`; `isOver` says that a step has failed before. The result says why the session
 * cannot go on as before: undefined where it can.
 */
export function takeStep(
  options: StepOptions,
  request: CommandRequest,
  admission: Admission,
  isOver: boolean,
): Promise<Ending | undefined> {
  return new Step(options, request, admission).take(isOver);
}

class Step {
  readonly #options: StepOptions;
  readonly #gate: Gate;
  readonly #request: CommandRequest;
  readonly #admission: Admission;

  constructor(options: StepOptions, request: CommandRequest, admission: Admission) {
    this.#options = options;
    this.#gate = options.gate;
    this.#request = request;
    this.#admission = admission;
  }

  async take(isOver: boolean): Promise<Ending | undefined> {
    const { id, asked, undo } = this.#request;
    const gate = this.#gate;
    const { grant } = this.#admission;
    let hasStarted = false;
    try {
      this.#requireStartable(isOver);
      if (isBuiltIn(asked.command)) {
        this.#answer(asked.command, asked, undo);
        return undefined;
      }
      const allowlist = gate.readAllowlist();
      const plan = planCommand(grant, allowlist, asked, undo, this.#isStarted);
      requireSafeProgram(plan.argv[0], gate.owner);
      if (plan.undo !== undefined) requireSafeProgram(plan.undo.argv[0], gate.owner);
      const prepared = prepare(gate, plan, `${grant.grant}-${plan.index}`);
      try {
        this.#start(plan, prepared, allowlist.digest);
      } catch (error) {
        prepared.release();
        throw error;
      }
      hasStarted = true;
      return await this.#run(plan, prepared);
    } catch (error) {
      this.#options.record.refuse(grant, id, error, { command: asked.command });
      // It has run, but how it ended could not be written down: that is no step on which another could build.
      return hasStarted ? 'failed' : undefined;
    }
  }

  readonly #isStarted = (index: number): boolean =>
    this.#gate.marks.isStarted(this.#admission.grant.grant, index);

  #requireStartable(isOver: boolean): void {
    const { until, certificate } = this.#admission;
    if (isOver && !isBuiltIn(this.#request.asked.command)) {
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
  #start(plan: Plan, { unit, account }: Prepared, allowlist: string): void {
    const { grant, until } = this.#admission;
    const { started, record, output, guard } = this.#options;
    const { id, undo } = this.#request;
    const { command } = this.#request.asked;
    this.#mark(plan.index);
    const add = started.expect({ id, grant, index: plan.index, command, unit, undo }, this.#admission);
    guard();
    record.append(grant, 'command-started', {
      index: plan.index,
      command,
      digest: plan.digest,
      undo: undo?.command ?? null,
      unit,
      run_as: account.name,
      allowlist,
      until: until.toISOString(),
    });
    add();
    output.write({ event: 'started', id, command });
  }

  #mark(index: number): void {
    const { grant, until } = this.#admission;
    if (!this.#gate.marks.markStarted(grant.grant, index, until)) {
      throw new GateError(
        'already-started',
        `${this.#request.asked.command} was started before, and starts only once: ask for another grant`,
      );
    }
  }

  async #run(plan: Plan, prepared: Prepared): Promise<Ending | undefined> {
    const { input, output, record } = this.#options;
    const gate = this.#gate;
    const { id } = this.#request;
    const { grant } = this.#admission;
    const facts = { person: grant.person, service: grant.service, grant: grant.grant };
    const end = await runCommand(gate, plan, prepared, facts, { to: output, id }, (interrupt) =>
      watch(gate, this.#admission, input, output, interrupt),
    );
    if (isSuccess(end)) freeAccount(gate, plan);
    // The journal goes on saying that it runs: who recovers looks for this record before believing that.
    record.end(grant, id, plan.index, plan.command.name, end);
    if (isSuccess(end)) return undefined;
    if (end.why === 'ended' || end.why === 'timeout' || end.why === 'memory') return 'failed';
    // A unit that could not start is a failed step; trust that is gone ends the session.
    return end.why === 'unavailable' && whyNot(gate, this.#admission) === undefined ? 'failed' : end.why;
  }

  #answer(command: BuiltInCommand, asked: Invocation, undo: Invocation | undefined): void {
    const { output, record } = this.#options;
    const { id } = this.#request;
    const { grant } = this.#admission;
    const about = builtInGrant(asked);
    const { index, digest } = matchGrant(grant, asked, undo, this.#isStarted);
    this.#mark(index);
    record.append(grant, 'command-started', { index, command, digest, about });
    const begin = performance.now();
    output.write({ event: 'started', id, command });
    let outputBytes = 0;
    for (const line of answerBuiltIn(command, this.#gate, about)) {
      outputBytes += line.length + 1;
      if (outputBytes > BUILT_IN_OUTPUT_BYTES) {
        output.write({ event: 'truncated', id, max_output_bytes: BUILT_IN_OUTPUT_BYTES });
        break;
      }
      output.write({ event: 'stdout', id, text: `${line}\n` });
    }
    const durationMs = Math.round(performance.now() - begin);
    record.end(grant, id, index, command, { code: 0, signal: null, why: 'ended', durationMs, outputBytes });
  }
}
