import { parseAllowlist } from '@beacon/protocol/allowlist';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refusalOf } from './refusal.ts';

const install = {
  summary: 'Download, verify and unpack the runner',
  argv: ['/usr/lib/beacon/commands/runner-install', '{runner_root}', '{name}', '--', ''],
  params: { name: { pattern: '[a-z0-9][a-z0-9-]{0,62}' }, token: { pattern: '[A-Z0-9]+', secret: true } },
  timeout_seconds: 300,
  run_as: 'beacon-setup',
  exclusive: 'name',
  undo: 'runner.remove',
};
const remove = {
  summary: 'Remove it',
  argv: ['/usr/lib/beacon/commands/runner-remove', '{name}'],
  params: { name: { pattern: '[a-z0-9-]+' } },
  timeout_seconds: 60,
  run_as: { pool: 'beacon-r' },
  exclusive: 'name',
};
const list = {
  version: 1,
  places: { runner_root: '/opt/beacon/runners' },
  commands: { 'runner.install': install, 'runner.remove': remove },
};

const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const refused = (value: unknown) => refusalOf(() => parseAllowlist(bytes(value)));
const withCommand = (changes: object) => ({
  ...list,
  commands: { ...list.commands, 'runner.install': { ...install, ...changes } },
});

describe('an allowlist', () => {
  it('is read with its places filled in and its defaults', () => {
    const { commands, digest } = parseAllowlist(bytes(list));
    expect(commands.get('runner.install')).toMatchObject({
      argv: [
        '/usr/lib/beacon/commands/runner-install',
        { text: '/opt/beacon/runners' },
        { parameter: 'name' },
        { text: '--' },
        { text: '' },
      ],
      runAs: { account: 'beacon-setup' },
      maxOutputBytes: 1_048_576,
      maxTasks: 256,
      undo: 'runner.remove',
      release: undefined,
    });
    expect(commands.get('runner.remove')?.runAs).toEqual({ pool: 'beacon-r' });
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
  });

  it.each([
    ['another version', { ...list, version: 2 }],
    ['no commands', { version: 1 }],
    ['an unknown key', { ...list, comands: {} }],
    ['a list of commands', { version: 1, commands: [] }],
    ['a command that is no name', { version: 1, commands: { 'Runner.install': remove } }],
    ['a command that is built in', { version: 1, commands: { 'gate.state': remove } }],
    ['an unknown key of a command', withCommand({ timeout: 3 })],
    ['no program', withCommand({ argv: [] })],
    ['a program that is no absolute path', withCommand({ argv: ['sh', '{name}'] })],
    ['a program with ..', withCommand({ argv: ['/usr/../bin/sh', '{name}'] })],
    ['a program with an empty part', withCommand({ argv: ['//bin/sh', '{name}'] })],
    ['a program that is a placeholder', withCommand({ argv: ['{runner_root}', '{name}'] })],
    ['a program with a placeholder in it', withCommand({ argv: ['/opt/{name}', '{name}'] })],
    ['a placeholder that is a part of an argument', withCommand({ argv: ['/bin/x', '--name={name}'] })],
    ['a placeholder for nothing', withCommand({ argv: ['/bin/x', '{name}', '{nmae}'] })],
    ['a secret in argv', withCommand({ argv: ['/bin/x', '{name}', '{token}'] })],
    ['a parameter that is used nowhere', withCommand({ argv: ['/bin/x'], exclusive: undefined })],
    ['an argument with a newline', withCommand({ argv: ['/bin/x', '{name}', 'a\nb'] })],
    ['no timeout', withCommand({ timeout_seconds: undefined })],
    ['a timeout of 0', withCommand({ timeout_seconds: 0 })],
    ['a timeout that is a text', withCommand({ timeout_seconds: '300' })],
    ['nobody to run as', withCommand({ run_as: undefined })],
    ['a run_as with a space', withCommand({ run_as: 'root root' })],
    ['a pool with another key', withCommand({ run_as: { pool: 'a', account: 'b' } })],
    ['a pool without exclusive', { ...list, commands: { x: { ...remove, exclusive: undefined } } }],
    ['exclusive for a secret', withCommand({ exclusive: 'token' })],
    ['exclusive for nothing', withCommand({ exclusive: 'nmae' })],
    ['an undo that is not there', withCommand({ undo: 'runner.delete' })],
    ['a release of another pool', withCommand({ release: 'runner.remove' })],
    ['a pattern that is none', withCommand({ params: { ...install.params, name: { pattern: '(a' } } })],
    ['a parameter without a pattern', withCommand({ params: { ...install.params, name: {} } })],
    ['secret that is a text', withCommand({ params: { name: { pattern: 'a', secret: 'yes' } } })],
    [
      'a parameter named like a place',
      withCommand({ params: { ...install.params, runner_root: { pattern: 'a' } } }),
    ],
    ['a place that is no path', { ...list, places: { runner_root: 'opt' } }],
  ])('with %s is refused', (_, value) => {
    expect(refused(value)).toBe('allowlist-malformed');
  });

  it('with a doubled key is refused', () => {
    const text = JSON.stringify(list).replace('"version":1', '"version":1,"version":1');
    expect(refusalOf(() => parseAllowlist(Buffer.from(text)))).toBe('json-doubled-key');
  });

  it('names the nearest known key, with its place', () => {
    expect(() => parseAllowlist(bytes(withCommand({ run_sa: 'x' })))).toThrow(
      'allowlist.commands.runner.install: the key "run_sa" is unknown (did you mean "run_as"?)',
    );
  });

  it('is refused or read, whatever is changed in it', () => {
    const text = JSON.stringify(list);
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.string({ maxLength: 3 }), (at, piece) => {
        const outcome = refusalOf(() =>
          parseAllowlist(Buffer.from(text.slice(0, at) + piece + text.slice(at + piece.length))),
        );
        expect(outcome).toMatch(/^(accepted|allowlist-malformed|json-[a-z-]+)$/);
      }),
    );
  });
});
