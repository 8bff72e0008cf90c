import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { withLock } from '../src/file-lock.ts';

describe('a lock', () => {
  let directory: string;
  let file: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'beacon-lock-'));
    file = join(directory, 'lock');
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  async function crowd(count: number): Promise<number> {
    let inside = 0;
    let most = 0;
    const one = () =>
      withLock(file, async () => {
        inside += 1;
        most = Math.max(most, inside);
        await wait(2);
        inside -= 1;
      });
    await Promise.all(Array.from({ length: count }, one));
    return most;
  }

  it('lets one in at a time, and is gone afterwards', async () => {
    expect(await crowd(20)).toBe(1);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('is taken over from a process that died, by one at a time', async () => {
    writeFileSync(file, '4194304 0123456789abcdef\n');
    expect(await crowd(20)).toBe(1);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('is given back when the work fails', async () => {
    await expect(withLock(file, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(existsSync(file)).toBe(false);
  });

  it('is not taken from a process that lives, nor when it cannot be read', async () => {
    for (const text of [`${process.pid} 0123456789abcdef\n`, 'nonsense']) {
      writeFileSync(file, text);
      let entered = false;
      const waiting = withLock(file, async () => {
        entered = true;
      });
      await wait(150);
      expect(entered).toBe(false);
      rmSync(file);
      await waiting;
      expect(entered).toBe(true);
    }
  });
});
