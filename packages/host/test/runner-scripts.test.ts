/** The runner commands that only read, as they stand in the archive: whom they take for a runner's account. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

const COMMANDS = join(import.meta.dirname, '..', 'files', 'commands');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'beacon-scripts-'));
  mkdirSync(join(folder, 'bin'));
  mkdirSync(join(folder, 'pools'));
  writeFileSync(join(folder, 'bin', 'systemctl'), '#!/bin/sh\necho inactive\n', { mode: 0o755 });
});
afterEach(() => rmSync(folder, { recursive: true }));

const bind = (account: string, name: string) => writeFileSync(join(folder, 'pools', account), name);
const run = (command: string, ...words: string[]): string =>
  execFileSync(join(COMMANDS, command), words, {
    env: { PATH: `${join(folder, 'bin')}:/usr/bin:/bin` },
    encoding: 'utf8',
  });

describe('the account of a runner', () => {
  it("is one of the runners' pool, whatever other pools have bound to the same name", () => {
    bind('app-1', 'ci');
    bind('beacon-r-2', 'ci');
    bind('beacon-r-x-1', 'other');
    expect(run('runner-account', join(folder, 'pools'), 'ci')).toBe('beacon-r-2\n');
    expect(run('runner-list', folder, join(folder, 'pools'))).toBe('ci beacon-r-2 - inactive\n');
  });

  it('is not listed where a full disk has left its binding empty', () => {
    bind('beacon-r-1', '');
    expect(run('runner-list', folder, join(folder, 'pools'))).toBe('');
  });
});
