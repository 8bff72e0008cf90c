/**
 * The root folder of a lab host: an overlay over this machine's `/`, so that it has the machine's programs, and nothing
 * of what belongs to the machine or its owner. What is taken over is a list (`/usr`, and of `/etc` what everybody may
 * read); everything else is hidden or made new: home folders, keys, passwords, units, node.
 */
import {
  chmodSync,
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { requireProgram } from './system-command.ts';

/** What of `/` a host sees. */
const KEPT = /^(bin|etc|lib|lib32|lib64|libx32|sbin|usr|var)$/;
const KEPT_OF_VAR_LIB = /^(dpkg|pam)$/;
/** A host is a machine without Node, and what the owner installed by hand is nobody's business. */
const HIDDEN = ['usr/local', 'usr/bin/node', 'usr/bin/nodejs', 'usr/bin/npm', 'usr/bin/npx'];
/** Besides what not everybody may read: places for passwords of registries and proxies, and what starts programs. */
const HIDDEN_OF_ETC =
  /^(environment|environment\.d|fstab|hosts|hostname|init\.d|machine-id|npmrc|pip\.conf|profile\.d|rc.\.d|resolv\.conf|ssh|subuid|subgid|sudoers|sudoers\.d|wgetrc)$/;
const SYSTEM_UNITS = '/lib/systemd/system';

export interface HostRoot {
  /** The folder that holds all of it. */
  readonly folder: string;
  /** The merged root, a mount point. */
  readonly root: string;
}

/** Lays out and mounts the root of the host `name` below `folder`. Its host key is made anew. */
export async function makeRoot(folder: string, name: string, address: string): Promise<HostRoot> {
  const upper = join(folder, 'upper');
  const root = join(folder, 'root');
  for (const path of [upper, join(folder, 'work'), root]) mkdirSync(path, { mode: 0o755 });
  await whiteOut(folder, upper, hiddenPaths());
  const options = `lowerdir=/,upperdir=${upper},workdir=${join(folder, 'work')}`;
  await requireProgram(['mount', '-t', 'overlay', 'beacon-lab', '-o', options, root]);
  writeSystem(root, name, address);
  await requireProgram([
    'ssh-keygen',
    '-q',
    '-t',
    'ed25519',
    '-N',
    '',
    '-C',
    name,
    '-f',
    join(root, 'etc/ssh/ssh_host_ed25519_key'),
  ]);
  return { folder, root };
}

/** Paths below `/` that a host must not see; a folder stands for all in it. */
function hiddenPaths(): string[] {
  const below = (folder: string) => readdirSync(join('/', folder)).map((name) => join(folder, name));
  return [
    ...readdirSync('/').filter((name) => !KEPT.test(name)),
    ...below('etc').filter((path) => HIDDEN_OF_ETC.test(path.slice('etc/'.length))),
    ...unreadable('etc').filter((path) => !HIDDEN_OF_ETC.test(path.split('/')[1] ?? '')),
    ...below('etc/systemd'),
    ...below('var').filter((path) => path !== 'var/lib'),
    ...below('var/lib').filter((path) => !KEPT_OF_VAR_LIB.test(path.slice('var/lib/'.length))),
    ...HIDDEN.filter(exists),
  ];
}

function exists(path: string): boolean {
  return lstatSync(join('/', path), { throwIfNoEntry: false }) !== undefined;
}

/** Files and folders that are not for everybody to read. */
function unreadable(folder: string): string[] {
  return readdirSync(join('/', folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isSymbolicLink()) return [];
    if ((lstatSync(join('/', path)).mode & 0o004) === 0) return [path];
    return entry.isDirectory() ? unreadable(path) : [];
  });
}

/** A character device 0/0 in the upper folder hides what lies under it; one with many names will do. */
async function whiteOut(folder: string, upper: string, paths: readonly string[]): Promise<void> {
  const device = join(folder, 'nothing');
  await requireProgram(['mknod', device, 'c', '0', '0']);
  for (const path of paths) {
    mkdirSync(dirname(join(upper, path)), { recursive: true });
    linkSync(device, join(upper, path));
  }
}

/** Everything that a freshly installed machine has of its own. */
function writeSystem(root: string, name: string, address: string): void {
  const write = (path: string, text: string, mode = 0o644) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text, { mode });
    chmodSync(join(root, path), mode);
  };
  const enable = (unit: string, wants: string) => {
    mkdirSync(join(root, 'etc/systemd/system', wants), { recursive: true });
    symlinkSync(join(SYSTEM_UNITS, unit), join(root, 'etc/systemd/system', wants, unit));
  };
  for (const path of ['dev', 'home', 'media', 'mnt', 'opt', 'proc', 'run', 'srv', 'sys', 'usr/local/bin'])
    mkdirSync(join(root, path), { recursive: true, mode: 0o755 });
  mkdirSync(join(root, 'root'), { mode: 0o700 });
  mkdirSync(join(root, 'tmp'));
  chmodSync(join(root, 'tmp'), 0o1777);

  write('etc/hostname', `${name}\n`);
  write('etc/hosts', `127.0.0.1 localhost\n::1 localhost\n${address} ${name}\n`);
  write('etc/resolv.conf', '');
  write('etc/fstab', '');
  write('etc/machine-id', `${crypto.randomUUID().replaceAll('-', '')}\n`);
  writeAccounts(root, write);
  write(
    'etc/sudoers',
    'Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n',
    0o440,
  );
  mkdirSync(join(root, 'etc/sudoers.d'), { mode: 0o750 });

  mkdirSync(join(root, 'etc/ssh/sshd_config.d'), { recursive: true });
  copyFileSync('/usr/share/openssh/sshd_config', join(root, 'etc/ssh/sshd_config'));
  chmodSync(join(root, 'etc/ssh/sshd_config'), 0o644);
  write('etc/ssh/sshd_config.d/90-lab.conf', 'HostKey /etc/ssh/ssh_host_ed25519_key\n');

  write('etc/systemd/journald.conf', '[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n');
  enable('ssh.service', 'multi-user.target.wants');
  symlinkSync(join(SYSTEM_UNITS, 'multi-user.target'), join(root, 'etc/systemd/system/default.target'));
  write(INIT, INIT_TEXT, 0o755);
}

/** The system's own accounts, and nobody's password. */
function writeAccounts(root: string, write: (path: string, text: string, mode?: number) => void): void {
  const system = (file: string) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .filter(([name, , id]) => name !== undefined && name !== '' && (Number(id) < 1000 || id === '65534'));
  const people = system('/etc/passwd');
  const groups = system('/etc/group').map(([name, , id]) => [name, 'x', id, '']);
  const text = (lines: readonly (readonly (string | undefined)[])[]) =>
    lines.map((fields) => `${fields.join(':')}\n`).join('');
  write('etc/passwd', text(people));
  write('etc/group', text(groups));
  write(
    'etc/shadow',
    text(people.map(([name]) => [name, '*', '19000', '0', '99999', '7', '', '', ''])),
    0o640,
  );
  write('etc/gshadow', text(groups.map(([name]) => [name, '*', '', ''])), 0o640);
  rmSync(join(root, 'etc/subuid'), { force: true });
}

/** What runs before systemd, as the host's first process. */
export const INIT = 'usr/local/sbin/beacon-lab-init';

/**
 * With the old kind of control groups systemd-nspawn leaves the controllers read-only, and limits such as TasksMax would
 * be written to nobody. The host has its own groups below, so it may write.
 */
const INIT_TEXT = `#!/bin/sh
for controller in pids memory; do
  [ ! -d "/sys/fs/cgroup/$controller" ] || mount -o remount,bind,rw "/sys/fs/cgroup/$controller"
done
exec /lib/systemd/systemd
`;
