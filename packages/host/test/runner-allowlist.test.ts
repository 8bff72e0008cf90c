/** The runner commands as an allowlist: what a value may be, what is secret, who runs what. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type AllowedCommand, parseAllowlist } from '@beacon/protocol/allowlist';
import { expect, test } from '@jest/globals';

const FILES = join(import.meta.dirname, '../files');
const { commands } = parseAllowlist(readFileSync(join(FILES, 'runner-allowlist.json')));

function named(name: string): AllowedCommand {
  const found = commands.get(`runner.${name}`);
  if (found === undefined) throw new Error(`there is no runner.${name}`);
  return found;
}

test('names the ten commands, each a program that is there', () => {
  const names = [
    'preflight',
    'install',
    'configure',
    'start',
    'status',
    'logs',
    'stop',
    'remove',
    'upgrade',
    'list',
  ];
  expect([...commands.keys()]).toEqual(names.map((name) => `runner.${name}`));
  for (const { argv } of commands.values()) {
    const file = join(FILES, 'commands', basename(argv[0]));
    expect(argv[0]).toBe(`/usr/lib/beacon/commands/${basename(argv[0])}`);
    expect(existsSync(file)).toBe(true);
    expect(statSync(file).mode & 0o111).toBe(0o111);
  }
});

test('has every program in one line of the linter of shell scripts', () => {
  const line = readFileSync(join(FILES, '../../../scripts/test'), 'utf8');
  expect(line).toContain('packages/host/files/commands/runner-*');
  expect(readdirSync(join(FILES, 'commands')).every((name) => name.startsWith('runner-'))).toBe(true);
});

test('has one secret: the registration token', () => {
  const secrets = [...commands.values()].flatMap(({ name, parameters }) =>
    [...parameters].flatMap(([parameter, { isSecret }]) => (isSecret ? [`${name} ${parameter}`] : [])),
  );
  expect(secrets).toEqual(['runner.configure token']);
});

test('lets only accounts of the pool work where jobs have written, and frees them by remove alone', () => {
  const pooled = [...commands.values()].filter(({ runAs }) => 'pool' in runAs);
  expect(pooled.map(({ name, release }) => [name, release])).toEqual([
    ['runner.preflight', 'runner.remove'],
    ['runner.configure', 'runner.remove'],
    ['runner.remove', undefined],
  ]);
  for (const command of pooled) expect(command.exclusive).toBe('name');
});

test.each([
  ['preflight', 'remove'],
  ['configure', 'remove'],
  ['start', 'stop'],
])('takes %s back by %s', (name, undo) => {
  expect(named(name).undo).toBe(`runner.${undo}`);
});

test.each<[string, string, readonly string[], readonly string[]]>([
  ['configure', 'name', ['web-1', 'a'], ['', '-a', 'Web', 'a/b', '..', 'a b', 'a'.repeat(64)]],
  [
    'configure',
    'scope',
    ['acme', 'acme/site', 'acme/.github', 'A-1/b_c.d'],
    ['', '/site', '../site', 'acme/site/x', 'acme//x', 'acme/site?x', 'acme/site#x', 'https://x/y', 'a b/c'],
  ],
  ['configure', 'labels', ['beacon', 'self-hosted,linux,x64'], ['', ',a', 'a b', '-a', 'a;b', '$(id)']],
  ['configure', 'group', ['Default', 'Linux runners'], ['', ' a', '--replace', 'a"b']],
  ['configure', 'mode', ['one-job', 'stays'], ['', 'forever']],
  ['install', 'version', ['2.336.0'], ['2.336', 'latest', '2.336.0/..', 'v2.336.0']],
  ['install', 'arch', ['x64', 'arm64', 'arm'], ['x86', '']],
  ['install', 'sha256', ['a'.repeat(64)], ['a'.repeat(63), 'A'.repeat(64), '']],
  ['logs', 'lines', ['1', '9999'], ['0', '-1', '10000', '+1']],
])('%s: %s', (command, parameter, taken, refused) => {
  const pattern = named(command).parameters.get(parameter)?.pattern;
  expect(taken.filter((value) => pattern?.matches(value) !== true)).toEqual([]);
  expect(refused.filter((value) => pattern?.matches(value) !== false)).toEqual([]);
});
