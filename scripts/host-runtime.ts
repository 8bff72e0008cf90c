/**
 * The Node that a managed host gets, with its licence: the one that `npm ci` brought, or for another kind of machine the
 * same version from the registry, by npm, and only with the digest that stands here. (npm installs no package for another
 * kind of machine than its own, so the lockfile cannot hold it.)
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '..');

export const ARCHITECTURES = ['x64', 'arm64'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** What the kernel calls the machine, and the loader of programs that were made for glibc. */
export const MACHINES: Readonly<
  Record<Architecture, { readonly machine: string; readonly loader: string; readonly integrity: string }>
> = {
  x64: {
    machine: 'x86_64',
    loader: '/lib64/ld-linux-x86-64.so.2',
    integrity:
      'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  },
  arm64: {
    machine: 'aarch64',
    loader: '/lib/ld-linux-aarch64.so.1',
    integrity:
      'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
  },
};

/** Puts `node` and `LICENSE.node` into `folder`. Throws when the tree is not installed, or npm brings something else. */
export function copyRuntime(folder: string, architecture: Architecture): void {
  const installed = join(ROOT, 'node_modules/node');
  const name = `node-linux-${architecture}`;
  if (process.platform === 'linux' && process.arch === architecture) {
    copyFileSync(join(installed, 'bin/node'), join(folder, 'node'));
    copyFileSync(join(installed, 'node_modules', name, 'LICENSE'), join(folder, 'LICENSE.node'));
  } else {
    const { version } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as {
      version: string;
    };
    fetchRuntime(folder, `${name}@${version}`, MACHINES[architecture].integrity);
  }
  chmodSync(join(folder, 'node'), 0o755);
}

function fetchRuntime(folder: string, wanted: string, integrity: string): void {
  const scratch = mkdtempSync(join(tmpdir(), 'beacon-runtime-'));
  const run = (program: string, argv: readonly string[]): string => {
    const { status, stdout, stderr } = spawnSync(program, argv, { encoding: 'utf8', cwd: scratch });
    if (status !== 0) throw new Error(`${program} ${argv.join(' ')} failed: ${stderr}`);
    return stdout;
  };
  try {
    const [packed] = JSON.parse(run('npm', ['pack', wanted, '--json', '--loglevel=error'])) as {
      filename: string;
      integrity: string;
    }[];
    if (packed?.integrity !== integrity) {
      throw new Error(`${wanted} is not the one that scripts/host-runtime.ts names: compare the digests`);
    }
    run('tar', ['-xf', packed.filename]);
    copyFileSync(join(scratch, 'package/bin/node'), join(folder, 'node'));
    copyFileSync(join(scratch, 'package/LICENSE'), join(folder, 'LICENSE.node'));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
