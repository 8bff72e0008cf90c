/**
 * One kill of each party in the middle of a real run, of the broker at several of its moments; `scripts/run-kills` makes
 * many. Nothing is lost, nothing is done twice, the run comes to an end, and the records agree.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { whyNoLab } from '../lab/possible.ts';
import { openKillStage } from '../run-kills/kill-stage.ts';
import { killOne, type Victim } from '../run-kills/kills.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`kills in the middle of runs are left out: ${why}\n`);

(why === undefined ? describe : describe.skip)('a run in whose middle somebody is killed', () => {
  let at: Awaited<ReturnType<typeof openKillStage>>;
  beforeAll(async () => {
    at = await openKillStage();
  }, 180_000);
  afterAll(() => at?.close(), 60_000);

  test.each<[Victim, number, number]>([
    ['broker', 1, 0],
    ['broker', 2, 4],
    ['broker', 3, 7],
    ['broker', 4, 12],
    ['ca', 5, 2],
    ['ca', 6, 7],
    ['ssh', 7, 7],
    ['sshd', 8, 8],
    ['gate', 9, 7],
  ])('R7, R8: ends, with nothing lost and nothing done twice: %s (%i, after %i entries)', async (...row) => {
    const [victim, number, after] = row;
    const { hit, findings } = await killOne(at, victim, number, after);
    expect({ hit, findings }).toEqual({ hit: true, findings: [] });
  });
});
