import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readCases, readInventoryFile } from '../src/policy-configuration.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'beacon-cases-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

test('inventory and cases are read as values; their own packages check them', () => {
  expect(readInventoryFile(write('inventory.yaml', 'version: 1\ncommands: {}\n'))).toEqual({
    version: 1,
    commands: {},
  });
  expect(() => readInventoryFile(write('inventory.yaml', 'commnds: {}\n'))).toThrow(/commnds/);
  expect(readCases(write('cases.yaml', 'version: 1\ncases: [{ a: 1 }]\n'))).toEqual([{ a: 1 }]);
  expect(() => readCases(write('cases.yaml', 'cases: []\n'))).toThrow(/version/);
  expect(readFileSync(join(folder, 'cases.yaml'), 'utf8')).toBe('cases: []\n');
});
