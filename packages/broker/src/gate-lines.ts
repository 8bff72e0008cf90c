/**
 * The lines of a gate, read from a stream as they are asked for: what nobody takes stays in the pipe, and so the gate waits
 * and its command with it. A line has a bound and is UTF-8, or it is none of a gate's.
 */
import type { Readable } from 'node:stream';
import { BrokerError } from './error.ts';

/** A gate's chunk of output has 32 KiB, and a byte may be spelt in six characters. */
export const GATE_EVENT_MAX_BYTES = 262_144;
const NEWLINE = 10;

export class GateLines {
  readonly #stream: Readable;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  /** Of a line whose end has not come yet. */
  #parts: Buffer[] = [];
  #partBytes = 0;
  #chunk: Buffer = Buffer.alloc(0);
  #isOver = false;
  #wake: () => void = () => undefined;

  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on('readable', () => this.#wake());
    for (const event of ['end', 'close', 'error'] as const) {
      stream.on(event, () => {
        this.#isOver = true;
        this.#wake();
      });
    }
  }

  /** The next line without its newline; undefined where there are no more. Throws BrokerError `gate-malformed`. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const line = this.#cut();
      if (line !== undefined) return line;
      const chunk: unknown = this.#stream.read();
      if (Buffer.isBuffer(chunk)) {
        this.#chunk = chunk;
      } else if (this.#isOver) {
        if (this.#partBytes > 0) throw malformed('its last line has no end');
        return undefined;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  #cut(): string | undefined {
    const at = this.#chunk.indexOf(NEWLINE);
    const part = at === -1 ? this.#chunk : this.#chunk.subarray(0, at);
    if (part.length > 0) {
      this.#parts.push(part);
      this.#partBytes += part.length;
    }
    this.#chunk = at === -1 ? Buffer.alloc(0) : this.#chunk.subarray(at + 1);
    if (this.#partBytes > GATE_EVENT_MAX_BYTES) throw malformed('a line is too long');
    if (at === -1) return undefined;
    const [only] = this.#parts;
    const line = this.#parts.length === 1 && only !== undefined ? only : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#partBytes = 0;
    try {
      return this.#decoder.decode(line);
    } catch {
      throw malformed('a line is not UTF-8');
    }
  }
}

function malformed(why: string): BrokerError {
  return new BrokerError(
    'gate-malformed',
    `what answered is no gate of ours: ${why}. The host's operator runs beacon host check there`,
  );
}
