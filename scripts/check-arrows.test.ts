import { spawnSync } from 'node:child_process';
import {
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
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { checkArrows, type Violation } from './check-arrows.ts';

const here = join(import.meta.dirname, '..');

describe('the present tree', () => {
  it('has no import that the tables do not allow', () => {
    const lines = checkArrows(here).map((one) => `${one.file}:${one.line}: ${one.imported}: ${one.reason}`);
    expect(lines).toEqual([]);
  });
});

/** Copies the sources and tests of every package to a place where things can be planted. */
function copyTree(): string {
  const root = mkdtempSync(join(tmpdir(), 'arrows-'));
  for (const name of readdirSync(join(here, 'packages'))) {
    for (const part of ['src', 'test', 'package.json']) {
      const from = join(here, 'packages', name, part);
      if (existsSync(from)) cpSync(from, join(root, 'packages', name, part), { recursive: true });
    }
  }
  return root;
}

/** Puts `text` into a new file of the copy, or below what the file of that name says. */
function plant(root: string, file: string, text: string): void {
  const path = join(root, 'packages', file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, (existsSync(path) ? readFileSync(path, 'utf8') : '') + text);
}

/** What is found now and was not found `before`, one line each. */
function found(root: string, before: Violation[]): string[] {
  const known = new Set(before.map((one) => JSON.stringify(one)));
  return checkArrows(root)
    .filter((one) => !known.has(JSON.stringify(one)))
    .map((one) => `${one.file}: ${one.package} → ${one.imported}: ${one.reason}`);
}

const forbidden: [string, string, string, RegExp][] = [
  [
    'an arrow that is not in the table',
    'github/src/planted-1.ts',
    "import '@beacon/ssh/wire';",
    /there is no such arrow/,
  ],
  [
    'an arrow upwards',
    'server/src/planted-2.ts',
    "import { a } from '@beacon/ca';",
    /there is no such arrow/,
  ],
  [
    'an arrow of types alone',
    'broker/src/planted-3.ts',
    "import type { A } from '@beacon/ca';",
    /no such arrow/,
  ],
  [
    'an arrow by export',
    'policy/src/planted-4.ts',
    "export { a } from '@beacon/protocol/name';",
    /no such arrow/,
  ],
  ['an arrow by require', 'client/src/planted-5.ts', "require('@beacon/server');", /there is no such arrow/],
  [
    'an arrow by a path',
    'server/src/planted-6.ts',
    "import '../../ssh/src/wire.ts';",
    /outside packages\/server\/src/,
  ],
  [
    'a dynamic arrow that is not in the table',
    'cli/src/planted-7.ts',
    "import('@beacon/server');",
    /no such arrow/,
  ],
  [
    'a package that is not in the table',
    'cli/src/planted-8.ts',
    "import '@beacon/extra';",
    /no such package/,
  ],
  [
    'a static import where a dynamic one is due',
    'cli/src/planted-9.ts',
    "import { main } from '@beacon/ca';",
    /dynamic import\(\) alone/,
  ],
  [
    'an import of types where a dynamic one is due',
    'cli/src/planted-10.ts',
    "import type { A } from '@beacon/gate';",
    /dynamic import\(\) alone/,
  ],
  [
    'a type by import() where a dynamic import is due',
    'cli/src/planted-11.ts',
    "type A = import('@beacon/policy').A;",
    /dynamic import\(\) alone/,
  ],
  ['a computed import', 'cli/src/planted-12.ts', 'import(process.argv[2]);', /computed/],
  [
    'a library of another package',
    'client/src/planted-13.ts',
    "import express from 'express';",
    /the library is for server/,
  ],
  [
    'a library that no table names',
    'server/src/planted-14.ts',
    "import _ from 'lodash';",
    /not in the table/,
  ],
  ['a builtin without node:', 'server/src/planted-15.ts', "import 'fs';", /not in the table/],
  [
    'the types of a library of another package',
    'ca/src/planted-16.ts',
    "import type { A } from 'express';",
    /the library is for server/,
  ],
  [
    'a library in a wrong file',
    'ca/src/planted-17.ts',
    "import { sql } from 'kysely';",
    /the library is for server, any package/,
  ],
  [
    'zod outside protocol/http',
    'protocol/src/planted-18.ts',
    "import { z } from 'zod';",
    /the library is for protocol/,
  ],
  [
    'zod in the server, not as types',
    'server/src/route.ts',
    "\nimport { z } from 'zod';",
    /may have types of zod alone/,
  ],
  ['sshpk outside key.ts', 'ssh/src/planted-19.ts', "import sshpk from 'sshpk';", /files \^key\[\.\]ts\$/],
  [
    'sshpk in a file key.ts of another package',
    'ca/src/key.ts',
    "import('sshpk');",
    /the library is for ssh/,
  ],
  [
    'yaml in another file of the command line',
    'cli/src/planted-20.ts',
    "import 'yaml';",
    /the library is for server, cli/,
  ],
  [
    'what infra holds',
    'ca/src/planted-21.ts',
    "import '../../../infra/github-standin/src/index.ts';",
    /outside/,
  ],
  ['what scripts hold', 'cli/src/planted-22.ts', "import '../../../scripts/check-arrows.ts';", /outside/],
  ['what tests hold', 'ssh/src/planted-23.ts', "import '../test/vectors.ts';", /outside/],
  [
    'a library in a test whose package lacks it',
    'ssh/test/planted-24.test.ts',
    "import 'express';",
    /what its package declares/,
  ],
  [
    'a path out of the workspace in a test',
    'ssh/test/planted-25.test.ts',
    "import '../../../../a.ts';",
    /outside the workspace/,
  ],
];

const allowed: [string, string, string][] = [
  ['an arrow of the table', 'ca/src/planted-26.ts', "import '@beacon/policy';"],
  ['a dynamic import of the table', 'cli/src/planted-27.ts', "import('@beacon/policy');"],
  ['a dynamic import where a static one may stand', 'cli/src/planted-28.ts', "import('@beacon/ssh/key');"],
  ['what comes with node', 'ssh/src/planted-29.ts', "import 'node:fs/promises';"],
  ['a subpath of a library', 'client/src/planted-30.ts', "import 'jose/jwt/verify';"],
  ['kysely in a store', 'broker/src/run-store.ts', "import 'kysely';"],
  ['zod in a configuration', 'broker/src/configuration.ts', "import 'zod';"],
  ['types of zod in a route', 'server/src/app.ts', "\nimport type { z } from 'zod';"],
  ['jest in a test', 'policy/test/planted-31.test.ts', "import '@jest/globals';\nimport 'fast-check';"],
  [
    'any package in a test',
    'policy/test/planted-32.test.ts',
    "import '@beacon/ca';\nimport '../../ca/src/a.ts';",
  ],
  ['sshpk in a test of ssh', 'ssh/test/planted-33.test.ts', "import 'sshpk';"],
];

describe('the checker of arrows', () => {
  let lines: string[] = [];

  beforeAll(() => {
    const root = copyTree();
    const before = checkArrows(root);
    for (const [, file, text] of [...forbidden, ...allowed]) plant(root, file, text);
    plant(root, 'extra/src/index.ts', '');
    // What the gate reaches has tests of its own below.
    lines = found(root, before).filter((line) => !line.includes('the gate reaches'));
    rmSync(root, { recursive: true });
  });

  for (const [what, file, , reason] of forbidden) {
    it(`finds ${what}`, () => {
      const here = lines.filter((line) => line.startsWith(`packages/${file}: ${file.split('/')[0]} → `));
      expect(here).toEqual([expect.stringMatching(reason)]);
    });
  }

  for (const [what, file] of allowed) {
    it(`allows ${what}`, () => {
      expect(lines.filter((line) => line.startsWith(`packages/${file}: `))).toEqual([]);
    });
  }

  it('finds a package that is not in the table', () => {
    expect(lines.filter((line) => line.startsWith('packages/extra'))).toEqual([
      'packages/extra: extra → anything: the package is not in the table of scripts/check-arrows.ts',
    ]);
  });

  it('finds nothing else', () => {
    expect(lines).toHaveLength(forbidden.length + 1);
  });
});

describe('what the gate reaches', () => {
  let root = '';
  let before: Violation[] = [];
  beforeEach(() => {
    root = copyTree();
    rmSync(join(root, 'packages/gate'), { recursive: true, force: true });
    before = checkArrows(root);
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it('finds a library in a file that the gate reaches', () => {
    plant(root, 'gate/src/index.ts', "import '@beacon/ssh/wire';\nimport '@beacon/protocol/name';");
    plant(root, 'ssh/src/wire.ts', "\nimport type { Key } from 'sshpk';");
    plant(root, 'protocol/src/name.ts', "\nimport { z } from 'zod';");
    const lines = found(root, before).filter((line) =>
      line.includes('the gate reaches node: and our own files only'),
    );
    expect(lines.sort()).toEqual([
      expect.stringMatching(
        /^packages\/protocol\/src\/name[.]ts: protocol → zod: .*\(.*protocol\/src\/name[.]ts\)$/,
      ),
      expect.stringMatching(/^packages\/ssh\/src\/wire[.]ts: ssh → sshpk: /),
    ]);
  });

  it('finds a library behind several files of the gate, and names the way', () => {
    plant(root, 'gate/src/index.ts', "export { run } from './run.ts';");
    plant(root, 'gate/src/run.ts', "import { a } from '@beacon/ssh/planted';\nimport 'node:fs';");
    plant(root, 'ssh/src/planted.ts', "export type { A } from './key.ts';");
    const lines = found(root, before).filter((line) => line.includes('the gate reaches'));
    const way = 'gate/src/run.ts → ssh/src/planted.ts → ssh/src/key.ts';
    expect(new Set(lines)).toEqual(
      new Set([
        `packages/ssh/src/key.ts: ssh → sshpk: the gate reaches node: and our own files only (${way})`,
      ]),
    );
  });

  it('finds an import of the gate that leads to no file', () => {
    plant(root, 'gate/src/index.ts', "import '@beacon/ssh/nowhere';");
    expect(found(root, before)).toEqual([
      expect.stringMatching(/gate → @beacon\/ssh\/nowhere: the gate reaches/),
    ]);
  });
});

describe('the checker as a program', () => {
  const root = mkdtempSync(join(tmpdir(), 'arrows-'));
  afterAll(() => rmSync(root, { recursive: true }));
  const run = () =>
    spawnSync(process.execPath, [join(root, 'scripts/check-arrows.ts')], { encoding: 'utf8' });

  beforeAll(() => {
    for (const file of ['check-arrows.ts', 'find-imports.ts']) {
      cpSync(join(here, 'scripts', file), join(root, 'scripts', file));
    }
    symlinkSync(join(here, 'node_modules'), join(root, 'node_modules'));
    writeFileSync(join(root, 'package.json'), '{"type":"module"}');
    plant(root, 'policy/src/index.ts', "import 'node:fs';");
  });

  it('says nothing where all is allowed, and ends with status 0', () => {
    expect(run()).toMatchObject({ status: 0, stdout: '', stderr: '' });
  });

  it('says one line for each that is not, and ends with status 1', () => {
    plant(root, 'ssh/src/planted.ts', "\n\nimport 'express';\n");
    expect(run()).toMatchObject({
      status: 1,
      stdout:
        'packages/ssh/src/planted.ts:3: package ssh may not import express: the library is for server\n',
      stderr: '',
    });
  });
});
