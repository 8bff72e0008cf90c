/** Making sshd and systemd take what lies in their folders: by reload, never by restart, and only after sshd's own test. */
import { readlinkSync } from 'node:fs';
import { readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import type { Machine } from './machine.ts';

const UNITS = ['ssh.service', 'sshd.service'];
export const TIMER = 'beacon-host-sync.timer';

/** Open sessions go on. Where sshd does not run, or is started for each login, there is nothing to reload. */
export function reloadSshd(machine: Machine, sshd: string): void {
  if (!machine.live) return;
  const test = machine.run([sshd, '-t']);
  if (test.status !== 0) {
    throw new HostError(
      'sshd-refuses',
      `sshd refuses its configuration: ${test.stderr.trim().slice(0, 300)}: put that right`,
    );
  }
  for (const unit of machine.find('systemctl') === undefined ? [] : UNITS) {
    if (machine.run(['systemctl', 'is-active', '--quiet', unit]).status !== 0) continue;
    const { status, stderr } = machine.run(['systemctl', 'reload', unit]);
    if (status !== 0) {
      throw new HostError(
        'step-failed',
        `systemctl reload ${unit} failed: ${stderr.trim().slice(0, 300)}: put that right`,
      );
    }
    return;
  }
  const pid = Number(readIfThere('/run/sshd.pid')?.toString('latin1').trim());
  if (Number.isInteger(pid) && pid > 1 && programOf(pid).endsWith('/sshd')) process.kill(pid, 'SIGHUP');
}

/** systemd reads its units anew, and starts the timer where it is wanted. */
export function startTimer(machine: Machine): void {
  if (!machine.live || machine.find('systemctl') === undefined) return;
  machine.run(['systemctl', 'daemon-reload']);
  const { status, stderr } = machine.run(['systemctl', 'start', TIMER]);
  if (status === 0) return;
  throw new HostError(
    'step-failed',
    `systemctl start ${TIMER} failed: ${stderr.trim().slice(0, 300)}: put that right`,
  );
}

export function stopTimer(machine: Machine): void {
  if (!machine.live || machine.find('systemctl') === undefined) return;
  machine.run(['systemctl', 'stop', TIMER, 'beacon-host-sync.service']);
}

export function forgetUnits(machine: Machine): void {
  if (machine.live && machine.find('systemctl') !== undefined) machine.run(['systemctl', 'daemon-reload']);
}

function programOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return '';
  }
}
