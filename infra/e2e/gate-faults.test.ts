/** One of each fault of `scripts/gate-faults` that no other test has, and one run that nothing breaks: the judge finds nothing. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createRandom } from '../crash/random.ts';
import { breakOne, type Fault, LONGEST_MS, prepare } from '../gate-faults/faults.ts';
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
    expect((await breakOne(host, fault, number, random.between(0, LONGEST_MS))).findings).toEqual([]);
    expect(isWholeChain(await host.records())).toBe(true);
  });

  describe('whose command is asked of systemd late', () => {
    const REAL = '/usr/bin/systemd-run';
    beforeAll(async () => {
      await host.script(`mv ${REAL} ${REAL}.real`);
      await host.lab.write(REAL, `#!/bin/sh\nsleep 1\nexec ${REAL}.real "$@"\n`, { mode: 0o755 });
    });
    afterAll(() => host.script(`mv ${REAL}.real ${REAL}`));

    test.each<[Fault, number]>([
      ['lost', 5],
      ['cancelled', 6],
      ['killed', 7],
      ['killed-alone', 8],
    ])('L9: is over all the same: %s', async (fault, number) => {
      expect((await breakOne(host, fault, number, 'last-started')).findings).toEqual([]);
    });
  });
});
