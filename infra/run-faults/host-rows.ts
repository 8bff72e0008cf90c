/** What the host, its disk and the way to it may do to a run. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type FaultRow, step } from './fault-row.ts';
import type { RowStage } from './fault-stage.ts';

const RUNNERS = '/opt/beacon/runners';
const PRINCIPALS = '/usr/lib/beacon/principals';
const CERTIFICATE = '/etc/beacon/host-cert.pub';
const KEY = '/etc/ssh/ssh_host_ed25519_key.pub';
/** What the host sends goes nowhere from then on, and nobody is told. */
const SILENT =
  'ip route add blackhole "$(ip -4 -o address show dev host0 | sed -n \'s/.*inet \\([0-9.]*\\)[.][0-9]*\\/24.*/\\1/p\').1"';
const HEARD = 'ip route flush type blackhole';
const onHost = (script: string) => (row: RowStage) => row.host.script(script);

export const HOST_ROWS: readonly FaultRow[] = [
  {
    fault: 'Nothing listens on the host',
    step: 'the broker connects',
    sees: 'nothing listens at the address and port',
    todo: 'check that sshd runs there',
    phase: 'failed',
    isAlone: true,
    arrange: onHost('systemctl stop ssh.socket 2>/dev/null || :; systemctl stop ssh'),
    mend: onHost('systemctl start ssh'),
  },
  {
    fault: 'The host answers nothing',
    step: 'the broker connects',
    sees: 'did not answer in time',
    todo: 'check that it is up, its address, and the firewalls on the way',
    phase: 'failed',
    isAlone: true,
    arrange: onHost(SILENT),
    mend: onHost(HEARD),
  },
  {
    fault: 'The host answers nothing any more',
    step: 'a command runs',
    sees: 'interrupted',
    todo: 'look',
    phase: 'cancelled',
    isAlone: true,
    act: {
      when: step('runner.install', 'sent'),
      doing: async (row, id) => {
        await row.host.script(SILENT);
        while ((await row.api.run(id)).phase !== 'interrupted') await sleep(1_000);
        await row.host.script(HEARD);
      },
    },
    press: ['look', 'undo'],
  },
  {
    fault: 'The host has no certificate of its own',
    step: 'the broker connects',
    sees: 'has no host certificate',
    todo: 'check the address',
    phase: 'failed',
    isAlone: true,
    arrange: onHost(`mv ${CERTIFICATE} ${CERTIFICATE}.aside; systemctl restart ssh`),
    mend: onHost(`mv ${CERTIFICATE}.aside ${CERTIFICATE}; systemctl restart ssh`),
  },
  {
    fault: "The host's certificate is of another CA",
    step: 'the broker connects',
    sees: 'has no certificate of our host CA for it',
    todo: 'check the address, then beacon host check there',
    phase: 'failed',
    isAlone: true,
    arrange: onHost(
      `cp -a ${CERTIFICATE} ${CERTIFICATE}.aside; cp ${KEY} /run/other.pub; ssh-keygen -q -t ed25519 -N '' -f /run/other-ca; ` +
        `ssh-keygen -q -s /run/other-ca -h -I other -n "$(hostname)" /run/other.pub; cat /run/other-cert.pub >${CERTIFICATE}; systemctl restart ssh`,
    ),
    mend: onHost(`mv ${CERTIFICATE}.aside ${CERTIFICATE}; systemctl restart ssh`),
  },
  {
    fault: 'The host refuses the certificate',
    step: 'the broker connects',
    sees: 'does not take the certificate',
    todo: 'beacon host check there',
    phase: 'denied',
    isAlone: true,
    arrange: onHost(`mv ${PRINCIPALS} ${PRINCIPALS}.aside`),
    mend: onHost(`mv ${PRINCIPALS}.aside ${PRINCIPALS}`),
  },
  {
    fault: 'The connection to the host is cut; the person looks and undoes',
    step: 'a command runs',
    sees: 'the connection was cut',
    todo: 'look',
    phase: 'cancelled',
    isAlone: true,
    act: { when: step('runner.install', 'succeeded'), doing: onHost("pkill -KILL -f '^sshd: beacon'") },
    press: ['look', 'undo'],
  },
  {
    fault: 'The connection to the host is cut; the person looks and resumes',
    step: 'a command runs',
    sees: 'the connection was cut',
    todo: 'resume',
    phase: 'succeeded',
    onHost: true,
    atGitHub: 1,
    isAlone: true,
    act: { when: step('runner.install', 'succeeded'), doing: onHost("pkill -KILL -f '^sshd: beacon'") },
    press: ['look', 'resume'],
  },
  {
    fault: 'The disk is full',
    step: 'the host is looked at',
    sees: 'KiB free, and a runner wants',
    todo: 'its output says why',
    phase: 'failed',
    isAlone: true,
    arrange: onHost(`mount -t tmpfs -o size=512k tmpfs ${RUNNERS}`),
    mend: onHost(`umount ${RUNNERS}`),
  },
  {
    fault: 'The disk is full',
    step: 'the programs are laid down',
    sees: 'No space left on device',
    todo: 'its output says why',
    phase: 'failed',
    isAlone: true,
    arrange: onHost(`mount -t tmpfs -o size=4m,nr_inodes=8,mode=755 tmpfs ${RUNNERS}`),
    mend: onHost(`umount ${RUNNERS}`),
  },
  {
    fault: 'The digest is wrong',
    step: 'the programs are laid down',
    sees: 'its SHA-256 is another. Nothing was unpacked',
    todo: 'its output says why',
    phase: 'failed',
    params: (row) => ({ ...row.params, sha256: '0'.repeat(64) }),
  },
  {
    fault: 'A command takes too long',
    step: 'the programs are laid down',
    sees: 'runner.install took longer than the host allows and was stopped',
    todo: 'try again',
    phase: 'failed',
    isAlone: true,
    arrange: async (row) => {
      row.fault('archive', 'slow', { seconds: 8, times: 1 });
      await row.host.script(
        `cp -a /etc/beacon/allowlist.json /run/allowlist; rm -rf ${RUNNERS}/programs/*-*; ` +
          'sed -i "s/\\"timeout_seconds\\": *900/\\"timeout_seconds\\":3/g" /etc/beacon/allowlist.json',
      );
    },
    mend: onHost('cat /run/allowlist >/etc/beacon/allowlist.json'),
  },
];
