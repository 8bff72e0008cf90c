import { describe, expect, test } from '@jest/globals';
import { withCircuit } from '../src/circuit.ts';
import type { Connection, Conversation } from '../src/connection.ts';
import { GitHubError } from '../src/error.ts';

const conversation: Conversation = {
  ask: () => Promise.reject(new Error('not asked')),
  askAll: () => Promise.reject(new Error('not asked')),
};

function lab() {
  let nowMs = 1_000_000;
  let asked = 0;
  const connection: Connection = {
    converse: (_credential, work) => {
      asked += 1;
      return work(conversation);
    },
  };
  const guarded = withCircuit(connection, 'api.github.com', {
    failures: 3,
    openMs: 5_000,
    concurrent: 4,
    monotonicMs: () => nowMs,
  });
  const converse = <T>(work: () => Promise<T>) => guarded.converse({ authorization: null }, work);
  return {
    converse,
    guarded,
    asked: () => asked,
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

const down = () => Promise.reject(new GitHubError('unavailable', 'nothing came'));
const well = () => Promise.resolve('well');
const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'well',
    (error: GitHubError) => error.code,
  );

describe('a GitHub that is down', () => {
  test('Q2: is asked no more after three failures in a row, then by one, and trusted again by its answer', async () => {
    const { converse, asked, pass } = lab();
    for (let i = 0; i < 3; i += 1) expect(await code(converse(down))).toBe('unavailable');
    await expect(converse(well)).rejects.toMatchObject({ code: 'unavailable', retryAfterMs: 5_000 });
    expect(asked()).toBe(3);
    pass(4_999);
    expect(await code(converse(well))).toBe('unavailable');
    pass(1);
    let answer: (text: string) => void = () => undefined;
    const trying = converse(
      () =>
        new Promise<string>((resolve) => {
          answer = resolve;
        }),
    );
    expect(await code(converse(well))).toBe('unavailable');
    expect(asked()).toBe(4);
    answer('well');
    expect(await trying).toBe('well');
    expect(await code(converse(well))).toBe('well');
  });

  test('Q2: that still does not answer the one that tries stays left alone', async () => {
    const { converse, asked, pass } = lab();
    for (let i = 0; i < 3; i += 1) await code(converse(down));
    for (let round = 0; round < 3; round += 1) {
      pass(5_000);
      expect(await code(converse(down))).toBe('unavailable');
      expect(await code(converse(down))).toBe('unavailable');
    }
    expect(asked()).toBe(6);
  });

  test.each(['rate-limited', 'unauthorized', 'refused', 'malformed'] as const)(
    'is not what an answer %s says',
    async (kind) => {
      const { converse, asked } = lab();
      const says = () => Promise.reject(new GitHubError(kind, 'an answer'));
      for (let round = 0; round < 3; round += 1) {
        expect(await code(converse(down))).toBe('unavailable');
        expect(await code(converse(down))).toBe('unavailable');
        expect(await code(converse(says))).toBe(kind);
      }
      expect(asked()).toBe(9);
    },
  );
});

test('Q2: a GitHub that hangs holds no more than so many at a time', async () => {
  const { converse, asked, guarded } = lab();
  const ends: (() => void)[] = [];
  const hang = () => new Promise<void>((resolve) => ends.push(resolve));
  const held = Array.from({ length: 4 }, () => converse(hang));
  await expect(converse(well)).rejects.toMatchObject({ code: 'unavailable' });
  // What is for show alone has a short time of its own, and neither counts nor is counted.
  expect(await guarded.converse({ authorization: null }, well, 100)).toBe('well');
  expect(asked()).toBe(5);
  for (const end of ends) end();
  await Promise.all(held);
  expect(await converse(well)).toBe('well');
});
