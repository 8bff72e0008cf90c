/**
 * What the archive's runtime compiles of the archive's gate, made on the machine itself: its bytes may differ from one
 * machine to another, and a gate starts a fifth sooner with it. A gate without it, or with one of another runtime, is no
 * less right.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { HostError } from './error.ts';

const TIMEOUT_MS = 30_000;
const MOST_BYTES = 16 * 1024 * 1024;

/** Of the archive unpacked in `folder`. Throws HostError `cannot-work-here` where its runtime does not start here. */
export function compileGate(folder: string): Buffer {
  const { status, stdout, stderr, error } = spawnSync(
    join(folder, 'node'),
    ['--predictable', join(folder, 'compile.cjs'), join(folder, 'gate.js')],
    { env: {}, cwd: '/', timeout: TIMEOUT_MS, maxBuffer: MOST_BYTES },
  );
  if (status === 0) return stdout;
  const said = error?.message ?? stderr.toString('utf8').trim().slice(0, 300);
  throw new HostError(
    'cannot-work-here',
    `the runtime of the archive does not start here: ${said}: use the archive for this machine's architecture, on a system with glibc 2.28 or newer and libstdc++`,
  );
}
