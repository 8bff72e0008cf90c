/**
 * The lines that the gate writes, and the bytes of a command's output among them: as text where they are UTF-8, else as
 * base64, with a character that a chunk has cut carried to the next. Where the client does not read, the command waits.
 * A client that is gone is told to whoever asks; writing to it then does nothing.
 */
import type { Readable, Writable } from 'node:stream';
import { formatGateEvent, type GateEvent } from '@beacon/protocol/gate-event';
import { createCollector } from './collector.ts';

const SILENCE_MS = 10_000;
const LARGEST_CHUNK = 32_768;
const SPELT_TIMES = 8;

export class EventOutput {
  readonly #stream: Writable;
  readonly #silence: NodeJS.Timeout;
  /** Streams of commands that wait for the client. */
  readonly #waiting = new Set<Readable>();
  #isLost = false;
  #listener: (() => void) | undefined;

  constructor(stream: Writable) {
    this.#stream = stream;
    // Without this an unreachable client would end the process before it can stop and record anything.
    stream.on('error', () => this.#lose());
    stream.on('close', () => this.#lose());
    stream.on('drain', () => this.#goOn());
    this.#silence = setInterval(() => this.write({ event: 'alive' }), SILENCE_MS);
    this.#silence.unref();
  }

  /** False where the client should be waited for. */
  write(event: GateEvent): boolean {
    if (this.#isLost) return true;
    this.#silence.refresh();
    return this.#stream.write(`${formatGateEvent(event)}\n`);
  }

  whenLost(listener: () => void): void {
    this.#listener = listener;
    if (this.#isLost) listener();
  }

  /**
   * Passes on what a command writes, up to `mostBytes` of both streams together; the rest is read and dropped, and said
   * to be. The result counts the bytes that came.
   */
  pipe(id: number, streams: { stdout: Readable; stderr: Readable }, mostBytes: number): () => number {
    let bytes = 0;
    const collect = createCollector();
    for (const event of ['stdout', 'stderr'] as const) {
      const stream = streams[event];
      let cut: Buffer = Buffer.alloc(0);
      const send = (data: Buffer): void => {
        if (data.length === 0) return;
        const isFlowing = this.write({ event, id, ...spell(data) });
        // As text, checked and spelt, it takes several times its own size.
        collect(SPELT_TIMES * data.length);
        if (!isFlowing) this.#wait(streams);
      };
      stream.on('data', (chunk: Buffer) => {
        const room = Math.max(0, mostBytes - bytes);
        const isOver = bytes <= mostBytes && bytes + chunk.length > mostBytes;
        bytes += chunk.length;
        collect(chunk.length);
        if (room === 0 && !isOver) return;
        const taken = Buffer.concat([cut, chunk.subarray(0, room)]);
        const whole = wholeCharacters(taken);
        cut = taken.subarray(whole);
        for (let from = 0; from < whole; ) {
          const piece = taken.subarray(from, Math.min(whole, from + LARGEST_CHUNK));
          const end = from + piece.length === whole ? piece.length : wholeCharacters(piece);
          send(piece.subarray(0, end));
          from += end;
        }
        if (isOver) this.write({ event: 'truncated', id, max_output_bytes: mostBytes });
      });
      stream.on('end', () => send(cut));
      stream.on('error', () => undefined);
    }
    return () => bytes;
  }

  /** Everything written so far is out of this process, or the client is gone. */
  async end(): Promise<void> {
    clearInterval(this.#silence);
    if (this.#isLost) return;
    await new Promise<void>((resolve) => {
      this.#listener = resolve;
      this.#stream.write('', () => resolve());
    });
  }

  #wait(streams: { stdout: Readable; stderr: Readable }): void {
    for (const stream of [streams.stdout, streams.stderr]) {
      stream.pause();
      this.#waiting.add(stream);
    }
  }

  #goOn(): void {
    for (const stream of this.#waiting) stream.resume();
    this.#waiting.clear();
  }

  #lose(): void {
    if (this.#isLost) return;
    this.#isLost = true;
    clearInterval(this.#silence);
    // What nobody reads any more is read to its end here, so that the command can end.
    this.#goOn();
    this.#listener?.();
  }
}

function spell(data: Buffer): { text: string } | { base64: string } {
  const text = data.toString('utf8');
  return Buffer.from(text, 'utf8').equals(data) ? { text } : { base64: data.toString('base64') };
}

/** How many of the bytes come before a character that is not whole yet; all of them where none is cut. */
function wholeCharacters(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0b1100_0000) === 0b1000_0000) continue;
    const length = byte >= 0b1111_0000 ? 4 : byte >= 0b1110_0000 ? 3 : byte >= 0b1100_0000 ? 2 : 1;
    return length > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}
