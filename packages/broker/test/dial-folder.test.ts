/** What a broker that was killed has left for its connections. */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { sweepDialFolders } from '../src/dial-folder.ts';

it('R11: is removed by the next one, also where that has the same number, as in a container; of others nothing is', () => {
  const folder = mkdtempSync(join(tmpdir(), 'beacon-sweep-'));
  const made = (name: string): string => {
    mkdirSync(join(folder, name, 'inside'), { recursive: true });
    return join(folder, name);
  };
  const before = made(`beacon-gate-${process.pid}-0123abcd-abcdef`);
  const alive = made(`beacon-gate-${process.ppid}-0123abcd-abcdef`);
  const dead = made('beacon-gate-4194305-0123abcd-abcdef');
  const others = made('beacon-gate-x');
  sweepDialFolders(folder);
  expect([before, alive, dead, others].map((path) => existsSync(path))).toEqual([false, true, false, true]);
  rmSync(folder, { recursive: true });
});
