/**
 * Makes the gate as it lies on a host: `node scripts/bundle-gate.ts OUT` writes OUT, which sudo's one rule names and which
 * starts the host's own runtime, and OUT.js with all of the gate; `compileGate` adds OUT.cache with what this runtime has
 * compiled of it: starting takes a fifth less with it. The result names every source that went in, which a test holds
 * against "node: and our own files only".
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { build } from 'esbuild';

const ROOT = resolve(import.meta.dirname, '..');
const LAUNCHER = join(ROOT, 'packages/gate/files/launch.cjs');
const COMPILER = join(ROOT, 'packages/gate/files/compile.cjs');

/** Where the runtime lies on a host. */
export const HOST_RUNTIME = '/usr/lib/beacon/node';

/** The three files of a gate, by what is added to the name of the first. */
export const GATE_FILES = ['', '.js', '.cache'] as const;

/** Writes the first two files; the result lists the sources below the root. */
export async function bundleGate(file: string, runtime = HOST_RUNTIME): Promise<string[]> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: [join(ROOT, 'packages/gate/src/start.ts')],
    outfile: `${resolve(file)}.js`,
    bundle: true,
    platform: 'node',
    target: 'node22',
    format: 'cjs',
    conditions: ['@beacon/source'],
    banner: { js: '(function (require) {' },
    footer: { js: '})' },
    metafile: true,
    logLevel: 'error',
  });
  writeFileSync(file, readFileSync(LAUNCHER, 'utf8').replace(HOST_RUNTIME, runtime));
  chmodSync(file, 0o755);
  return Object.keys(metafile.inputs).map((input) => relative(ROOT, resolve(ROOT, input)));
}

/** Writes the third, by the runtime that this process has. */
export function compileGate(file: string): void {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--predictable', COMPILER, `${resolve(file)}.js`],
    { env: {} },
  );
  if (status !== 0) throw new Error(`the gate was not compiled: ${stderr.toString('utf8')}`);
  writeFileSync(`${file}.cache`, stdout);
}

const [, script, file] = process.argv;
if (script !== undefined && realpathSync(script) === import.meta.filename) {
  if (file === undefined) {
    console.error('Usage: node scripts/bundle-gate.ts OUT');
    process.exitCode = 64;
  } else {
    await bundleGate(file);
    compileGate(file);
  }
}
