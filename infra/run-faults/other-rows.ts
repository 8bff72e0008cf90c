/** What CA, host and person may do to a run. GitHub's part is in `github-rows.ts`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { succeed } from '../demo/trust-ceremony.ts';
import { type FaultRow, inPhase, step } from './fault-row.ts';
import { leaveTeam, type RowStage } from './fault-stage.ts';

const NAMED = 'may still be registered at';

const stopCa = (row: RowStage) => row.opened.stage.kill();
const startCa = (row: RowStage) => row.opened.stage.serve();

const ca: readonly FaultRow[] = [
  {
    fault: 'The CA is down',
    step: 'the run is asked for',
    sees: 'the certificate authority does not answer',
    todo: 'try again',
    phase: 'refused',
    isAlone: true,
    arrange: async (row) => {
      // A token for the broker is at hand, so that the broker is the one that finds nobody.
      await row.api.hosts();
      await stopCa(row);
    },
    mend: startCa,
  },
  {
    fault: 'The CA is down',
    step: 'the token for GitHub is asked for',
    sees: 'the certificate authority does not answer',
    todo: 'try again',
    phase: 'failed',
    isAlone: true,
    act: { when: step('runner.preflight', 'started'), doing: stopCa },
    mend: startCa,
  },
  {
    fault: 'The CA is down',
    step: 'the second certificate is asked for',
    sees: 'the certificate authority does not answer',
    todo: 'try again',
    phase: 'failed',
    isAlone: true,
    arrange: (row) => row.fault('registration-token', 'slow', { seconds: 3, times: 1 }),
    act: {
      when: inPhase('preparing'),
      doing: async (row) => {
        await row.untilAsked('POST /registration-token');
        await stopCa(row);
      },
    },
    mend: startCa,
  },
  {
    fault: 'The CA is down',
    step: 'the runner is awaited online',
    sees: NAMED,
    todo: 'remove it there',
    phase: 'failed',
    left: [NAMED],
    atGitHub: 1,
    isAlone: true,
    act: { when: step('runner.start', 'sent'), doing: stopCa },
    mend: startCa,
  },
  {
    fault: 'The CA is down',
    step: 'the CA decides',
    sees: 'the certificate authority does not answer',
    todo: 'try again',
    phase: 'failed',
    isAlone: true,
    // Between the run's making, for which GitHub is asked last, and the question that comes next.
    params: ({ scope, name }) => ({ scope, name, mode: 'stays' }),
    arrange: (row) => {
      row.fault('downloads', 'slow', { seconds: 3, times: 1 });
      row.untilAsked('GET /downloads').then(
        () => stopCa(row),
        () => undefined,
      );
    },
    mend: startCa,
  },
  {
    fault: "The CA denies: the scope is another owner's",
    step: 'the CA decides',
    sees: 'No policy permits',
    todo: 'ask an administrator',
    phase: 'denied',
    params: (row) => ({ ...row.params, scope: 'elsewhere/shop' }),
  },
];

const person: readonly FaultRow[] = [
  {
    fault: 'The person leaves the team',
    step: 'the third certificate is asked for',
    sees: 'No policy permits',
    todo: 'ask an administrator',
    phase: 'denied',
    person: true,
    // Nor may they ask the host any more what it wrote down.
    hostIsSilent: true,
    // What GitHub said of a person is a minute old at most.
    arrange: async (row) => {
      row.began = performance.now();
      await row.api.host(row.host.target.name);
      await sleep(27_000);
    },
    act: {
      when: step('runner.start', 'sent'),
      doing: async (row) => {
        const mend = row.fault('list-runners', '503');
        leaveTeam(row);
        await sleep(Math.max(0, row.began + 62_000 - performance.now()));
        mend();
      },
    },
  },
  {
    fault: 'The person is disabled',
    step: 'a registration token is asked for',
    sees: 'does not accept the token any more',
    todo: 'Log in again',
    phase: 'failed',
    person: true,
    // GitHub is asked again and again until then, with the token that the broker was given before.
    arrange: (row) => row.fault('list-runners', '503'),
    act: {
      when: inPhase('preparing'),
      doing: async (row) => {
        const change = async (what: string) =>
          succeed(await row.opened.stage.beacon('ada', ['ca', 'person', what, `github:${row.person.id}`]));
        await change('disable');
        row.mend();
        await change('enable');
        await row.logInAnew();
      },
    },
  },
  {
    fault: 'The person logs out',
    step: 'the second certificate is asked for',
    sees: 'your session has ended',
    todo: 'log in again',
    phase: 'failed',
    person: true,
    act: { when: step('runner.preflight', 'started'), doing: logOutAndIn },
  },
  {
    fault: 'The person logs out',
    step: 'the runner is awaited online',
    sees: NAMED,
    todo: 'remove it there',
    phase: 'failed',
    left: [NAMED],
    atGitHub: 1,
    person: true,
    act: { when: step('runner.configure', 'sent'), doing: logOutAndIn },
  },
];

async function logOutAndIn(row: RowStage): Promise<void> {
  await row.person.logOut();
  await row.logInAnew();
}

const RUNNERS = '/opt/beacon/runners';
const PRINCIPALS = '/usr/lib/beacon/principals';
const CERTIFICATE = '/etc/beacon/host-cert.pub';
const KEY = '/etc/ssh/ssh_host_ed25519_key.pub';
/** What the host sends goes nowhere from then on, and nobody is told. */
const SILENT =
  'ip route add blackhole "$(ip -4 -o address show dev host0 | sed -n \'s/.*inet \\([0-9.]*\\)[.][0-9]*\\/24.*/\\1/p\').1"';
const HEARD = 'ip route flush type blackhole';
const onHost = (script: string) => (row: RowStage) => row.host.script(script);

const host: readonly FaultRow[] = [
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

export const OTHER_ROWS: readonly FaultRow[] = [...person, ...ca, ...host];
