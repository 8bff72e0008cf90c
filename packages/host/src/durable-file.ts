/** Files that are on the disk, whole, when the function returns, and are never seen half. */
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  fsyncSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** What a file that is not there yet is called; no program that reads folders takes it for one of its files. */
export const FRESH = '.beacon-new';

/** Puts a file in the place of what was there. `content` is the bytes, or the path of a file to copy. */
export function placeFile(
  path: string,
  content: Uint8Array | { readonly from: string },
  mode: number,
  owner: Owner,
): void {
  const fresh = `${path}${FRESH}`;
  rmSync(fresh, { force: true });
  if (content instanceof Uint8Array) {
    const file = openSync(fresh, 'wx', 0o600);
    try {
      for (let at = 0; at < content.length; ) at += writeSync(file, content, at);
    } finally {
      closeSync(file);
    }
  } else {
    copyFileSync(content.from, fresh);
  }
  chownSync(fresh, owner.uid, owner.gid);
  chmodSync(fresh, mode);
  syncPath(fresh);
  renameSync(fresh, path);
  syncPath(dirname(path));
}

/** Makes `path` a link to `target`, in one step where another link was there. */
export function placeLink(path: string, target: string): void {
  const fresh = `${path}${FRESH}`;
  rmSync(fresh, { force: true });
  symlinkSync(target, fresh);
  renameSync(fresh, path);
  syncPath(dirname(path));
}

/** Removes a file or a link where there is one. */
export function removeFile(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return;
  rmSync(path);
  syncPath(dirname(path));
}

/** Adds a line to a file that is made where it was not there. */
export function appendLine(path: string, line: string): void {
  const file = openSync(path, 'a', 0o600);
  try {
    writeSync(file, `${line}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  syncPath(dirname(path));
}

export function syncPath(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** The bytes of a file, or undefined where there is none. */
export function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (isCode(error, 'ENOENT') || isCode(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** Whether it is the system's error of this name, such as `ENOENT`. */
export function isCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}
