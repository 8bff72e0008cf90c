/**
 * What a machine is, found by looking and not by the name of its system (DESIGN.md section 6): programs, sshd and its
 * configuration, accounts, mounts, and what a first deployment trips over. Reads; decides nothing.
 */
import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { type Account, readAccounts } from './accounts.ts';
import { readIfThere } from './durable-file.ts';
import type { Machine } from './machine.ts';
import { readPam } from './pam.ts';
import { findInclusion, type Inclusion, readSshdVersion, SSHD_CONFIG, type SshdVersion } from './sshd.ts';

const PROGRAMS = [
  'sshd',
  'ssh-keygen',
  'sudo',
  'visudo',
  'useradd',
  'adduser',
  'userdel',
  'deluser',
  'chpasswd',
  'sha256sum',
  'flock',
  'setpriv',
  'prlimit',
  'systemd-run',
  'systemctl',
  'cron',
  'crond',
  'restorecon',
] as const;

export type ProgramName = (typeof PROGRAMS)[number];

export interface Facts {
  readonly live: boolean;
  /** As the machine calls itself, for people alone. */
  readonly system: string;
  readonly isRoot: boolean;
  /** Which C library programs of the machine use; the runtime that Beacon brings wants glibc. */
  readonly libc: 'glibc' | 'musl' | 'unknown';
  readonly programs: ReadonlyMap<ProgramName, string>;
  /** sudo as rewritten in Rust, which knows no settings for one command. */
  readonly sudoRs: boolean;
  readonly sshd: {
    readonly version: SshdVersion | undefined;
    readonly config: string | undefined;
    readonly inclusion: Inclusion;
    /** The maker's own configuration, which sshd reads where there is none in /etc. */
    readonly vendorConfig: string | undefined;
  };
  /** systemd is the first process, or, in an image, is installed. */
  readonly systemd: boolean;
  /** cron is installed, and has a folder of tables. */
  readonly cron: boolean;
  readonly controlGroups2: boolean;
  /** Whether sudo reads /etc/sudoers.d. */
  readonly sudoersFolder: boolean;
  readonly accounts: ReadonlyMap<string, Account>;
  readonly selinux: 'enforcing' | 'permissive' | 'off';
  readonly fips: boolean;
  /** Undefined where nobody can say. */
  readonly clockSynchronised: boolean | undefined;
  /** Mount options of what holds each of these paths. */
  readonly mounts: ReadonlyMap<string, readonly string[]>;
  /** The lines of the rules of pam_access, where sshd asks it. */
  readonly accessRules: readonly string[] | undefined;
  /** Other modules of PAM that may keep a login out. */
  readonly pamOthers: readonly string[];
  /** A file that keeps everybody but root out. */
  readonly nologin: string | undefined;
}

const WATCHED_MOUNTS = ['/usr/lib', '/usr/bin', '/etc', '/var/lib'] as const;
const VENDOR_CONFIG = '/usr/etc/ssh/sshd_config';

export function lookAt(machine: Machine): Facts {
  const programs = new Map(
    PROGRAMS.flatMap((name) => {
      const path = machine.find(name);
      return path === undefined ? [] : [[name, path] as const];
    }),
  );
  const text = (path: string): string | undefined => readIfThere(machine.at(path))?.toString('utf8');
  const sshd = programs.get('sshd');
  const config = text(SSHD_CONFIG);
  const systemd = existsSync(machine.at(machine.live ? '/run/systemd/system' : '/usr/lib/systemd/systemd'));
  const pam = readPam({ text, list: (path) => listFolder(machine, path) });
  return {
    live: machine.live,
    system: nameOf(text('/etc/os-release') ?? ''),
    isRoot: process.getuid?.() === 0,
    libc: findLibc(machine),
    programs,
    sudoRs: programs.has('sudo') && machine.run(['sudo', '-V']).stdout.startsWith('sudo-rs'),
    sshd: {
      version: sshd === undefined ? undefined : readSshdVersion(machine, sshd),
      config,
      inclusion: findInclusion(config ?? ''),
      vendorConfig: [VENDOR_CONFIG].find((path) => existsSync(machine.at(path))),
    },
    systemd,
    cron: (programs.has('cron') || programs.has('crond')) && existsSync(machine.at('/etc/cron.d/.')),
    controlGroups2: machine.live && existsSync('/sys/fs/cgroup/cgroup.controllers'),
    sudoersFolder: /^\s*[@#]includedir\s+\/etc\/sudoers\.d\s*$/m.test(text('/etc/sudoers') ?? ''),
    accounts: readAccounts(machine),
    selinux: findSelinux(machine, text('/etc/selinux/config')),
    fips: isFips(machine, text),
    clockSynchronised: machine.live ? askClock(machine, systemd) : undefined,
    mounts: machine.live ? findMounts(text('/proc/self/mounts') ?? '') : new Map(),
    accessRules: pam.accessRules,
    pamOthers: pam.others,
    nologin: ['/etc/nologin', '/run/nologin'].find((path) => existsSync(machine.at(path))),
  };
}

function nameOf(release: string): string {
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(release)?.[1]?.slice(0, 80) ?? 'an unnamed system';
}

function findLibc(machine: Machine): Facts['libc'] {
  const has = (folder: string, form: RegExp): boolean =>
    listFolder(machine, folder).some((name) => form.test(name));
  if (['/lib64', '/lib', '/usr/lib64'].some((folder) => has(folder, /^ld-linux-[a-z0-9-]+\.so\.\d$/)))
    return 'glibc';
  return has('/lib', /^ld-musl-/) ? 'musl' : 'unknown';
}

function findSelinux(machine: Machine, config: string | undefined): Facts['selinux'] {
  if (!machine.live) {
    if (config === undefined || /^SELINUX=disabled/m.test(config)) return 'off';
    return /^SELINUX=enforcing/m.test(config) ? 'enforcing' : 'permissive';
  }
  const enforce = readIfThere('/sys/fs/selinux/enforce')?.toString('latin1');
  if (enforce === undefined) return 'off';
  return enforce.startsWith('1') ? 'enforcing' : 'permissive';
}

/** A policy of the whole system says it in an image too. */
function isFips(machine: Machine, text: (path: string) => string | undefined): boolean {
  if (machine.live && text('/proc/sys/crypto/fips_enabled')?.trim() === '1') return true;
  return text('/etc/crypto-policies/state/current')?.startsWith('FIPS') === true;
}

function askClock(machine: Machine, systemd: boolean): boolean | undefined {
  if (machine.find('chronyc') !== undefined) {
    const { status, stdout } = machine.run(['chronyc', '-n', 'tracking']);
    if (status === 0) return /^Leap status\s*:\s*(?!Not synchronised)/m.test(stdout);
  }
  if (!systemd || machine.find('timedatectl') === undefined) return undefined;
  const { status, stdout } = machine.run(['timedatectl', 'show', '--property=NTPSynchronized', '--value']);
  return status === 0 ? stdout.trim() === 'yes' : undefined;
}

function findMounts(text: string): Map<string, readonly string[]> {
  const mounts = text
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, place]) => place !== undefined);
  return new Map(
    WATCHED_MOUNTS.map((path) => {
      const holding = mounts.filter(
        ([, place = '']) => path === place || `${path}/`.startsWith(`${place}/`) || place === '/',
      );
      const longest = holding.reduce(
        (best, one) => ((one[1] ?? '').length >= (best[1] ?? '').length ? one : best),
        ['', ''],
      );
      return [path, (longest[3] ?? '').split(',')] as const;
    }),
  );
}

function listFolder(machine: Machine, path: string): string[] {
  try {
    return readdirSync(machine.at(`${path}/.`));
  } catch {
    return [];
  }
}

/** What lies at a path of the machine: undefined where nothing does. A link is not followed. */
export function statOf(machine: Machine, path: string): ReturnType<typeof lstatSync> | undefined {
  return lstatSync(machine.at(path), { throwIfNoEntry: false });
}
