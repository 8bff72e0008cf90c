/**
 * The lines that a client writes, one at a time, each at most 64 KiB. What comes while a command runs waits, up to a
 * bound, and is shown to a listener as it comes, so that a cancel and the end of the connection are seen at once.
 */
import type { Readable } from 'node:stream';
import { GATE_LINE_MAX_BYTES } from '@beacon/protocol/gate-request';

export type Input =
  | { readonly kind: 'line'; readonly line: string }
  /** The other side has closed, or has sent what no client sends. */
  | { readonly kind: 'closed' }
  | { readonly kind: 'idle' };

const MOST_WAITING_BYTES = 1_048_576;
const NEWLINE = 0x0a;

export class LineInput {
  readonly #stream: Readable;
  readonly #lines: string[] = [];
  #rest: Buffer[] = [];
  #restBytes = 0;
  #waitingBytes = 0;
  #isClosed = false;
  #wake: (() => void) | undefined;
  #listener: ((input: Input) => void) | undefined;

  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    stream.on('end', () => this.close());
    stream.on('error', () => this.close());
    stream.on('close', () => this.close());
  }

  /** The next line; `idle` when none has come after so long. */
  async next(patienceMs: number): Promise<Input> {
    if (this.#lines.length === 0 && !this.#isClosed && patienceMs > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, patienceMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    const line = this.#lines.shift();
    if (line !== undefined) {
      this.#waitingBytes -= line.length;
      return { kind: 'line', line };
    }
    return { kind: this.#isClosed ? 'closed' : 'idle' };
  }

  /** Shows every line that waits or comes, and the end, until the result is called. */
  listen(listener: (input: Input) => void): () => void {
    this.#listener = listener;
    for (const line of this.#lines) listener({ kind: 'line', line });
    if (this.#isClosed) listener({ kind: 'closed' });
    return () => {
      this.#listener = undefined;
    };
  }

  /** Nothing more is read. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stream.destroy();
    this.#listener?.({ kind: 'closed' });
    this.#wake?.();
  }

  #take(chunk: Buffer): void {
    if (this.#isClosed) return;
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      const line = Buffer.concat([...this.#rest, chunk.subarray(from, end)]);
      this.#rest = [];
      this.#restBytes = 0;
      from = end + 1;
      if (!this.#put(line)) return;
    }
    const rest = Buffer.from(chunk.subarray(from));
    this.#rest.push(rest);
    this.#restBytes += rest.length;
    if (this.#restBytes > GATE_LINE_MAX_BYTES) this.close();
  }

  #put(line: Buffer): boolean {
    // What is no UTF-8 reads as no JSON of ours: the replacement character stands in no name, digest or salt.
    const text = line.toString('utf8');
    this.#waitingBytes += text.length;
    if (line.length > GATE_LINE_MAX_BYTES || this.#waitingBytes > MOST_WAITING_BYTES) {
      this.close();
      return false;
    }
    this.#lines.push(text);
    this.#listener?.({ kind: 'line', line: text });
    this.#wake?.();
    return true;
  }
}
