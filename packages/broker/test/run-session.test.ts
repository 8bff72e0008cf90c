/** A run's session with a host that is not what it should be: what of it is listened to. */
import type { GateEvent } from '@beacon/protocol/gate-event';
import { expect, it } from '@jest/globals';
import { type RunConnection, RunSession } from '../src/run-session.ts';

const HEAD = { seq: 1, hash: 'a'.repeat(64) };
const undone = {
  event: 'undone',
  id: 1,
  command: 'take',
  why: 'ended',
  code: 0,
  signal: null,
  head: HEAD,
} as const;
const left = { event: 'left', id: 1, command: 'take', reason: 'no' } as const;
const output = { event: 'stdout', id: 1, text: 'x' } as const;

/** Says this over and over until it is killed, or so often. */
async function told(says: readonly GateEvent[], times: number) {
  let isKilled = false;
  let said = 0;
  const end = Promise.withResolvers<Awaited<RunConnection['end']>>();
  const connection = {
    async send() {},
    end: end.promise,
    events: {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          const value = isKilled || said >= times * says.length ? undefined : says[said % says.length];
          said += 1;
          if (value !== undefined) return { done: false as const, value };
          end.resolve({ how: 'lost', reason: 'the end' });
          return { done: true as const, value: undefined };
        },
      }),
    },
    kill() {
      isKilled = true;
      end.resolve({ how: 'lost', reason: 'killed' });
    },
  } as unknown as RunConnection;
  const heard: string[] = [];
  const session = new RunSession(connection, ['put'], {
    report: (report) =>
      void heard.push('reason' in report ? `${report.kind}: ${report.reason}` : report.kind),
    output: async () => void heard.push('output'),
    outputEnded: () => undefined,
    truncated: () => void heard.push('truncated'),
    closed: () => undefined,
    head: () => undefined,
  });
  await session.send((id) => ({ kind: 'end', id }), 0);
  await session.follow();
  return { heard, isKilled };
}

it.each<[string, readonly GateEvent[]]>([
  ['that says over and over what it took back', [undone, left]],
  ['whose output is cut over and over', [{ event: 'truncated', id: 1, max_output_bytes: 1 }]],
  ['that refuses over and over', [{ event: 'refused', code: 'x', reason: 'x' }]],
  ['that says it of no step', [{ ...undone, id: 7 }]],
])('R6: leaves a host %s, for each word would be written down', async (_, says) => {
  const { heard, isKilled } = await told(says, 1_000);
  expect(isKilled).toBe(true);
  expect(heard.length).toBeLessThan(60);
  expect(heard.at(-1)).toMatch(/^lost: .* no gate of ours/);
});

it('R6: goes on listening to output and signs of life, however many', async () => {
  const { heard, isKilled } = await told([output, { event: 'alive' }], 1_000);
  expect([isKilled, heard.filter((one) => one === 'output').length, heard.at(-1)]).toEqual([
    false,
    1_000,
    'lost: the end',
  ]);
});
