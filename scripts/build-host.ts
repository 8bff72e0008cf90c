/**
 * `npm run build:host`: one archive to carry, with what a machine needs to become a managed host and no more: the runtime,
 * the bundled programs, the two scripts that sshd and sudo start, the units, the runner commands. It is unpacked on a machine without Node, and
 * its `./beacon host init` called. Two builds of one tree give the same bytes; what the runtime compiles of the gate, which
 * differs from machine to machine, is made there.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { type BuildOptions, type BuiltArchive, packArchive, sayArchive } from './archive.ts';
import { bundleGate } from './bundle-gate.ts';
import { ARCHITECTURES, type Architecture, copyRuntime, MACHINES } from './host-runtime.ts';

const ROOT = resolve(import.meta.dirname, '..');
/** What runs on a CA's machine alone; the command loads it when it is called for, and a host never does. */
const NOT_ON_HOSTS = ['@beacon/ca', '@beacon/policy', '@beacon/broker'];
const UNIT = /^beacon-host[.-]/;
const LICENCE = /^licen[cs]e([.-].*)?$/i;

/** Lays the content of the archive out in the folder `out`, whose `./beacon host init` puts it where it belongs. */
export async function buildHost(out: string, architecture: Architecture = 'x64'): Promise<void> {
  const folder = resolve(out);
  mkdirSync(folder, { recursive: true });
  copyRuntime(folder, architecture);
  await bundleGate(join(folder, 'gate'));
  const libraries = await bundleCommand(join(folder, 'beacon.js'));
  writeFileSync(join(folder, 'LICENSE.libraries'), libraries.map(readLicence).join('\n'));
  const put = (from: string, mode: number, into = '.'): void => {
    const to = join(folder, into, basename(from));
    copyFileSync(join(ROOT, from), to);
    chmodSync(to, mode);
  };
  put('LICENSE', 0o644);
  put('packages/gate/files/compile.cjs', 0o644);
  put('packages/gate/files/principals', 0o755);
  put('packages/gate/files/shell', 0o755);
  for (const name of readdirSync(join(ROOT, 'infra/systemd')).filter((unit) => UNIT.test(unit)))
    put(join('infra/systemd', name), 0o644);
  put('packages/host/files/runner-allowlist.json', 0o644);
  put('infra/systemd/beacon-runner@.service', 0o644);
  mkdirSync(join(folder, 'commands'), { recursive: true });
  for (const name of readdirSync(join(ROOT, 'packages/host/files/commands')))
    put(join('packages/host/files/commands', name), 0o755, 'commands');
  const { machine, loader } = MACHINES[architecture];
  const launcher = readFileSync(join(ROOT, 'packages/host/files/beacon'), 'utf8')
    .replace(MACHINES.x64.machine, machine)
    .replace(MACHINES.x64.loader, loader);
  writeFileSync(join(folder, 'beacon'), launcher);
  chmodSync(join(folder, 'beacon'), 0o755);
}

/** Packs it into `folder`, with a file of its digest for `sha256sum -c` beside it. */
export async function packHost(
  folder: string,
  architecture: Architecture,
  options: BuildOptions = {},
): Promise<BuiltArchive> {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const name = `beacon-host-${version}-linux-${architecture}`;
  const scratch = mkdtempSync(join(tmpdir(), 'beacon-build-'));
  try {
    mkdirSync(folder, { recursive: true });
    await buildHost(join(scratch, name), architecture);
    const built = packArchive(scratch, name, folder, options);
    writeFileSync(`${built.file}.sha256`, `${built.sha256}  ${basename(built.file)}\n`);
    return built;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The result lists the folders of the libraries that went in. */
async function bundleCommand(file: string): Promise<string[]> {
  const { metafile } = await build({
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
      js: `import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);`,
    },
    metafile: true,
    logLevel: 'error',
  });
  const found = Object.keys(metafile.inputs).flatMap(
    (input) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? [],
  );
  return [...new Set(found)].sort();
}

/** A library's name and its licence, whose makers ask that it goes with every copy. */
function readLicence(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8')) as {
    name: string;
    version: string;
    license?: string;
  };
  const file = readdirSync(join(ROOT, folder))
    .sort()
    .find((one) => LICENCE.test(one));
  const text = file === undefined ? '' : `\n${readFileSync(join(ROOT, folder, file), 'utf8').trim()}\n`;
  return `${name} ${version}: ${license ?? 'see its files'}\n${text}`;
}

const [, script] = process.argv;
if (script !== undefined && existsSync(script) && realpathSync(script) === import.meta.filename) {
  const { values, positionals } = parseArgs({
    options: { arch: { type: 'string', default: 'x64' } },
    allowPositionals: true,
  });
  const architecture = ARCHITECTURES.find((one) => one === values.arch);
  const [out = join(ROOT, 'dist'), ...more] = positionals;
  if (architecture === undefined || more.length > 0) {
    console.error(`Usage: npm run build:host -- [--arch ${ARCHITECTURES.join('|')}] [OUT]`);
    process.exitCode = 64;
  } else {
    sayArchive(await packHost(resolve(out), architecture));
  }
}
