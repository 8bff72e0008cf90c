import { get, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import {
  defineRoute,
  type EventStreamOptions,
  eventStream,
  eventStreamHeaders,
  type StreamedEvent,
} from '../src/index.ts';
import { startApp } from './app-on-loopback.ts';

/** Events that come when they are pushed, and what became of their reader. */
function source() {
  const waiting: StreamedEvent[] = [];
  let wake = () => {};
  const state = { left: false, taken: 0 };
  async function* events(): AsyncGenerator<StreamedEvent> {
    try {
      for (;;) {
        const event = waiting.shift();
        if (event === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        if (event.event === 'end') return;
        if (event.event === 'break') throw new Error('broken in the middle');
        state.taken += 1;
        yield event;
      }
    } finally {
      state.left = true;
    }
  }
  const push = (event: string, data: unknown = {}) => {
    waiting.push({ id: waiting.length + state.taken + 1, event, data });
    wake();
  };
  return { events, push, state };
}

async function serve(events: () => AsyncIterable<StreamedEvent>, options: Partial<EventStreamOptions> = {}) {
  return startApp({
    timeoutMs: 50,
    routes: [
      defineRoute({
        method: 'GET',
        path: '/v1/events',
        summary: 'Events',
        tag: 'events',
        access: 'public',
        request: {},
        responses: { 200: { description: 'Events', contentType: 'text/event-stream' } },
        handle: ({ signal }) => ({
          status: 200,
          headers: eventStreamHeaders,
          stream: eventStream(events(), { heartbeatMs: 60_000, signal, ...options }),
        }),
      }),
    ],
  });
}

async function open(
  url: string,
): Promise<{ answer: IncomingMessage; text: () => string; ended: Promise<string> }> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) =>
    get(`${url}/v1/events`, resolve).on('error', reject),
  );
  let text = '';
  answer.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const ended = new Promise<string>((resolve) => {
    answer.once('end', () => resolve('ended'));
    answer.once('error', () => resolve('cut'));
  });
  return { answer, text: () => text, ended };
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await sleep(5);
}

test('writes events with their numbers as they come, past the time that a route has, and ends with them', async () => {
  const { events, push } = source();
  const { url } = await serve(events);
  const { answer, text, ended } = await open(url);
  expect(answer.headers).toMatchObject({
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  push('stdout', { text: 'a\nb\u2028</script>' });
  await until(() => text().includes('id: 1'));
  await sleep(80);
  push('over');
  push('end');
  expect(await ended).toBe('ended');
  expect(text()).toBe(
    `: beacon\n\nid: 1\nevent: stdout\ndata: {"text":"a\\nb\u2028</script>"}\n\nid: 2\nevent: over\ndata: {}\n\n`,
  );
});

test('says that it is alive, and asks each time whether it may go on', async () => {
  let asked = 0;
  const { events, state } = source();
  const mayGoOn = async () => ++asked < 3;
  const { url } = await serve(events, { heartbeatMs: 5, mayGoOn });
  const { text, ended } = await open(url);
  expect(await ended).toBe('ended');
  expect(text()).toBe(': beacon\n\n:\n\n:\n\n');
  await until(() => asked === 3);
  expect(state.taken).toBe(0);
});

test('leaves the source when the reader goes, and at the word of its signal', async () => {
  const first = source();
  const { url } = await serve(first.events);
  const { answer, text } = await open(url);
  first.push('stdout');
  await until(() => text().includes('id: 1'));
  answer.destroy();
  await until(() => {
    // A generator that waits hears of it at its next event.
    first.push('stdout');
    return first.state.left;
  });

  const second = source();
  const stopping = new AbortController();
  const { url: other } = await serve(second.events, { signal: stopping.signal });
  const { ended } = await open(other);
  stopping.abort();
  expect(await ended).toBe('ended');
});

test('takes no more of the source than the reader takes', async () => {
  const { events, push, state } = source();
  const { url } = await serve(events);
  const { answer } = await open(url);
  answer.pause();
  for (let count = 0; count < 200; count += 1) push('stdout', { text: 'x'.repeat(100_000) });
  await sleep(100);
  expect(state.taken).toBeLessThan(200);
  answer.destroy();
});

test('cuts the connection when the source breaks, so that nobody takes it for the end, and logs why', async () => {
  const { events, push } = source();
  const { url, log } = await serve(events);
  const { ended } = await open(url);
  push('break');
  expect(await ended).toBe('cut');
  expect(log()).toContain('broken in the middle');
});

test('answers HEAD with the headers alone', async () => {
  const { events } = source();
  const { url } = await serve(events);
  const answer = await fetch(`${url}/v1/events`, { method: 'HEAD' });
  expect([answer.status, await answer.text()]).toEqual([200, '']);
});
