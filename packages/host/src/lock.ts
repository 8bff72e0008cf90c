/**
 * One change of a host at a time: `init`, `sync` and `remove` share this lock. The kernel releases it when its holder dies,
 * however it dies. Node knows no flock(2), so the `flock` program takes the lock on a file that this process holds open:
 * the lock belongs to the open file and stays when the program has ended.
 */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isCode } from './durable-file.ts';
import { HostError } from './error.ts';
import type { Machine } from './machine.ts';

/** What lasts until the machine is started again. */
export const RUN_FOLDER = '/run/beacon-host';
const PATIENCE_MS = 20_000;
const LOOK_EVERY_MS = 100;

/**
 * Does `work` while nobody else changes this host; waits for who does for twenty seconds, unless told. Throws HostError
 * `locked` after that.
 */
export async function withLock<Result>(
  machine: Machine,
  work: () => Promise<Result>,
  patienceMs = PATIENCE_MS,
): Promise<Result> {
  const folder = machine.at(RUN_FOLDER);
  const path = join(folder, 'lock');
  const file = await take(folder, path, performance.now() + patienceMs);
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
    closeSync(file);
    removeIfEmpty(folder);
  }
}

async function take(folder: string, path: string, endMs: number): Promise<number> {
  for (;;) {
    const file = open(folder, path);
    if (file === undefined) continue;
    try {
      // Who held it may have removed the file between the two calls: then the lock is on a file that nobody else sees.
      if (lock(file) && isStillThere(path, file)) {
        ftruncateSync(file);
        writeSync(file, String(process.pid));
        return file;
      }
    } catch (error) {
      closeSync(file);
      throw error;
    }
    closeSync(file);
    if (performance.now() >= endMs) throw locked(path);
    await delay(LOOK_EVERY_MS);
  }
}

/** Undefined where who was there last has just removed the folder. */
function open(folder: string, path: string): number | undefined {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  try {
    return openSync(path, 'a+', 0o600);
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function lock(file: number): boolean {
  const { status, error } = spawnSync('flock', ['-x', '-n', '3'], {
    stdio: ['ignore', 'ignore', 'ignore', file],
    env: { PATH: '/usr/bin:/bin' },
  });
  if (error !== undefined)
    throw new HostError('cannot-work-here', 'flock is missing: install util-linux', { cause: error });
  return status === 0;
}

function isStillThere(path: string, file: number): boolean {
  const [there, ours] = [statSync(path, { throwIfNoEntry: false }), fstatSync(file)];
  return there?.ino === ours.ino && there.dev === ours.dev;
}

function locked(path: string): HostError {
  let holder = '';
  try {
    holder = readFileSync(path, 'latin1').slice(0, 10);
  } catch {
    // It has just been released.
  }
  const who = /^\d+$/.test(holder) ? `process ${holder}` : 'another process';
  return new HostError('locked', `${who} is changing this host: wait for it to end, and try again`);
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Something is in it, or it is gone.
  }
}
