import { describe, expect, it } from '@jest/globals';
import { readEventStream, type StreamEvent } from '../src/event-stream.ts';

const TEXT =
  ': hello\n\nid: 1\nevent: stdout\ndata: {"text":"é\u{1f600}"}\n\ndata: a\r\ndata:b\r\n\r\nid:7\rdata\r\rretry: 9\nunknown: x\n\nevent: over\ndata: cut';
const EVENTS: StreamEvent[] = [
  { id: '1', name: 'stdout', data: '{"text":"é\u{1f600}"}' },
  { id: '1', name: 'message', data: 'a\nb' },
  { id: '7', name: 'message', data: '' },
];

async function* pieces(...all: readonly (string | Uint8Array)[]) {
  for (const one of all) yield typeof one === 'string' ? new TextEncoder().encode(one) : one;
}

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<StreamEvent[]> {
  const events: StreamEvent[] = [];
  for await (const event of readEventStream(stream)) events.push(event);
  return events;
}

describe('a stream of events', () => {
  it('is read to its last whole event', async () => {
    expect(await readAll(pieces(TEXT))).toEqual(EVENTS);
  });

  it('reads the same wherever it is cut into pieces', async () => {
    const bytes = new TextEncoder().encode(TEXT);
    for (let at = 0; at <= bytes.length; at++) {
      expect(await readAll(pieces(bytes.subarray(0, at), bytes.subarray(at)))).toEqual(EVENTS);
    }
    expect(await readAll(pieces(...Array.from(bytes, (byte) => Uint8Array.of(byte))))).toEqual(EVENTS);
  });

  it('is refused when a line or an event does not end, and when it is no UTF-8', async () => {
    async function* endless(piece: string) {
      const bytes = new TextEncoder().encode(piece);
      for (;;) yield bytes;
    }
    await expect(readAll(endless('x'.repeat(1000)))).rejects.toMatchObject({ code: 'answer-too-long' });
    await expect(readAll(endless(`data: ${'x'.repeat(1000)}\n`))).rejects.toMatchObject({
      code: 'answer-too-long',
    });
    await expect(readAll(pieces(Uint8Array.of(0xff, 0x0a)))).rejects.toMatchObject({
      code: 'answer-malformed',
    });
  });
});
