/**
 * What starts a host's first process in its namespaces: systemd by `systemd-nspawn` for a whole machine, or, for many
 * hosts at little cost, sshd itself by `unshare`, without systemd, units or limits. Both stand in the host's network
 * namespace and see its root folder alone.
 */
import { systemdRuns } from './control-groups.ts';
import { INIT } from './root-folder.ts';

/** `whole`: a machine with systemd. `light`: namespaces and sshd alone. */
export type HostForm = 'whole' | 'light';

export interface FirstProcess {
  /** The host's folder, with the mounted root in it. */
  readonly folder: string;
  readonly name: string;
  /** What systemd-nspawn calls the machine. */
  readonly machine: string;
  readonly namespacePath: string;
  /** Control groups to enter before. */
  readonly groups: readonly string[];
  /** What of this machine it sees, read-only: there, and here. */
  readonly binds: Readonly<Record<string, string>>;
}

const ENTER_GROUPS =
  'for group do [ "$group" != -- ] || break; echo $$ >"$group/cgroup.procs"; shift; done; shift; exec "$@"';

/** The command that becomes, or watches, the first process of a host. */
export function firstProcess(form: HostForm, process: FirstProcess): string[] {
  return [
    ...['/bin/sh', '-euc', ENTER_GROUPS, 'beacon-lab', ...process.groups, '--'],
    ...(form === 'whole' ? whole(process) : light(process)),
  ];
}

function whole({ folder, name, machine, namespacePath, binds }: FirstProcess): string[] {
  return [
    ...[
      'systemd-nspawn',
      '--quiet',
      `--directory=${folder}/root`,
      `--machine=${machine}`,
      `--hostname=${name}`,
    ],
    ...[`--network-namespace-path=${namespacePath}`, '--resolv-conf=off', '--timezone=off', '--register=no'],
    ...(systemdRuns() ? [] : ['--keep-unit']),
    ...['--link-journal=no', '--console=pipe', '--kill-signal=SIGRTMIN+3'],
    ...Object.entries(binds).map(([to, from]) => `--bind-ro=${from}:${to}`),
    `/${INIT}`,
  ];
}

function light({ folder, name, namespacePath, binds }: FirstProcess): string[] {
  return [
    ...[
      'nsenter',
      `--net=${namespacePath}`,
      'unshare',
      '--mount',
      '--pid',
      '--uts',
      '--ipc',
      '--fork',
      '--kill-child',
    ],
    ...['sh', '-euc', LIGHT, 'beacon-lab', `${folder}/root`, name, ...Object.entries(binds).flat()],
  ];
}

/** The root folder becomes the root: what was under it before is gone from this mount namespace. */
const LIGHT = `
root=$1; hostname "$2"; shift 2; cd "$root"
while [ $# -gt 0 ]; do mkdir -p "./$1"; mount --bind "$2" "./$1"; mount -o remount,bind,ro "./$1"; shift 2; done
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t tmpfs -o nosuid,nodev,mode=755 run run
mount -t tmpfs -o nosuid,nodev,mode=1777 tmp tmp
mount -t tmpfs -o nosuid,mode=755 dev dev
for device in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 666 "dev/\${device%:*}" c 1 "\${device#*:}"
done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm run/sshd
mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
pivot_root . .
umount -l .
cd /
exec /usr/sbin/sshd -D -e
`;
