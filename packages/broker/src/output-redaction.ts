/**
 * Takes the values that the broker itself holds (secrets of steps, GitHub tokens) out of what it writes down, also where
 * one comes in pieces. What could be the beginning of a value is held back until more comes or the command has ended. A
 * command that prints a secret in another spelling is not found out.
 */
import { Buffer } from 'node:buffer';

const REDACTED = '[redacted]';
/** Of a value of several lines, the lines that are long enough to be one. */
const LEAST_LINE = 8;

export class OutputRedaction {
  readonly #values = new Set<string>();
  readonly #held = new Map<string, Buffer>();
  #patterns: readonly Buffer[] = [];

  add(value: string): void {
    if (value === '') return;
    this.#values.add(value);
    for (const line of value.split(/\r?\n/)) if (line.length >= LEAST_LINE) this.#values.add(line);
    this.#order();
  }

  remove(value: string): void {
    this.#values.delete(value);
    this.#order();
  }

  /** Forgets all values; what was held back is lost. */
  forget(): void {
    this.#values.clear();
    this.#held.clear();
    this.#patterns = [];
  }

  text(text: string): string {
    let clean = text;
    for (const pattern of this.#patterns) clean = clean.replaceAll(pattern.toString('utf8'), REDACTED);
    return clean;
  }

  /** What may be written down of the next bytes of a stream. */
  pass(stream: string, chunk: Buffer): Buffer {
    if (this.#patterns.length === 0) return chunk;
    const bytes = Buffer.concat([this.#held.get(stream) ?? Buffer.alloc(0), chunk]);
    const until = bytes.length - this.#unfinished(bytes);
    const { clean, rest } = this.#clean(bytes, until);
    this.#held.set(stream, Buffer.from(rest));
    return clean;
  }

  /** What was held back of a stream, now that nothing more comes. */
  end(stream: string): Buffer {
    const rest = this.#held.get(stream) ?? Buffer.alloc(0);
    this.#held.delete(stream);
    return this.#clean(rest, rest.length).clean;
  }

  /** `until` is where a value may begin whose end has not come. */
  #clean(bytes: Buffer, until: number): { readonly clean: Buffer; readonly rest: Buffer } {
    const pieces: Buffer[] = [];
    let from = 0;
    for (;;) {
      const found = this.#first(bytes, from);
      if (found === undefined || found.at >= until) break;
      pieces.push(bytes.subarray(from, found.at), Buffer.from(REDACTED));
      from = found.at + found.length;
    }
    const cut = Math.max(from, until);
    pieces.push(bytes.subarray(from, cut));
    return { clean: Buffer.concat(pieces), rest: bytes.subarray(cut) };
  }

  #first(bytes: Buffer, from: number): { readonly at: number; readonly length: number } | undefined {
    let first: { at: number; length: number } | undefined;
    for (const pattern of this.#patterns) {
      const at = bytes.indexOf(pattern, from);
      if (at !== -1 && (first === undefined || at < first.at)) first = { at, length: pattern.length };
    }
    return first;
  }

  /** The longest first: a value may begin like another. */
  #order(): void {
    this.#patterns = [...this.#values]
      .sort((a, b) => b.length - a.length)
      .map((one) => Buffer.from(one, 'utf8'));
  }

  /** How many of the last bytes could be the beginning of a value. */
  #unfinished(bytes: Buffer): number {
    let most = 0;
    for (const pattern of this.#patterns) {
      for (let length = Math.min(pattern.length - 1, bytes.length); length > most; length--) {
        if (bytes.subarray(bytes.length - length).equals(pattern.subarray(0, length))) most = length;
      }
    }
    return most;
  }
}
