/**
 * A run on its way from one write to the next: what has happened is applied in order, and then the new state, its records
 * and its log entries are written as one, before any effect. Output is bounded and put together here. Touches nothing.
 */
import { Buffer } from 'node:buffer';
import type { Json } from '@beacon/protocol/strict-json';
import type { RecordEntry } from '@beacon/server';
import { moveRecords } from './broker-records.ts';
import { advance } from './run-advance.ts';
import type { RunLogEntry, StoredRun } from './run-order.ts';
import { isOver, type RunEffect, type RunEvent } from './run-state.ts';
import { leftBehind } from './run-wishes.ts';

export interface AttemptedEffect {
  readonly attempt: number;
  readonly effect: RunEffect;
}

type Facts = { readonly [key: string]: Json };

/** What a log keeps of one run before it only says that there was more. */
export interface OutputBound {
  readonly maxBytes: number;
  /** Written so far. */
  bytes: number;
  entries: number;
}

/** As many entries as the bytes allow at this length of each: one of a byte costs as much as one of fifty. */
const LEAST_ENTRY = 64;
const LEAST_ENTRIES = 256;

/** Longest text of one entry, so that what a slow reader has in hand stays small. */
const LONGEST_TEXT = 8_192;

export class RunDraft {
  readonly records: RecordEntry[] = [];
  readonly entries: RunLogEntry[] = [];
  readonly effects: AttemptedEffect[] = [];
  readonly before: StoredRun;
  readonly #now: Date;
  readonly #left: Map<number, string>;
  #run: StoredRun;
  #isSealed: boolean;

  /** `left` remembers why a step was left, over all drafts of a run. */
  constructor(run: StoredRun, now: Date, left: Map<number, string>) {
    this.before = run;
    this.#run = run;
    this.#isSealed = isOver(run.state);
    this.#now = now;
    this.#left = left;
  }

  get run(): StoredRun {
    return this.#run;
  }

  get hasChanged(): boolean {
    return this.#run !== this.before || this.records.length > 0 || this.entries.length > 0;
  }

  /** Undefined when the event has moved the run; else why it has not. `facts` go to the entry about a step. */
  apply(event: RunEvent, facts: Facts = {}): string | undefined {
    const { state } = this.#run;
    const move = advance(state, event);
    if (move.kind === 'refused') return move.reason;
    if (event.kind === 'left' && typeof facts['reason'] === 'string')
      this.#left.set(event.step, facts['reason']);
    const left = leftBehind(this.#run, move.run, this.#left);
    this.#run = { ...this.#run, state: move.run, left, updated: this.#now };
    this.records.push(...moveRecords(this.#run, state));
    this.#tell(state, event.kind, facts);
    const { attempt } = move.run;
    for (const effect of move.effects) this.effects.push({ attempt, effect });
    return undefined;
  }

  /** Keeps something with the run that its state does not hold. */
  keep(change: Partial<Pick<StoredRun, 'grants' | 'github'>>): void {
    this.#run = { ...this.#run, ...change, updated: this.#now };
  }

  entry(kind: RunLogEntry['kind'], data: Facts): void {
    if (this.#isSealed) return;
    const seq = this.#run.lastEvent + 1;
    this.#run = { ...this.#run, lastEvent: seq };
    this.entries.push({ seq, time: this.#now, kind, data });
  }

  /** What a command has written, in entries of a bounded length. */
  output(kind: 'stdout' | 'stderr', step: number, bytes: Buffer, bound: OutputBound): void {
    const room = Math.max(0, bound.maxBytes - bound.bytes);
    const isCut = bound.bytes <= bound.maxBytes && bound.bytes + bytes.length > bound.maxBytes;
    bound.bytes += bytes.length;
    const kept = bytes.subarray(0, room);
    const before = this.entries.length;
    const text = kept.toString('utf8');
    if (Buffer.from(text, 'utf8').equals(kept))
      for (const piece of pieces(text)) this.#text(kind, step, piece);
    else for (const piece of chunks(kept)) this.entry(kind, { step, base64: piece.toString('base64') });
    if (isCut) this.entry('truncated', { step, max_output_bytes: bound.maxBytes });
    bound.entries += this.entries.length - before;
    if (isCut || bound.bytes > bound.maxBytes) return;
    if (bound.entries < Math.max(LEAST_ENTRIES, bound.maxBytes / LEAST_ENTRY)) return;
    bound.bytes = bound.maxBytes + 1;
    this.entry('truncated', { reason: 'the output came in too many small pieces to be kept' });
  }

  #text(kind: 'stdout' | 'stderr', step: number, text: string): void {
    const last = this.entries.at(-1);
    const before = last?.kind === kind && last.data['step'] === step ? last.data['text'] : undefined;
    if (last !== undefined && typeof before === 'string' && before.length + text.length <= LONGEST_TEXT) {
      this.entries[this.entries.length - 1] = { ...last, data: { step, text: before + text } };
      return;
    }
    this.entry(kind, { step, text });
  }

  /** `facts` are about the step that the event was about, not about the one that follows. */
  #tell(before: StoredRun['state'], kind: RunEvent['kind'], facts: Facts): void {
    const { state, left } = this.#run;
    const isNew = state.attempt !== before.attempt;
    if (!isNew) {
      for (const [step, { outcome, command }] of state.steps.entries()) {
        if (outcome === before.steps[step]?.outcome) continue;
        this.entry('step', { step, command, outcome, ...(outcome === kind ? facts : {}) });
      }
    }
    if (!isNew && state.phase === before.phase) return;
    const reason = state.end === undefined ? {} : { reason: state.end.reason };
    this.entry('phase', { attempt: state.attempt, phase: state.phase, ...reason });
    if (!isOver(state)) return;
    this.entry('over', { phase: state.phase, ...reason, left: [...left] });
    this.#isSealed = true;
  }
}

function* pieces(text: string): Generator<string> {
  for (let from = 0; from < text.length; ) {
    let to = Math.min(text.length, from + LONGEST_TEXT);
    // Not between the halves of a character.
    if (to < text.length && isHighSurrogate(text.charCodeAt(to - 1))) to -= 1;
    yield text.slice(from, to);
    from = to;
  }
}

function* chunks(bytes: Buffer): Generator<Buffer> {
  for (let from = 0; from < bytes.length; from += LONGEST_TEXT)
    yield bytes.subarray(from, from + LONGEST_TEXT);
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}
