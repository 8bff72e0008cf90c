/** One change of a host at a time, whoever dies in the middle of it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { openMachine } from '../src/index.ts';
import { RUN_FOLDER, withLock } from '../src/lock.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-lock-'));
  path = join(folder, RUN_FOLDER, 'lock');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const lock = <Result>(work: () => Promise<Result>, patienceMs?: number) =>
  withLock(openMachine(folder), work, patienceMs);

test('one works at a time, who waits comes next, and nothing is left behind', async () => {
  let working = 0;
  const work = async (): Promise<number> => {
    expect(++working).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    return working--;
  };
  expect(await Promise.all([lock(work), lock(work), lock(work)])).toEqual([1, 1, 1]);
  expect(existsSync(join(folder, RUN_FOLDER))).toBe(false);
});

test('who does not get it says who has it', async () => {
  await lock(async () => {
    const refused = lock(() => Promise.resolve(), 0);
    await expect(refused).rejects.toMatchObject({
      code: 'locked',
      message: expect.stringContaining(`process ${process.pid} `),
    });
  });
});

test('work that fails releases it', async () => {
  await expect(lock(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await lock(() => Promise.resolve('next'), 0)).toBe('next');
});

test('B10: who is killed holds nothing any more', async () => {
  const text = `
    import { withLock } from ${JSON.stringify(join(import.meta.dirname, '../src/lock.ts'))};
    import { openMachine } from ${JSON.stringify(join(import.meta.dirname, '../src/machine.ts'))};
    await withLock(openMachine(${JSON.stringify(folder)}), () => {
      process.stdout.write('held');
      return new Promise((resolve) => setTimeout(resolve, 60_000));
    });`;
  const holder = spawn(process.execPath, [
    '--conditions=@beacon/source',
    '--input-type=module',
    '--eval',
    text,
  ]);
  await once(holder.stdout, 'data');
  expect(readFileSync(path, 'latin1')).toBe(String(holder.pid));
  await expect(lock(() => Promise.resolve(), 0)).rejects.toMatchObject({ code: 'locked' });
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  expect(await lock(() => Promise.resolve('next'), 0)).toBe('next');
});
