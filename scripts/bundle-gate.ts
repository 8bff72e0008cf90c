/**
 * Makes the gate one file, as it lies on a host: `node scripts/bundle-gate.ts OUT`. It begins with the line that starts
 * the host's own runtime, so that sudo's one rule can name it without arguments. The result names every source that went
 * in, which a test holds against "node: and our own files only".
 */
import { chmodSync, realpathSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { build } from 'esbuild';

const ROOT = resolve(import.meta.dirname, '..');

/** Where the runtime lies on a host. */
export const HOST_RUNTIME = '/usr/lib/beacon/node';

/** Writes the file, executable; the result lists its sources below the root. */
export async function bundleGate(file: string, runtime = HOST_RUNTIME): Promise<string[]> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: [join(ROOT, 'packages/gate/src/start.ts')],
    outfile: resolve(file),
    bundle: true,
    platform: 'node',
    target: 'node22',
    format: 'cjs',
    conditions: ['@beacon/source'],
    banner: { js: `#!${runtime}` },
    metafile: true,
    logLevel: 'error',
  });
  chmodSync(file, 0o755);
  return Object.keys(metafile.inputs).map((input) => relative(ROOT, resolve(ROOT, input)));
}

const [, script, file] = process.argv;
if (script !== undefined && realpathSync(script) === import.meta.filename) {
  if (file === undefined) {
    console.error('Usage: node scripts/bundle-gate.ts OUT');
    process.exitCode = 64;
  } else {
    await bundleGate(file);
  }
}
