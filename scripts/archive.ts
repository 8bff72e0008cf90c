/**
 * One archive of a folder, which has the same bytes whoever packs the same files and whenever: sorted, of one time, of
 * root, without the modes that the builder's umask gave.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Every file's time: a build has none of its own. */
const FILE_TIME = '2000-01-01 00:00:00Z';

export interface BuiltArchive {
  readonly file: string;
  /** Of the archive, in hex. */
  readonly sha256: string;
  readonly bytes: number;
  /** Of what lies in it, in bytes, by part. */
  readonly unpacked: Readonly<Record<string, number>>;
}

export interface BuildOptions {
  /** Default true; without it a plain `.tar`, quicker. */
  readonly compress?: boolean;
}

/** Packs the folder `name` of the folder `parent` into `out`, as `<name>.tar.gz` or `.tar`. */
export function packArchive(
  parent: string,
  name: string,
  out: string,
  { compress = true }: BuildOptions,
): BuiltArchive {
  const file = join(out, `${name}.tar${compress ? '.gz' : ''}`);
  const { status, stderr } = spawnSync(
    'tar',
    [
      ...['--create', `--file=${file}.new`, `--directory=${parent}`, '--sort=name', `--mtime=${FILE_TIME}`],
      ...['--owner=0', '--group=0', '--numeric-owner', '--format=gnu', '--mode=u=rwX,go=rX'],
      ...(compress ? ['--use-compress-program=gzip --no-name -6'] : []),
      name,
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`tar failed: ${stderr}`);
  renameSync(`${file}.new`, file);
  const folder = join(parent, name);
  const parts = readdirSync(folder).sort();
  return {
    file,
    sha256: createHash('sha256').update(readFileSync(file)).digest('hex'),
    bytes: statSync(file).size,
    unpacked: Object.fromEntries(parts.map((part) => [part, sizeOf(join(folder, part))])),
  };
}

function sizeOf(path: string): number {
  const status = statSync(path);
  if (!status.isDirectory()) return status.size;
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => !entry.isSymbolicLink())
    .reduce((sum, entry) => sum + sizeOf(join(path, entry.name)), 0);
}

/** Says on standard error how large everything is, and on standard output what `sha256sum -c` reads. */
export function sayArchive(built: BuiltArchive): void {
  const size = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`.padStart(10);
  for (const [part, bytes] of Object.entries(built.unpacked))
    process.stderr.write(`${size(bytes)}  ${part}\n`);
  process.stderr.write(`${size(built.bytes)}  ${built.file}\n`);
  process.stdout.write(`${built.sha256}  ${built.file}\n`);
}
