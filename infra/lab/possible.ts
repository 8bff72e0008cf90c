/** Whether a lab can be had here, found out by trying in namespaces that vanish with the try. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SYSTEM_PATH } from './system-command.ts';

const PROGRAMS = {
  'systemd-nspawn': 'systemd-container',
  'dbus-daemon': 'dbus',
  ip: 'iproute2',
  sshd: 'openssh-server',
  sudo: 'sudo',
} as const;

const TRY = `
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay try -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mknod "$1/upper/whiteout" c 0 0
ip link add name try0 type bridge
ip link add name try1 type veth peer name try2
`;

/** Why no lab can be had here, for a person; undefined when it can. */
export function whyNoLab(): string | undefined {
  if (process.platform !== 'linux') return 'a lab needs Linux';
  if (process.getuid?.() !== 0) return 'a lab needs root';
  const missing = Object.entries(PROGRAMS).filter(
    ([program]) => !SYSTEM_PATH.split(':').some((folder) => existsSync(join(folder, program))),
  );
  if (missing.length > 0)
    return `a lab needs ${missing.map(([, name]) => name).join(', ')}: run scripts/setup as root`;
  const folder = mkdtempSync(join(tmpdir(), 'beacon-lab-try-'));
  try {
    const { status, stderr } = spawnSync(
      'unshare',
      ['--mount', '--net', '--propagation', 'private', 'sh', '-ec', TRY, 'try', folder],
      { encoding: 'utf8', env: { PATH: SYSTEM_PATH } },
    );
    return status === 0 ? undefined : `a lab cannot be made here: ${stderr.trim()}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
