/**
 * `beacon host check` on the image of a managed host: each single alteration is named with its place and its remedy, and
 * nothing else is.
 */
import { chownSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { beforeAll, expect, test } from '@jest/globals';
import { type Alter, alterationsOf } from './alterations.ts';
import { describeImages, useImage } from './image-under-test.ts';

const DROP_IN = '/etc/ssh/sshd_config.d/10-beacon.conf';
const SUDO_RULE = '/etc/sudoers.d/beacon';
const TRUST = '/etc/beacon/trust/current';

describeImages('check names each alteration with its remedy', () => {
  const use = useImage();
  beforeAll(() => use().init(), 120_000);
  const { edit, editBytes, add, mode, away, run } = alterationsOf(use);
  const trustFile = (name: string) => `/etc/beacon/trust/1-1/${name}`;
  const alterations: [name: string, alter: Alter, code: string, place: string | RegExp][] = [
    ['/etc/beacon may be written by a group', mode('/etc/beacon', 0o775, 0o755), 'mode', '/etc/beacon'],
    [
      '/usr/lib/beacon belongs to the login',
      run('chown beacon /usr/lib/beacon', 'chown root /usr/lib/beacon'),
      'owner',
      '/usr/lib/beacon',
    ],
    ['G14: /usr/lib may be written by a group', mode('/usr/lib', 0o775, 0o755), 'mode', '/usr/lib'],
    [
      'the allowlist may be written by all',
      mode('/etc/beacon/allowlist.json', 0o666, 0o644),
      'mode',
      '/etc/beacon/allowlist.json',
    ],
    [
      'the allowlist is no JSON',
      edit('/etc/beacon/allowlist.json', (text) => text.slice(1)),
      'json-syntax',
      '/etc/beacon/allowlist.json',
    ],
    [
      'the allowlist has an unknown key',
      edit('/etc/beacon/allowlist.json', (text) => text.replace('"commands"', '"comands"')),
      'allowlist-malformed',
      '/etc/beacon/allowlist.json',
    ],
    ['the allowlist is missing', away('/etc/beacon/allowlist.json'), 'missing', '/etc/beacon/allowlist.json'],
    [
      'the allowlist names a program that is not there',
      edit(
        '/etc/beacon/allowlist.json',
        () =>
          '{"version":1,"commands":{"a.b":{"summary":"s","argv":["/usr/lib/beacon/commands/gone"],"params":{},"timeout_seconds":9,"run_as":"beacon-setup"}}}',
      ),
      'command',
      '/etc/beacon/allowlist.json',
    ],
    [
      'the host has another name',
      edit('/etc/beacon/host.json', (text) => text.replace('build-01', 'build-02')),
      'differs',
      '/etc/beacon/host.json',
    ],
    [
      'the principals script was changed',
      edit('/usr/lib/beacon/principals', (text) => text.replace('exit 1', 'exit 0')),
      'differs',
      '/usr/lib/beacon/principals',
    ],
    [
      'the principals script may be written by all',
      mode('/usr/lib/beacon/principals', 0o777, 0o755),
      'mode',
      '/usr/lib/beacon/principals',
    ],
    [
      "the login's shell was changed",
      edit('/usr/lib/beacon/shell', (text) => `${text}# \n`),
      'differs',
      '/usr/lib/beacon/shell',
    ],
    [
      'the gate may not be executed',
      mode('/usr/lib/beacon/gate', 0o644, 0o755),
      'mode',
      '/usr/lib/beacon/gate',
    ],
    ['the runtime is missing', away('/usr/lib/beacon/node'), 'missing', '/usr/lib/beacon/node'],
    [
      'the user manager of the login is no longer masked',
      run(
        'mv "/etc/systemd/system/user@$(id -u beacon).service" /root/away',
        'mv /root/away "/etc/systemd/system/user@$(id -u beacon).service"',
      ),
      'user-manager',
      'beacon',
    ],
    ['the drop-in is missing', away(DROP_IN), 'missing', DROP_IN],
    [
      'a line of the drop-in is missing',
      edit(DROP_IN, (text) => text.replace('    ForceCommand none\n', '')),
      'differs',
      DROP_IN,
    ],
    [
      'a line of the drop-in is otherwise',
      edit(DROP_IN, (text) => text.replace('PermitTTY no', 'PermitTTY yes')),
      'sshd-differs',
      'PermitTTY',
    ],
    ['the drop-in may be written by all', mode(DROP_IN, 0o666, 0o644), 'mode', DROP_IN],
    [
      'I2: an earlier drop-in with a key command wins',
      add(
        '/etc/ssh/sshd_config.d/00-a.conf',
        'Match all\nAuthorizedKeysCommand /usr/bin/keys\nAuthorizedKeysCommandUser nobody\n',
      ),
      'sshd-differs',
      /00-a[.]conf, line 2$/,
    ],
    [
      'I2: an earlier drop-in with a forced command wins',
      add('/etc/ssh/sshd_config.d/00-a.conf', 'Match User bea*\nForceCommand /bin/bash\n'),
      'sshd-differs',
      /00-a[.]conf, line 2$/,
    ],
    [
      'I1: the Include was removed',
      edit('/etc/ssh/sshd_config', (text) => text.replace(/^Include.*$/m, '')),
      'include-missing',
      '/etc/ssh/sshd_config',
    ],
    [
      'I1: a Match stands before the Include',
      edit('/etc/ssh/sshd_config', (text) => `Match User x\n${text}`),
      'include-in-match',
      /sshd_config, line/,
    ],
    [
      'sshd refuses its configuration',
      add('/etc/ssh/sshd_config.d/99-z.conf', 'Nonsense yes\n'),
      'sshd-broken',
      'sshd',
    ],
    [
      'AllowGroups leaves the login out',
      add('/etc/ssh/sshd_config.d/99-z.conf', 'AllowGroups sudo\n'),
      'allow-groups',
      'AllowGroups',
    ],
    [
      'DenyUsers names the login',
      add('/etc/ssh/sshd_config.d/99-z.conf', 'DenyUsers beacon\n'),
      'deny-users',
      'DenyUsers',
    ],
    [
      'sshd sets variables for every login',
      add('/etc/ssh/sshd_config.d/99-z.conf', 'SetEnv LD_PRELOAD=/tmp/x.so\n'),
      'set-env',
      'SetEnv',
    ],
    [
      'files in homes set variables',
      add('/etc/ssh/sshd_config.d/99-z.conf', 'PermitUserEnvironment yes\n'),
      'user-environment',
      'PermitUserEnvironment',
    ],
    [
      'certificates are not accepted',
      add('/etc/ssh/sshd_config.d/99-z.conf', 'PubkeyAcceptedAlgorithms ssh-ed25519\n'),
      'accepted-algorithms',
      'PubkeyAcceptedAlgorithms',
    ],
    ['the sudo rule is missing', away(SUDO_RULE), 'missing', SUDO_RULE],
    ['the sudo rule may be read by all', mode(SUDO_RULE, 0o444, 0o440), 'mode', SUDO_RULE],
    [
      'G16: a later sudoers file gives more',
      add('/etc/sudoers.d/zz', 'beacon ALL=(ALL) NOPASSWD: ALL\n', 0o440),
      'sudo',
      'sudo',
    ],
    [
      'a later sudoers file takes the gate away',
      add('/etc/sudoers.d/zz', 'beacon ALL=(ALL) !ALL\n', 0o440),
      'sudo',
      'sudo',
    ],
    [
      'a later sudoers file records what the gate reads',
      add('/etc/sudoers.d/zz', 'Defaults!/usr/lib/beacon/gate log_input\n', 0o440),
      'sudo',
      'sudo',
    ],
    [
      'I7: the login is locked',
      run("usermod -p '!' beacon", "usermod -p '*' beacon"),
      'account',
      'account beacon',
    ],
    [
      'I7: the login has another shell',
      run('usermod -s /bin/bash beacon', 'usermod -s /usr/lib/beacon/shell beacon'),
      'account',
      'account beacon',
    ],
    [
      'the login has expired',
      run('chage -E 2020-01-01 beacon', 'chage -E -1 beacon'),
      'account',
      'account beacon',
    ],
    [
      'the login is in the group sudo',
      run('usermod -a -G sudo beacon', 'gpasswd -d beacon sudo'),
      'account',
      'account beacon',
    ],
    [
      'I7: the login has another home',
      run('usermod -d /tmp beacon', 'usermod -d /var/lib/beacon-login beacon'),
      'account',
      'account beacon',
    ],
    [
      'an account of the pool is missing',
      run(
        'userdel beacon-r-2',
        'useradd --system -U -M -d /nonexistent -s /usr/sbin/nologin beacon-r-2; usermod -p "*" beacon-r-2',
      ),
      'account-missing',
      'account beacon-r-2',
    ],
    [
      'two accounts share a uid',
      run('usermod -o -u "$(id -u beacon)" beacon-setup', 'usermod -u 987 beacon-setup'),
      'account',
      'account beacon',
    ],
    [
      'G11: something lies in the home of the login',
      run('mkdir /var/lib/beacon-login/.ssh', 'rmdir /var/lib/beacon-login/.ssh'),
      'account',
      'account beacon',
    ],
    [
      'the home of the login is its own',
      run('chown beacon /var/lib/beacon-login', 'chown root /var/lib/beacon-login'),
      'owner',
      '/var/lib/beacon-login',
    ],
    ['the link of the trust documents is missing', away(TRUST), 'trust-missing', TRUST],
    [
      'K2: the revocation list is cut',
      editBytes(trustFile('krl'), (bytes) => bytes.subarray(0, 44)),
      'trust-refused',
      TRUST,
    ],
    [
      'K2: the revocation list is empty',
      editBytes(trustFile('krl'), () => Buffer.alloc(0)),
      'trust-refused',
      TRUST,
    ],
    [
      'B12: the trust root has another order',
      edit(trustFile('root.json'), (text) =>
        text.replace('"v":1,"kind":"trust-root"', '"kind":"trust-root","v":1'),
      ),
      'trust-refused',
      TRUST,
    ],
    [
      'B12: the trust status has white space',
      edit(trustFile('status.json'), (text) => `${text} `),
      'trust-refused',
      TRUST,
    ],
    ['the signature of the root is missing', away(trustFile('root.json.sig')), 'trust-refused', TRUST],
    [
      'sshd trusts another CA than the root names',
      edit(trustFile('user_ca.pub'), (text) => `${text}${text}`),
      'differs',
      `${TRUST}/user_ca.pub`,
    ],
    [
      'the revocation list may be written by all',
      mode(trustFile('krl'), 0o666, 0o644),
      'mode',
      `${TRUST}/krl`,
    ],
    [
      'B11: the gate has used newer documents',
      run(
        'printf \'{"root":1,"root_sha256":"x","status":9,"status_sha256":"y"}\' >/var/lib/beacon/trust-floor.json',
        'rm /var/lib/beacon/trust-floor.json',
      ),
      'trust-went-back',
      'trust documents',
    ],
    ['only root may log in', add('/etc/nologin', 'maintenance\n'), 'nologin', '/etc/nologin'],
    [
      'a rule of pam_access refuses the login',
      run(
        'echo "account required pam_access.so" >>/etc/pam.d/sshd; echo "-:ALL EXCEPT root:ALL" >/etc/security/access.conf.new; cp /etc/security/access.conf /root/access; cat /etc/security/access.conf.new >>/etc/security/access.conf; rm /etc/security/access.conf.new',
        'sed -i "\\$d" /etc/pam.d/sshd; cat /root/access >/etc/security/access.conf; rm /root/access',
      ),
      'pam-access',
      '/etc/security/access.conf',
    ],
    [
      'set-up was broken off',
      run(
        'cp /var/lib/beacon-host/journal /root/journal; sed -i "\\$d" /var/lib/beacon-host/journal',
        'cat /root/journal >/var/lib/beacon-host/journal; rm /root/journal',
      ),
      'unfinished',
      'beacon host init',
    ],
  ];

  test.each(alterations)('%s', (_name, alter, code, place) => {
    const restore = alter();
    try {
      const found = use()
        .check()
        .filter((one) => one.kind === 'defect');
      const at = typeof place === 'string' ? place : expect.stringMatching(place);
      expect(found).toContainEqual(
        expect.objectContaining({ code, place: at, remedy: expect.stringMatching(/\S/) }),
      );
    } finally {
      restore();
    }
  });

  test.each([
    ['B3: the trust status has expired', 25, 'trust-stale'],
    ['the clock is wrong by a day', -24, 'clock-wrong'],
  ])('%s', (_name, hours, code) => {
    const found = use().check(new Date(Date.now() + hours * 3_600_000));
    expect(found).toContainEqual(expect.objectContaining({ kind: 'defect', code }));
  });

  test('at three quarters of its life the status is a note, and after all of this the host is in order', () => {
    const late = use().check(new Date(Date.now() + 20 * 3_600_000));
    expect(late).toEqual([
      expect.objectContaining({ kind: 'note', code: 'trust-old', place: 'trust status' }),
    ]);
    expect(use().check()).toEqual([]);
  });

  test('what init noted is damaged: check says how init goes on, and it does', async () => {
    const path = use().at('/var/lib/beacon-host/note.json');
    writeFileSync(path, readFileSync(path, 'utf8').slice(0, 40));
    const damaged = expect.objectContaining({
      code: 'state-damaged',
      message: expect.stringContaining('remove it, and call beacon host init as the first time'),
    });
    expect(() => use().check()).toThrow(damaged);
    expect(() => use().prepare()).toThrow(damaged);
    rmSync(path);
    await use().init();
    expect(use().check()).toEqual([]);
  });

  test('I8: a link in an image does not lead out of it', () => {
    mkdirSync(use().at('/root/links'), { recursive: true });
    symlinkSync('/etc', use().at('/root/links/etc'));
    chownSync(use().at('/root/links'), 0, 0);
    expect(use().machine.at('/root/links/etc/passwd')).toBe(use().at('/etc/passwd'));
    rmSync(use().at('/root/links'), { recursive: true });
  });
});
