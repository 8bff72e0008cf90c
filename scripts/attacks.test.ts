/** docs/attacks.md says which tests show what: each file that it names must have a test whose title names the row. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const ROOT = join(import.meta.dirname, '..');
const page = readFileSync(join(ROOT, 'docs', 'attacks.md'), 'utf8');
const rows = page
  .split('\n')
  .map((line) => /^\| ([A-Z]\d+) \|.*\| ([^|]*) \|$/.exec(line))
  .flatMap((found) => (found?.[1] === undefined ? [] : [[found[1], found[2] ?? ''] as const]));

function fileOf(name: string): string {
  const [place = '', file = ''] = name.split('/');
  return place === 'e2e'
    ? join(ROOT, 'infra', 'e2e', `${file}.test.ts`)
    : join(ROOT, 'packages', place, 'test', `${file}.test.ts`);
}

test('the table has each row once, and each row a test', () => {
  expect(rows.length).toBeGreaterThan(50);
  expect(new Set(rows.map(([id]) => id)).size).toBe(rows.length);
  for (const [id, shownBy] of rows)
    expect([id, /^(`[a-z0-9-]+\/[a-z0-9-]+` ?)+$/.test(shownBy)]).toEqual([id, true]);
});

test.each(rows)('%s is named by a title in each file that the table names', (id, shownBy) => {
  for (const [, name = ''] of shownBy.matchAll(/`([^`]+)`/g)) {
    const file = fileOf(name);
    expect([name, existsSync(file)]).toEqual([name, true]);
    const title = new RegExp(`['"\`][^'"\`\\n]*\\b${id}\\b[^'"\`\\n]*:`);
    expect([name, title.test(readFileSync(file, 'utf8'))]).toEqual([name, true]);
  }
});
