/**
 * The machine's own accounts, read from its files, and made and removed by its own programs, which hold the locks that
 * belong to them. A password field is `*`: `!` would make an sshd without PAM refuse the login.
 */

import { readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import type { Machine } from './machine.ts';

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
  /** Undefined where the shadow file cannot be read or does not have it. */
  readonly password: string | undefined;
  /** The day after which the account is expired, counted from 1970; undefined when it never is. */
  readonly expiresDay: number | undefined;
  /** The name of its own group; undefined where nothing has that number. */
  readonly group: string | undefined;
  /** The groups besides its own. */
  readonly groups: readonly string[];
}

/** An account that a host needs. */
export interface WantedAccount {
  readonly name: string;
  readonly home: string;
  readonly shell: string;
}

/** The files that hold accounts, and the copies that the system's programs make of them. */
export const ACCOUNT_FILES = ['passwd', 'group', 'shadow', 'gshadow', 'subuid', 'subgid'].flatMap((name) => [
  `/etc/${name}`,
  `/etc/${name}-`,
]);

export function readAccounts(machine: Machine): Map<string, Account> {
  const passwords = new Map(rows(machine, '/etc/shadow').map((row) => [row[0] ?? '', row] as const));
  const groups = rows(machine, '/etc/group');
  return new Map(
    rows(machine, '/etc/passwd')
      .filter((row) => row.length >= 7)
      .map(([name = '', , uid, gid, , home = '', shell = '']) => {
        const shadow = passwords.get(name);
        const expires = shadow?.[7];
        const account: Account = {
          name,
          uid: Number(uid),
          gid: Number(gid),
          home,
          shell,
          password: shadow?.[1],
          expiresDay: expires === undefined || expires === '' ? undefined : Number(expires),
          group: groups.find(([, , id]) => id === gid)?.[0],
          groups: groups
            .filter(([, , id, members = '']) => id !== gid && members.split(',').includes(name))
            .map(([group = '']) => group),
        };
        return [name, account] as const;
      }),
  );
}

/** Whether a group of that name is there. */
export function hasGroup(machine: Machine, name: string): boolean {
  return rows(machine, '/etc/group').some(([group]) => group === name);
}

/** Makes a system account with a group of its own name. Done a second time it changes nothing. */
export function makeAccount(machine: Machine, { name, home, shell }: WantedAccount): void {
  if (!readAccounts(machine).has(name)) {
    if (machine.find('useradd') === undefined) {
      if (!hasGroup(machine, name)) need(machine, ['addgroup', '-S', name]);
      need(machine, ['adduser', '-S', '-D', '-H', '-G', name, '-h', home, '-s', shell, name]);
    } else {
      const group = hasGroup(machine, name) ? ['--gid', name] : ['--user-group'];
      const where = ['--home-dir', home, '--shell', shell];
      need(machine, ['useradd', '--system', ...group, '--no-create-home', ...where, name]);
    }
  }
  if (readAccounts(machine).get(name)?.password !== '*') need(machine, ['chpasswd', '-e'], `${name}:*\n`);
}

/** Removes an account and its group; done a second time it changes nothing. What it owns elsewhere stays. */
export function removeAccount(machine: Machine, name: string): void {
  const hasShadow = machine.find('userdel') !== undefined;
  if (readAccounts(machine).has(name)) need(machine, [hasShadow ? 'userdel' : 'deluser', name]);
  if (hasGroup(machine, name)) need(machine, [hasShadow ? 'groupdel' : 'delgroup', name]);
}

function need(machine: Machine, argv: readonly string[], input?: string): void {
  const { status, stderr, stdout } = machine.run(argv, input);
  if (status === 0) return;
  const said = (stderr || stdout).trim().slice(0, 400);
  throw new HostError('step-failed', `${argv.join(' ')} failed: ${said}: put that right and try again`);
}

function rows(machine: Machine, path: string): string[][] {
  return (readIfThere(machine.at(path))?.toString('utf8') ?? '')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}
