/**
 * A run's open session with a gate: which request was about which step, what the gate says turned into what the run is
 * told, one event after the other. Nothing is read while what was read before waits to be written down.
 */
import { Buffer } from 'node:buffer';
import type { ObtainedCertificate } from '@beacon/client';
import type { ChainHead } from '@beacon/protocol/checkpoint';
import type { GateEvent } from '@beacon/protocol/gate-event';
import type { GateRequest } from '@beacon/protocol/gate-request';
import type { Json } from '@beacon/protocol/strict-json';
import { BrokerError } from './error.ts';
import { badEnding } from './run-failure.ts';
import type { Report } from './run-state.ts';

/** The part of a session with a gate that a run needs. */
export interface RunConnection {
  readonly hello: GateEvent & { readonly event: 'hello' };
  send(request: GateRequest): Promise<void>;
  readonly events: AsyncIterable<GateEvent>;
  readonly end: Promise<{ readonly how: 'closed' } | { readonly how: 'lost'; readonly reason: string }>;
  kill(): void;
}

/** Connects; nothing was sent to a gate when it rejects. */
export type Dial = (options: {
  readonly obtained: ObtainedCertificate;
  /** The CA's revocation list, at most seconds old. */
  readonly revokedHosts: Buffer;
  readonly signal?: AbortSignal;
  readonly onNote?: (text: string) => void;
}) => Promise<RunConnection>;

export type Facts = { readonly [key: string]: Json };

/** Where a session tells what it hears. */
export interface Listener {
  report(report: Report, facts?: Facts): void;
  /** Resolves when more may come. */
  output(stream: 'stdout' | 'stderr', step: number, bytes: Buffer): Promise<void>;
  outputEnded(step: number): void;
  truncated(step: number, maxOutputBytes: number): void;
  closed(head: ChainHead): void;
  head(head: ChainHead): void;
}

/**
 * What a gate says besides output and signs of life, at most: a start, an end, a cut, what became of the undo, of each step
 * and of each certificate. Each of these is written down, so a host that says more would fill the disk.
 */
const MOST_SAID = 32;
const MOST_SAID_OF_STEP = 8;

const TOO_MUCH =
  "what answered is no gate of ours: it says more than there is to say of these commands. The host's operator runs beacon host check there";

/** ssh goes by itself after the gate's last word; then it has to. */
const LEAVE_MS = 5_000;

export class RunSession {
  readonly #connection: RunConnection;
  readonly #listener: Listener;
  readonly #commands: readonly string[];
  readonly #stepOf = new Map<number, number>();
  #lastId = 0;
  #isClosed = false;
  #said = 0;

  /** `commands` are the names of the run's steps. */
  constructor(connection: RunConnection, commands: readonly string[], listener: Listener) {
    this.#connection = connection;
    this.#commands = commands;
    this.#listener = listener;
  }

  /** Sends what `make` makes of an id. What is lost here is told as the end of the session. */
  async send(make: (id: number) => GateRequest, step?: number): Promise<void> {
    const id = ++this.#lastId;
    if (step !== undefined) this.#stepOf.set(id, step);
    await this.#connection.send(make(id));
  }

  kill(): void {
    this.#connection.kill();
  }

  /** Reads to the end of the session, and tells. */
  async follow(): Promise<void> {
    try {
      for await (const event of this.#connection.events) {
        if (this.#saysTooMuch(event)) break;
        await this.#take(event);
      }
    } catch {
      // How it ended says the connection.
    }
    if (this.#said > this.#mostSaid) {
      this.#connection.kill();
      this.#listener.report({ kind: 'lost', reason: TOO_MUCH });
      return;
    }
    if (this.#isClosed) {
      const timer = setTimeout(() => this.#connection.kill(), LEAVE_MS);
      await this.#connection.end;
      clearTimeout(timer);
      return;
    }
    const end = await this.#connection.end;
    const reason = end.how === 'lost' ? end.reason : 'the gate has gone without its last word';
    this.#listener.report({ kind: 'lost', reason });
  }

  get #mostSaid(): number {
    return MOST_SAID + MOST_SAID_OF_STEP * this.#commands.length;
  }

  #saysTooMuch({ event }: GateEvent): boolean {
    if (event !== 'stdout' && event !== 'stderr' && event !== 'alive') this.#said += 1;
    return this.#said > this.#mostSaid;
  }

  async #take(event: GateEvent): Promise<void> {
    const listener = this.#listener;
    if ('head' in event) listener.head(event.head);
    const step = 'id' in event && event.id !== undefined ? this.#stepOf.get(event.id) : undefined;
    switch (event.event) {
      case 'replaced':
        listener.report({ kind: 'replaced' });
        return;
      case 'refused':
        if (step !== undefined) listener.outputEnded(step);
        listener.report(
          { kind: 'refused', reason: `the host refused ${this.#name(step)}: ${event.reason}` },
          { code: event.code },
        );
        return;
      case 'closed':
        this.#isClosed = true;
        listener.closed(event.head);
        listener.report({ kind: 'closed' });
        return;
      default:
        if (step !== undefined) await this.#takeOfStep(event, step);
    }
  }

  async #takeOfStep(event: GateEvent, step: number): Promise<void> {
    const listener = this.#listener;
    switch (event.event) {
      case 'started':
        listener.report({ kind: 'started' });
        return;
      case 'stdout':
      case 'stderr':
        await listener.output(
          event.event,
          step,
          'text' in event ? Buffer.from(event.text, 'utf8') : Buffer.from(event.base64, 'base64'),
        );
        return;
      case 'truncated':
        listener.truncated(step, event.max_output_bytes);
        return;
      case 'exit': {
        listener.outputEnded(step);
        const { code, signal, why } = event;
        const facts = { code, signal, duration_ms: event.duration_ms };
        if (why === 'ended' && code === 0) listener.report({ kind: 'succeeded' }, facts);
        else
          listener.report({ kind: 'failed', reason: badEnding(this.#name(step), event) }, { ...facts, why });
        return;
      }
      case 'undone':
        if (event.why === 'ended' && event.code === 0) listener.report({ kind: 'undone', step });
        else listener.report({ kind: 'left', step }, { reason: badEnding(event.command, event) });
        return;
      case 'left':
        listener.report({ kind: 'left', step }, { reason: event.reason });
        return;
      default:
        return;
    }
  }

  #name(step: number | undefined): string {
    return step === undefined ? 'the certificate' : (this.#commands[step] ?? 'a step');
  }
}

export interface CallAnswer {
  readonly isDone: boolean;
  /** Why not. */
  readonly reason: string;
  readonly output: string;
}

const LONGEST_ANSWER = 8 * 1024 * 1024;

/**
 * Asks for one command and waits for its end, in a session that nobody follows. The session goes on. Throws when it is
 * lost, or refuses the session itself.
 */
export async function callGate(
  connection: RunConnection,
  request: GateRequest & { readonly kind: 'command' },
): Promise<CallAnswer> {
  await connection.send(request);
  const { command } = request.asked;
  let output = '';
  for await (const event of connection.events) {
    if ('id' in event && event.id !== undefined && event.id !== request.id) continue;
    if (event.event === 'stdout' && 'text' in event && output.length < LONGEST_ANSWER) output += event.text;
    if (event.event === 'refused')
      return { isDone: false, reason: `the host refused ${command}: ${event.reason}`, output };
    if (event.event === 'exit') {
      const isDone = event.why === 'ended' && event.code === 0;
      return { isDone, reason: isDone ? '' : badEnding(command, event), output };
    }
    if (event.event === 'closed') break;
  }
  return { isDone: false, reason: `the session ended before ${command} had`, output };
}

/** Gives a session that nobody follows its next certificate. Throws BrokerError when the gate does not take it. */
export async function replaceCertificate(
  connection: RunConnection,
  id: number,
  obtained: ObtainedCertificate,
): Promise<void> {
  await connection.send(certificateRequest(id, obtained));
  for await (const event of connection.events) {
    if ('id' in event && event.id !== undefined && event.id !== id) continue;
    if (event.event === 'replaced') return;
    if (event.event === 'refused')
      throw new BrokerError('gate-refused', `the host refused the next certificate: ${event.reason}`);
    if (event.event === 'closed') break;
  }
  throw new BrokerError('session-lost', 'the session ended before the gate had taken the next certificate');
}

export function certificateRequest(id: number, { line }: ObtainedCertificate): GateRequest {
  const [, blob = ''] = line.split(' ');
  return { kind: 'certificate', id, blob: Buffer.from(blob, 'base64') };
}

/** Says that all is to be kept, and waits until the gate has gone; answers its last head. */
export async function endCall(connection: RunConnection, id: number): Promise<ChainHead | undefined> {
  let head: ChainHead | undefined;
  const timer = setTimeout(() => connection.kill(), LEAVE_MS);
  try {
    await connection.send({ kind: 'end', id });
    for await (const event of connection.events) if (event.event === 'closed') head = event.head;
  } catch {
    // What was asked was answered already.
  } finally {
    clearTimeout(timer);
    connection.kill();
  }
  return head;
}
