/** One change of a host at a time. The lock is the id of the process that holds it; one whose process is gone is free. */
import { mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { HostError } from './error.ts';
import type { Machine } from './machine.ts';

const LOCK = '/run/beacon-host.lock';

/** Throws HostError `locked` where another process is at it. */
export async function withLock<Result>(machine: Machine, work: () => Promise<Result>): Promise<Result> {
  const path = machine.at(LOCK);
  mkdirSync(dirname(path), { recursive: true });
  take(path);
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path: string): void {
  try {
    writeFileSync(path, String(process.pid), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    const holder = Number(readFileSync(path, 'latin1'));
    if (runsUs(holder)) {
      throw new HostError('locked', `process ${holder} is changing this host: wait for it to end`, {
        cause: error,
      });
    }
    rmSync(path, { force: true });
    writeFileSync(path, String(process.pid), { flag: 'wx', mode: 0o600 });
  }
}

/** Whether the process is there and runs this runtime: a process id is used again after a kill. */
function runsUs(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) === readlinkSync('/proc/self/exe');
  } catch {
    return false;
  }
}
