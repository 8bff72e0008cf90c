/**
 * A lock over processes: a file that exists while somebody works, and says who. A lock whose process is gone is taken
 * over: it is moved aside first, and put back when it turns out to be another one than was looked at.
 */
import { randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { CliError } from './error.ts';
import { isSystemError } from './private-file.ts';

const PATIENCE_MS = 60_000;
const PAUSE_MS = 40;

/** Runs `work` alone. Throws CliError `locked` when the lock is not free within a minute. */
export async function withLock<Result>(file: string, work: () => Promise<Result>): Promise<Result> {
  const mark = `${process.pid} ${randomBytes(8).toString('hex')}\n`;
  await take(file, mark);
  try {
    return await work();
  } finally {
    await release(file, mark);
  }
}

async function take(file: string, mark: string): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; ) {
    if (await place(file, mark)) return;
    await removeDead(file);
    await wait(PAUSE_MS);
  }
  throw new CliError(
    'locked',
    'conflict',
    `another beacon holds ${file}: wait for it, or remove the file if none runs`,
  );
}

/** The lock appears with its mark in it or not at all: one without a mark, of a full disk, nobody could take over. */
async function place(file: string, mark: string): Promise<boolean> {
  const beside = `${file}.${randomBytes(8).toString('hex')}`;
  try {
    await writeFile(beside, mark, { flag: 'wx', mode: 0o600 });
    await link(beside, file);
    return true;
  } catch (error) {
    if (isSystemError(error, 'EEXIST')) return false;
    throw error;
  } finally {
    await rm(beside, { force: true });
  }
}

async function removeDead(file: string): Promise<void> {
  const seen = await readMark(file);
  const pid = Number(/^([1-9][0-9]*) [0-9a-f]{16}\n$/.exec(seen ?? '')?.[1]);
  if (seen === undefined || !Number.isSafeInteger(pid) || isRunning(pid)) return;
  const aside = `${file}.${randomBytes(8).toString('hex')}`;
  try {
    await rename(file, aside);
    if ((await readMark(aside)) !== seen) await link(aside, file);
  } catch {
    // Somebody else was quicker: the next turn sees what is there now.
  } finally {
    await rm(aside, { force: true });
  }
}

async function release(file: string, mark: string): Promise<void> {
  if ((await readMark(file)) === mark) await rm(file, { force: true });
}

async function readMark(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    return undefined;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isSystemError(error, 'EPERM');
  }
}
