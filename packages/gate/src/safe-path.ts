/**
 * Whether what lies at a path can be changed by anybody but its owner: the file itself, every folder above it, and
 * every link on the way belong to the trusted uid and are writable by nobody else. Where that holds, nobody else can
 * replace the file between this look and its use either.
 */
import { lstatSync, readFileSync, realpathSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { GateError } from './error.ts';

const WRITABLE_BY_OTHERS = 0o022;
const EXECUTABLE = 0o111;

/** Throws GateError `path-unsafe` that names the place and what to do; the result is the path without links. */
export function requireSafePath(path: string, ownerUid: number): string {
  let real: string;
  try {
    real = realpathSync(path);
    for (const place of [...upwards(path), ...upwards(real)]) requireSafe(place, lstatSync(place), ownerUid);
  } catch (error) {
    if (error instanceof GateError) throw error;
    throw new GateError('path-unsafe', `${path} cannot be looked at: put it in place`, { cause: error });
  }
  return real;
}

/** As `requireSafePath`, for a program: a regular file that may be executed. */
export function requireSafeProgram(path: string, ownerUid: number): void {
  const stats = lstatSync(requireSafePath(path, ownerUid));
  if (!stats.isFile() || (stats.mode & EXECUTABLE) === 0) {
    throw new GateError('path-unsafe', `${path} is no program: make it a regular file that may be executed`);
  }
}

/** The bytes of a file that is safe. Throws GateError `path-unsafe`. */
export function readSafeFile(path: string, ownerUid: number): Buffer {
  const real = requireSafePath(path, ownerUid);
  try {
    return readFileSync(real);
  } catch (error) {
    throw new GateError('path-unsafe', `${path} cannot be read: put it in place`, { cause: error });
  }
}

function requireSafe(place: string, stats: Stats, ownerUid: number): void {
  if (stats.uid !== ownerUid && stats.uid !== 0) {
    throw new GateError('path-unsafe', `${place} belongs to uid ${stats.uid}: chown it to uid ${ownerUid}`);
  }
  // A link's own mode means nothing; who may replace it is decided by its folder.
  if (!stats.isSymbolicLink() && (stats.mode & WRITABLE_BY_OTHERS) !== 0) {
    throw new GateError('path-unsafe', `${place} can be written by others than its owner: chmod go-w it`);
  }
}

function upwards(path: string): string[] {
  const places = [path];
  for (let place = path; place !== dirname(place); ) {
    place = dirname(place);
    places.push(place);
  }
  return places;
}
