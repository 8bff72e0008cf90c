/**
 * Files that only their owner may read (ATTACKS.md I11): 0600 in a directory of 0700, written beside and renamed so that
 * a reader sees the old or the new and never half of one, on disk before anybody is told. What is found with looser modes
 * or another owner is refused and not repaired: somebody may have read it.
 */
import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { lstat, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CliError } from './error.ts';

const MAX_BYTES = 256 * 1024;

/** Makes the directory if it is missing. Throws CliError `file-unsafe` when others may enter it. */
export async function ensurePrivateDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const stats = await lstat(directory);
  if (!stats.isDirectory()) {
    throw new CliError('file-unsafe', 'invalid', `${directory} is no directory: move it away`);
  }
  requirePrivate(directory, stats, '700');
}

/** The file's text; undefined when there is none. Throws CliError `file-unsafe`. */
export async function readPrivateFile(file: string): Promise<string | undefined> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined;
    if (isSystemError(error, 'ELOOP')) {
      throw new CliError('file-unsafe', 'invalid', `${file} is a symbolic link: remove it`);
    }
    throw new CliError('file-unreadable', 'invalid', `${file} cannot be read: ${reason(error)}`, {
      cause: error,
    });
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile() || stats.size > MAX_BYTES) {
      throw new CliError(
        'file-unsafe',
        'invalid',
        `${file} is not the file that was written there: remove it`,
      );
    }
    requirePrivate(file, stats, '600');
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/** Replaces the file, durably. Its directory must be there. */
export async function writePrivateFile(file: string, text: string | Buffer): Promise<void> {
  const beside = `${file}.${randomBytes(8).toString('hex')}`;
  const handle = await open(beside, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  await rename(beside, file);
  const directory = await open(dirname(file), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Whether `error` is node's error of that code. */
export function isSystemError(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}

/** The system's word for what went wrong with a file. */
export function reason(error: unknown): string {
  const isCoded =
    typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string';
  return isCoded ? String(error.code) : 'failed';
}

function requirePrivate(path: string, stats: Stats, mode: string): void {
  const own = process.getuid?.();
  if (own !== undefined && stats.uid !== own) {
    throw new CliError('file-unsafe', 'invalid', `${path} belongs to somebody else: move it away`);
  }
  if ((stats.mode & 0o077) !== 0) {
    const found = (stats.mode & 0o777).toString(8);
    throw new CliError(
      'file-unsafe',
      'invalid',
      `${path} has mode ${found}, so others may have read it: chmod ${mode} ${path}, then beacon logout, which ends what they may have read`,
    );
  }
}
