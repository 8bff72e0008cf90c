import type { CommandAsked, PolicyRequest } from '@beacon/policy';
import { describe, expect, test } from '@jest/globals';
import { engineOf, host, install, plain } from './world.ts';

const everything = engineOf('permit(principal, action, resource);');
const asking = (...commands: CommandAsked[]): PolicyRequest => ({ ...plain, commands });
const withParams = (params: Record<string, string>): PolicyRequest =>
  asking({ ...install, params: { ...install.params, ...params } });
const undo = { command: 'runner.remove', params: { name: 'r1' } };

describe('requests that no policy is asked about', () => {
  test('control: these are allowed where everything is permitted', () => {
    for (const request of [
      plain,
      asking(install),
      asking({ ...install, undo }),
      asking({ ...install, secrets: ['token'] }),
    ]) {
      expect(everything.decide(request).allowed).toBe(true);
    }
  });

  test.each<[string, PolicyRequest, string, string]>([
    ['a person by login name', { ...plain, person: { ...plain.person, id: 'octocat' } }, 'person', ''],
    [
      'a person whose number begins with zero',
      { ...plain, person: { ...plain.person, id: 'github:01' } },
      'person',
      '',
    ],
    ['a service with a line break', { ...plain, service: 'a\nb' }, 'service', ''],
    ['an unknown host', { ...plain, host: null }, 'host', 'no such host'],
    [
      'facts of a host with a star for an id',
      { ...plain, host: { ...host('bare'), id: '*' } },
      'host',
      'malformed',
    ],
    ['a login that the host does not have', { ...plain, login: 'beakon' }, 'login', 'Did you mean "beacon"?'],
    ['a login in upper case', { ...plain, login: 'BEACON' }, 'login', 'It has beacon, deploy.'],
    ['a login of another host', { ...plain, host: host('bare'), login: 'deploy' }, 'login', 'It has beacon.'],
    ['no command', asking(), 'command', '1 to 32'],
    ['more than 32 commands', asking(...Array.from({ length: 33 }, () => install)), 'command', '1 to 32'],
    [
      'an unknown command',
      asking({ ...install, command: 'runner.instal' }),
      'command',
      'Did you mean "runner.install"?',
    ],
    [
      'a command that every object has',
      asking({ command: 'constructor', params: {} }),
      'command',
      'no command "constructor"',
    ],
    ['ssh as a command', asking({ command: 'ssh', params: {} }), 'command', 'no command "ssh"'],
    [
      "one of the CA's actions as a command",
      asking({ command: 'ca.hosts', params: {} }),
      'command',
      'no command',
    ],
    [
      'a command with a control character',
      asking({ command: 'a\u001b[2J', params: {} }),
      'command',
      '"a?[2J"',
    ],
    ['an unknown parameter', withParams({ nam: 'x' }), 'parameter', 'Did you mean "name"?'],
    ['a parameter that every object has', withParams({ toString: 'x' }), 'parameter', 'no parameter'],
    [
      'a missing parameter',
      asking({ command: 'runner.install', params: { name: 'r1' } }),
      'parameter',
      '"repo" is missing',
    ],
    ['a secret parameter in the open', withParams({ token: 'hunter2' }), 'parameter', '"token" is secret'],
    [
      'a commitment to what is not secret',
      asking({ ...install, secrets: ['token', 'name'] }),
      'parameter',
      '"name" is not secret',
    ],
    [
      'no commitment where commitments were listed',
      asking({ ...install, secrets: [] }),
      'parameter',
      '"token" is missing',
    ],
    [
      'a commitment to an unknown parameter',
      asking({ ...install, secrets: ['tokn'] }),
      'parameter',
      'Did you mean "token"?',
    ],
    ['a value outside its pattern', withParams({ name: 'a/../b' }), 'parameter', '"name" does not match'],
    [
      'a value with a line break at its end',
      withParams({ name: 'r1\n' }),
      'parameter',
      '"name" does not match',
    ],
    [
      'a value that is too long',
      withParams({ name: 'a'.repeat(5000) }),
      'parameter',
      '"name" does not match',
    ],
    [
      'another command as undo',
      asking({ ...install, undo: { command: 'runner.state', params: {} } }),
      'undo',
      'Its undo is runner.remove.',
    ],
    ['an undo of what has none', asking({ ...undo, undo }), 'undo', 'It has no undo.'],
    [
      "an undo of somebody else's thing",
      asking({ ...install, undo: { command: 'runner.remove', params: { name: 'r2' } } }),
      'undo',
      'another "name"',
    ],
    [
      'an undo with a wrong parameter',
      asking({ ...install, undo: { command: 'runner.remove', params: { name: 'r1', x: 'y' } } }),
      'parameter',
      'runner.remove',
    ],
    [
      'an unknown action at the CA',
      { ...plain, commands: { authority: 'ca.host' as 'ca.hosts' } },
      'command',
      'Did you mean "ca.hosts"?',
    ],
  ])('denies %s although everything is permitted', (_, request, code, text) => {
    const decision = everything.decide(request);
    expect(decision).toMatchObject({
      allowed: false,
      reason: { code, text: expect.stringContaining(text) },
      policies: [],
    });
    expect(JSON.stringify(decision)).not.toContain('hunter2');
  });
});
