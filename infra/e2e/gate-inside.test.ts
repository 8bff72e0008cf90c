/** What must fail on a host whose gate is attacked from within, or which is not in order (groups G and K of the attacks). */
import type { GateEvent } from '@beacon/protocol/gate-event';
import { generateKey } from '@beacon/ssh';
import { afterEach, describe, expect, test } from '@jest/globals';
import { GateConnection } from '../lab/gate-connection.ts';
import { describeOnHost, TOUCHED, touch } from './attacked-host.ts';

type Refused = GateEvent & { readonly event: 'refused' };

describeOnHost('a gate on a host that is not in order', (attacked) => {
  describe('G5: from within the host, as the login,', () => {
    const as = (argv: readonly string[]) =>
      attacked.host.lab.exec([
        'setpriv',
        '--reuid=beacon',
        '--regid=beacon',
        '--clear-groups',
        '--',
        ...argv,
      ]);

    test('is reached by sudo with a harvested certificate, and refuses', async () => {
      const { blob } = await attacked.host.ca.certify([touch]);
      const variable = `BEACON_CERTIFICATE=${blob.toString('base64')}`;
      const { status, stdout } = await as(['env', variable, 'sudo', '-n', '/usr/lib/beacon/gate']);
      expect(status).toBe(77);
      expect(stdout).toContain('"code":"not-from-sshd"');
      const shell = await as(['/usr/lib/beacon/shell', '-c', `beacon-gate ${blob.toString('base64')}`]);
      expect(shell.stdout).toContain('"code":"not-from-sshd"');
    });

    test('is not reached under a process that calls itself sshd', async () => {
      const { blob } = await attacked.host.ca.certify([touch]);
      await attacked.host.lab.run(['install', '-m', '755', '/bin/sh', '/tmp/sshd']);
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
      attacked.host.lab.exec([
        'setpriv',
        '--reuid=beacon-principals',
        '--regid=beacon-principals',
        '--clear-groups',
        '/usr/lib/beacon/principals',
        ...argv,
      ]);
    const TYPE = 'ssh-ed25519-cert-v01@openssh.com';

    test('names the login and the host of its own text, and carries the certificate', async () => {
      const { blob } = await attacked.host.ca.certify([touch]);
      const text = blob.toString('base64');
      expect(await ask(['beacon', TYPE, text])).toMatchObject({
        status: 0,
        stdout: `restrict,command="beacon-gate ${text}" beacon@build-01\n`,
      });
    });

    test('prints nothing for another login, and for words that are no certificate', async () => {
      const text = (await attacked.host.ca.certify([touch])).blob.toString('base64');
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

    test('G5: is not answered for by other processes of the host', async () => {
      const forge = `
        end=$(($(date +%s) + 60))
        while [ "$(date +%s)" -lt "$end" ] && ! [ -e /tmp/enough ]; do
          for p in $(pgrep -u beacon-principals); do
            { echo 'restrict,command="beacon-gate AAAA" beacon@build-02' >"/proc/$p/fd/1"; } 2>/dev/null && echo "$p" >>/var/tmp/forged
            echo "$p" >>/var/tmp/tried
          done
        done`;
      await attacked.host.lab.script(
        'install -m 666 /dev/null /var/tmp/forged; install -m 666 /dev/null /var/tmp/tried',
      );
      const attackers = ['beacon-setup', 'beacon', 'nobody'].map((name) =>
        attacked.host.lab.exec([
          'setpriv',
          `--reuid=${name}`,
          '--regid=nogroup',
          '--clear-groups',
          'sh',
          '-c',
          forge,
        ]),
      );
      for (let tries = 0; tries < 3; tries++) {
        await attacked.shutOut(await attacked.connect({}, { fields: { principals: ['beacon@build-02'] } }));
      }
      await attacked.host.lab.run(['touch', '/tmp/enough']);
      await Promise.all(attackers);
      expect((await attacked.host.lab.run(['cat', '/var/tmp/tried'])).length).toBeGreaterThan(0);
      expect(await attacked.host.lab.run(['cat', '/var/tmp/forged'])).toBe('');
    });

    test('does not heed its environment', async () => {
      const { blob } = await attacked.host.ca.certify([touch]);
      await attacked.host.lab.write('/tmp/readlink', `#!/bin/sh\ntouch ${TOUCHED}\n`, { mode: 0o755 });
      const { stdout } = await attacked.host.lab.exec([
        ...['env', 'PATH=/tmp:/usr/bin:/bin', 'ENV=/tmp/readlink', 'IFS=e', '/usr/lib/beacon/principals'],
        ...['beacon', TYPE, blob.toString('base64')],
      ]);
      expect(stdout).toMatch(/ beacon@build-01\n$/);
    });
  });

  describe('with damaged trust documents', () => {
    afterEach(() => attacked.host.publish());

    test('K2, K3: is shut when the revocation list is empty, cut, doubled, something else or gone', async () => {
      const whole = Buffer.from((await attacked.host.ca.publish({ revoked: [4_000_000n] }))['krl'] ?? '');
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
        await attacked.host.install({ ...(await attacked.host.ca.publish({ revoked: [4_000_000n] })), krl });
        await attacked.shutOut(await attacked.connect());
      }
      const { krl: _, ...others } = await attacked.host.ca.publish();
      await attacked.host.install(others);
      await attacked.shutOut(await attacked.connect());
    });

    test('K2: is shut when the list that the status names was cut between its sections: it lacks its seal', async () => {
      const whole = Buffer.from((await attacked.host.ca.publish({ revoked: [4_000_001n] }))['krl'] ?? '');
      await attacked.host.publish({ krl: whole.subarray(0, -41) });
      const connection = await attacked.connect();
      await attacked.refusedWith(connection, 'trust-refused');
    });

    test('B3: is shut when the status has expired', async () => {
      const ago = (hours: number): Date => new Date(Date.now() - hours * 3_600_000);
      await attacked.host.publish({ status: { issued: ago(25), expires: ago(1) } });
      await attacked.shutOut(await attacked.connect());
    });

    test('is shut to a revoked certificate', async () => {
      const certified = await attacked.host.ca.certify([touch]);
      await attacked.host.publish({ revoked: [certified.serial] });
      await attacked.shutOut(await GateConnection.open(attacked.host.lab, certified));
    });

    test('B1, B2: refuses older documents, others of the same version, and those that somebody else signed', async () => {
      const old = await attacked.host.ca.publish();
      await attacked.host.publish();
      const fresh = await attacked.connect();
      await fresh.hello();
      await fresh.end();
      await attacked.host.install(old);
      await attacked.refusedWith(await attacked.connect(), 'trust-went-back');
      await attacked.host.publish({ root: { hosts: 'build-01' } });
      await attacked.refusedWith(await attacked.connect(), 'trust-went-back');
      await attacked.host.publish({ signStatusWith: generateKey('ssh-ed25519') });
      await attacked.refusedWith(await attacked.connect(), 'trust-refused');
      await attacked.host.publish({ signRootWith: generateKey('ssh-ed25519') });
      await attacked.refusedWith(await attacked.connect(), 'trust-refused');
    });
  });

  describe('on a machine that is not in order', () => {
    test.each([
      ['is broken', 'echo "{" >/etc/beacon/allowlist.json'],
      ['is missing', 'rm -f /etc/beacon/allowlist.json'],
      ['can be written by others', 'chmod o+w /etc/beacon/allowlist.json'],
      ['belongs to somebody else', 'chown beacon /etc/beacon/allowlist.json'],
    ])('G19: ends with 78 when the allowlist %s', async (_, damage) => {
      await attacked.host.lab.script(damage);
      try {
        await attacked.refusedWith(await attacked.connect(), 'allowlist-refused', 78);
      } finally {
        await attacked.host.lab.script('rm -f /etc/beacon/allowlist.json');
        await attacked.allow();
      }
    });

    test('G14: trusts nothing in a folder that others can write', async () => {
      await attacked.host.lab.script('chmod g+w /etc/beacon');
      try {
        await attacked.refusedWith(await attacked.connect(), 'path-unsafe');
      } finally {
        await attacked.host.lab.script('chmod g-w /etc/beacon');
      }
    });

    test('G14: refuses a program that others could have replaced', async () => {
      await attacked.host.lab.script('chmod g+w /usr/lib/beacon/commands');
      try {
        const connection = await attacked.connect();
        expect(await connection.run(touch)).toMatchObject({ event: 'refused', code: 'path-unsafe' });
        await connection.end();
      } finally {
        await attacked.host.lab.script('chmod g-w /usr/lib/beacon/commands');
      }
    });

    test('L8: starts nothing when the disk is full', async () => {
      const connection = await attacked.connect();
      await connection.hello();
      await attacked.host.lab.script(`
        cp -a /var/lib/beacon /mnt/copy
        mount -t tmpfs -o size=4m,mode=700 full /var/lib/beacon
        cp -a /mnt/copy/. /var/lib/beacon
        head -c 8000000 /dev/zero >/var/lib/beacon/full || :
      `);
      try {
        expect(await connection.run(touch)).toMatchObject({ event: 'refused', code: 'state-unavailable' });
        // Where the one line that it writes still fits, a session begins; nothing does in it.
        const other = await attacked.connect();
        other.start(touch);
        const refused = await other.find((event): event is Refused => event.event === 'refused');
        expect(refused.code).toBe('state-unavailable');
        await other.kill();
      } finally {
        await attacked.host.lab.run(['umount', '/var/lib/beacon']);
        await connection.kill();
      }
    });

    test('L10: starts nothing under a clock that went back', async () => {
      const { host } = attacked;
      const seconds = BigInt(Math.floor(Date.now() / 1000));
      const longValid = { fields: { validAfter: seconds - 3_600n } };
      await (await attacked.connect({}, longValid)).end();
      // A machine in a namespace has the clock of the machine below, so the gate's alone is set back, where it begins.
      const launcher = await host.lab.run(['cat', '/usr/lib/beacon/gate']);
      const back = (minutes: number): string =>
        launcher.replace(
          "'use strict';",
          `'use strict'; { const late = Date; globalThis.Date = class extends late {
            constructor(...given) { if (given.length > 0) super(...given); else super(late.now() - ${minutes * 60_000}); }
            static now() { return late.now() - ${minutes * 60_000}; } }; }`,
        );
      try {
        await host.lab.write('/usr/lib/beacon/gate', back(10), { mode: 0o755 });
        await attacked.refusedWith(await attacked.connect({}, longValid), 'clock-went-back');
        // Trust documents from before the clock's own time change nothing: the records know a later one.
        await host.publish({ status: { issued: new Date(Date.now() - 3_600_000) } });
        await attacked.refusedWith(await attacked.connect({}, longValid), 'clock-went-back');
      } finally {
        await host.lab.write('/usr/lib/beacon/gate', launcher, { mode: 0o755 });
        await host.publish();
      }
      const control = await attacked.connect({}, longValid);
      await control.hello();
      await control.end();
    });

    test('opens sixteen gates at most, and says that it is busy', async () => {
      const open: GateConnection[] = [];
      // sshd drops connections at random beyond ten that have not logged in.
      for (let batch = 0; batch < 4; batch++) {
        const connections = await Promise.all(Array.from({ length: 4 }, () => attacked.connect()));
        await Promise.all(connections.map((connection) => connection.hello()));
        open.push(...connections);
      }
      await attacked.refusedWith(await attacked.connect(), 'too-many-gates', 75);
      await Promise.all(open.map((connection) => connection.end()));
      const again = await attacked.connect();
      await again.hello();
      await again.end();
    });
  });

  test('leaves a record of each refusal that reached the gate, with its code and nothing of what was not verified', async () => {
    const refusals = (await attacked.host.records())
      .map((line) => JSON.parse(line) as { kind: string; facts?: object })
      .filter(({ kind }) => kind === 'session-refused');
    expect(refusals.length).toBeGreaterThan(10);
    for (const { facts } of refusals) {
      // `clock` is what the machine's clock said where it was behind the chain.
      const keys = Object.keys(facts ?? {}).filter((key) => key !== 'clock');
      expect(keys.sort()).toEqual(['certificate', 'code']);
    }
  });
});
