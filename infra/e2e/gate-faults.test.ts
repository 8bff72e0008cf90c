/** One of each fault of `scripts/gate-faults` that no other test has, and one run that nothing breaks: the judge finds nothing. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createRandom } from '../crash/random.ts';
import { breakOne, type Fault, prepare } from '../gate-faults/faults.ts';
import { isWholeChain } from '../gate-faults/judge.ts';
import { GateHost } from '../lab/gate-host.ts';
import { Lab } from '../lab/lab.ts';
import { whyNoLab } from '../lab/possible.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`faults of gates are left out: ${why}\n`);

(why === undefined ? describe : describe.skip)('a run that is broken', () => {
  let lab: Lab;
  let host: GateHost;
  beforeAll(async () => {
    lab = await Lab.temporary();
    host = await GateHost.boot(lab, 'fault-01');
    await prepare(host);
  }, 120_000);
  afterAll(() => lab?.down());

  const random = createRandom('a test');
  test.each<[Fault, number]>([
    ['failed', 1],
    ['cancelled', 2],
    ['killed-alone', 3],
    ['none', 4],
  ])('L9: leaves whole records, and nothing that runs: %s', async (fault, number) => {
    expect((await breakOne(host, fault, number, random)).findings).toEqual([]);
    expect(isWholeChain(await host.records())).toBe(true);
  });
});
