/**
 * Holds the two tables of the architecture, which package may import which and which library may be imported where,
 * and finds every import that stands in neither: `node scripts/check-arrows.ts`, with the linter. Sources (`src/`) are
 * held to the tables; tests may reach all of the workspace, and of libraries jest, fast-check and what their package
 * declares. What the gate can reach is followed file by file, types too: `node:` and our own files, no library.
 */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { findImports, type Import } from './find-imports.ts';

export interface Violation {
  /** Below the root, with slashes. */
  readonly file: string;
  readonly line: number;
  readonly package: string;
  readonly imported: string;
  readonly reason: string;
}

interface Arrows {
  readonly static: readonly string[];
  /** Reached by a dynamic `import()` alone, so that a command that needs none of it loads none of it. */
  readonly dynamic?: readonly string[];
}

/** Which package may import which. All arrows point downwards. */
const packages: Readonly<Record<string, Arrows>> = {
  ssh: { static: [] },
  policy: { static: [] },
  protocol: { static: [] },
  github: { static: ['protocol'] },
  client: { static: ['protocol', 'ssh'] },
  server: { static: ['protocol'] },
  ca: { static: ['server', 'github', 'policy', 'ssh', 'protocol'] },
  broker: { static: ['server', 'github', 'client', 'ssh', 'protocol'] },
  gate: { static: ['ssh', 'protocol'] },
  host: { static: ['client', 'ssh', 'protocol'] },
  cli: { static: ['client', 'host', 'ssh', 'protocol'], dynamic: ['ca', 'broker', 'gate', 'policy'] },
  web: { static: ['protocol'] },
};

interface Place {
  /** Any package when it is left out. */
  readonly package?: string;
  /** Which files, by their path below the package's `src/`; all of them when it is left out. */
  readonly files?: RegExp;
  /** Only `import type`: nothing of the library is loaded. */
  readonly typesOnly?: true;
}

const anywhereIn = (...names: string[]): Place[] => names.map((name) => ({ package: name }));
const configurationFiles: Place = { files: /(^|[/-])configuration[.]ts$/ };

/** Which library may be imported where. `@scope/*` stands for every package of the scope. */
const libraries: Readonly<Record<string, readonly Place[]>> = {
  express: anywhereIn('server'),
  helmet: anywhereIn('server'),
  pino: anywhereIn('server'),
  'pino-http': anywhereIn('server'),
  'prom-client': anywhereIn('server'),
  'rate-limiter-flexible': anywhereIn('server'),
  'better-sqlite3': anywhereIn('server'),
  pg: anywhereIn('server'),
  // The command line has a file of its own to read, and no arrow to the server.
  yaml: [...anywhereIn('server'), { package: 'cli', files: /^configuration[.]ts$/ }],
  kysely: [...anywhereIn('server'), { files: /(^|[/-])store[.]ts$/ }],
  'oidc-provider': anywhereIn('ca'),
  passport: anywhereIn('ca'),
  'passport-github2': anywhereIn('ca'),
  'express-session': anywhereIn('ca'),
  zod: [
    { package: 'protocol', files: /^http\// },
    configurationFiles,
    // A route carries its schema, which is checked by the schema's own methods.
    { package: 'server', files: /./, typesOnly: true },
  ],
  '@asteasolutions/zod-to-openapi': [{ package: 'protocol', files: /^http\// }],
  jose: anywhereIn('server', 'ca', 'broker', 'client'),
  '@octokit/*': anywhereIn('github'),
  '@cedar-policy/cedar-wasm': anywhereIn('policy'),
  sshpk: [{ package: 'ssh', files: /^key[.]ts$/ }],
  commander: anywhereIn('cli'),
  '@clack/prompts': anywhereIn('cli'),
  react: anywhereIn('web'),
  'react-dom': anywhereIn('web'),
  '@primer/*': anywhereIn('web'),
  '@tanstack/*': anywhereIn('web'),
  ansi_up: anywhereIn('web'),
};

const testLibraries = ['@jest/globals', 'fast-check'];

const SCOPE = '@beacon/';
const SOURCE = /[.][cm]?[jt]sx?$/;

/** Every import below `root` that the tables do not allow, in the order of the files. Reads; changes nothing. */
export function checkArrows(root: string): Violation[] {
  const found: Violation[] = [];
  for (const name of directories(join(root, 'packages'))) {
    const folder = join(root, 'packages', name);
    const arrows = Object.hasOwn(packages, name) ? packages[name] : undefined;
    if (arrows === undefined) {
      const reason = 'the package is not in the table of scripts/check-arrows.ts';
      found.push({ file: `packages/${name}`, line: 1, package: name, imported: 'anything', reason });
      continue;
    }
    const rules: [string, (file: string, one: Import) => string | undefined][] = [
      ['src', (file, one) => sourceRule(name, arrows, join(folder, 'src'), file, one)],
      ['test', testRule(root, folder)],
    ];
    for (const [part, rule] of rules) {
      for (const file of sources(join(folder, part))) {
        for (const one of findImports(file, readFileSync(file, 'utf8'))) {
          const reason = rule(file, one);
          if (reason !== undefined) found.push(violation(root, file, one, reason));
        }
      }
    }
  }
  return [...found, ...checkGate(root)];
}

/** Why a source may not have this import; undefined when it may. */
function sourceRule(
  name: string,
  arrows: Arrows,
  src: string,
  file: string,
  { specifier, kind }: Import,
): string | undefined {
  if (specifier === undefined) return 'its name is computed, so nobody can follow it: write it out';
  if (specifier.startsWith('node:')) return undefined;
  if (specifier.startsWith('.')) {
    return isBelow(src, resolve(dirname(file), specifier))
      ? undefined
      : `it lies outside packages/${name}/src`;
  }
  if (specifier.startsWith(SCOPE)) {
    const other = specifier.slice(SCOPE.length).split('/')[0] ?? '';
    if (other === name || arrows.static.includes(other)) return undefined;
    if (!Object.hasOwn(packages, other)) return 'there is no such package in the table';
    if (!arrows.dynamic?.includes(other)) return 'there is no such arrow';
    return kind === 'dynamic' ? undefined : 'it is reached by a dynamic import() alone';
  }
  const library = libraryOf(specifier);
  const places = placesOf(library);
  if (places === undefined) return 'the library is not in the table of scripts/check-arrows.ts';
  const path = relative(src, file).split(sep).join('/');
  const here = places.filter(
    (place) => (place.package ?? name) === name && (place.files === undefined || place.files.test(path)),
  );
  if (here.some((place) => place.typesOnly !== true || kind === 'type')) return undefined;
  if (here.length > 0) return `${path} may have types of ${library} alone, by "import type"`;
  return `the library is for ${places.map(describe).join(', ')}`;
}

/** Why a test of the package in `folder` may not have this import; undefined when it may. */
function testRule(root: string, folder: string): (file: string, one: Import) => string | undefined {
  const declared = declaredLibraries(join(folder, 'package.json'));
  return (file, { specifier }) => {
    if (specifier === undefined || specifier.startsWith('node:') || specifier.startsWith(SCOPE))
      return undefined;
    if (specifier.startsWith('.')) {
      return isBelow(root, resolve(dirname(file), specifier)) ? undefined : 'it lies outside the workspace';
    }
    const library = libraryOf(specifier);
    if (testLibraries.includes(library) || declared.has(library)) return undefined;
    return 'a test has jest, fast-check and what its package declares';
  };
}

/** Follows what the gate reaches, and finds every import there that is neither `node:` nor a file of ours. */
function checkGate(root: string): Violation[] {
  const at = (name: string) => join(root, 'packages', name, 'src');
  const begins = sources(at('gate'));
  const found: Violation[] = [];
  const ways = new Map<string, string>(begins.map((file) => [file, '']));
  // A map gives out what is added while it is walked.
  for (const [file, way] of ways) {
    const here = `${way}${relative(join(root, 'packages'), file).split(sep).join('/')}`;
    for (const one of findImports(file, readFileSync(file, 'utf8'))) {
      if (one.specifier?.startsWith('node:')) continue;
      const target = ownFile(root, file, one.specifier);
      if (target === undefined) {
        found.push(violation(root, file, one, `the gate reaches node: and our own files only (${here})`));
      } else if (!ways.has(target)) {
        ways.set(target, `${here} → `);
      }
    }
  }
  return found;
}

/** The file of ours that a specifier stands for; undefined when it is a library or nothing. */
function ownFile(root: string, from: string, specifier: string | undefined): string | undefined {
  if (specifier === undefined) return undefined;
  let file: string | undefined;
  if (specifier.startsWith('.')) file = resolve(dirname(from), specifier);
  else if (specifier.startsWith(SCOPE)) {
    const [name = '', ...path] = specifier.slice(SCOPE.length).split('/');
    file = join(root, 'packages', name, 'src', `${path.join('/') || 'index'}.ts`);
  }
  return file !== undefined && existsSync(file) ? file : undefined;
}

function violation(root: string, file: string, one: Import, reason: string): Violation {
  const path = relative(root, file).split(sep).join('/');
  return {
    file: path,
    line: one.line,
    package: path.split('/')[1] ?? '',
    imported: one.specifier ?? 'a computed name',
    reason,
  };
}

function libraryOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function placesOf(library: string): readonly Place[] | undefined {
  return [library, `${library.split('/')[0]}/*`]
    .filter((name) => Object.hasOwn(libraries, name))
    .map((name) => libraries[name])[0];
}

function describe({ package: name, files, typesOnly }: Place): string {
  const where = name ?? 'any package';
  return `${where}${files === undefined ? '' : ` (files ${files.source})`}${typesOnly === true ? ' by "import type"' : ''}`;
}

function declaredLibraries(file: string): Set<string> {
  if (!existsSync(file)) return new Set();
  const manifest = JSON.parse(readFileSync(file, 'utf8')) as Record<
    string,
    Record<string, string> | undefined
  >;
  return new Set(
    ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'].flatMap((key) =>
      Object.keys(manifest[key] ?? {}),
    ),
  );
}

function directories(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

function sources(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && SOURCE.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function isBelow(folder: string, file: string): boolean {
  return file.startsWith(folder + sep);
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === import.meta.filename) {
  const found = checkArrows(resolve(import.meta.dirname, '..'));
  for (const one of found) {
    console.log(
      `${one.file}:${one.line}: package ${one.package} may not import ${one.imported}: ${one.reason}`,
    );
  }
  if (found.length > 0) process.exitCode = 1;
}
