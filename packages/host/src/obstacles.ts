/**
 * Why a machine cannot be a managed host as it is, and what to do about each: what `init` refuses, and what `check`
 * finds later. Pure: facts in, findings out. A defect stops `init`; a note does not.
 */
import type { Facts } from './facts.ts';
import { defect, type Finding, note } from './finding.ts';
import { type LoginToCheck, loginObstacles } from './login-obstacles.ts';
import { SSHD_CONFIG } from './sshd.ts';

const OLDEST_SSHD = [8, 2] as const;

export function findObstacles(facts: Facts, login: LoginToCheck): Finding[] {
  return [
    ...programObstacles(facts),
    ...sshdObstacles(facts),
    ...systemObstacles(facts, login),
    ...loginObstacles(facts, login),
  ];
}

function programObstacles({
  programs,
  libc,
  systemd,
  controlGroups2,
  live,
  sudoersFolder,
  sudoRs,
}: Facts): Finding[] {
  const found: Finding[] = [];
  for (const [name, from] of [
    ['sshd', 'openssh-server'],
    ['ssh-keygen', 'openssh-client (openssh-keygen)'],
    ['sudo', 'sudo'],
    ['visudo', 'sudo'],
    ['sha256sum', 'coreutils'],
    ['chpasswd', 'passwd (shadow)'],
    ['flock', 'util-linux'],
  ] as const) {
    if (!programs.has(name))
      found.push(defect('program-missing', name, 'it is not installed', `install ${from}`));
  }
  if (!programs.has('useradd') && !programs.has('adduser')) {
    found.push(
      defect(
        'program-missing',
        'useradd',
        'there is no program that makes accounts',
        'install passwd (shadow)',
      ),
    );
  }
  if (libc === 'musl') {
    found.push(
      defect(
        'libc',
        '/lib',
        "the runtime that Beacon brings needs glibc, and this system's C library is musl",
        'use a system with glibc',
      ),
    );
  }
  const hasGroups = controlGroups2 || !live;
  if (
    !systemd &&
    !(
      hasGroups &&
      ['flock', 'setpriv', 'prlimit'].every((name) => [...programs.keys()].some((one) => one === name))
    )
  ) {
    found.push(
      defect(
        'no-bounds',
        '/sys/fs/cgroup',
        'there is neither systemd nor control groups (v2) with flock, setpriv and prlimit: a command could not be bounded or ended',
        'use systemd, or mount control groups v2 and install util-linux',
      ),
    );
  }
  if (sudoRs) {
    found.push(
      defect(
        'sudo-rs',
        'sudo',
        'it is sudo-rs, which knows no settings for one command',
        'install the other sudo (on Ubuntu: update-alternatives --config sudo)',
      ),
    );
  }
  if (programs.has('sudo') && !sudoersFolder) {
    found.push(
      defect(
        'sudoers-folder',
        '/etc/sudoers',
        'it does not read /etc/sudoers.d',
        'add the line with visudo: @includedir /etc/sudoers.d',
      ),
    );
  }
  return found;
}

function sshdObstacles({ sshd: { version, config, inclusion, vendorConfig }, programs }: Facts): Finding[] {
  if (!programs.has('sshd')) return [];
  if (version === undefined) {
    return [defect('sshd-version', 'sshd', 'it does not say its version', 'use OpenSSH 8.2 or newer')];
  }
  if (version[0] < OLDEST_SSHD[0] || (version[0] === OLDEST_SSHD[0] && version[1] < OLDEST_SSHD[1])) {
    return [
      defect(
        'sshd-version',
        'sshd',
        `it is OpenSSH ${version.join('.')}; what is needed came with 8.2`,
        'use OpenSSH 8.2 or newer',
      ),
    ];
  }
  if (config === undefined) {
    return [
      defect(
        'sshd-config',
        SSHD_CONFIG,
        vendorConfig === undefined ? 'there is no such file' : `sshd reads ${vendorConfig} instead of it`,
        vendorConfig === undefined
          ? 'install the configuration of openssh-server'
          : `cp ${vendorConfig} ${SSHD_CONFIG}`,
      ),
    ];
  }
  const line = 'Include /etc/ssh/sshd_config.d/*.conf';
  if (inclusion.kind === 'missing') {
    return [
      defect(
        'include-missing',
        SSHD_CONFIG,
        'it does not include drop-ins',
        `put as its first line: ${line}`,
      ),
    ];
  }
  if (inclusion.kind === 'in-match') {
    return [
      defect(
        'include-in-match',
        `${SSHD_CONFIG}, line ${inclusion.line}`,
        `drop-ins are included inside of "${inclusion.match.slice(0, 60)}" alone`,
        `move this line above every Match: ${line}`,
      ),
    ];
  }
  return [];
}

function systemObstacles(facts: Facts, { userCa }: LoginToCheck): Finding[] {
  const found: Finding[] = [];
  for (const [path, options] of facts.mounts) {
    if (options.includes('ro') && path !== '/usr/bin') {
      found.push(
        defect(
          'read-only',
          path,
          'it is mounted read-only',
          'put Beacon into the image with --root, or mount it writable',
        ),
      );
    }
    if (path === '/usr/bin' && options.includes('nosuid')) {
      found.push(
        defect(
          'nosuid',
          path,
          'it is mounted nosuid: sudo could not start the gate',
          'mount it without nosuid',
        ),
      );
    }
    if (path === '/usr/lib' && options.includes('noexec')) {
      found.push(
        defect('noexec', path, 'it is mounted noexec: the gate could not start', 'mount it without noexec'),
      );
    }
  }
  if (facts.fips && userCa.some((line) => line.startsWith('ssh-ed25519 ') || line.startsWith('sk-'))) {
    found.push(
      defect(
        'fips',
        '/proc/sys/crypto/fips_enabled',
        'this machine is in FIPS mode, and sshd refuses the Ed25519 key of the CA',
        'use a CA key of type ecdsa-sha2-nistp256 or rsa',
      ),
    );
  }
  if (facts.selinux !== 'off') {
    found.push(
      note(
        'selinux',
        'SELinux',
        `it is ${facts.selinux}`,
        "init labels its files by restorecon where that is installed; where sshd may not start what lies in /usr/lib/beacon: semanage fcontext -a -t bin_t '/usr/lib/beacon(/.*)?'; restorecon -R /usr/lib/beacon; denials: ausearch -m avc -ts recent",
      ),
    );
  }
  if (facts.clockSynchronised === false) {
    found.push(
      note(
        'clock',
        'clock',
        'nothing keeps it synchronised',
        'run chrony or systemd-timesyncd: certificates live for minutes',
      ),
    );
  }
  return found;
}
