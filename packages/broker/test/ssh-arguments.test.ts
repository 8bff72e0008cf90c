/** What `ssh` is called with. */

import { generateKey } from '@beacon/ssh/key';
import { describe, expect, test } from '@jest/globals';
import { type GateCall, sshArguments } from '../src/ssh-arguments.ts';

const host = {
  id: 'build-01',
  address: '10.0.0.1',
  port: 2222,
  authorities: [generateKey('ssh-ed25519').publicKey],
};
const call: GateCall = {
  host,
  login: 'beacon',
  agentSocket: '/tmp/a b/%/agent.sock',
  certificateFile: '/tmp/x/certificate.pub',
  knownHostsFile: '/tmp/x/known_hosts',
  revokedHostsFile: '/tmp/x/revoked_hosts',
  sshPath: '/usr/bin/ssh',
  connectTimeoutSeconds: 10,
  serverAliveSeconds: 15,
};
const jump = {
  address: 'jump.example.org',
  port: 22,
  login: 'hop',
  knownHostsFile: '/etc/beacon/jump_hosts',
  identityFile: '/run/keys/jump',
};

describe('the words for ssh', () => {
  test('R1, R3: believes certificates of the CA alone, and reads nothing of the account', () => {
    const words = sshArguments(call);
    expect(words.slice(0, 2)).toEqual(['-F', 'none']);
    expect(words).toEqual(
      expect.arrayContaining([
        'IdentityAgent="/tmp/a b/%%/agent.sock"',
        'GlobalKnownHostsFile=none',
        'StrictHostKeyChecking=yes',
        'CASignatureAlgorithms=ssh-ed25519',
        'Port=2222',
      ]),
    );
    const algorithms =
      words
        .find((word) => word.startsWith('HostKeyAlgorithms='))
        ?.split('=')[1]
        ?.split(',') ?? [];
    expect(algorithms.every((name) => name.includes('-cert-'))).toBe(true);
    expect(words.slice(-3)).toEqual(['-T', '--', 'build-01']);
    expect(words.join(' ')).not.toContain('CertificateFile');
  });

  test('takes names, IPv4 and IPv6, and refuses what could be an option or a token', () => {
    for (const address of ['::1', '2001:db8::2', 'a.example.org', 'build_01']) {
      expect(sshArguments({ ...call, host: { ...host, address } })).toContain(`HostName=${address}`);
    }
    for (const address of ['-oProxyCommand=x', '%h', 'a b', '', 'a;b', '[::1]', 'fe80::1%eth0', 'a\nb']) {
      expect(() => sshArguments({ ...call, host: { ...host, address } })).toThrow(
        expect.objectContaining({ code: 'host-unreachable' }),
      );
    }
  });

  test('goes through a jump host by a second ssh that reads nothing of the account either', () => {
    const words = sshArguments({ ...call, proxyJump: jump });
    const proxy = words.find((word) => word.startsWith('ProxyCommand='));
    expect(proxy).toMatch(/^ProxyCommand=\/usr\/bin\/ssh -F none .* -W \[%h\]:%p -- jump\.example\.org$/);
    expect(proxy).toContain('IdentityAgent=none');
    expect(proxy).toContain('StrictHostKeyChecking=yes');
    expect(proxy).not.toMatch(/[;&|$`'"<>\\*?~]/);
  });

  test.each([
    ['identityFile', '/run/$(id)'],
    ['knownHostsFile', 'relative'],
    ['login', 'a b'],
    ['address', 'a;b'],
    ['agentSocket', '/run/%h'],
  ])('refuses a jump host whose %s a shell would read otherwise', (name, value) => {
    expect(() => sshArguments({ ...call, proxyJump: { ...jump, [name]: value } })).toThrow(
      expect.objectContaining({ code: 'configuration' }),
    );
  });
});
