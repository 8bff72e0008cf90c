/**
 * `beacon host init` on the image of a machine: what stands in its way is named before anything is changed, the plan is
 * shown and printed, and what was made can be taken back to the byte.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { diffPlan, printPlan } from '@beacon/host';
import { describe, expect, test } from '@jest/globals';
import { treeDifferences } from '../lab/host-image.ts';
import { describeImages, useImage } from './image-under-test.ts';

describeImages('the plan for a host, in an image', () => {
  const use = useImage();

  describe('what stands in the way is named before anything is changed', () => {
    const defects = () =>
      use()
        .prepare()
        .findings.filter(({ kind }) => kind === 'defect')
        .map(({ code, place }) => `${code} ${place}`);
    /** What prepareHost says while a file is otherwise, and that nothing was changed by it. */
    const whileAltered = (path: string, text: string): string[] => {
      const before = readFileSync(use().at(path));
      writeFileSync(use().at(path), text);
      try {
        const altered = use().tree();
        const found = defects();
        expect(treeDifferences(altered, use().tree())).toEqual([]);
        return found;
      } finally {
        writeFileSync(use().at(path), before);
      }
    };
    const config = () => readFileSync(use().at('/etc/ssh/sshd_config'), 'utf8');
    const INCLUDE = 'Include /etc/ssh/sshd_config.d/*.conf';

    test('I1: sshd_config includes no drop-ins', () => {
      expect(whileAltered('/etc/ssh/sshd_config', config().replace(INCLUDE, ''))).toEqual([
        'include-missing /etc/ssh/sshd_config',
      ]);
    });
    test('I1: drop-ins are included inside of a Match alone', () => {
      const text = `Match User somebody\n${config()}`;
      expect(whileAltered('/etc/ssh/sshd_config', text)).toContainEqual(
        expect.stringMatching(/^include-in-match .*line/),
      );
    });
    test('I1: a folder is included instead of its files', () => {
      const text = config().replace(INCLUDE, 'Include /etc/ssh/sshd_config.d');
      expect(whileAltered('/etc/ssh/sshd_config', text)).toEqual(['include-missing /etc/ssh/sshd_config']);
    });
    test('I1: an Include after other directives works, for a Match wins over them', () => {
      const text = `${config().replace(INCLUDE, '')}\nPasswordAuthentication no\n${INCLUDE}\n`;
      expect(whileAltered('/etc/ssh/sshd_config', text)).toEqual([]);
    });
    test.each([
      ['Match all\n  ForceCommand /usr/bin/recorder\n', 'ForceCommand'],
      ['Match User beacon\n  AuthorizedKeysFile /etc/keys/%u\n', 'AuthorizedKeysFile'],
      ['Match all\n  TrustedUserCAKeys /etc/ssh/other_ca.pub\n', 'TrustedUserCAKeys'],
    ])('I2: an earlier drop-in wins: %j', (text) => {
      const path = use().at('/etc/ssh/sshd_config.d/05-first.conf');
      writeFileSync(path, text);
      expect(defects()).toEqual(['sshd-differs /etc/ssh/sshd_config.d/05-first.conf, line 2']);
      rmSync(path);
    });
    test('AllowUsers, DenyGroups and SetEnv of the machine', () => {
      const text = `${config()}\nAllowUsers root operator\nDenyGroups beac*\nSetEnv BASH_ENV=/tmp/x\n`;
      expect(whileAltered('/etc/ssh/sshd_config', text)).toEqual([
        'allow-users AllowUsers',
        'deny-groups DenyGroups',
        'set-env SetEnv',
      ]);
    });
    test('I4: an sshd_config that is broken already', () => {
      expect(whileAltered('/etc/ssh/sshd_config', `${config()}\nNonsense yes\n`)).toEqual([
        'sshd-broken sshd',
      ]);
    });
    test('sudo does not read its folder', () => {
      expect(whileAltered('/etc/sudoers', 'root ALL=(ALL:ALL) ALL\n')).toEqual([
        'sudoers-folder /etc/sudoers',
      ]);
    });
    test('an account of the same name that is somebody else', async () => {
      use().machine.run(['useradd', '--system', '--shell', '/bin/bash', 'beacon-setup']);
      await expect(use().init()).rejects.toMatchObject({
        code: 'rolled-back',
        cause: { code: 'cannot-work-here' },
      });
      use().machine.run(['userdel', 'beacon-setup']);
      expect(use().machine.run(['id', 'beacon']).status).toBe(1);
      expect(
        use()
          .differences()
          .filter((line) => !/^(passwd|shadow|group|gshadow)-|^.pwd.lock/.test(line)),
      ).toEqual([]);
      // The copies that useradd made are this test's own; they are part of what was there before, from now on.
      use().pristine = use().tree();
    });
  });

  test.each([
    ['B5', 'a status of another root', { status: { rootVersion: 2 } }, 'trust-refused'],
    [
      'K2',
      'an empty revocation list',
      {
        krl: Buffer.alloc(0),
        status: {
          krl: { sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', bytes: 1 },
        },
      },
      'trust-refused',
    ],
    ['B3', 'an expired status', { status: { issued: new Date(0), expires: new Date(1) } }, 'trust-stale'],
    ['B3', 'a status of the future', { status: { issued: new Date(Date.now() + 3_600_000) } }, 'clock-wrong'],
    ['B5', 'a root for other hosts', { root: { hosts: 'other' } }, 'trust-refused'],
  ] as const)('%s: refuses to begin with %s', async (_row, _what, changes, code) => {
    const trust = await use().image.publish(changes);
    expect(() => use().prepare({ trust })).toThrow(expect.objectContaining({ code }));
  });

  test('E4: refuses to begin with documents that the pinned key has not signed', async () => {
    const trust = await use().image.publish({ signRootWith: use().image.ca.statusKey });
    expect(() => use().prepare({ trust })).toThrow(expect.objectContaining({ code: 'trust-refused' }));
  });

  test('shows a plan as a diff and as scripts for fleets, and changes nothing', () => {
    const prepared = use().prepare();
    const diff = diffPlan(use().machine, prepared.steps);
    expect(diff).toContain(
      '+ account beacon: system, no password, home /var/lib/beacon-login, shell /usr/lib/beacon/shell',
    );
    expect(diff).toContain('+    ForceCommand none');
    const script = printPlan(prepared, 'shell');
    expect(script).toContain('./beacon host init --id "$id" --login beacon --accounts beacon-r=2 --root-key');
    for (const name of [
      'node',
      'beacon',
      'beacon-host-sync.service',
      'beacon-host-sync.timer',
      'compile.cjs',
    ])
      expect(script).toMatch(new RegExp(`^[0-9a-f]{64}  ${name}$`, 'm'));
    expect(use().machine.run(['sh', '-n'], script)).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(printPlan(prepared, 'cloud-init').replace('#cloud-config\n', ''))).toMatchObject({
      write_files: [{ content: Buffer.from(script).toString('base64') }],
    });
    expect(JSON.parse(printPlan(prepared, 'ansible').replace('---\n', ''))).toMatchObject([{ become: true }]);
    expect(use().differences()).toEqual([]);
  });

  test('I6: a second init changes nothing, check is clean, and remove leaves /etc byte for byte as before', async () => {
    await use().init();
    const made = use().tree();
    expect(use().check()).toEqual([]);
    expect(diffPlan(use().machine, use().prepare({ trust: undefined }).steps)).toEqual([]);
    await use().init();
    expect(treeDifferences(made, use().tree())).toEqual([]);
    await use().remove();
    expect(use().differences()).toEqual([]);
    expect(
      ['/usr/lib/beacon', '/var/lib/beacon', '/var/lib/beacon-host', '/var/lib/beacon-login'].filter(
        (path) => use().machine.run(['test', '-e', path]).status === 0,
      ),
    ).toEqual([]);
    await expect(use().remove()).rejects.toMatchObject({ code: 'not-a-host' });
  });
});
