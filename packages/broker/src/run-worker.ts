/**
 * Works on one run: takes what has happened in the order in which it came, asks `run-advance.ts` what follows, has it
 * written down, shows it to those who watch, and only then has the effects carried out, one after the other. It rests when
 * the run is over or interrupted, and lets go of everything then. When it cannot write, it lets go too: the gate takes
 * back what was begun, and whoever finds the run finds it in work of nobody.
 */
import type { Buffer } from 'node:buffer';
import type { ChainHead } from '@beacon/protocol/checkpoint';
import type { Log, RecordEntry } from '@beacon/server';
import { certifiedRecord, sessionRecord, wishedRecord } from './broker-records.ts';
import { BrokerError } from './error.ts';
import { OutputRedaction } from './output-redaction.ts';
import { type AttemptedEffect, type OutputBound, RunDraft } from './run-draft.ts';
import { type EffectOptions, RunEffects, type RunHands } from './run-effects.ts';
import type { RunJournal } from './run-journal.ts';
import type { RunLogs } from './run-log.ts';
import type { RunGrant, StoredRun } from './run-order.ts';
import type { Facts } from './run-session.ts';
import { isOver, type Report, type RunPhase, type RunState, type Wish } from './run-state.ts';

export interface WorkerOptions extends Omit<EffectOptions, 'redaction'> {
  readonly run: StoredRun;
  readonly version: number;
  readonly secrets: Readonly<Record<string, string>>;
  readonly journal: RunJournal;
  readonly logs: Pick<RunLogs, 'publish' | 'leave'>;
  readonly log: Pick<Log, 'info' | 'warn' | 'error'>;
  readonly maxOutputBytes: number;
  /** Until when the run is this process' own, in milliseconds since 1970; undefined where no other could take it up. */
  readonly leaseUntil: number | undefined;
  /** It rests; `head` is the newest of the host's chain that was heard. */
  readonly onRest: (run: StoredRun, head: ChainHead | undefined) => void;
}

type Input =
  | { readonly kind: 'report'; readonly event: { readonly attempt: number } & Report; readonly facts: Facts }
  | {
      readonly kind: 'wish';
      readonly wish: Wish['kind'];
      readonly secrets: Readonly<Record<string, string>>;
      readonly resolve: (run: StoredRun | undefined) => void;
      readonly reject: (error: unknown) => void;
    }
  | {
      readonly kind: 'keep';
      readonly change: (run: StoredRun) => Partial<Pick<StoredRun, 'grants' | 'github'>>;
      readonly records: readonly RecordEntry[];
      readonly resolve: () => void;
      readonly reject: (error: unknown) => void;
    }
  | {
      readonly kind: 'output';
      readonly stream: 'stdout' | 'stderr';
      readonly step: number;
      readonly bytes: Buffer;
    }
  | { readonly kind: 'output-ended'; readonly step: number }
  | { readonly kind: 'truncated'; readonly step: number; readonly maxOutputBytes: number }
  | { readonly kind: 'note'; readonly text: string }
  | { readonly kind: 'interrupt' };

/** What is not written down yet, before the gate is made to wait. */
const MOST_WAITING_BYTES = 262_144;
/** What the smallest of it takes, about. */
const INPUT_BYTES = 256;

/** In which phase somebody still wants the answer. */
const PHASE_OF: Readonly<Record<string, RunPhase>> = {
  decide: 'deciding',
  prepare: 'preparing',
  certify: 'certifying',
  connect: 'connecting',
  replace: 'replacing',
  look: 'looking',
  'take-back': 'taking-back',
};

export class RunWorker {
  readonly #options: WorkerOptions;
  readonly #redaction = new OutputRedaction();
  readonly #effects: RunEffects;
  readonly #bound: OutputBound;
  readonly #left = new Map<number, string>();
  readonly #queue: AttemptedEffect[] = [];
  readonly ended: Promise<void>;
  #run: StoredRun;
  #version: number;
  #leaseUntil: number | undefined;
  #inputs: Input[] = [];
  #waitingBytes = 0;
  readonly #whenRoom: (() => void)[] = [];
  #wake: () => void = () => undefined;
  #current: { readonly effect: AttemptedEffect; readonly abort: AbortController } | undefined;
  #isResting = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#run = options.run;
    this.#version = options.version;
    this.#leaseUntil = options.leaseUntil;
    this.#bound = { maxBytes: options.maxOutputBytes, bytes: 0, entries: 0 };
    this.#effects = new RunEffects(
      { ...options, redaction: this.#redaction },
      this.#hands(),
      options.secrets,
    );
    this.ended = this.#work();
  }

  get person(): string {
    return this.#run.person;
  }

  begin(): void {
    this.#report(this.#run.state.attempt, { kind: 'begin' }, {});
  }

  /** Undefined when it has come to rest meanwhile. Throws BrokerError `wish-refused`. */
  wish(wish: Wish['kind'], secrets: Readonly<Record<string, string>> = {}): Promise<StoredRun | undefined> {
    if (this.#isResting) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => this.#put({ kind: 'wish', wish, secrets, resolve, reject }));
  }

  /** It is this process' own for longer. */
  renewed(leaseUntil: number): void {
    if (this.#leaseUntil !== undefined) this.#leaseUntil = leaseUntil;
  }

  /** Resolves when it rests, and has written down why. */
  interrupt(): Promise<void> {
    this.#put({ kind: 'interrupt' });
    return this.ended;
  }

  /** As if the process had died, but that nothing goes on. */
  stop(): void {
    this.#rest(new BrokerError('closed', 'the broker is stopping: look at the run when it is there again'));
  }

  async #work(): Promise<void> {
    while (!this.#isResting) {
      if (this.#inputs.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      await this.#writeDown();
    }
  }

  async #writeDown(): Promise<void> {
    const draft = new RunDraft(this.#run, this.#options.now(), this.#left);
    const settle: (() => void)[] = [];
    const taken: Input[] = [];
    for (;;) {
      const [input] = this.#inputs.splice(0, 1);
      if (input === undefined) break;
      taken.push(input);
      this.#take(draft, input, settle);
      // What is going on is let go of before anything else is heeded.
      if (draft.run.state !== draft.before.state && isResting(draft.run.state)) break;
    }
    if (draft.hasChanged) {
      try {
        const { version, leaseUntil } = await this.#options.journal.write(draft, this.#version);
        this.#version = version;
        this.renewed(leaseUntil);
      } catch (error) {
        this.#options.log.error({ err: error, run: this.#run.id }, 'a run could not be written down');
        for (const input of taken) if ('reject' in input) input.reject(error);
        this.#rest(error);
        return;
      }
      this.#run = draft.run;
      this.#options.logs.publish(this.#run.id, draft.entries);
    }
    this.#waitingBytes = this.#inputs.reduce((sum, input) => sum + sizeOf(input), 0);
    for (const resume of this.#whenRoom.splice(0)) resume();
    for (const tell of settle) tell();
    // Somebody may have stopped it meanwhile.
    if (this.#isResting) return;
    if (isResting(this.#run.state)) this.#rest(undefined);
    else this.#carryOut(draft.effects);
  }

  #take(draft: RunDraft, input: Input, settle: (() => void)[]): void {
    switch (input.kind) {
      case 'report': {
        const event = this.#clean(input.event);
        const refused = draft.apply(event, this.#cleanFacts(input.facts));
        if (refused !== undefined) {
          this.#options.log.info({ run: this.#run.id, event: event.kind, why: refused }, 'not heeded');
        }
        return;
      }
      case 'wish': {
        const refused = draft.apply({ kind: input.wish });
        if (refused !== undefined) {
          settle.push(() => input.reject(new BrokerError('wish-refused', refused)));
          return;
        }
        draft.records.unshift(wishedRecord(draft.run, input.wish));
        this.#effects.addSecrets(input.secrets);
        settle.push(() => input.resolve(this.#run));
        return;
      }
      case 'keep':
        draft.keep(input.change(draft.run));
        draft.records.push(...input.records);
        settle.push(input.resolve);
        return;
      case 'output':
        draft.output(
          input.stream,
          input.step,
          this.#redaction.pass(`${input.stream} ${input.step}`, input.bytes),
          this.#bound,
        );
        return;
      case 'output-ended':
        for (const stream of ['stdout', 'stderr'] as const) {
          draft.output(stream, input.step, this.#redaction.end(`${stream} ${input.step}`), this.#bound);
        }
        return;
      case 'truncated':
        draft.entry('truncated', { step: input.step, max_output_bytes: input.maxOutputBytes });
        return;
      case 'note':
        draft.entry('note', { text: this.#redaction.text(input.text) });
        return;
      case 'interrupt':
        draft.apply({ kind: 'stopped' });
    }
  }

  #clean<Event extends { readonly attempt: number } & Report>(event: Event): Event {
    return 'reason' in event ? { ...event, reason: this.#redaction.text(event.reason) } : event;
  }

  #cleanFacts(facts: Facts): Facts {
    const { reason } = facts;
    return typeof reason === 'string' ? { ...facts, reason: this.#redaction.text(reason) } : facts;
  }

  #carryOut(effects: readonly AttemptedEffect[]): void {
    const current = this.#current;
    if (current !== undefined && !isWanted(current.effect, this.#run.state)) current.abort.abort();
    this.#queue.push(...effects);
    if (current === undefined) void this.#perform();
  }

  async #perform(): Promise<void> {
    for (;;) {
      const effect = this.#queue.shift();
      if (effect === undefined || this.#isResting) return;
      if (!isWanted(effect, this.#run.state)) continue;
      const abort = new AbortController();
      this.#current = { effect, abort };
      await this.#effects.perform(effect.effect, effect.attempt, abort.signal);
      this.#current = undefined;
    }
  }

  #rest(error: unknown): void {
    if (this.#isResting) return;
    this.#isResting = true;
    this.#queue.length = 0;
    this.#current?.abort.abort();
    const { lastHead } = this.#effects;
    this.#effects.close();
    for (const input of this.#inputs.splice(0)) {
      if (input.kind === 'wish') input.resolve(undefined);
      else if (input.kind === 'keep') input.reject(error ?? new BrokerError('closed', 'the run rests'));
    }
    for (const resume of this.#whenRoom.splice(0)) resume();
    this.#options.logs.leave(this.#run.id);
    this.#wake();
    this.#options.onRest(this.#run, lastHead);
  }

  #put(input: Input): void {
    if (this.#isResting) {
      if (input.kind === 'wish') input.resolve(undefined);
      else if (input.kind === 'keep') input.reject(new BrokerError('closed', 'the run rests'));
      return;
    }
    this.#inputs.push(input);
    this.#waitingBytes += sizeOf(input);
    this.#wake();
  }

  #report(attempt: number, report: Report, facts: Facts): void {
    this.#put({ kind: 'report', event: { attempt, ...report }, facts });
  }

  #keep(
    change: (run: StoredRun) => Partial<Pick<StoredRun, 'grants' | 'github'>>,
    records: readonly RecordEntry[] = [],
  ): Promise<void> {
    return new Promise((resolve, reject) => this.#put({ kind: 'keep', change, records, resolve, reject }));
  }

  #hands(): RunHands {
    const current = (): StoredRun => this.#run;
    return {
      get run() {
        return current();
      },
      report: (attempt, report, facts = {}) => this.#report(attempt, report, facts),
      keepGrant: (grant: RunGrant) =>
        this.#keep(({ grants }) => ({ grants: [...grants, grant] }), [certifiedRecord(this.#run, grant)]),
      keepRunner: (runnerId) =>
        this.#keep(({ github }) => (github === undefined ? {} : { github: { ...github, runnerId } })),
      opened: (grant, head) => this.#record(sessionRecord(this.#run, 'session-opened', grant, head)),
      closed: (grant, head) => this.#record(sessionRecord(this.#run, 'session-closed', grant, head)),
      note: (text) => this.#put({ kind: 'note', text }),
      output: (stream, step, bytes) => {
        this.#put({ kind: 'output', stream, step, bytes });
        if (this.#waitingBytes < MOST_WAITING_BYTES || this.#isResting) return Promise.resolve();
        return new Promise((resolve) => this.#whenRoom.push(resolve));
      },
      outputEnded: (step) => this.#put({ kind: 'output-ended', step }),
      truncated: (step, maxOutputBytes) => this.#put({ kind: 'truncated', step, maxOutputBytes }),
      isHeld: () => !this.#isResting && this.#isHeld(),
      defect: (error, what) =>
        this.#options.log.error({ err: error, run: this.#run.id, effect: what }, 'a run met a defect'),
    };
  }

  #isHeld(): boolean {
    return this.#leaseUntil === undefined || this.#options.now().getTime() < this.#leaseUntil;
  }

  #record(record: RecordEntry): void {
    this.#keep(() => ({}), [record]).catch(() => undefined);
  }
}

/** Nobody works on it until somebody wishes something. */
function isResting(state: RunState): boolean {
  return isOver(state) || state.phase === 'interrupted';
}

function isWanted({ effect, attempt }: AttemptedEffect, state: RunState): boolean {
  if (attempt !== state.attempt) return false;
  const phase = PHASE_OF[effect.do];
  if (phase !== undefined) return state.phase === phase;
  if (effect.do === 'send') return state.phase === 'running' && state.step === effect.step;
  return true;
}

function sizeOf(input: Input): number {
  return INPUT_BYTES + (input.kind === 'output' ? input.bytes.length : 0);
}
