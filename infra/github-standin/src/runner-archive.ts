/**
 * The archive of the small runner (`../runner`), laid out and named as GitHub's own. What it does instead of GitHub's
 * runner stands in the table that `runner/bin/Runner.Listener` opens with.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StandinError } from './error.ts';

export const ARCHITECTURES = ['x64', 'arm64', 'arm'] as const;
export type RunnerArchitecture = (typeof ARCHITECTURES)[number];

export interface RunnerArchive {
  readonly bytes: Buffer;
  /** Lower-case hex. */
  readonly sha256: string;
}

const SOURCE = join(import.meta.dirname, '..', 'runner');
/** The same bytes from each build. */
const TAR = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX'];
const made = new Map<string, RunnerArchive>();

export function archiveName(version: string, architecture: RunnerArchitecture): string {
  return `actions-runner-linux-${architecture}-${version}.tar.gz`;
}

/** Built once for each version and architecture. */
export function runnerArchive(version: string, architecture: RunnerArchitecture): RunnerArchive {
  const name = archiveName(version, architecture);
  const known = made.get(name);
  if (known !== undefined) return known;
  const archive = build(version, architecture);
  made.set(name, archive);
  return archive;
}

function build(version: string, architecture: RunnerArchitecture): RunnerArchive {
  const folder = mkdtempSync(join(tmpdir(), 'standin-runner-'));
  try {
    cpSync(SOURCE, folder, { recursive: true });
    writeFileSync(join(folder, 'bin/version'), `${version}\n`);
    writeFileSync(join(folder, 'externals/architecture'), `${architecture}\n`);
    const { status, stdout, stderr } = spawnSync('tar', ['-C', folder, ...TAR, '-czf', '-', '.'], {
      env: { PATH: process.env['PATH'], GZIP: '-n' },
    });
    if (status !== 0) throw new StandinError('configuration', `tar failed: ${stderr.toString()}`);
    return { bytes: stdout, sha256: createHash('sha256').update(stdout).digest('hex') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
