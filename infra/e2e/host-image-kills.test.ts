/**
 * `beacon host init` and `remove` on the image of a machine, broken off after each step or failing at the end: sshd and
 * sudo go on, a second try completes, and what is taken back leaves nothing.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { applySteps, initHost, Journal, type Prepared, removeSteps } from '@beacon/host';
import { expect, test } from '@jest/globals';
import { describeImages, silent, useImage } from './image-under-test.ts';

describeImages('set-up that is broken off, in an image', () => {
  const use = useImage();

  /** Begins as a second init would, and stops as a kill does, after so many steps; the number of those that were done. */
  const initKilledAfter = (most: number): number => {
    const { steps } = prepared;
    const journal = Journal.open(use().machine);
    let done = 0;
    for (const _line of applySteps(use().machine, journal, steps)) if (++done === most) break;
    return done;
  };
  let prepared: Prepared;

  test('I4, I5: killed after every single step, each init goes on where the one before was, and sshd accepts all of it', async () => {
    prepared = use().prepare();
    let kills = 0;
    for (; initKilledAfter(1) === 1; kills++) expect(use().machine.run(['sshd', '-t']).status).toBe(0);
    expect(kills).toBe(prepared.steps.length - 1);
    await use().init();
    expect(use().check()).toEqual([]);
    await use().remove();
    expect(use().differences()).toEqual([]);
  }, 120_000);

  test('I4, E5: killed after a step, remove leaves /etc byte for byte as before', async () => {
    const last = prepared.steps.length - 1;
    for (const kill of [1, 2, 4, 8, 16, last - 9, last - 1, last]) {
      expect(initKilledAfter(kill)).toBe(kill);
      expect(use().machine.run(['visudo', '-cq']).status).toBe(0);
      await use().remove();
      expect({ kill, differences: use().differences() }).toEqual({ kill, differences: [] });
    }
  }, 120_000);

  test('I4: remove killed after any step: sshd goes on, and a second one completes', async () => {
    await use().init();
    let kills = 0;
    for (let at = 1; ; at += 5) {
      let done = 0;
      for (const line of removeSteps(use().machine)) {
        expect(line).toBeDefined();
        if (++done === at) break;
      }
      expect(use().machine.run(['sshd', '-t']).status).toBe(0);
      expect(readFileSync(use().at('/etc/ssh/sshd_config'), 'utf8')).toContain('Include');
      if (done < at) break;
      kills++;
    }
    expect(kills).toBeGreaterThan(5);
    expect(use().differences()).toEqual([]);
    rmSync(use().at('/var/lib/beacon'), { recursive: true, force: true });
  }, 120_000);

  test('a set-up that fails at its end is taken back, and one that worked before goes on', async () => {
    const gate = `${use().image.archive}/gate.js`;
    const text = readFileSync(gate);
    const broken = () => {
      writeFileSync(gate, 'process.exit(70)');
      return use()
        .init()
        .finally(() => writeFileSync(gate, text));
    };
    await expect(broken()).rejects.toMatchObject({ code: 'rolled-back', cause: { code: 'step-failed' } });
    expect(use().differences()).toEqual([]);
    await use().init();
    await expect(broken()).rejects.toMatchObject({ code: 'rolled-back' });
    expect(use().check()).toEqual([]);
    const stopped = new AbortController();
    stopped.abort();
    await use().remove();
    const prepared = use().prepare();
    await expect(
      initHost(use().machine, prepared, { ...silent, signal: stopped.signal }),
    ).rejects.toMatchObject({
      code: 'rolled-back',
      cause: { code: 'stopped' },
    });
    expect(use().differences()).toEqual([]);
  }, 120_000);

  test('a host whose journal is gone is taken over by the next init, and can be taken back', async () => {
    await use().init();
    rmSync(use().at('/var/lib/beacon-host'), { recursive: true });
    await expect(use().remove()).rejects.toMatchObject({ code: 'state-damaged' });
    await use().init();
    expect(use().check()).toEqual([]);
    await use().remove();
    // What the system's programs keep of its files of accounts is as they left it.
    expect(
      use()
        .differences()
        .filter((line) => !/^([a-z]+-|\.pwd\.lock): /.test(line)),
    ).toEqual([]);
  }, 120_000);
});
