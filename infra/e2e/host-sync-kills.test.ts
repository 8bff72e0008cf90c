/**
 * A sync that is killed, for real and by itself, before each of its calls that change the disk: what is in force is the old
 * or the new, whole, whatever lies beside it, and the next sync completes.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { build } from 'esbuild';
import { NAMES, ServedCa } from '../../packages/host/test/served-ca.ts';

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write('installing trust is left out: it needs root\n');

/** Between two of these nothing differs for who looks at the disk later. */
const CHANGES = [
  ...['openSync', 'writeSync', 'ftruncateSync', 'mkdirSync', 'rmSync', 'rmdirSync', 'renameSync'],
  ...['symlinkSync', 'chmodSync', 'chownSync'],
];

/** What the process that is killed does; how many changes are left to it, and what it needs, are its arguments. */
const PROGRAM = `
  import fs from 'node:fs';
  import { syncBuiltinESMExports } from 'node:module';
  import { syncTrust } from './sync-trust.ts';
  import { openMachine } from './machine.ts';
  const { left, folder, wish } = JSON.parse(process.argv[2]);
  let count = 0;
  for (const name of ${JSON.stringify(CHANGES)}) {
    const real = fs[name];
    fs[name] = (...values) => {
      if (name === 'openSync' && values[1] === 'r') return real(...values);
      if (count++ === left) process.kill(process.pid, 'SIGKILL');
      return real(...values);
    };
  }
  syncBuiltinESMExports();
  const outside = { fetch, now: () => new Date(wish.now), timeoutMs: 5_000 };
  await syncTrust(openMachine(folder), { ...wish, pools: new Map() }, { outside });
`;

(isRoot ? describe : describe.skip)('a sync that is killed', () => {
  let served: ServedCa;
  let program: string;
  beforeAll(async () => {
    served = await ServedCa.open();
    program = join(served.folder, 'sync.mjs');
    // In one file, for it is started again and again.
    await build({
      stdin: { contents: PROGRAM, resolveDir: join(import.meta.dirname, '../../packages/host/src') },
      outfile: program,
      bundle: true,
      platform: 'node',
      format: 'esm',
      conditions: ['@beacon/source'],
      banner: { js: `import { createRequire } from 'node:module';\nconst require = createRequire('/');` },
      logLevel: 'error',
    });
  }, 60_000);
  afterAll(() => served.close());

  const killedAfter = async (left: number): Promise<boolean> => {
    const { folder, rootKey, url, now } = served;
    const wish = { ...NAMES, rootKey, ca: url, now };
    const child = spawn(process.execPath, [program, JSON.stringify({ left, folder, wish })], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const [status, signal] = await once(child, 'exit');
    if (signal === 'SIGKILL') return true;
    expect(status).toBe(0);
    return false;
  };

  test('B10: before any change of the disk leaves the old documents or the new ones, and the next completes', async () => {
    const seen = { old: 0, new: 0 };
    for (let left = 0; ; left++) {
      await served.serve({ revoked: [BigInt(left + 1)] });
      const before = served.inForce();
      const wasKilled = await killedAfter(left);
      seen[served.inForce() === before ? 'old' : 'new']++;
      expect(() => served.requireWhole()).not.toThrow();
      const { version } = await served.sync();
      expect(served.inForce()).toBe(version);
      expect(version).not.toBe(before);
      const trust = readdirSync(join(served.folder, 'etc/beacon/trust'));
      expect(trust.filter((name) => !/^(current|\d+-\d+)$/.test(name))).toEqual([]);
      if (!wasKilled) break;
    }
    expect(seen.old).toBeGreaterThan(20);
    expect(seen.new).toBeGreaterThan(2);
  }, 180_000);
});
