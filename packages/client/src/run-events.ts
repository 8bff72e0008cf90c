/**
 * The events of a run, followed over lost connections: each is given once, in the order of their numbers, and none is
 * missing, for a new connection says which one was the last (`last-event-id`). Waiting between connections is bounded,
 * longer each time, and jittered, so that the watchers of a broker that was restarted do not come all at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RUN_EVENT_KINDS } from '@beacon/protocol/run-words';
import { Answer } from './answer.ts';
import { ClientError } from './error.ts';
import { readEventStream, type StreamEvent } from './event-stream.ts';
import type { OpenAnswer } from './exchange.ts';
import type { RunEvent } from './run-answers.ts';

/** When a lost stream is asked for again. */
export interface Reconnecting {
  /** How often in a row without any event before it is given up. */
  readonly attempts: number;
  readonly leastMs: number;
  readonly mostMs: number;
  /** A stream that says nothing for so long, not even that it is alive, counts as lost. */
  readonly silenceMs: number;
  /** From 0 up to and without 1. */
  readonly random: () => number;
}

/** About two minutes in all; a broker sends a sign of life every 15 seconds. */
export const RECONNECTING: Reconnecting = {
  attempts: 12,
  leastMs: 250,
  mostMs: 15_000,
  silenceMs: 45_000,
  random: Math.random,
};

export interface FollowOptions {
  /** Only events behind this one; 0 for all. */
  readonly after?: number;
  readonly signal?: AbortSignal;
  /** Is told when the connection is lost and will be tried again; not of the server's own first end. */
  readonly onLost?: (error: ClientError) => void;
}

/** Asks for the stream from behind the event with this number. */
type OpenStream = (after: number, signal: AbortSignal) => Promise<OpenAnswer>;

/**
 * Ends after the event `over`. Throws ClientError `refused` when the server says no for good, `aborted`, and what the last
 * attempt failed with when there were too many.
 */
export async function* followEvents(
  open: OpenStream,
  { after = 0, signal, onLost }: FollowOptions,
  again: Reconnecting,
): AsyncGenerator<RunEvent> {
  let last = after;
  for (let failures = 0; ; ) {
    const connection = new Connection(signal, again.silenceMs);
    let lost: ClientError;
    const isEnded = false;
    try {
      for await (const event of connection.events(open, last)) {
        if (event.seq <= last) continue;
        last = event.seq;
        failures = 0;
        yield event;
        if (event.kind === 'over') return;
      }
      lost = new ClientError(
        'unreachable',
        'unavailable',
        'the server ended the stream of events: try again',
      );
    } catch (error) {
      if (signal?.aborted === true) throw stopped(error);
      if (!(error instanceof ClientError) || !mayPass(error)) throw error;
      lost = error;
    } finally {
      connection.close();
    }
    failures += 1;
    if (failures > again.attempts) throw lost;
    if (!isEnded || failures > 1) onLost?.(lost);
    await pause(again, failures, signal);
  }
}

/** One connection: it is ended when it is silent for too long, and never outlives its reader. */
class Connection {
  readonly #end = new AbortController();
  readonly #signal: AbortSignal;
  readonly #silenceMs: number;
  #timer: NodeJS.Timeout | undefined;
  #isSilent = false;

  constructor(signal: AbortSignal | undefined, silenceMs: number) {
    this.#silenceMs = silenceMs;
    this.#signal = signal === undefined ? this.#end.signal : AbortSignal.any([signal, this.#end.signal]);
  }

  async *events(open: OpenStream, after: number): AsyncGenerator<RunEvent> {
    const answer = await open(after, this.#signal);
    const type = answer.headers.get('content-type') ?? '';
    if (answer.body === null || !type.startsWith('text/event-stream')) {
      throw new ClientError(
        'answer-malformed',
        'internal',
        'the server sends no events: check that the address is that of a Beacon broker',
      );
    }
    this.#hear();
    try {
      for await (const event of readEventStream(answer.body, () => this.#hear())) yield readRunEvent(event);
    } catch (error) {
      if (error instanceof ClientError) throw error;
      const why = this.#isSilent ? 'the server has said nothing for too long' : 'the connection was lost';
      throw new ClientError('unreachable', 'unavailable', `${why}: try again`, { cause: error });
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#end.abort();
  }

  #hear(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#isSilent = true;
      this.#end.abort();
    }, this.#silenceMs);
  }
}

function readRunEvent({ id, name, data: text }: StreamEvent): RunEvent {
  const kind = RUN_EVENT_KINDS.find((one) => one === name);
  if (kind === undefined || !/^[1-9][0-9]{0,15}$/.test(id)) {
    throw new ClientError(
      'answer-malformed',
      'internal',
      `the server sends an event that this version does not know: ${JSON.stringify(name.slice(0, 40))}`,
    );
  }
  const answer = Answer.read(Buffer.from(text), 'an event');
  const { time: _, ...data } = answer.fields();
  return { seq: Number(id), kind, time: answer.time('time'), data };
}

/** What another attempt may mend; what the server refuses, it will refuse again. */
function mayPass({ code, kind }: ClientError): boolean {
  return kind === 'unavailable' || kind === 'limited' || code === 'timed-out';
}

async function pause(again: Reconnecting, failures: number, signal: AbortSignal | undefined): Promise<void> {
  const most = Math.min(again.mostMs, again.leastMs * 2 ** (failures - 1));
  try {
    await sleep(most * (0.5 + again.random() / 2), undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    throw stopped(error);
  }
}

function stopped(cause: unknown): ClientError {
  return new ClientError('aborted', 'unavailable', 'stopped; the run goes on without a watcher', { cause });
}
