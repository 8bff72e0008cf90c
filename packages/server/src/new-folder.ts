/**
 * What `init` of every server's program makes: a folder with keys and a configuration, whole or not at all. Everything is
 * written into a folder beside it, which takes its name at the end by one rename.
 */
import {
  chmodSync,
  closeSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ServerError } from './error.ts';

export interface NewFolder {
  /** Absolute. */
  readonly folder: string;
  /** What would be written over: `a CA`. */
  readonly holds: string;
  /** For a unit of systemd: its account is not root, who makes the files, and its state folder holds the store. */
  readonly systemd: boolean;
}

/** The folder while it is made: `keys` is there, and `data` unless systemd has a place for it. */
export interface DraftFolder {
  readonly path: string;
  makeFolder(name: string): void;
  /** Whatever the umask of who typed the command. */
  write(name: string, text: string, mode: 0o600 | 0o644): void;
}

export interface MadeFolder<Made> {
  readonly made: Made;
  /** Below the folder, sorted. */
  readonly files: readonly string[];
}

/**
 * Throws ServerError `init-refused` when the folder is there and not empty, or an init that was killed left its draft, and
 * what `fill` throws. Nothing is left behind then.
 */
export async function makeNewFolder<Made>(
  asked: NewFolder,
  fill: (draft: DraftFolder) => Promise<Made>,
): Promise<MadeFolder<Made>> {
  const { folder } = asked;
  requireNewFolder(asked);
  mkdirSync(dirname(folder), { recursive: true });
  const path = mkdtempSync(`${folder}${DRAFT}`);
  try {
    const made = await fill(openDraft(path, asked));
    const entries = readdirSync(path, { recursive: true, withFileTypes: true });
    const places = (kept: typeof entries) => kept.map((entry) => join(entry.parentPath, entry.name));
    for (const inner of places(entries.filter((entry) => entry.isDirectory()))) syncFolder(inner);
    syncFolder(path);
    const files = places(entries.filter((entry) => entry.isFile()));
    refuseExisting(asked);
    renameSync(path, folder);
    syncFolder(dirname(folder));
    return { made, files: files.map((file) => file.slice(path.length + 1)).sort() };
  } catch (error) {
    rmSync(path, { recursive: true, force: true });
    throw error;
  }
}

/** Refuses before anything is begun. Throws ServerError `init-refused`. */
export function requireNewFolder(asked: NewFolder): void {
  refuseExisting(asked);
  refuseDraft(asked);
}

/** What is to be typed once the folder is there, by its program's name: `ca`. */
export function startingSteps(program: string, { folder, systemd }: NewFolder): readonly string[] {
  const configuration = join(folder, `${program}.yaml`);
  const check = `beacon ${program} check --config ${configuration}`;
  return systemd
    ? [`CREDENTIALS_DIRECTORY=${join(folder, 'keys')} ${check}`, `systemctl enable --now beacon-${program}`]
    : [check, `beacon ${program} serve --config ${configuration}`];
}

function refuseExisting({ folder, holds }: NewFolder): void {
  if (!existsSync(folder) || readdirSync(folder).length === 0) return;
  throw new ServerError(
    'init-refused',
    `${folder} is not empty: init never overwrites ${holds}; name another folder with --dir`,
  );
}

/** What the draft's name has behind the folder's, before what makes it unique. */
const DRAFT = '.new-';

/** Not removed here: another init may be at work in it. */
function refuseDraft({ folder }: NewFolder): void {
  const parent = dirname(folder);
  const begins = `${basename(folder)}${DRAFT}`;
  const left = existsSync(parent) ? readdirSync(parent).find((name) => name.startsWith(begins)) : undefined;
  if (left === undefined) return;
  const draft = join(parent, left);
  throw new ServerError(
    'init-refused',
    `${draft} is the draft of an init that was ended half way: the keys in it were never used. If no other init is at work, remove it (rm -r ${draft}) and try again`,
  );
}

function openDraft(path: string, { systemd }: NewFolder): DraftFolder {
  // The unit's account may read all of the files but the keys, and write none.
  const mode = systemd ? 0o755 : 0o700;
  chmodSync(path, mode);
  mkdirSync(join(path, 'keys'), { mode: 0o700 });
  if (!systemd) mkdirSync(join(path, 'data'), { mode });
  return {
    path,
    makeFolder(name) {
      mkdirSync(join(path, name));
      chmodSync(join(path, name), mode);
    },
    write: (name, text, fileMode) => writeDurably(join(path, name), text, fileMode),
  };
}

function writeDurably(file: string, text: string, mode: number): void {
  const descriptor = openSync(file, 'wx', mode);
  try {
    writeSync(descriptor, text);
    fchmodSync(descriptor, mode);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Makes a renaming or a new file in this folder last. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  fsyncSync(descriptor);
  closeSync(descriptor);
}
