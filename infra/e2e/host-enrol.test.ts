/**
 * Machines that become hosts of a real CA by a token: what they look at before they show it, their own first login, kills
 * between enrolment and the end, and what is left when something fails.
 */
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHostToken } from '@beacon/protocol/host-token';
import { formatPrivateKey, generateKey } from '@beacon/ssh';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { askToken } from '../../packages/ca/test/machine.ts';
import { publish, startTrustLab, type TrustLab } from '../../packages/ca/test/trust-lab.ts';
import { buildHost } from '../../scripts/build-host.ts';
import { Lab } from '../lab/lab.ts';
import type { LabHost } from '../lab/lab-host.ts';
import { type Lane, openLane } from '../lab/lane.ts';
import { whyNoLab } from '../lab/possible.ts';
import { runProgram } from '../lab/system-command.ts';
import { lineOf } from '../lab/throw-away-ca.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`enrolment of hosts is left out: ${why}\n`);

const BEACON = '/opt/beacon-host/node /opt/beacon-host/beacon host';
const CERTIFICATE = '/etc/beacon/host-cert.pub';

(why === undefined ? describe : describe.skip)('a machine with a token', () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-host-enrol-'));
  const operator = generateKey('ssh-ed25519');
  let ca: TrustLab;
  let lab: Lab | undefined;
  let host: LabHost;
  let lane: Lane;
  let before: string;
  let number = 0;

  const etc = () =>
    host.script(
      `cd /etc; find . -path ./mtab -prune -o -type f -exec sha256sum {} + | sort -k 2; find . -printf '%p %m %U:%G %l\\n' | sort`,
    );
  const administrator = async (): Promise<string> => {
    const options = [
      'StrictHostKeyChecking=no',
      'UserKnownHostsFile=/dev/null',
      'BatchMode=yes',
      'LogLevel=ERROR',
    ];
    const { stdout, stderr } = await runProgram([
      ...['ssh', '-F', 'none', '-i', join(folder, 'operator'), ...options.flatMap((one) => ['-o', one])],
      ...[`keeper@${host.address}`, 'sudo -n id -u'],
    ]);
    return `${stdout}${stderr}`.trim();
  };
  /** Puts a new token for a new id where `init` finds it. */
  const nextId = async (change: object = {}): Promise<string> => {
    const id = `build-${++number}`;
    await giveToken(id, change);
    return id;
  };
  const giveToken = async (id: string, change: object = {}): Promise<void> => {
    const { body } = await askToken(ca, id, change);
    await host.write('/root/token', `${body['token']}\n`, { mode: 0o600 });
    ca.ca.canaries.push(parseHostToken(body['token']).secret);
  };
  const initLine = (id: string) =>
    `/opt/beacon-host/install --id ${id} --ca ${ca.ca.url} --token-file /root/token`;
  const init = (id: string) => host.exec(['sh', '-c', initLine(id)]);
  const check = () => host.exec(['sh', '-c', `${BEACON} check`]);
  const remove = async () => {
    await host.script(`${BEACON} remove --purge`);
    expect(await etc()).toBe(before);
    expect(await administrator()).toBe('0');
  };
  const records = async (id: string) =>
    (await ca.ca.records()).filter((one) => one.host === id).map(({ kind }) => kind);

  beforeAll(async () => {
    await buildHost(join(folder, 'archive'));
    ca = await startTrustLab();
    await publish(ca);
    lab = await Lab.temporary();
    ({ host } = await lab.boot('build-01', { binds: { '/opt/beacon-host': join(folder, 'archive') } }));
    lane = await openLane(lab, 'build-01', Number(new URL(ca.ca.url).port));
    writeFileSync(join(folder, 'operator'), await formatPrivateKey(operator.privateKey), { mode: 0o600 });
    await host.script(`
      useradd --create-home --shell /bin/sh keeper; usermod -p '*' keeper
      install -d -m 700 -o keeper -g keeper /home/keeper/.ssh
      echo '${lineOf(operator)}' >/home/keeper/.ssh/authorized_keys
      echo 'keeper ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/keeper
      chmod 440 /etc/sudoers.d/keeper
    `);
    expect(await administrator()).toBe('0');
    before = await etc();
  }, 300_000);
  afterAll(async () => {
    await lane?.close();
    await lab?.down();
    await ca?.ca.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('is a host when its own first login has reached its gate; check is clean, and remove takes all of it back', async () => {
    const id = await nextId();
    const done = await init(id);
    expect(done).toMatchObject({ status: 0 });
    expect(done.stdout).toContain(`self-test: beacon@${id} reached its gate`);
    expect(await records(id)).toEqual(['host-enrolled', 'host-self-test']);
    expect(await check()).toMatchObject({ status: 0 });
    expect(await host.script('sshd -T')).toContain(`hostcertificate ${CERTIFICATE}`);
    expect(await init(id)).toMatchObject({ status: 0 });
    await remove();
  }, 120_000);
});
