/** The runner commands that only read, as they stand in the archive: whom they take for a runner's account. */
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
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

describe('the programs of runners', () => {
  it('are kept while a runner has them or somebody asks for them, and go then', () => {
    const arch = { x64: 'x64', arm64: 'arm64', arm: 'arm' }[process.arch as 'x64'];
    const lay = (version: string, days: number): string => {
      const tree = join(folder, 'programs', `${version}-${arch}-aa`);
      mkdirSync(join(tree, 'bin'), { recursive: true });
      writeFileSync(join(tree, 'bin', 'Runner.Listener'), '', { mode: 0o755 });
      const then = Date.now() / 1_000 - days * 86_400;
      utimesSync(tree, then, then);
      return tree;
    };
    const asked = lay('3.0.0', 9);
    lay('1.0.0', 9);
    lay('2.5.0', 0);
    linkSync(join(lay('2.0.0', 9), 'bin', 'Runner.Listener'), join(folder, 'of-a-runner'));
    expect(run('runner-fetch', folder, 'https://example.com', '3.0.0', arch, 'aa')).toBe(`${asked}\n`);
    expect(readdirSync(join(folder, 'programs')).sort()).toEqual([
      ...[`2.0.0-${arch}-aa`, `2.5.0-${arch}-aa`, `3.0.0-${arch}-aa`, 'lock'],
    ]);
  });
});
