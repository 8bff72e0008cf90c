/**
 * The machine that is looked at and changed: this one, or an image of one below a folder (`--root`). Its own programs are
 * run, in the image by `chroot`; a link in an image never leads out of it. Decides nothing.
 */
import { spawnSync } from 'node:child_process';
import { lstatSync, readlinkSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HostError } from './error.ts';

export interface Outcome {
  /** Undefined where the program could not be started or a signal ended it. */
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Machine {
  /** `/`, or the folder of the image. */
  readonly root: string;
  /** False for an image: nothing of it runs. */
  readonly live: boolean;
  /** Where a path of the machine lies for this process. Links above the last part stay in the machine. */
  at(path: string): string;
  /** Runs a program of the machine without a shell and with an environment made from nothing. */
  run(argv: readonly string[], input?: string): Outcome;
  /** The path, in the machine, of the first program of this name; undefined where there is none. */
  find(program: string): string | undefined;
}

const FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
/** Where a program is looked for that must be the system's own. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const TIMEOUT_MS = 60_000;
const MOST_BYTES = 16 * 1024 * 1024;
const MOST_LINKS = 40;
/** What programs of an image need around them, in a mount namespace that goes with them. */
const ENTER = `
[ -c "$1/dev/null" ] || mount --bind /dev "$1/dev"
[ -e "$1/proc/self" ] || mount -t proc proc "$1/proc" 2>/dev/null || mount --bind /proc "$1/proc"
exec chroot "$@"
`;

export function openMachine(root = '/'): Machine {
  const live = root === '/';
  const at = (path: string): string => (live ? path : within(root, path));
  return {
    root,
    live,
    at,
    run: (argv, input = '') => runProgram(live ? argv : entering(root, argv), input),
    find: (program) =>
      SYSTEM_FOLDERS.map((folder) => join(folder, program)).find((path) => isProgram(at(path))),
  };
}

function entering(root: string, argv: readonly string[]): string[] {
  return ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', ENTER, 'enter', root, ...argv];
}

function runProgram(argv: readonly string[], input: string): Outcome {
  const [program = '', ...rest] = argv;
  const { status, stdout, stderr, error } = spawnSync(program, rest, {
    encoding: 'utf8',
    env: { PATH: FOLDERS.join(':'), LC_ALL: 'C' },
    cwd: '/',
    input,
    timeout: TIMEOUT_MS,
    maxBuffer: MOST_BYTES,
  });
  return { status: status ?? undefined, stdout: stdout ?? '', stderr: error?.message ?? stderr ?? '' };
}

function isProgram(path: string): boolean {
  try {
    const stats = statSync(path);
    return stats.isFile() && (stats.mode & 0o111) !== 0;
  } catch {
    return false;
  }
}

/** The place of `path` in the image: every link above its last part is followed inside of `root`. */
function within(root: string, path: string): string {
  const parts = dirname(path).split('/');
  let inside = '/';
  let links = 0;
  for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
    if (part === '' || part === '.') continue;
    const next = part === '..' ? dirname(inside) : join(inside, part);
    if (lstatSync(join(root, next), { throwIfNoEntry: false })?.isSymbolicLink() !== true) {
      inside = next;
      continue;
    }
    if (++links > MOST_LINKS) throw new HostError('cannot-work-here', `${path} goes through too many links`);
    const target = readlinkSync(join(root, next));
    parts.unshift(...target.split('/'));
    if (target.startsWith('/')) inside = '/';
  }
  return join(root, inside, path.slice(path.lastIndexOf('/') + 1));
}
