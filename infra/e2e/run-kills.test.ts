/**
 * One kill of each party in the middle of a real run, of the broker at several of its moments; `scripts/run-kills` makes
 * many. Nothing is lost, nothing is done twice, the run comes to an end, and the records agree. And a broker that is told
 * to stop in the middle of one: what it refuses, what it lets end, what it leaves, and how soon it is gone.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientError, type RunEvent } from '@beacon/client';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { whyNoLab } from '../lab/possible.ts';
import { openKillStage } from '../run-kills/kill-stage.ts';
import { HOLD, killOne, type Victim } from '../run-kills/kills.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`kills in the middle of runs are left out: ${why}\n`);

let at: Awaited<ReturnType<typeof openKillStage>>;
beforeAll(async () => {
  if (why === undefined) at = await openKillStage();
}, 180_000);
afterAll(() => at?.close(), 60_000);

(why === undefined ? describe : describe.skip)('a run in whose middle somebody is killed', () => {
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

(why === undefined ? describe : describe.skip)('a broker that is told to stop in the middle of a run', () => {
  const order = () => ({ host: at.host.target.name, command: 'mark.a', params: { name: 'stop' } });

  /** A run whose command is there and waits, and the process that was told to stop and says so. */
  async function stopped() {
    await at.host.script(`touch ${HOLD}`);
    const { run } = await at.api.createRun(order());
    for await (const { data } of at.api.events(run.id)) if (data['outcome'] === 'started') break;
    const { process: child } = at.broker;
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    return { id: run.id, child, ended };
  }

  async function untilNotReady(): Promise<unknown> {
    for (;;) {
      const answer = await fetch(`${at.broker.url}/readyz`);
      if (answer.status !== 200) return answer.json();
      await sleep(20);
    }
  }

  test('takes no new runs and says so, shows what goes on, and is gone when that has ended', async () => {
    const { id, ended } = await stopped();
    expect(await untilNotReady()).toMatchObject({ checks: { store: 'ok', runs: 'failing' } });
    expect((await fetch(`${at.broker.url}/healthz`)).status).toBe(200);
    const refused = await at.api.createRun(order()).catch((error: unknown) => error);
    expect(refused instanceof ClientError && refused.problem?.code).toBe('stopping');
    const seen: RunEvent[] = [];
    const watching = (async () => {
      for await (const event of at.api.events(id)) seen.push(event);
    })();
    await at.host.script(`rm ${HOLD}`);
    expect(await ended).toBe(0);
    await at.broker.serve();
    await watching;
    expect(seen.at(-1)).toMatchObject({ kind: 'over', data: { phase: 'succeeded' } });
    expect(await at.api.run(id)).toMatchObject({ phase: 'succeeded', attempt: 1 });
  }, 60_000);

  test('interrupts in order what has not ended in time, and the host takes that back', async () => {
    const { configuration } = at.broker;
    const before = readFileSync(configuration, 'utf8');
    writeFileSync(configuration, `${before}\nstop:\n  runs_seconds: 1\n`);
    await at.broker.kill();
    await at.broker.serve();
    const { id, ended } = await stopped();
    expect(await ended).toBe(0);
    writeFileSync(configuration, before);
    await at.broker.serve();
    expect(await at.api.run(id)).toMatchObject({
      phase: 'interrupted',
      end: { reason: 'Beacon was stopped while the run was in work' },
    });
    await at.api.wish(id, 'undo');
    for await (const { kind } of at.api.events(id)) if (kind === 'over') break;
    expect(await at.api.run(id)).toMatchObject({
      phase: 'cancelled',
      left: [],
      steps: [{ outcome: 'undone' }],
    });
  }, 60_000);

  test('waits no longer when it is told twice', async () => {
    const { id, child, ended } = await stopped();
    await untilNotReady();
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    await at.broker.serve();
    expect(await at.api.run(id)).toMatchObject({ phase: 'interrupted' });
  }, 40_000);
});
