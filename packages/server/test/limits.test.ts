import { describe, expect, test } from '@jest/globals';
import { createCounter, createLimits, limitMigrations, migrate, openDatabase } from '../src/index.ts';
import { cluster } from './postgres.ts';
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

  test('Q9: counts a service that has proven itself in place of its address', async () => {
    const limits = createLimits({
      perAddress: { requests: 2, perSeconds: 60 },
      perService: { requests: 4, perSeconds: 60 },
    });
    for (let i = 0; i < 4; i++) {
      await limits.address('192.0.2.1');
      await limits.service('portal', '192.0.2.1');
    }
    await limits.address('192.0.2.1');
    expect(await codeOf(() => limits.service('portal', '192.0.2.1'))).toBe('too-many-requests');
    // What a service has over its limit stays with the address.
    await limits.address('192.0.2.1');
    expect(await codeOf(() => limits.address('192.0.2.1'))).toBe('too-many-requests');
    await limits.service('another', '192.0.2.2');
  });

  test('Q9: leaves a service without a limit of its own with that of its address', async () => {
    const limits = createLimits({ perAddress: { requests: 1, perSeconds: 60 } });
    await limits.address('192.0.2.1');
    await limits.service('portal', '192.0.2.1');
    expect(await codeOf(() => limits.address('192.0.2.1'))).toBe('too-many-requests');
  });

  test('says when to come again, and lets one come then', async () => {
    const count = createCounter({ requests: 1, perSeconds: 5 });
    await count('a');
    await expect(count('a')).rejects.toMatchObject({
      headers: { 'retry-after': expect.stringMatching(/^[1-5]$/) },
    });
    const isRefused = () => codeOf(() => count('a'));
    while ((await isRefused()) !== undefined) await new Promise((resolve) => setTimeout(resolve, 100));
  });

  test('does not count what is not limited', async () => {
    const limits = createLimits({});
    for (let i = 0; i < 100; i++) await limits.address('192.0.2.1');
    await limits.caller('a');
  });

  test('counts for all processes of one PostgreSQL store, and for itself when the store is gone', async () => {
    const url = await (await cluster()).createDatabase();
    const [one, two] = [
      openDatabase<Record<never, never>>({ url }),
      openDatabase<Record<never, never>>({ url }),
    ];
    await Promise.all([one, two].map((database) => migrate(database, limitMigrations)));
    const replicas = [one, two].map((database) =>
      createLimits({
        perAddress: { requests: 40, perSeconds: 60 },
        perService: { requests: 100, perSeconds: 60 },
        perCaller: { requests: 2, perSeconds: 60 },
        database,
      }),
    );
    // By one of them taken back from what the other counted.
    for (let i = 0; i < 10; i++) {
      await replicas[0]?.address('192.0.2.1');
      await replicas[1]?.service('portal', '192.0.2.1');
    }
    const refused = await Promise.all(
      Array.from({ length: 100 }, (_, i) => codeOf(() => replicas[i % 2]?.address('192.0.2.1'))),
    );
    expect(refused.filter((code) => code === undefined)).toHaveLength(40);
    expect(refused.filter((code) => code === 'too-many-requests')).toHaveLength(60);
    await replicas[0]?.caller('192.0.2.1');
    await one.destroy();
    await two.destroy();
    for (let i = 0; i < 40; i++) await replicas[1]?.address('192.0.2.9');
    expect(await codeOf(() => replicas[1]?.address('192.0.2.9'))).toBe('too-many-requests');
  });
});
