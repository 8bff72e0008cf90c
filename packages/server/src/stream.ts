/**
 * An answer without a known end, written as fast as the caller takes it: the next piece is asked for when the last one has
 * gone, so what is not read here is not produced there. A caller that has gone, or takes nothing for a minute, ends it.
 */
import type { ServerResponse } from 'node:http';
import type { StreamAnswer } from './route.ts';

/** How long a caller may leave what was written unread. */
const STALLED_MS = 60_000;

/** Resolves when the stream has ended or the caller has gone. Rejects with what the stream throws. */
export async function sendStream(
  response: ServerResponse,
  { status, headers, stream }: StreamAnswer,
  stalledMs: number = STALLED_MS,
): Promise<void> {
  const pieces = stream[Symbol.asyncIterator]();
  if (response.headersSent || response.destroyed) return leave(pieces);
  response.statusCode = status;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (response.req.method === 'HEAD') {
    response.end();
    return leave(pieces);
  }
  let onGone = () => {};
  response.once('close', () => onGone());
  /** What is awaited, or undefined when the caller goes. No race: its losers would gather on a promise of that length. */
  const orGone = <T>(awaited: Promise<T>) =>
    new Promise<T | undefined>((resolve, reject) => {
      onGone = () => resolve(undefined);
      awaited.then(resolve, reject);
    });
  response.flushHeaders();
  try {
    for (;;) {
      const next = await orGone(pieces.next());
      if (next === undefined || next.done === true || response.destroyed) break;
      if (response.write(next.value)) continue;
      const stalled = setTimeout(() => response.destroy(), stalledMs);
      await orGone(new Promise<void>((resolve) => response.once('drain', resolve)));
      clearTimeout(stalled);
    }
  } finally {
    leave(pieces);
  }
  if (!response.destroyed) response.end();
}

/** Not waited for: a generator that waits itself hears of it only at its next piece. */
function leave(pieces: AsyncIterator<unknown>): void {
  pieces.return?.().catch(() => undefined);
}
