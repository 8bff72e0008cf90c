/**
 * Whether what lies at a path can be changed by anybody but its owner: the file itself, every folder above it, and
 * every link on the way belong to the trusted uid and are writable by nobody else. Where that holds, nobody else can
 * replace the file between this look and its use either.
 */
import { lstatSync, readFileSync, readlinkSync, realpathSync, type Stats } from 'node:fs';
import { dirname, join } from 'node:path';
import { GateError } from './error.ts';

/** Whose files are believed: root's on a host. */
export interface Owner {
  readonly uid: number;
  /** Folders above this one are not looked at: `/` on a host; in a demo without root the folder of its files. */
  readonly below: string;
}

const WRITABLE_BY_OTHERS = 0o022;
const MOST_LINKS = 32;
const EXECUTABLE = 0o111;

/** Throws GateError `path-unsafe` that names the place and what to do; the result is the path without links. */
export function requireSafePath(path: string, owner: Owner): string {
  try {
    const ignored = new Set(upwards(realpathSync(owner.below)).slice(1));
    return walk(path, (place, stats) => {
      if (!ignored.has(place)) requireSafe(place, stats, owner.uid);
    });
  } catch (error) {
    if (error instanceof GateError) throw error;
    throw new GateError('path-unsafe', `${path} cannot be looked at: put it in place`, { cause: error });
  }
}

/** As `requireSafePath`, for a program: a regular file that may be executed. */
export function requireSafeProgram(path: string, owner: Owner): void {
  const stats = lstatSync(requireSafePath(path, owner));
  if (!stats.isFile() || (stats.mode & EXECUTABLE) === 0) {
    throw new GateError('path-unsafe', `${path} is no program: make it a regular file that may be executed`);
  }
}

/** The bytes of a file that is safe. Throws GateError `path-unsafe`. */
export function readSafeFile(path: string, owner: Owner): Buffer {
  const real = requireSafePath(path, owner);
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

/** Goes down an absolute path and shows each place on the way, those behind every link too. */
function walk(path: string, show: (place: string, stats: Stats) => void): string {
  const parts = path.split('/');
  let at = '/';
  let links = 0;
  show(at, lstatSync(at));
  for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
    if (part === '' || part === '.') continue;
    const place = part === '..' ? dirname(at) : join(at, part);
    const stats = lstatSync(place);
    show(place, stats);
    if (!stats.isSymbolicLink()) {
      at = place;
      continue;
    }
    if (++links > MOST_LINKS) throw new GateError('path-unsafe', `${path} goes through too many links`);
    const target = readlinkSync(place);
    parts.unshift(...target.split('/'));
    if (target.startsWith('/')) at = '/';
  }
  return at;
}

function upwards(path: string): string[] {
  const places = [path];
  for (let place = path; place !== dirname(place); ) {
    place = dirname(place);
    places.push(place);
  }
  return places;
}
