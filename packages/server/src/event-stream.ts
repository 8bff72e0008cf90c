/**
 * Server-Sent Events (HTML, section 9.2) as text: events with numbers, so that a reader that comes again says what it has
 * seen, and a comment now and then, so that both sides notice when the other has gone.
 */

export interface StreamedEvent {
  /** What a reader sends as `last-event-id` when it comes again. */
  readonly id: number;
  /** One word. */
  readonly event: string;
  /** Becomes one line of JSON. */
  readonly data: unknown;
}

export interface EventStreamOptions {
  /** How often a comment goes out. */
  readonly heartbeatMs: number;
  /** Looked at with each comment: false ends the stream. */
  readonly mayGoOn?: () => Promise<boolean>;
  /** Ends the stream. */
  readonly signal: AbortSignal;
}

/** What an answer with events is sent with. Proxies that gather what they pass on are told not to. */
export const eventStreamHeaders: Readonly<Record<string, string>> = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  'x-accel-buffering': 'no',
};

/** The text of `events`, as it goes over the wire. What `events` throws is thrown. */
export async function* eventStream(
  events: AsyncIterable<StreamedEvent>,
  { heartbeatMs, mayGoOn, signal }: EventStreamOptions,
): AsyncGenerator<string, void, undefined> {
  const source = events[Symbol.asyncIterator]();
  let waiting: Promise<IteratorResult<StreamedEvent>> | undefined;
  let isDue = false;
  let wake = () => {};
  const onAbort = () => wake();
  signal.addEventListener('abort', onAbort);
  const heartbeat = setInterval(() => {
    isDue = true;
    wake();
  }, heartbeatMs);
  try {
    // Says at once that the request was heard.
    yield ': beacon\n\n';
    waiting = source.next();
    while (!signal.aborted) {
      if (isDue) {
        isDue = false;
        if (mayGoOn !== undefined && !(await mayGoOn())) return;
        yield ':\n\n';
        continue;
      }
      const next = await new Promise<IteratorResult<StreamedEvent> | undefined>((resolve, reject) => {
        wake = () => resolve(undefined);
        waiting?.then(resolve, reject);
      });
      if (next === undefined) continue;
      if (next.done === true) return;
      const { id, event, data } = next.value;
      yield `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
      waiting = source.next();
    }
  } finally {
    clearInterval(heartbeat);
    signal.removeEventListener('abort', onAbort);
    waiting?.catch(() => undefined);
    source.return?.().catch(() => undefined);
  }
}
