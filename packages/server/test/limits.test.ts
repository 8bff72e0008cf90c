import { describe, expect, test } from '@jest/globals';
import { createCounter, createLimits } from '../src/index.ts';
import { codeOf } from './temporary.ts';

describe('createLimits', () => {
  test('counts each address and each caller apart', async () => {
    const limits = createLimits({
      perAddress: { requests: 2, perSeconds: 60 },
      perCaller: { requests: 1, perSeconds: 60 },
    });
    await limits.address('192.0.2.1');
    await limits.address('192.0.2.1');
    expect(await codeOf(() => limits.address('192.0.2.1'))).toBe('too-many-requests');
    await limits.address('192.0.2.2');
    await limits.caller('192.0.2.1');
    expect(await codeOf(() => limits.caller('192.0.2.1'))).toBe('too-many-requests');
  });

  test('says when to come again, and lets one come then', async () => {
    const count = createCounter({ requests: 1, perSeconds: 1 });
    await count('a');
    await expect(count('a')).rejects.toMatchObject({ headers: { 'retry-after': '1' } });
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    await count('a');
  });

  test('does not count what is not limited', async () => {
    const limits = createLimits({});
    for (let i = 0; i < 100; i++) await limits.address('192.0.2.1');
    await limits.caller('a');
  });
});
