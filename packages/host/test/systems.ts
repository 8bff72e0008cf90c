/** How systems are laid out after their server's installation: what of it a managed host touches or depends on. */
import type { TreeForm } from './machine-tree.ts';

const INCLUDE = 'Include /etc/ssh/sshd_config.d/*.conf\n';
const GLIBC = { '/usr/lib64/ld-linux-x86-64.so.2': '', '/lib64': '-> usr/lib64', '/lib': '-> usr/lib' };
const SYSTEMD = { '/usr/lib/systemd/systemd': '' };
const CORE = [
  '/usr/bin/ssh-keygen',
  '/usr/bin/sha256sum',
  '/usr/bin/flock',
  '/usr/bin/setpriv',
  '/usr/bin/prlimit',
];
const SHADOW = ['useradd', 'userdel', 'chpasswd'].map((name) => `/usr/sbin/${name}`);
const SUDO = ['/usr/bin/sudo', '/usr/sbin/visudo'];
const PASSWD = 'root:x:0:0:root:/root:/bin/bash\n';
const SHADOW_FILE = 'root:*:19000:0:99999:7:::\n';
/** An sshd before 9.x knows no -V, and says its version with its usage. */
const old = (version: string) => `unknown option -- V\n${version}, OpenSSL 1.1.1k\nusage: sshd [-46DdeiqTt]`;

const debian = (name: string, sshd: string, more: Partial<TreeForm['files']> = {}): TreeForm => ({
  files: {
    ...GLIBC,
    ...SYSTEMD,
    '/etc/os-release': `PRETTY_NAME="${name}"\nID=debian\n`,
    '/etc/passwd': PASSWD,
    '/etc/shadow': SHADOW_FILE,
    '/etc/ssh/sshd_config': `# This is the sshd server system-wide configuration file.\n\n${INCLUDE}\nKbdInteractiveAuthentication no\nUsePAM yes\nX11Forwarding yes\nAcceptEnv LANG LC_*\nSubsystem sftp /usr/lib/openssh/sftp-server\n`,
    '/etc/sudoers':
      'Defaults env_reset\nDefaults use_pty\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n\n@includedir /etc/sudoers.d\n',
    '/etc/pam.d/sshd': '@include common-auth\naccount required pam_nologin.so\n@include common-account\n',
    '/etc/pam.d/common-account':
      'account [success=1 default=ignore] pam_unix.so\naccount requisite pam_deny.so\n',
    ...(more as Record<string, string>),
  },
  programs: [
    ...CORE,
    ...SHADOW,
    ...SUDO,
    '/usr/sbin/sshd',
    '/usr/bin/systemctl',
    '/usr/bin/systemd-run',
    '/usr/sbin/nologin',
  ],
  answers: { '/usr/sbin/sshd -V': sshd, 'sudo -V': 'Sudo version 1.9.13p3\n' },
});

const redHat = (
  name: string,
  sshd: string,
  more: Record<string, string> = {},
  include = INCLUDE,
): TreeForm => ({
  files: {
    ...GLIBC,
    ...SYSTEMD,
    '/etc/os-release': `PRETTY_NAME="${name}"\nID="rhel"\n`,
    '/etc/passwd': PASSWD,
    '/etc/shadow': SHADOW_FILE,
    '/etc/ssh/sshd_config': `# To modify the system-wide sshd configuration, create a  *.conf  file under\n#  /etc/ssh/sshd_config.d/\n${include}\nAuthorizedKeysFile .ssh/authorized_keys\nSubsystem sftp /usr/libexec/openssh/sftp-server\n`,
    '/etc/ssh/sshd_config.d/50-redhat.conf':
      'Include /etc/crypto-policies/back-ends/opensshserver.config\nSyslogFacility AUTHPRIV\nUsePAM yes\n',
    '/etc/sudoers':
      'Defaults !visiblepw\nDefaults env_reset\nroot ALL=(ALL) ALL\n%wheel ALL=(ALL) ALL\n#includedir /etc/sudoers.d\n',
    '/etc/pam.d/sshd':
      'auth substack password-auth\naccount required pam_nologin.so\naccount include password-auth\n',
    '/etc/pam.d/password-auth': 'account required pam_unix.so\n',
    '/etc/selinux/config': 'SELINUX=enforcing\nSELINUXTYPE=targeted\n',
    '/etc/crypto-policies/state/current': 'DEFAULT\n',
    ...more,
  },
  programs: [
    ...CORE,
    ...SHADOW,
    ...SUDO,
    '/usr/sbin/sshd',
    '/usr/sbin/restorecon',
    '/usr/bin/systemctl',
    '/usr/sbin/nologin',
  ],
  answers: { '/usr/sbin/sshd -V': sshd, 'sudo -V': 'Sudo version 1.9.5p2\n' },
});

const ALPINE: TreeForm = {
  files: {
    '/lib/ld-musl-x86_64.so.1': '',
    '/etc/os-release': 'PRETTY_NAME="Alpine Linux v3.20"\nID=alpine\n',
    '/etc/passwd': 'root:x:0:0:root:/root:/bin/sh\n',
    '/etc/shadow': SHADOW_FILE,
    '/etc/ssh/sshd_config': `${INCLUDE}AuthorizedKeysFile .ssh/authorized_keys\nSubsystem sftp internal-sftp\n`,
    '/sbin/openrc-run': '',
  },
  programs: [
    '/usr/sbin/sshd',
    '/usr/bin/ssh-keygen',
    '/usr/bin/flock',
    '/usr/bin/sha256sum',
    '/usr/sbin/adduser',
    '/usr/sbin/deluser',
    '/usr/sbin/chpasswd',
    '/bin/false',
  ],
  answers: { '/usr/sbin/sshd -V': 'OpenSSH_9.7p1, OpenSSL 3.3.1 4 Jun 2024\n' },
};

/** What keeps `init` from beginning there, and what it notes: `kind code place`; none where it begins. */
export const SYSTEMS: readonly (readonly [name: string, form: TreeForm, findings: readonly string[]])[] = [
  [
    'Debian 12',
    debian('Debian GNU/Linux 12 (bookworm)', 'OpenSSH_9.2p1 Debian-2+deb12u7, OpenSSL 3.0.17\n'),
    [],
  ],
  ['Debian 11', debian('Debian GNU/Linux 11 (bullseye)', old('OpenSSH_8.4p1 Debian-5+deb11u5')), []],
  [
    'Ubuntu 20.04, the oldest sshd that will do',
    debian('Ubuntu 20.04.6 LTS', old('OpenSSH_8.2p1 Ubuntu-4ubuntu0.13')),
    [],
  ],
  [
    'Ubuntu 24.04, whose cloud images have a drop-in of their own',
    debian('Ubuntu 24.04.2 LTS', 'OpenSSH_9.6p1 Ubuntu-3ubuntu13.12, OpenSSL 3.0.13\n', {
      '/etc/ssh/sshd_config.d/50-cloud-init.conf': 'PasswordAuthentication yes\n',
    }),
    [],
  ],
  [
    'Ubuntu 25.10, with sudo-rs',
    {
      ...debian('Ubuntu 25.10', 'OpenSSH_10.0p1 Ubuntu-5ubuntu5, OpenSSL 3.5.3\n'),
      answers: {
        '/usr/sbin/sshd -V': 'OpenSSH_10.0p1 Ubuntu-5ubuntu5, OpenSSL 3.5.3\n',
        'sudo -V': 'sudo-rs 0.2.8\n',
      },
    },
    ['defect sudo-rs sudo'],
  ],
  ['Rocky Linux 9', redHat('Rocky Linux 9.5 (Blue Onyx)', old('OpenSSH_8.7p1')), ['note selinux SELinux']],
  [
    'RHEL 9 in FIPS mode',
    redHat('Red Hat Enterprise Linux 9.5 (Plow)', old('OpenSSH_8.7p1'), {
      '/etc/crypto-policies/state/current': 'FIPS\n',
    }),
    ['defect fips /proc/sys/crypto/fips_enabled', 'note selinux SELinux'],
  ],
  [
    'RHEL 9 that lets in by pam_access',
    redHat('Red Hat Enterprise Linux 9.5 (Plow)', old('OpenSSH_8.7p1'), {
      '/etc/pam.d/password-auth': 'account required pam_access.so\naccount required pam_unix.so\n',
      '/etc/security/access.conf': '+:root (wheel):ALL\n-:ALL:ALL\n',
    }),
    ['note selinux SELinux', 'defect pam-access /etc/security/access.conf'],
  ],
  [
    'RHEL 8, whose sshd is too old',
    redHat('Red Hat Enterprise Linux 8.10 (Ootpa)', old('OpenSSH_8.0p1'), {}, ''),
    ['defect sshd-version sshd', 'note selinux SELinux'],
  ],
  [
    'Alpine 3.20',
    ALPINE,
    [
      'defect program-missing sudo',
      'defect program-missing visudo',
      'defect libc /lib',
      'defect no-bounds /sys/fs/cgroup',
    ],
  ],
  [
    'openSUSE, where nothing of sshd is in /etc yet',
    (() => {
      const { '/etc/ssh/sshd_config': config = '', ...files } = debian('x', '').files;
      return {
        ...debian('openSUSE Tumbleweed', 'OpenSSH_10.0p2, OpenSSL 3.5.0\n'),
        files: { ...files, '/usr/etc/ssh/sshd_config': config },
      };
    })(),
    ['defect sshd-config /etc/ssh/sshd_config'],
  ],
];
