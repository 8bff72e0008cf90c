/**
 * Why a machine cannot be a managed host as it is, and what to do about each: what `init` refuses, and what `check`
 * finds later. Pure: facts in, findings out. A defect stops `init`; a note does not.
 */
import type { Facts } from './facts.ts';
import { SSHD_CONFIG } from './sshd.ts';

export interface Finding {
  readonly kind: 'defect' | 'note';
  /** Stable, for programs. */
  readonly code: string;
  /** The file, account or setting. */
  readonly place: string;
  readonly what: string;
  readonly remedy: string;
}

/** What the trust root's CA keys are, as far as it matters here. */
export interface LoginToCheck {
  readonly login: string;
  readonly userCa: readonly string[];
  /** What is in force for the login, where sshd could be asked. */
  readonly settings: ReadonlyMap<string, readonly string[]> | undefined;
}

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
}: Facts): Finding[] {
  const found: Finding[] = [];
  for (const [name, from] of [
    ['sshd', 'openssh-server'],
    ['ssh-keygen', 'openssh-client (openssh-keygen)'],
    ['sudo', 'sudo'],
    ['visudo', 'sudo'],
    ['sha256sum', 'coreutils'],
    ['chpasswd', 'passwd (shadow)'],
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

function sshdObstacles({ sshd: { version, config, inclusion }, programs }: Facts): Finding[] {
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
        'there is no such file',
        'install the configuration of openssh-server',
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
    if (options.includes('ro')) {
      found.push(
        defect(
          'read-only',
          path,
          'it is mounted read-only',
          'put Beacon into the image with --root, or mount it writable',
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
        'init labels its files by restorecon where that is installed; look for denials with: ausearch -m avc -ts recent',
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

function loginObstacles(facts: Facts, { login, settings }: LoginToCheck): Finding[] {
  const found: Finding[] = [];
  if (facts.nologin !== undefined) {
    found.push(
      defect(
        'nologin',
        facts.nologin,
        'it keeps everybody but root out',
        `remove it when maintenance is over: rm ${facts.nologin}`,
      ),
    );
  }
  const rule = accessRuleFor(facts.accessRules ?? [], login);
  if (rule !== undefined) {
    found.push(
      defect(
        'pam-access',
        '/etc/security/access.conf',
        `the rule "${rule.slice(0, 60)}" refuses the login`,
        `put above it: +:${login}:ALL`,
      ),
    );
  }
  if (settings === undefined) return found;
  const own = facts.accounts.get(login);
  const groups = [login, ...(own?.groups ?? [])];
  const list = (keyword: string): string[] =>
    (settings.get(keyword) ?? []).flatMap((line) => line.split(' '));
  const users = list('allowusers');
  if (users.length > 0 && !users.some((pattern) => matches(pattern.split('@')[0] ?? '', login))) {
    found.push(
      defect(
        'allow-users',
        'AllowUsers',
        `sshd lets in only ${users.join(' ').slice(0, 100)}`,
        `add to sshd's configuration: AllowUsers ${login}`,
      ),
    );
  }
  if (list('denyusers').some((pattern) => matches(pattern.split('@')[0] ?? '', login))) {
    found.push(
      defect('deny-users', 'DenyUsers', 'sshd keeps the login out', `take ${login} out of DenyUsers`),
    );
  }
  const allowed = list('allowgroups');
  if (allowed.length > 0 && !allowed.some((pattern) => groups.some((group) => matches(pattern, group)))) {
    found.push(
      defect(
        'allow-groups',
        'AllowGroups',
        `sshd lets in only ${allowed.join(' ').slice(0, 100)}`,
        `add to sshd's configuration: AllowGroups ${login}`,
      ),
    );
  }
  if (list('denygroups').some((pattern) => groups.some((group) => matches(pattern, group)))) {
    found.push(
      defect(
        'deny-groups',
        'DenyGroups',
        "sshd keeps the login's group out",
        `take the group of ${login} out of DenyGroups`,
      ),
    );
  }
  const algorithms =
    settings.get('pubkeyacceptedalgorithms')?.[0] ?? settings.get('pubkeyacceptedkeytypes')?.[0];
  if (algorithms !== undefined && !algorithms.includes('ssh-ed25519-cert-v01@openssh.com')) {
    found.push(
      defect(
        'accepted-algorithms',
        'PubkeyAcceptedAlgorithms',
        'sshd does not accept Ed25519 certificates',
        'add ssh-ed25519-cert-v01@openssh.com to PubkeyAcceptedAlgorithms',
      ),
    );
  }
  if ((settings.get('setenv') ?? []).length > 0) {
    found.push(
      defect(
        'set-env',
        'SetEnv',
        "sshd puts variables into every login's environment, the shell of Beacon's login too",
        'put SetEnv into Match blocks of those who need it',
      ),
    );
  }
  if ((settings.get('permituserenvironment')?.[0] ?? 'no') !== 'no') {
    found.push(
      defect(
        'user-environment',
        'PermitUserEnvironment',
        'it is on: a file in a home sets variables of a login',
        "put into sshd's configuration: PermitUserEnvironment no",
      ),
    );
  }
  return found;
}

/** The first rule that is about the login, where it refuses. */
function accessRuleFor(rules: readonly string[], login: string): string | undefined {
  const rule = rules.find((line) => {
    const [, who = ''] = line.split(':');
    const [named = '', except = ''] = who.split(/\s+EXCEPT\s+/);
    const includes = (list: string): boolean =>
      list.split(/[\s,]+/).some((one) => one === 'ALL' || one === login || one === `(${login})`);
    return includes(named) && !(except !== '' && includes(except));
  });
  return rule?.trim().startsWith('-') === true ? rule : undefined;
}

/** sshd's own patterns: `*` and `?`. */
function matches(pattern: string, text: string): boolean {
  const form = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${form}$`).test(text);
}

export function defect(code: string, place: string, what: string, remedy: string): Finding {
  return { kind: 'defect', code, place, what, remedy };
}

export function note(code: string, place: string, what: string, remedy: string): Finding {
  return { kind: 'note', code, place, what, remedy };
}
