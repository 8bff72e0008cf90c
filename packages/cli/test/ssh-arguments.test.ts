import { describe, expect, it } from '@jest/globals';
import { quote, type SshCall, sshArguments } from '../src/ssh-arguments.ts';

const call: SshCall = {
  host: { id: 'build-01', address: '192.0.2.1', port: 2222 },
  login: 'deploy',
  agentSocket: '/tmp/a/agent.sock',
  certificateFile: '/tmp/a/certificate.pub',
  knownHostsFile: '/tmp/a/known_hosts',
  revokedHostsFile: '/tmp/d/revoked_hosts',
  options: [],
  tty: 'ask',
  command: ['echo', 'a b'],
};

describe("ssh's arguments", () => {
  it('end in the host and the command, behind everything that decides', () => {
    const args = sshArguments({ ...call, options: ['LocalForward=1 a:2'] });
    expect(args.slice(0, 2)).toEqual(['-F', 'none']);
    expect(args.slice(-4)).toEqual(['--', 'build-01', 'echo', 'a b']);
    const given = args.filter((_arg, at) => args[at - 1] === '-o');
    expect(given).toEqual(
      expect.arrayContaining([
        'IdentityAgent="/tmp/a/agent.sock"',
        'IdentitiesOnly=yes',
        'IdentityFile="/tmp/a/certificate.pub"',
        'HostKeyAlias=build-01',
        'HostName=192.0.2.1',
        'Port=2222',
        'User=deploy',
        'StrictHostKeyChecking=yes',
        'PreferredAuthentications=publickey',
      ]),
    );
    expect(given.at(-1)).toBe('LocalForward=1 a:2');
    expect(given.find((option) => option.startsWith('HostKeyAlgorithms='))).not.toMatch(
      /ssh-rsa|=ssh-ed25519,/,
    );
  });

  it.each([
    'CertificateFile=/x',
    'identityfile=/x',
    'IdentityFile2=/x',
    'SmartcardDevice=/x',
    'IdentityAgent none',
    'Include=/x',
    'Match all',
    'nonsense',
    '=x',
    'X=',
  ])('R3: refuse the option %s', (option) => {
    expect(() => sshArguments({ ...call, options: [option] })).toThrow(
      expect.objectContaining({ code: 'usage' }),
    );
  });

  it('quote paths so that ssh reads them as they are', () => {
    expect(quote('/tmp/my files/100%')).toBe('"/tmp/my files/100%%"');
    for (const path of ['relative', '/a"b', '/a\nb', '/a$HOME', '/a\\b']) {
      expect(() => quote(path)).toThrow(expect.objectContaining({ code: 'usage' }));
    }
  });
});
