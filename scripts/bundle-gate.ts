/**
 * Makes the gate as it lies on a host: `node scripts/bundle-gate.ts OUT` writes OUT, which sudo's one rule names and which
 * starts the host's own runtime, OUT.js with all of the gate, and OUT.cache with what this runtime has compiled of it:
 * starting takes a fifth less with it. The result names every source that went in, which a test holds against "node: and
 * our own files only".
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { build } from 'esbuild';

const ROOT = resolve(import.meta.dirname, '..');
const LAUNCHER = join(ROOT, 'packages/gate/files/launch.cjs');

/** Where the runtime lies on a host. */
export const HOST_RUNTIME = '/usr/lib/beacon/node';

/** The three files of a gate, by what is added to the name of the first. */
export const GATE_FILES = ['', '.js', '.cache'] as const;

/** All functions are compiled, not only those that a run happens to call; the flag does not stay in what is written. */
const COMPILE = `
const { readFileSync, writeFileSync } = require('node:fs');
const v8 = require('node:v8');
const filename = process.argv[1] + '.js';
v8.setFlagsFromString('--no-lazy');
const script = new (require('node:vm').Script)(readFileSync(filename, 'utf8'), { filename });
v8.setFlagsFromString('--lazy');
writeFileSync(process.argv[1] + '.cache', script.createCachedData());
`;

/** Writes the three files; the result lists the sources below the root. */
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
  const { status, stderr } = spawnSync(process.execPath, ['-e', COMPILE, resolve(file)], {
    encoding: 'utf8',
    env: {},
  });
  if (status !== 0) throw new Error(`the gate was not compiled: ${stderr}`);
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
