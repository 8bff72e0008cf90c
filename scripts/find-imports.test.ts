import { describe, expect, it } from '@jest/globals';
import { findImports } from './find-imports.ts';

describe('the imports of a file', () => {
  for (const [text, specifier, kind] of [
    ["import a from 'x';", 'x', 'static'],
    ["import 'x';", 'x', 'static'],
    ["import * as a from 'x/y';", 'x/y', 'static'],
    ["import { type A } from 'x';", 'x', 'static'],
    ["import type { A } from 'x';", 'x', 'type'],
    ["import a from './a.json' with { type: 'json' };", './a.json', 'static'],
    ["export { a } from 'x';", 'x', 'static'],
    ["export * from 'x';", 'x', 'static'],
    ["export type { A } from 'x';", 'x', 'type'],
    ["import a = require('x');", 'x', 'static'],
    ["type A = import('x').A;", 'x', 'type'],
    ["let a: typeof import('x');", 'x', 'type'],
    ["async () => await import('x');", 'x', 'dynamic'],
    ['import(`x`);', 'x', 'dynamic'],
    ["import('x' + y);", undefined, 'dynamic'],
    [`import(\`x\${y}\`);`, undefined, 'dynamic'],
    ["const a = require('x');", 'x', 'static'],
    ['require(x);', undefined, 'static'],
    ["const load = createRequire(import.meta.url); load('x');", 'x', 'static'],
    ["const load = m.createRequire(import.meta.url); () => load('x');", 'x', 'static'],
    ["createRequire(import.meta.url)('x');", 'x', 'static'],
  ] as const) {
    it(`are found in ${text}`, () => {
      expect(findImports('a.ts', text)).toEqual([{ specifier, line: 1, kind }]);
    });
  }

  it('are found behind another name of createRequire', () => {
    const text =
      "import { createRequire as make } from 'node:module';\nconst load = make(import.meta.url);\nload('x');";
    expect(findImports('a.ts', text)).toEqual([
      { specifier: 'node:module', line: 1, kind: 'static' },
      { specifier: 'x', line: 3, kind: 'static' },
    ]);
  });

  it('are named with the line that they begin in', () => {
    const text = "\nimport {\n  a,\n} from 'x';\n\nexport const b = () => import('y');\n";
    expect(findImports('a.ts', text).map(({ line }) => line)).toEqual([2, 6]);
  });

  for (const text of [
    "// import 'x';",
    "/** {@link import('x')} */",
    'const a = "import \'x\'";',
    'export { a };',
    'export const a = 1;',
    "function require(a: string) {}\nrequire('x');",
    "a.require('x');",
    'import.meta.url;',
  ]) {
    it(`are none in ${text}`, () => {
      expect(findImports('a.ts', text)).toEqual([]);
    });
  }
});
