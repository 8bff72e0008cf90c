/**
 * Lays out what a machine needs to become a managed host, and no more: the runtime, the bundled programs, the two scripts
 * that sshd and sudo start, the units: `node scripts/build-host.ts OUT`. Installable on a machine without Node.
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { bundleGate, HOST_RUNTIME } from './bundle-gate.ts';

const ROOT = resolve(import.meta.dirname, '..');
/** What runs on a CA's machine alone; the command loads it when it is called for, and a host never does. */
const NOT_ON_HOSTS = ['@beacon/ca', '@beacon/policy', '@beacon/broker'];

/** Makes the folder `out`, whose `beacon host init` puts its files where they belong. */
export async function buildHost(out: string): Promise<void> {
  const folder = resolve(out);
  mkdirSync(folder, { recursive: true });
  const runtime = realpathSync(join(ROOT, 'node_modules/node/bin/node'));
  copyFileSync(runtime, join(folder, 'node'));
  chmodSync(join(folder, 'node'), 0o755);
  await bundleGate(join(folder, 'gate'));
  await bundleCommand(join(folder, 'beacon'));
  for (const name of ['principals', 'shell']) {
    copyFileSync(join(ROOT, 'packages/gate/files', name), join(folder, name));
    chmodSync(join(folder, name), 0o755);
  }
  for (const name of ['beacon-host-sync.service', 'beacon-host-sync.timer']) {
    const unit = join(ROOT, 'infra/systemd', name);
    if (existsSync(unit)) copyFileSync(unit, join(folder, name));
  }
  // Before the host has a runtime of its own, the archive's beacon is started with the archive's.
  writeFileSync(join(folder, 'install'), INSTALL, { mode: 0o755 });
}

const INSTALL = `#!/bin/sh
# beacon host init with the runtime of this archive: ./install --id build-01 …
here=$(cd -P -- "$(dirname -- "$0")" && pwd) || exit 1
exec "$here/node" "$here/beacon" host init "$@"
`;

async function bundleCommand(file: string): Promise<void> {
  await build({
    absWorkingDir: ROOT,
    entryPoints: [join(ROOT, 'packages/cli/src/main.ts')],
    outfile: file,
    bundle: true,
    platform: 'node',
    target: 'node22',
    format: 'esm',
    conditions: ['@beacon/source'],
    external: NOT_ON_HOSTS,
    banner: {
      js: `#!${HOST_RUNTIME}\nimport { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);`,
    },
    logLevel: 'error',
  });
  chmodSync(file, 0o755);
}

const [, script, out] = process.argv;
if (script !== undefined && realpathSync(script) === import.meta.filename) {
  if (out === undefined) {
    console.error('Usage: node scripts/build-host.ts OUT');
    process.exitCode = 64;
  } else {
    await buildHost(out);
  }
}
