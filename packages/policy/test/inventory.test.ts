import { parseInventory } from '@beacon/policy';
import { describe, expect, test } from '@jest/globals';
import { builtInCommands } from '../src/inventory.ts';
import { thrownBy } from './world.ts';

const fine = {
  version: 1,
  places: { runner_root: '/opt' },
  commands: {
    'runner.install': {
      summary: 'x',
      argv: ['/bin/x', '{name}'],
      params: { name: { pattern: '[a-z]+' }, token: { pattern: '.+', secret: true } },
      timeout_seconds: 300,
      run_as: 'beacon-setup',
      max_output_bytes: 1,
      exclusive: 'name',
      undo: 'runner.remove',
    },
    'runner.remove': {},
  },
  hosts: { 'build-01': { logins: ['beacon'], labels: { env: 'prod' }, pools: ['ci'] } },
};

describe('the inventory', () => {
  test('is read from the form of an allowlist, keeping what policy needs', () => {
    expect(parseInventory(fine)).toEqual({
      commands: {
        ...builtInCommands,
        'runner.install': {
          summary: 'x',
          undo: 'runner.remove',
          params: { name: { pattern: '[a-z]+' }, token: { pattern: '.+', secret: true } },
        },
        'runner.remove': { params: {} },
      },
      hosts: { 'build-01': { id: 'build-01', logins: ['beacon'], labels: { env: 'prod' }, pools: ['ci'] } },
    });
    expect(parseInventory({})).toEqual({ commands: builtInCommands, hosts: {} });
  });

  const command = (name: string, entry: unknown): unknown => ({ commands: { [name]: entry } });
  const parameter = (name: string, entry: unknown): unknown => command('a', { params: { [name]: entry } });
  const host = (id: string, entry: unknown): unknown => ({ hosts: { [id]: entry } });

  test.each<[string, unknown, string, string]>([
    ['a list', [], '', 'not a mapping'],
    ['nothing', null, '', 'not a mapping'],
    ['an unknown key', { comands: {} }, '', 'Did you mean "commands"?'],
    ['another version', { version: 2 }, 'version', 'is not 1'],
    ['an unknown key of a command', command('a', { parms: {} }), 'commands.a', 'Did you mean "params"?'],
    [
      'an unknown key of a parameter',
      parameter('x', { patern: 'a' }),
      'commands.a.params.x',
      'Did you mean "pattern"?',
    ],
    ['a parameter without a pattern', parameter('x', {}), 'commands.a.params.x', '"pattern" is missing'],
    [
      'secret that is not a boolean',
      parameter('x', { pattern: 'a', secret: 'no' }),
      'commands.a.params.x.secret',
      'neither true nor false',
    ],
    ['a pattern that can take long', parameter('x', { pattern: '(a+)+' }), 'commands.a.params.x', 'group'],
    [
      'a parameter named __extn',
      parameter('__extn', { pattern: 'a' }),
      'commands.a.params.__extn',
      'lower case',
    ],
    ['a command named ssh', command('ssh', {}), 'commands.ssh', 'taken'],
    ['a command named like one of the CA', command('ca.hosts', {}), 'commands.ca.hosts', 'taken'],
    ['a command in upper case', command('Run', {}), 'commands.Run', 'named like'],
    [
      'a command named __proto__',
      JSON.parse('{"commands":{"__proto__":{}}}'),
      'commands.__proto__',
      'named like',
    ],
    ['an undo that is not listed', command('a', { undo: 'b' }), 'commands.a.undo', 'no command "b"'],
    ['an undo that every object has', command('a', { undo: 'constructor' }), 'commands.a.undo', 'no command'],
    ['a host id with a star', host('host*', { logins: [] }), 'hosts.host*', 'host id'],
    ['a host without logins', host('a', {}), 'hosts.a', '"logins" is missing'],
    ['a login that is no name', host('a', { logins: ['Root'] }), 'hosts.a', 'no name of a login'],
    ['a pool that is no name', host('a', { logins: [], pools: ['*'] }), 'hosts.a', 'no name of a pool'],
    [
      'a label that is no text',
      host('a', { logins: [], labels: { env: 1 } }),
      'hosts.a.labels.env',
      'not a text',
    ],
    ['a label named __entity', host('a', { logins: [], labels: { __entity: 'x' } }), 'hosts.a', 'malformed'],
    ['a text of two lines', command('a', { summary: 'x\ny' }), 'commands.a.summary', 'not a text'],
  ])('refuses %s, with its place', (_, value, key, text) => {
    const refusal = thrownBy(() => parseInventory(value, 'inventory.yaml'));
    expect(['inventory', 'pattern']).toContain(refusal.code);
    expect(refusal.place).toEqual({ file: 'inventory.yaml', key });
    expect(refusal.message).toContain(text);
  });
});
