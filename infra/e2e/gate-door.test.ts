/** What sshd lets nobody have at a host’s gate (group G of the attacks): from outside, with a certificate or without. */
import { connect } from 'node:net';
import { join } from 'node:path';
import { formatPublicKeyLine, generateKey } from '@beacon/ssh';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { freePort } from '../demo/free-port.ts';
import { GateConnection } from '../lab/gate-connection.ts';
import type { CertifyOptions } from '../lab/throw-away-ca.ts';
import { describeOnHost, TOUCHED, touch } from './attacked-host.ts';

describeOnHost('the door of a gate', (attacked) => {
  test.each([
    ['a command', { command: ['id; touch /var/tmp/touched'] }],
    [
      'an environment',
      { options: ['-o', 'SetEnv=BASH_ENV=/x LD_PRELOAD=/x BEACON_CERTIFICATE=AAAA NODE_OPTIONS=--x LANG=x'] },
    ],
    ['an agent and X11', { options: ['-A', '-X'] }],
  ] as const)('G10: gives the gate and nothing else to who asks for %s', async (_, options) => {
    const connection = await attacked.connect(options);
    await connection.hello();
    expect(await connection.end()).toBe(0);
    expect(connection.events.map(({ event }) => event)).toEqual(['hello', 'closed']);
    expect(connection.stray).toBe('');
  });

  test.each([
    ['sftp', ['-s', 'sftp']],
    ['a subsystem that is not there', ['-s', 'nothing']],
  ])('G9: has not: %s', async (_, [flag = '', subsystem = '']) => {
    const connection = await attacked.connect({ options: [flag], command: [subsystem] });
    connection.process.stdin.end();
    await connection.ended;
    expect(connection.events.filter(({ event }) => event !== 'hello' && event !== 'closed')).toEqual([]);
    expect(connection.stray).toBe('');
  });

  test.each([
    ['to a port', ['-W', '127.0.0.1:22']],
    ['a tunnel', ['-w', 'any']],
  ])('G10: forwards nothing: %s', async (_, options) => {
    const connection = await attacked.connect({ options });
    connection.process.stdin.end();
    await connection.ended;
    expect(connection.stray).not.toContain('SSH-2.0');
    expect(connection.stderr).toMatch(/prohibited|forwarding|tunnel|channel|Tunnel/i);
  });

  // SOCKS 5 (RFC 1928): a greeting without authentication, then a connection to port 22 of 127.0.0.1.
  const socks = Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 22]);
  test.each([
    ['a port', '-L', ':127.0.0.1:22', Buffer.alloc(0), ''],
    ['a socket', '-L', ':/run/dbus/system_bus_socket', Buffer.from('\0AUTH\r\n'), ''],
    // What ssh itself says before it has asked the host: that it takes the greeting.
    ['any target of a proxy', '-D', '', socks, '0500'],
  ])('G10: forwards nothing from a listener to %s', async (_, flag, target, sent, own) => {
    const port = await freePort();
    const connection = await attacked.connect({ options: [flag, `127.0.0.1:${port}${target}`] });
    await connection.hello();
    const answer = await answerOf(port, sent);
    expect(answer.toString('hex').slice(0, 4)).toBe(own);
    expect(answer.toString()).not.toContain('SSH-2.0');
    await connection.end();
    expect(connection.stray).toBe('');
  });

  test('G10: gives no terminal', async () => {
    const connection = await attacked.connect({ options: ['-tt'] });
    connection.process.stdin.end();
    await connection.ended;
    expect(connection.stderr).toContain('PTY allocation request failed');
    expect(connection.stray).toBe('');
  });

  test.each([
    ['a port', '127.0.0.1:4711:127.0.0.1:22'],
    ['any port', '0'],
    ['a socket', '/tmp/beacon.sock:127.0.0.1:22'],
  ])('G10: listens for nobody: %s', async (_, where) => {
    const connection = await attacked.connect({ options: ['-R', where, '-o', 'ExitOnForwardFailure=yes'] });
    expect(await connection.ended).toBe(255);
    expect(connection.events).toEqual([]);
  });

  test('opens nothing to a second certificate on the same connection’s key, and one gate to a certificate', async () => {
    const certified = await attacked.host.ca.certify([touch]);
    const first = await GateConnection.open(attacked.host.lab, certified);
    await first.hello();
    await attacked.refusedWith(await GateConnection.open(attacked.host.lab, certified), 'certificate-used');
    await first.end();
    await attacked.refusedWith(await GateConnection.open(attacked.host.lab, certified), 'certificate-used');
  });

  test('G6: is shut to a certificate for another host or login, of another CA, expired or not valid yet', async () => {
    const seconds = BigInt(Math.floor(Date.now() / 1000));
    const wrong: CertifyOptions[] = [
      { fields: { principals: ['beacon@build-02'] } },
      { fields: { principals: ['root@build-01'] } },
      { fields: { principals: ['beacon'] } },
      { ca: generateKey('ssh-ed25519') },
      { fields: { validAfter: seconds - 120n, validBefore: seconds - 60n } },
      { fields: { validAfter: seconds + 60n, validBefore: seconds + 120n } },
    ];
    for (const certify of wrong) await attacked.shutOut(await attacked.connect({}, certify));
  });

  test('G6: refuses a grant that names another host or person than its certificate, or none at all', async () => {
    await attacked.refusedWith(await attacked.connect({}, { grant: { host: 'build-02' } }), 'grant-differs');
    await attacked.refusedWith(await attacked.connect({}, { grant: { login: 'root' } }), 'grant-differs');
    const keyId = 'beacon/01hzzzzzzz0123456789abcdef/github:1';
    await attacked.refusedWith(await attacked.connect({}, { fields: { keyId } }), 'grant-differs');
    await attacked.refusedWith(await attacked.connect({}, { fields: { extensions: {} } }), 'grant-missing');
  });

  test('C6: refuses a grant that was cut, or lengthened by a key', async () => {
    const { grant } = await attacked.host.ca.certify([touch]);
    for (const text of ['', '{}', `{"v":1,"grant":"${grant.grant}"}`, 'null']) {
      const connection = await attacked.connect(
        {},
        { fields: { extensions: { 'grant@beacon': text || ' ' } } },
      );
      expect(await connection.ended).toBe(77);
      expect(connection.events).toMatchObject([{ event: 'refused' }]);
    }
  });

  test('is shut to root and to the person’s own key', async () => {
    await attacked.shutOut(await attacked.connect({ login: 'root' }));
    const key = generateKey('ssh-ed25519');
    await attacked.host.lab.script('install -d -m 755 /var/lib/beacon-login/.ssh');
    await attacked.host.lab.write(
      '/var/lib/beacon-login/.ssh/authorized_keys',
      `${formatPublicKeyLine(key.publicKey)}\n`,
    );
    await attacked.shutOut(await attacked.connect({}, { key, ca: generateKey('ssh-ed25519') }));
    await attacked.host.lab.run(['rm', '-r', '/var/lib/beacon-login/.ssh']);
  });

  test('G11: runs nothing that lies in the login’s home', async () => {
    const files = ['.bashrc', '.profile', '.ssh/rc', '.ssh/environment', '.pam_environment'];
    await attacked.host.lab.script('install -d -m 755 /var/lib/beacon-login/.ssh');
    for (const file of files) {
      await attacked.host.lab.write(`/var/lib/beacon-login/${file}`, `touch ${TOUCHED}\nBASH_ENV=/x\n`, {
        mode: 0o755,
      });
    }
    const connection = await attacked.connect();
    await connection.hello();
    expect(await connection.end()).toBe(0);
    await attacked.host.lab.script('rm -r /var/lib/beacon-login/.ssh /var/lib/beacon-login/.[bp]*');
  });

  test('beats a global forced command, key command, chroot and the recording of sudo', async () => {
    const key = generateKey('ssh-ed25519');
    await attacked.host.lab.write(
      '/usr/local/sbin/keys',
      `#!/bin/sh\necho ${formatPublicKeyLine(key.publicKey)}\n`,
      { mode: 0o755 },
    );
    const globals = [
      'ForceCommand id -un >>/var/tmp/recorded',
      'AuthorizedKeysCommand /usr/local/sbin/keys',
      'AuthorizedKeysCommandUser nobody',
      'PermitUserRC yes',
      'AcceptEnv *',
      'X11Forwarding yes',
    ];
    await attacked.host.lab.write('/etc/ssh/sshd_config.d/00-site.conf', `${globals.join('\n')}\n`);
    await attacked.host.lab.write(
      '/etc/sudoers.d/00-site',
      'Defaults log_input, log_output, use_pty, requiretty\n',
      {
        mode: 0o440,
      },
    );
    await attacked.host.lab.script(`
      useradd --no-create-home --home-dir /nonexistent --shell /bin/sh bin-like; usermod -p '*' bin-like
      install -m 666 /dev/null /var/tmp/recorded; sshd -t; visudo -cq; systemctl reload ssh
    `);
    try {
      const connection = await attacked.connect();
      await connection.hello();
      expect(await connection.end()).toBe(0);
      const stranger = { key, ca: generateKey('ssh-ed25519') };
      await attacked.shutOut(await attacked.connect({}, stranger));
      // The control: elsewhere on this host the same key enters, and the site's forced command runs.
      const elsewhere = await attacked.connect({ login: 'bin-like' }, stranger);
      expect(await elsewhere.ended).not.toBe(255);
      expect((await attacked.host.lab.run(['cat', '/var/tmp/recorded'])).trim()).toBe('bin-like');
      const { stdout } = await attacked.host.lab.exec(['find', '/var/log/sudo-io', '-type', 'f']);
      expect(stdout).toBe('');
    } finally {
      await attacked.host.lab.script(
        'rm /etc/ssh/sshd_config.d/00-site.conf /etc/sudoers.d/00-site; systemctl reload ssh',
      );
    }
  });

  test('is not moved by a global chroot', async () => {
    await attacked.host.lab.write('/etc/ssh/sshd_config.d/00-site.conf', 'ChrootDirectory /var/empty\n');
    await attacked.host.lab.script('install -d -m 755 /var/empty; sshd -t; systemctl reload ssh');
    try {
      const connection = await attacked.connect();
      await connection.hello();
      expect(await connection.end()).toBe(0);
    } finally {
      await attacked.host.lab.script('rm /etc/ssh/sshd_config.d/00-site.conf; systemctl reload ssh');
    }
  });

  describe('beside a personal login, which has no gate,', () => {
    beforeAll(async () => {
      const { lab } = attacked.host;
      await lab.script(`
        useradd --create-home --shell /bin/sh deploy; usermod -p '*' deploy
        install -d -m 700 -o deploy ~deploy/.ssh
        echo deploy >/etc/beacon/personal-logins
      `);
      const block = join(import.meta.dirname, '../../packages/gate/files/sshd_config_personal');
      await lab.copyIn(block, '/etc/ssh/sshd_config.d/11-beacon-personal.conf');
      await lab.script('sshd -t; systemctl reload ssh');
    });
    const personal: CertifyOptions = { fields: { principals: ['deploy@build-01'], extensions: {} } };
    const enter = (certify: CertifyOptions, login = 'deploy'): Promise<GateConnection> =>
      attacked.connect({ login, command: ['id', '-un'] }, certify);

    test('lets a certificate in that was made for it, and the person’s own key', async () => {
      const own = generateKey('ssh-ed25519');
      await attacked.host.lab.write(
        '/home/deploy/.ssh/authorized_keys',
        `${formatPublicKeyLine(own.publicKey)}\n`,
        { owner: 'deploy' },
      );
      for (const certify of [personal, { key: own, ca: generateKey('ssh-ed25519') }]) {
        const connection = await enter(certify);
        expect([await connection.ended, connection.stray]).toEqual([0, 'deploy\n']);
      }
    });

    test('gives no shell to a certificate that was made for commands', async () => {
      await attacked.shutOut(await enter({ fields: { principals: ['deploy@build-01'] } }));
    });

    test('is shut to who is revoked, to the other login’s certificate, and both ways', async () => {
      const certified = await attacked.host.ca.certify([], personal);
      await attacked.host.publish({ revoked: [certified.serial] });
      await attacked.shutOut(await GateConnection.open(attacked.host.lab, certified, { login: 'deploy' }));
      await attacked.host.publish();
      await attacked.shutOut(await enter({}));
      await attacked.shutOut(await enter(personal, 'beacon'));
      await attacked.shutOut(await enter(personal, 'bin'));
    });
  });
});

/** All that comes back from a port of this machine until the other side ends it, orderly or not. */
function answerOf(port: number, sent: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    const socket = connect({ port, host: '127.0.0.1' }, () => socket.write(sent));
    socket.on('data', (part) => parts.push(part));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET') reject(error);
    });
    socket.once('close', () => resolve(Buffer.concat(parts)));
  });
}
