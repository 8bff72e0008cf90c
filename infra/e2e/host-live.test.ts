/**
 * A machine that runs, made a managed host by the archive as an operator would: a command through its gate, the
 * administrators' own login through every kill, an sshd_config that breaks, and back.
 */
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatPrivateKey, generateKey } from '@beacon/ssh';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { buildHost } from '../../scripts/build-host.ts';
import { GateConnection } from '../lab/gate-connection.ts';
import { Lab } from '../lab/lab.ts';
import type { LabHost } from '../lab/lab-host.ts';
import { whyNoLab } from '../lab/possible.ts';
import { runProgram } from '../lab/system-command.ts';
import { invocation, lineOf, ThrowAwayCa } from '../lab/throw-away-ca.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`a live managed host is left out: ${why}\n`);

const INIT =
  '/opt/beacon-host/beacon host init --id build-01 --accounts beacon-r=1 --root-key /root/root.pub --trust /root/trust';
const BEACON = '/opt/beacon-host/beacon host';

(why === undefined ? describe : describe.skip)('a live managed host', () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-host-live-'));
  const ca = new ThrowAwayCa({ host: 'build-01', login: 'beacon' }, () => new Date());
  const operator = generateKey('ssh-ed25519');
  let lab: Lab | undefined;
  let host: LabHost;
  let before: string;

  const etc = () =>
    host.script(
      `cd /etc; find . -path ./mtab -prune -o -type f -exec sha256sum {} + | sort -k 2; find . -printf '%p %m %U:%G %l\\n' | sort`,
    );
  /** The administrators' own way in: a plain key, past everything of Beacon's. */
  const administrator = async (): Promise<string> => {
    const { stdout, stderr } = await runProgram([
      'ssh',
      '-F',
      'none',
      '-i',
      join(folder, 'operator'),
      '-o',
      'StrictHostKeyChecking=no',
      '-o',
      'UserKnownHostsFile=/dev/null',
      '-o',
      'BatchMode=yes',
      '-o',
      'LogLevel=ERROR',
      `keeper@${host.address}`,
      'sudo -n id -u',
    ]);
    return `${stdout}${stderr}`.trim();
  };

  beforeAll(async () => {
    await buildHost(join(folder, 'archive'));
    lab = await Lab.temporary();
    ({ host } = await lab.boot('build-01', { binds: { '/opt/beacon-host': join(folder, 'archive') } }));
    writeFileSync(join(folder, 'operator'), await formatPrivateKey(operator.privateKey), { mode: 0o600 });
    await host.script(`
      useradd --create-home --shell /bin/sh keeper; usermod -p '*' keeper
      install -d -m 700 -o keeper -g keeper /home/keeper/.ssh
      echo '${lineOf(operator)}' >/home/keeper/.ssh/authorized_keys
      echo 'keeper ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/keeper
      chmod 440 /etc/sudoers.d/keeper
      mkdir /root/trust
    `);
    await host.write('/root/root.pub', `${lineOf(ca.rootKey)}\n`);
    for (const [name, content] of Object.entries(await ca.publish()))
      await host.write(`/root/trust/${name}`, content);
    expect(await administrator()).toBe('0');
    before = await etc();
  }, 300_000);
  afterAll(async () => {
    await lab?.down();
    rmSync(folder, { recursive: true, force: true });
  });

  test('--dry-run and --print change nothing', async () => {
    expect(await host.script(`${INIT} --dry-run`)).toContain('+ account beacon: system, no password');
    expect(await host.script(`${INIT} --print shell`)).toMatch(/^#!\/bin\/sh\n/);
    expect(await etc()).toBe(before);
  });

  test('a command runs through its gate, and beacon host check finds nothing', async () => {
    await host.script(INIT);
    const check = await host.exec(['sh', '-c', `${BEACON} check`]);
    expect(check.stdout).not.toContain('DEFECT');
    expect(check).toMatchObject({ status: 0 });
    await host.write('/usr/lib/beacon/commands/hello', '#!/bin/sh\nid -un\n', { mode: 0o755 });
    const hello = {
      summary: 'says who runs it',
      argv: ['/usr/lib/beacon/commands/hello'],
      params: {},
      timeout_seconds: 30,
      run_as: 'beacon-setup',
    };
    await host.write('/etc/beacon/allowlist.json', JSON.stringify({ version: 1, commands: { hello } }));
    const asked = { asked: invocation('hello') };
    const certified = await ca.certify([asked]);
    const connection = await GateConnection.open(host, certified);
    await connection.run(asked);
    expect(connection.output()).toBe('beacon-setup\n');
    // No manager of services that systemd would start for whoever logs in.
    expect(await host.run(['ps', '-u', 'beacon', '-o', 'comm='])).toMatch(/^(sshd\S*\n)+$/);
    expect(await connection.end()).toBe(0);
    expect(await administrator()).toBe('0');
  });

  test('I2: an sshd_config that breaks afterwards is named, and remove takes the host back all the same', async () => {
    await host.script(
      'echo "Match all" >/etc/ssh/sshd_config.d/05-x.conf; echo "ForceCommand /bin/true" >>/etc/ssh/sshd_config.d/05-x.conf',
    );
    const check = await host.exec(['sh', '-c', `${BEACON} check`]);
    expect(check).toMatchObject({
      status: 78,
      stdout: expect.stringContaining('/etc/ssh/sshd_config.d/05-x.conf, line 2'),
    });
    await host.script('rm /etc/ssh/sshd_config.d/05-x.conf');
    await host.script(`${BEACON} remove --purge`);
    expect(await etc()).toBe(before);
    expect(await administrator()).toBe('0');
    const refused = await runProgram([
      'ssh',
      '-F',
      'none',
      '-o',
      'BatchMode=yes',
      '-o',
      'StrictHostKeyChecking=no',
      '-o',
      'UserKnownHostsFile=/dev/null',
      `beacon@${host.address}`,
    ]);
    expect(refused.stderr).toContain('Permission denied');
  });

  test.each([
    'account beacon-setup',
    'file /usr/lib/beacon/gate',
    'file /etc/sudoers.d/beacon',
    'file /etc/ssh/sshd_config.d/10-beacon.conf',
  ])(
    'I4: killed with SIGKILL after "%s" the administrators get in, also after a restart of sshd, and a second init completes',
    async (line) => {
      // The reader ends at the line; what it leaves unread blocks nobody, for init is killed at once.
      const script = `
        mkfifo /root/said; ${INIT} >/root/said & pid=$!
        while IFS= read -r said; do if [ "$said" = "$WANTED" ]; then kill -9 $pid; break; fi; done </root/said
        wait $pid || true; rm /root/said; systemctl restart ssh`;
      await host.run(['env', `WANTED=${line}`, 'sh', '-c', script]);
      expect(await administrator()).toBe('0');
      await host.script(INIT);
      expect((await host.exec(['sh', '-c', `${BEACON} check`])).status).toBe(0);
      expect(await administrator()).toBe('0');
      await host.script(`${BEACON} remove --purge`);
      expect(await etc()).toBe(before);
    },
    120_000,
  );

  test('I4: stopped by a signal it takes back what it has done', async () => {
    const script = `
      mkfifo /root/said; ${INIT} >/root/said 2>/dev/null & pid=$!
      { IFS= read -r said; kill -TERM $pid; cat >/dev/null; } </root/said
      wait $pid && exit 1; rm /root/said`;
    await host.run(['sh', '-c', script]);
    expect(await etc()).toBe(before);
    expect(await administrator()).toBe('0');
  });
});
