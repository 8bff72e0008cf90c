/**
 * `npm run build:server`: one archive to install the CA from, on a machine without Node and npm: the pinned Node, the
 * compiled packages, the libraries that they need at run time, the `beacon` launcher, the systemd unit, the documents.
 * Everything comes from this tree as `npm ci` and `tsc -b` left it, nothing is fetched, and two builds of one tree give
 * the same bytes.
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { type BuildOptions, type BuiltArchive, packArchive, sayArchive } from './archive.ts';

const ROOT = join(import.meta.dirname, '..');
const DOCUMENTS = ['CHANGELOG.md', 'LICENSE', 'README.md', 'SECURITY.md', 'docs'];

/** Of libraries: types and maps are for who develops, the rest is for other places than a Linux server. */
const NOT_NEEDED = [
  /[.]d[.][cm]?ts$|[.][cm]?ts$|[.]map$/,
  /^node_modules\/better-sqlite3\/(deps|src)(\/|$)/,
  /^node_modules\/@cedar-policy\/cedar-wasm\/(esm|web)(\/|$)/,
];
const PREBUILT = /^node_modules\/better-sqlite3\/prebuilds\/.*[.]node$/;

/** Builds the archive into `folder`. Throws when the tree is not installed and built. */
export function buildServer(folder: string, options: BuildOptions = {}): BuiltArchive {
  const { version } = readJson(join(ROOT, 'package.json')) as { version: string };
  const platform = `${process.platform}-${process.arch}`;
  const name = `beacon-server-${version}-${platform}`;
  mkdirSync(folder, { recursive: true });
  const scratch = mkdtempSync(join(tmpdir(), 'beacon-build-'));
  try {
    const stage = join(scratch, name);
    mkdirSync(stage);
    copyNode(stage);
    copyPackages(stage);
    copyLibraries(stage, platform);
    copyRest(stage);
    return packArchive(scratch, name, folder, options);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The runtime that `npm ci` brought, as its makers built it, and their licence. */
function copyNode(stage: string): void {
  const installed = join(ROOT, 'node_modules/node');
  mkdirSync(join(stage, 'bin'));
  mkdirSync(join(stage, 'node'));
  cpSync(join(installed, 'bin/node'), join(stage, 'bin/node'));
  const licence = join(installed, `node_modules/node-${process.platform}-${process.arch}/LICENSE`);
  cpSync(licence, join(stage, 'node/LICENSE'));
  const launcher = join(stage, 'bin/beacon');
  writeFileSync(
    launcher,
    `#!/bin/sh
# The beacon command, by the Node that came with it.
here=$(dirname "$(readlink -f "$0")")
exec "$here/node" "$here/../packages/cli/bin/beacon.js" "$@"
`,
  );
  chmodSync(launcher, 0o755);
}

/** What is compiled from a source that is there: an older build may have left more. */
function copyPackages(stage: string): void {
  for (const name of workspaces()) {
    const from = join(ROOT, 'packages', name);
    const to = join(stage, 'packages', name);
    mkdirSync(join(to, 'dist'), { recursive: true });
    cpSync(join(from, 'package.json'), join(to, 'package.json'));
    for (const file of readdirSync(join(from, 'src'), { recursive: true, encoding: 'utf8' }).sort()) {
      if (!file.endsWith('.ts')) continue;
      const compiled = join('dist', file.replace(/ts$/, 'js'));
      if (!existsSync(join(from, compiled)))
        throw new Error(`packages/${name}/${compiled} is missing: npm run build`);
      cpSync(join(from, compiled), join(to, compiled));
    }
    if (existsSync(join(from, 'bin'))) cpSync(join(from, 'bin'), join(to, 'bin'), { recursive: true });
    mkdirSync(join(stage, 'node_modules/@beacon'), { recursive: true });
    symlinkSync(`../../packages/${name}`, join(stage, 'node_modules/@beacon', name));
  }
}

/** The command line and what it needs of ours, directly or not. */
function workspaces(): string[] {
  const found = new Set<string>(['cli']);
  for (const name of found) {
    const { dependencies = {} } = readJson(join(ROOT, 'packages', name, 'package.json')) as {
      dependencies?: Record<string, string>;
    };
    for (const dependency of Object.keys(dependencies))
      if (dependency.startsWith('@beacon/')) found.add(basename(dependency));
  }
  return [...found].sort();
}

/** What the lockfile has besides that for development: the tree of \`npm ci --omit=dev\`. */
function copyLibraries(stage: string, platform: string): void {
  const { packages } = readJson(join(ROOT, 'package-lock.json')) as {
    packages: Record<string, { dev?: boolean; link?: boolean; optional?: boolean }>;
  };
  for (const [path, entry] of Object.entries(packages)) {
    if (!path.startsWith('node_modules/') || entry.dev === true || entry.link === true) continue;
    if (!existsSync(join(ROOT, path))) {
      if (entry.optional === true) continue;
      throw new Error(`${path} is missing: npm ci`);
    }
    cpSync(join(ROOT, path), join(stage, path), {
      recursive: true,
      filter: (from) => isNeeded(from.slice(ROOT.length + 1), path, platform),
    });
  }
}

function isNeeded(file: string, library: string, platform: string): boolean {
  // Libraries inside a library have their own line in the lockfile.
  if (file.slice(library.length).includes('/node_modules')) return false;
  if (PREBUILT.test(file)) return basename(file) === `${platform}.node`;
  return !NOT_NEEDED.some((pattern) => pattern.test(file));
}

function copyRest(stage: string): void {
  for (const name of DOCUMENTS) cpSync(join(ROOT, name), join(stage, name), { recursive: true });
  cpSync(join(ROOT, 'infra/systemd'), join(stage, 'systemd'), { recursive: true });
}

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, 'utf8'));
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === import.meta.filename) {
  sayArchive(buildServer(resolve(process.argv[2] ?? join(ROOT, 'dist'))));
}
