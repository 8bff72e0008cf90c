/** The runner commands beside the operator's own entries: what is added, what is renewed, and what is left alone. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllowlist } from '@beacon/protocol/allowlist';
import { describe, expect, it, test } from '@jest/globals';
import { changedEntries, mergeEntries } from '../src/runner-entries.ts';
import {
  GITHUB,
  localize,
  parseRunnerCount,
  parseRunnerSource,
  RUNNER_COMMANDS,
} from '../src/runner-files.ts';

const FILES = join(import.meta.dirname, '../files');
const shipped = readFileSync(join(FILES, 'runner-allowlist.json'));
const list = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const EMPTY = list({ version: 1, commands: {} });
const OWN = {
  summary: 'Say hello',
  argv: ['/usr/bin/echo', 'hello'],
  timeout_seconds: 5,
  run_as: 'beacon-setup',
};

type List = {
  places: Record<string, string>;
  commands: Record<string, { argv: string[]; summary: string }>;
};
const read = (bytes: Buffer): List => JSON.parse(bytes.toString('utf8')) as List;
const merge = (present: Buffer, before?: Buffer) => mergeEntries(present, { shipped, before });

describe('the entries', () => {
  it('make of an empty list one that the gate takes, and of that nothing more', () => {
    const { content, changed } = merge(EMPTY);
    expect([...parseAllowlist(content).commands.keys()]).toEqual([
      ...parseAllowlist(shipped).commands.keys(),
    ]);
    expect(changed).toContain('commands.runner.start');
    expect(changed).toContain('places.runner_root');
    expect(merge(content)).toEqual({ content, changed: [] });
  });

  it("leave the operator's own as they are", () => {
    const mine = { version: 1, places: { site: '/srv/site' }, commands: { hello: OWN } };
    const { content } = merge(list(mine));
    expect(read(content).commands['hello']).toEqual(OWN);
    expect(read(content).places['site']).toBe('/srv/site');
    expect(parseAllowlist(content).commands.size).toBe(11);
  });

  it('leave an entry that the operator has changed, which is worth a note', () => {
    const changed = read(merge(EMPTY).content);
    const start = changed.commands['runner.start'];
    if (start !== undefined) start.summary = 'Start one of ours';
    const present = list(changed);
    expect(merge(present, shipped)).toEqual({ content: present, changed: [] });
    expect(changedEntries('the list', present, shipped)).toMatchObject([
      { kind: 'note', code: 'runner-entry', what: 'runner.start is otherwise than it ships' },
    ]);
  });

  it('are renewed where an earlier version added them and nobody changed them since', () => {
    const former = read(shipped);
    const status = former.commands['runner.status'];
    if (status !== undefined) status.summary = 'Show it';
    const before = list(former);
    const present = mergeEntries(EMPTY, { shipped: before, before: undefined }).content;
    const { content, changed } = merge(present, before);
    expect(changed).toEqual(['commands.runner.status']);
    expect(read(content).commands['runner.status']?.summary).toBe('Show what the host knows of a runner');
    // Without a trace of what shipped before it might be the operator's.
    expect(merge(present).changed).toEqual([]);
  });

  test.each<[string, Buffer, RegExp]>([
    ['what is no list', Buffer.from('{'), /cannot be read: .*: put it right/],
    ['what is no object', Buffer.from('[]'), /is no object/],
    [
      'a place of the same name elsewhere',
      list({ version: 1, places: { runner_root: '/srv/runners' }, commands: {} }),
      /a place runner_root of its own, "\/srv\/runners": rename that/,
    ],
  ])('refuse %s', (_, present, said) => {
    expect(() => merge(present)).toThrow(expect.objectContaining({ code: 'cannot-work-here' }));
    expect(() => merge(present)).toThrow(said);
  });
});

describe('the addresses', () => {
  it('are those of this host in every entry that has one', () => {
    const ghes = { github: 'https://ghes.example', downloads: 'https://mirror.example/runner' };
    const { commands } = read(localize(shipped, ghes));
    const of = (name: string) => commands[`runner.${name}`]?.argv;
    for (const name of ['preflight', 'configure']) expect(of(name)).toContain('https://ghes.example');
    for (const name of ['install', 'upgrade']) expect(of(name)).toContain('https://mirror.example/runner');
    expect(JSON.stringify(commands)).not.toContain('github.com');
    expect(localize(shipped, GITHUB)).toEqual(shipped);
  });

  test.each([
    'ghes.example',
    'ftp://ghes.example',
    'https://a b',
    'https://x/?q',
    'https://x/{name}',
    'https://u@x',
  ])('are refused: %s', (text) => {
    expect(() => parseRunnerSource('--github-url', text)).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  it('lose a slash at their end', () => {
    expect(parseRunnerSource('--github-url', 'https://ghes.example/')).toBe('https://ghes.example');
  });
});

test.each(['0', '-1', '101', 'x', '1.5', ''])('refuses %s runners', (text) => {
  expect(() => parseRunnerCount(text)).toThrow(expect.objectContaining({ code: 'usage' }));
});

test('knows every command that ships', () => {
  const there = readdirSync(join(FILES, 'commands')).map((name) => `commands/${name}`);
  expect([...RUNNER_COMMANDS].sort()).toEqual(there.sort());
});
