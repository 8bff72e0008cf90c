/** What must fail at a host's gate over a real sshd (group G of the attacks, and K2 to K4), whoever tries. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatPublicKeyLine, generateKey } from '@beacon/ssh';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type ConnectOptions, GateConnection } from '../lab/gate-connection.ts';
import { GateHost } from '../lab/gate-host.ts';
import { Lab } from '../lab/lab.ts';
import { whyNoLab } from '../lab/possible.ts';
import { type Asked, type CertifyOptions, invocation } from '../lab/throw-away-ca.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`attacks on gates of the lab are left out: ${why}\n`);

(why === undefined ? describe : describe.skip)('a gate', () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-gate-test-'));
  const lab = Lab.open(folder);
  let host: GateHost;
  const TOUCHED = '/var/tmp/touched';
  const touch: Asked = { asked: invocation('touch') };
  const allowlist = async (): Promise<object> => ({
    version: 1,
    commands: {
      touch: {
        summary: 'for a test',
        argv: [await host.command('touch', `echo ran >>${TOUCHED}; echo ran`)],
        timeout_seconds: 20,
        run_as: 'beacon-setup',
      },
    },
  });

  beforeAll(async () => {
    host = await GateHost.boot(lab, 'build-01');
    await host.allow(await allowlist());
  }, 120_000);
  afterAll(async () => {
    await lab.down();
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(async () => {
    expect((await host.lab.exec(['cat', TOUCHED])).stdout).toBe('');
  });

  const connect = async (options: ConnectOptions = {}, certify: CertifyOptions = {}) =>
    GateConnection.open(host.lab, await host.ca.certify([touch], certify), options);
  /** sshd lets nobody in; the gate says nothing, for it was not reached. */
  const shutOut = async (connection: GateConnection): Promise<void> => {
    expect(await connection.ended).toBe(255);
    expect(connection.events).toEqual([]);
    expect(connection.stderr).toMatch(/Permission denied/);
  };
  /** The gate answers, refuses with this code, and nothing else comes out. */
  const refusedWith = async (connection: GateConnection, code: string, status = 77): Promise<void> => {
    expect(await connection.ended).toBe(status);
    expect(connection.events).toMatchObject([{ event: 'refused', code }]);
    expect(connection.stray).toBe('');
  };

  test.each([
    ['a command', { command: ['id; touch /var/tmp/touched'] }],
    [
      'an environment',
      { options: ['-o', 'SetEnv=BASH_ENV=/x LD_PRELOAD=/x BEACON_CERTIFICATE=AAAA NODE_OPTIONS=--x LANG=x'] },
    ],
    ['an agent and X11', { options: ['-A', '-X'] }],
  ] as const)('G10: gives the gate and nothing else to who asks for %s', async (_, options) => {
    const connection = await connect(options);
    await connection.hello();
    expect(await connection.end()).toBe(0);
    expect(connection.events.map(({ event }) => event)).toEqual(['hello', 'closed']);
    expect(connection.stray).toBe('');
  });

  test.each([
    ['sftp', ['-s', 'sftp']],
    ['a subsystem that is not there', ['-s', 'nothing']],
  ])('G9: has not: %s', async (_, [flag = '', subsystem = '']) => {
    const connection = await connect({ options: [flag], command: [subsystem] });
    connection.process.stdin.end();
    await connection.ended;
    expect(connection.events.filter(({ event }) => event !== 'hello' && event !== 'closed')).toEqual([]);
    expect(connection.stray).toBe('');
  });

  test.each([
    ['to a port', ['-W', '127.0.0.1:22']],
    ['a tunnel', ['-w', 'any']],
  ])('G10: forwards nothing: %s', async (_, options) => {
    const connection = await connect({ options });
    connection.process.stdin.end();
    await connection.ended;
    expect(connection.stray).not.toContain('SSH-2.0');
    expect(connection.stderr).toMatch(/prohibited|forwarding|tunnel|channel|Tunnel/i);
  });

  test('G10: gives no terminal', async () => {
    const connection = await connect({ options: ['-tt'] });
    connection.process.stdin.end();
    await connection.ended;
    expect(connection.stderr).toContain('PTY allocation request failed');
    expect(connection.stray).toBe('');
  });

  test('G10: listens for nobody', async () => {
    const connection = await connect({
      options: ['-R', '127.0.0.1:4711:127.0.0.1:22', '-o', 'ExitOnForwardFailure=yes'],
    });
    expect(await connection.ended).toBe(255);
    expect(connection.events).toEqual([]);
  });

  test('opens nothing to a second certificate on the same connection’s key, and one gate to a certificate', async () => {
    const certified = await host.ca.certify([touch]);
    const first = await GateConnection.open(host.lab, certified);
    await first.hello();
    await refusedWith(await GateConnection.open(host.lab, certified), 'certificate-used');
    await first.end();
    await refusedWith(await GateConnection.open(host.lab, certified), 'certificate-used');
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
    for (const certify of wrong) await shutOut(await connect({}, certify));
  });

  test('G6: refuses a grant that names another host or person than its certificate, or none at all', async () => {
    await refusedWith(await connect({}, { grant: { host: 'build-02' } }), 'grant-differs');
    await refusedWith(await connect({}, { grant: { login: 'root' } }), 'grant-differs');
    const keyId = 'beacon/01hzzzzzzz0123456789abcdef/github:1';
    await refusedWith(await connect({}, { fields: { keyId } }), 'grant-differs');
    await refusedWith(await connect({}, { fields: { extensions: {} } }), 'grant-missing');
  });

  test('C6: refuses a grant that was cut, or lengthened by a key', async () => {
    const { grant } = await host.ca.certify([touch]);
    for (const text of ['', '{}', `{"v":1,"grant":"${grant.grant}"}`, 'null']) {
      const connection = await connect({}, { fields: { extensions: { 'grant@beacon': text || ' ' } } });
      expect(await connection.ended).toBe(77);
      expect(connection.events).toMatchObject([{ event: 'refused' }]);
    }
  });

  test('is shut to root and to the person’s own key', async () => {
    await shutOut(await connect({ login: 'root' }));
    const key = generateKey('ssh-ed25519');
    await host.lab.script('install -d -m 755 /var/lib/beacon-login/.ssh');
    await host.lab.write(
      '/var/lib/beacon-login/.ssh/authorized_keys',
      `${formatPublicKeyLine(key.publicKey)}\n`,
    );
    await shutOut(await connect({}, { key, ca: generateKey('ssh-ed25519') }));
    await host.lab.run(['rm', '-r', '/var/lib/beacon-login/.ssh']);
  });

  test('G11: runs nothing that lies in the login’s home', async () => {
    const files = ['.bashrc', '.profile', '.ssh/rc', '.ssh/environment', '.pam_environment'];
    await host.lab.script('install -d -m 755 /var/lib/beacon-login/.ssh');
    for (const file of files) {
      await host.lab.write(`/var/lib/beacon-login/${file}`, `touch ${TOUCHED}\nBASH_ENV=/x\n`, {
        mode: 0o755,
      });
    }
    const connection = await connect();
    await connection.hello();
    expect(await connection.end()).toBe(0);
    await host.lab.script('rm -r /var/lib/beacon-login/.ssh /var/lib/beacon-login/.[bp]*');
  });

  test('beats a global forced command, key command, chroot and the recording of sudo', async () => {
    await host.lab.write('/usr/local/sbin/keys', '#!/bin/sh\necho ssh-ed25519 AAAA\n', { mode: 0o755 });
    const globals = [
      `ForceCommand /bin/sh -c 'touch ${TOUCHED}'`,
      'AuthorizedKeysCommand /usr/local/sbin/keys',
      'AuthorizedKeysCommandUser nobody',
      'ChrootDirectory /var/empty',
      'PermitUserRC yes',
      'AcceptEnv *',
      'X11Forwarding yes',
    ];
    await host.lab.write('/etc/ssh/sshd_config.d/00-site.conf', `${globals.join('\n')}\n`);
    await host.lab.write('/etc/sudoers.d/00-site', 'Defaults log_input, log_output, use_pty, requiretty\n', {
      mode: 0o440,
    });
    await host.lab.script('sshd -t; visudo -cq; systemctl reload ssh');
    try {
      const connection = await connect();
      await connection.hello();
      expect(await connection.end()).toBe(0);
      const { stdout } = await host.lab.exec(['find', '/var/log/sudo-io', '-type', 'f']);
      expect(stdout).toBe('');
    } finally {
      await host.lab.script(
        'rm /etc/ssh/sshd_config.d/00-site.conf /etc/sudoers.d/00-site; systemctl reload ssh',
      );
    }
  });

  describe('G5: from within the host, as the login,', () => {
    const as = (argv: readonly string[]) =>
      host.lab.exec(['setpriv', '--reuid=beacon', '--regid=beacon', '--clear-groups', '--', ...argv]);

    test('is reached by sudo with a harvested certificate, and refuses', async () => {
      const { blob } = await host.ca.certify([touch]);
      const variable = `BEACON_CERTIFICATE=${blob.toString('base64')}`;
      const { status, stdout } = await as(['env', variable, 'sudo', '-n', '/usr/lib/beacon/gate']);
      expect(status).toBe(77);
      expect(stdout).toContain('"code":"not-from-sshd"');
      const shell = await as(['/usr/lib/beacon/shell', '-c', `beacon-gate ${blob.toString('base64')}`]);
      expect(shell.stdout).toContain('"code":"not-from-sshd"');
    });

    test('is not reached under a process that calls itself sshd', async () => {
      const { blob } = await host.ca.certify([touch]);
      await host.lab.run(['install', '-m', '755', '/bin/sh', '/tmp/sshd']);
      const { stdout } = await as([
        'env',
        `BEACON_CERTIFICATE=${blob.toString('base64')}`,
        ...['/tmp/sshd', '-c', 'sudo -n /usr/lib/beacon/gate; :'],
      ]);
      expect(stdout).toContain('"code":"not-from-sshd"');
    });

    test.each([
      ['an argument', ['/usr/lib/beacon/gate', 'recover']],
      ['an option', ['/usr/lib/beacon/gate', '--rootless', '/tmp']],
      ['another program', ['/usr/bin/id']],
      ['the runtime', ['/usr/lib/beacon/node', '-e', '0']],
      ['another account', ['-u', 'beacon-setup', '/usr/lib/beacon/gate']],
    ])('G16: sudo refuses %s', async (_, argv) => {
      const { status, stderr } = await as(['sudo', '-n', ...argv]);
      expect(status).toBe(1);
      expect(stderr).toMatch(/password is required|not allowed/);
    });

    test('its shell starts nothing else', async () => {
      for (const argv of [
        [],
        ['-c', 'id'],
        ['-c', 'beacon-gate'],
        ['-c', 'beacon-gate AA;id'],
        ['-c', 'beacon-gate AA AA'],
        ['-i'],
        ['-c', 'beacon-gate A', 'x'],
      ]) {
        expect(await as(['/usr/lib/beacon/shell', ...argv])).toMatchObject({ status: 77, stdout: '' });
      }
    });
  });

  describe('the principals command', () => {
    const ask = async (argv: readonly string[]) =>
      host.lab.exec([
        'setpriv',
        '--reuid=beacon-principals',
        '--regid=beacon-principals',
        '--clear-groups',
        '/usr/lib/beacon/principals',
        ...argv,
      ]);
    const TYPE = 'ssh-ed25519-cert-v01@openssh.com';

    test('names the login and the host of its own text, and carries the certificate', async () => {
      const { blob } = await host.ca.certify([touch]);
      const text = blob.toString('base64');
      expect(await ask(['beacon', TYPE, text])).toMatchObject({
        status: 0,
        stdout: `restrict,command="beacon-gate ${text}" beacon@build-01\n`,
      });
    });

    test('prints nothing for another login, and for words that are no certificate', async () => {
      const text = (await host.ca.certify([touch])).blob.toString('base64');
      for (const argv of [
        ['root', TYPE, text],
        ['beacon"', TYPE, text],
        ['beacon', TYPE, `${text}" `],
        ['beacon', TYPE, '$(id)'],
        ['beacon', 'ssh-ed25519', text],
        ['beacon', TYPE, ''],
        ['beacon', TYPE],
        [],
      ]) {
        expect(await ask(argv)).toMatchObject({ status: 1, stdout: '' });
      }
    });

    test('does not heed its environment', async () => {
      const { blob } = await host.ca.certify([touch]);
      await host.lab.write('/tmp/readlink', `#!/bin/sh\ntouch ${TOUCHED}\n`, { mode: 0o755 });
      const { stdout } = await host.lab.exec([
        ...['env', 'PATH=/tmp:/usr/bin:/bin', 'ENV=/tmp/readlink', 'IFS=e', '/usr/lib/beacon/principals'],
        ...['beacon', TYPE, blob.toString('base64')],
      ]);
      expect(stdout).toMatch(/ beacon@build-01\n$/);
    });
  });

  describe('with damaged trust documents', () => {
    afterEach(() => host.publish());

    test('K2, K3: is shut when the revocation list is empty, cut, doubled, something else or gone', async () => {
      const whole = Buffer.from((await host.ca.publish({ revoked: [4_000_000n] }))['krl'] ?? '');
      const lists = [
        '',
        '\n',
        '\0\0\0',
        '<html>',
        whole.toString('base64'),
        whole.subarray(0, 44),
        whole.subarray(0, -1),
        Buffer.concat([whole, whole]),
      ];
      for (const krl of lists) {
        await host.install({ ...(await host.ca.publish({ revoked: [4_000_000n] })), krl });
        await shutOut(await connect());
      }
      const { krl: _, ...others } = await host.ca.publish();
      await host.install(others);
      await shutOut(await connect());
    });

    test('K2: is shut when the list that the status names was cut between its sections: it lacks its seal', async () => {
      const whole = Buffer.from((await host.ca.publish({ revoked: [4_000_001n] }))['krl'] ?? '');
      await host.publish({ krl: whole.subarray(0, -41) });
      const connection = await connect();
      await refusedWith(connection, 'trust-refused');
    });

    test('B3: is shut when the status has expired', async () => {
      const ago = (hours: number): Date => new Date(Date.now() - hours * 3_600_000);
      await host.publish({ status: { issued: ago(25), expires: ago(1) } });
      await shutOut(await connect());
    });

    test('is shut to a revoked certificate', async () => {
      const certified = await host.ca.certify([touch]);
      await host.publish({ revoked: [certified.serial] });
      await shutOut(await GateConnection.open(host.lab, certified));
    });

    test('B1, B2: refuses older documents, others of the same version, and those that somebody else signed', async () => {
      const old = await host.ca.publish();
      await host.publish();
      const fresh = await connect();
      await fresh.hello();
      await fresh.end();
      await host.install(old);
      await refusedWith(await connect(), 'trust-went-back');
      await host.publish({ root: { hosts: 'build-01' } });
      await refusedWith(await connect(), 'trust-went-back');
      await host.publish({ signStatusWith: generateKey('ssh-ed25519') });
      await refusedWith(await connect(), 'trust-refused');
      await host.publish({ signRootWith: generateKey('ssh-ed25519') });
      await refusedWith(await connect(), 'trust-refused');
    });
  });

  describe('on a machine that is not in order', () => {
    test.each([
      ['is broken', 'echo "{" >/etc/beacon/allowlist.json'],
      ['is missing', 'rm -f /etc/beacon/allowlist.json'],
      ['can be written by others', 'chmod o+w /etc/beacon/allowlist.json'],
      ['belongs to somebody else', 'chown beacon /etc/beacon/allowlist.json'],
    ])('G19: ends with 78 when the allowlist %s', async (_, damage) => {
      await host.lab.script(damage);
      try {
        await refusedWith(await connect(), 'allowlist-refused', 78);
      } finally {
        await host.lab.script('rm -f /etc/beacon/allowlist.json');
        await host.allow(await allowlist());
      }
    });

    test('G14: trusts nothing in a folder that others can write', async () => {
      await host.lab.script('chmod g+w /etc/beacon');
      try {
        await refusedWith(await connect(), 'path-unsafe');
      } finally {
        await host.lab.script('chmod g-w /etc/beacon');
      }
    });

    test('G14: refuses a program that others could have replaced', async () => {
      await host.lab.script('chmod g+w /usr/lib/beacon/commands');
      try {
        const connection = await connect();
        expect(await connection.run(touch)).toMatchObject({ event: 'refused', code: 'path-unsafe' });
        await connection.end();
      } finally {
        await host.lab.script('chmod g-w /usr/lib/beacon/commands');
      }
    });

    test('L8: starts nothing when the disk is full', async () => {
      const connection = await connect();
      await connection.hello();
      await host.lab.script(`
        cp -a /var/lib/beacon /mnt/copy
        mount -t tmpfs -o size=4m,mode=700 full /var/lib/beacon
        cp -a /mnt/copy/. /var/lib/beacon
        head -c 8000000 /dev/zero >/var/lib/beacon/full || :
      `);
      try {
        expect(await connection.run(touch)).toMatchObject({ event: 'refused', code: 'state-unavailable' });
        await refusedWith(await connect(), 'state-unavailable');
      } finally {
        await host.lab.run(['umount', '/var/lib/beacon']);
        await connection.kill();
      }
    });

    test('opens sixteen gates at most, and says that it is busy', async () => {
      const open: GateConnection[] = [];
      // sshd drops connections at random beyond ten that have not logged in.
      for (let batch = 0; batch < 4; batch++) {
        const connections = await Promise.all(Array.from({ length: 4 }, () => connect()));
        await Promise.all(connections.map((connection) => connection.hello()));
        open.push(...connections);
      }
      await refusedWith(await connect(), 'too-many-gates', 75);
      await Promise.all(open.map((connection) => connection.end()));
      const again = await connect();
      await again.hello();
      await again.end();
    });
  });

  test('leaves a record of each refusal that reached the gate, with its code and nothing of what was not verified', async () => {
    const refusals = (await host.records())
      .map((line) => JSON.parse(line) as { kind: string; facts?: object })
      .filter(({ kind }) => kind === 'session-refused');
    expect(refusals.length).toBeGreaterThan(10);
    for (const { facts } of refusals)
      expect(Object.keys(facts ?? {}).sort()).toEqual(['certificate', 'code']);
  });
});
