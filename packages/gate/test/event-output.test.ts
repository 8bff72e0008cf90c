import { PassThrough, Readable, Writable } from 'node:stream';
import { type GateEvent, parseGateEvent } from '@beacon/protocol/gate-event';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { EventOutput } from '../src/event-output.ts';

/** What comes out of `chunks` on standard output, and how many bytes were counted. */
async function pipe(
  chunks: readonly Buffer[],
  mostBytes = 1e6,
): Promise<{ events: GateEvent[]; bytes: number }> {
  let text = '';
  const stream = new Writable({
    highWaterMark: 64,
    write: (chunk: Buffer, _, done) => {
      text += chunk.toString();
      setImmediate(done);
    },
  });
  const output = new EventOutput(stream);
  const stdout = Readable.from(chunks, { objectMode: false });
  const count = output.pipe(1, { stdout, stderr: Readable.from([]) }, mostBytes);
  await new Promise((resolve) => stdout.on('close', resolve));
  await output.end();
  return { events: text.trimEnd().split('\n').filter(Boolean).map(parseGateEvent), bytes: count() };
}

const bytesOf = (events: readonly GateEvent[]): Buffer =>
  Buffer.concat(
    events.flatMap((event) => {
      if (event.event !== 'stdout') return [];
      return ['text' in event ? Buffer.from(event.text) : Buffer.from(event.base64, 'base64')];
    }),
  );

describe('the output of a command', () => {
  it('comes out as it went in, whatever it is and however it was cut', async () => {
    const chunk = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 50 }),
      fc.string({ unit: 'binary', minLength: 1 }).map((text) => new TextEncoder().encode(text)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(chunk, { maxLength: 8 }), async (chunks) => {
        const { events, bytes } = await pipe(chunks.map((each) => Buffer.from(each)));
        expect(bytesOf(events)).toEqual(Buffer.concat(chunks));
        expect(bytes).toBe(Buffer.concat(chunks).length);
      }),
      { numRuns: 60 },
    );
  });

  it('is text where it is UTF-8, though a character be cut', async () => {
    const text = 'grüße 😀 '.repeat(20_000);
    const bytes = Buffer.from(text);
    for (const size of [1_001, 65_536]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
        bytes.subarray(index * size, (index + 1) * size),
      );
      const { events } = await pipe(chunks);
      expect(events.map((event) => ('text' in event ? event.text : '?')).join('')).toBe(text);
      for (const event of events) expect(JSON.stringify(event).length).toBeLessThan(65_536);
    }
  });

  it('R6: is cut at the bound, which is said once', async () => {
    const { events, bytes } = await pipe(
      [Buffer.alloc(600, 'a'), Buffer.alloc(600, 'b'), Buffer.alloc(600, 'c')],
      1_000,
    );
    expect(bytesOf(events).toString()).toBe('a'.repeat(600) + 'b'.repeat(400));
    expect(events.filter(({ event }) => event === 'truncated')).toHaveLength(1);
    expect(bytes).toBe(1_800);
  });

  it('is not said to be cut when it ends exactly at the bound', async () => {
    const { events } = await pipe([Buffer.alloc(1_000, 'a')], 1_000);
    expect(events.map(({ event }) => event)).toEqual(['stdout']);
  });

  it('R7: goes nowhere, and ends nothing, when the client is gone', async () => {
    const stream = new PassThrough();
    const output = new EventOutput(stream);
    const lost = new Promise<void>((resolve) => output.whenLost(resolve));
    stream.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    await lost;
    expect(output.write({ event: 'alive' })).toBe(true);
    await output.end();
  });
});
