/** The lab keeps what it promises: real hosts apart from each other and from this machine, and nothing left of them. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Lab } from '../lab/lab.ts';
import type { LabHost } from '../lab/lab-host.ts';
import { namespaceOf } from '../lab/network.ts';
import { whyNoLab } from '../lab/possible.ts';

const why = whyNoLab();

const OF_EVERY_MACHINE =
  /^(bin|dev|etc|home|lib|lib32|lib64|libx32|media|mnt|opt|proc|root|run|sbin|srv|sys|tmp|usr|var)$/;
/** What the host, its set-up and this test wrote themselves. */
const OF_THE_HOST =
  /^($|\/home\/deployer\/|\/usr\/local\/sbin\/beacon-lab-init$|\/var\/log\/[a-z]*(tmp|log)$)/;

if (why !== undefined) process.stderr.write(`hosts of the lab are left out: ${why}\n`);

(why === undefined ? describe : describe.skip)('a lab', () => {
  let lab: Lab;
  let folder: string;
  const hosts: LabHost[] = [];

  beforeAll(async () => {
    lab = await Lab.temporary();
    folder = lab.folder;
    for (const name of ['web-01', 'web-02']) hosts.push((await lab.boot(name)).host);
  });
  afterAll(async () => {
    await lab.down();
  });

  const [first, second] = [() => at(0), () => at(1)];
  function at(index: number): LabHost {
    const host = hosts[index];
    if (host === undefined) throw new Error('the lab has not started');
    return host;
  }

  test('has hosts with a systemd of their own that started whole, and keeps those that run', async () => {
    const again = await lab.boot('web-01');
    expect(again.degraded).toBe('');
    expect(again.host.address).toBe(first().address);
    expect((await first().run(['cat', '/proc/1/comm'])).trim()).toBe('systemd');
    expect((await first().run(['hostname'])).trim()).toBe('web-01');
    expect(lab.hosts().map(({ name, running }) => [name, running])).toEqual([
      ['web-01', true],
      ['web-02', true],
    ]);
  });

  test('lets hosts reach each other, and each has its own host key', async () => {
    const scanned = await first().run(['ssh-keyscan', '-t', 'ed25519', second().address]);
    const [, type, key] = scanned.trim().split(' ');
    expect(second().hostKey).toBe(`${type} ${key} web-02`);
    expect(first().hostKey).not.toContain(key);
    expect(await first().run(['ip', 'route', 'show', 'default'])).toBe('');
  });

  test('logs in over sshd, and sudo works', async () => {
    const key = join(folder, 'key');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    await first().script(
      'useradd --create-home deployer; mkdir -m 700 ~deployer/.ssh; chown deployer: ~deployer/.ssh',
    );
    await first().copyIn(`${key}.pub`, '/home/deployer/.ssh/authorized_keys', {
      mode: 0o600,
      owner: 'deployer',
    });
    await first().write('/etc/sudoers.d/deployer', 'deployer ALL=(root) NOPASSWD: /usr/bin/id ""\n', {
      mode: 0o440,
    });
    writeFileSync(join(folder, 'known_hosts'), `${first().address} ${first().hostKey}\n`);
    const said = execFileSync('ssh', [
      ...[
        '-F',
        'none',
        '-i',
        key,
        '-o',
        'BatchMode=yes',
        '-o',
        `UserKnownHostsFile=${join(folder, 'known_hosts')}`,
      ],
      ...[`deployer@${first().address}`, 'id -un; sudo -n id'],
    ]);
    expect(said.toString()).toContain('deployer\nuid=0(root)');
  });

  test('limits processes and memory of a unit for real', async () => {
    const { stderr } = await first().exec([
      ...[
        'systemd-run',
        '--quiet',
        '--pipe',
        '--wait',
        '--collect',
        '-p',
        'TasksMax=8',
        '-p',
        'MemoryMax=64M',
      ],
      ...['sh', '-c', 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; wait'],
    ]);
    expect(stderr).toContain('fork');
  });

  test('shows a host nothing of this machine but its programs', async () => {
    const visible = (await first().run(['ls', '-A', '/'])).trim().split('\n');
    expect(visible.filter((name) => !OF_EVERY_MACHINE.test(name))).toEqual([]);
    const files = await first().script(
      'find /root /home /opt /srv /mnt /media /tmp /usr/local /var/log /var/lib/private -type f 2>/dev/null || true',
    );
    expect(files.split('\n').filter((file) => !OF_THE_HOST.test(file))).toEqual([]);
    expect((await first().exec(['sh', '-c', 'command -v node npm'])).status).not.toBe(0);
    expect(await first().run(['cat', '/etc/shadow'])).not.toContain('$');
    expect(await first().run(['cat', '/etc/machine-id'])).not.toBe(
      await second().run(['cat', '/etc/machine-id']),
    );
  });

  test('has light hosts too, with sshd and without systemd, as apart from this machine', async () => {
    const { host } = await lab.boot('light-01', { form: 'light' });
    expect(await host.run(['cat', '/proc/1/comm'])).toBe('sshd\n');
    expect((await first().run(['ssh-keyscan', '-t', 'ed25519', host.address])).split(' ')[2]).toBe(
      `${host.hostKey.split(' ')[1]}\n`,
    );
    const visible = (await host.run(['ls', '-A', '/'])).trim().split('\n');
    expect(visible.filter((name) => !OF_EVERY_MACHINE.test(name))).toEqual([]);
    const mounts = (await host.run(['cat', '/proc/self/mounts'])).trim().split('\n');
    expect(mounts.map((line) => line.split(' ')[1])).toEqual([
      '/',
      '/proc',
      '/run',
      '/tmp',
      '/dev',
      '/dev/pts',
    ]);
    expect(
      (await host.run(['ls', '/proc'])).split('\n').filter((name) => /^\d+$/.test(name)).length,
    ).toBeLessThan(5);
  });

  test('leaves nothing behind, also of a host whose supervisor was killed', async () => {
    const supervisors = execFileSync('pgrep', ['-f', `directory=${folder}/hosts/web-02/root`]).toString();
    process.kill(Number(supervisors.trim().split('\n')[0]), 'SIGKILL');
    await lab.down();
    const prefix = namespaceOf(folder, '');
    expect(existsSync(folder)).toBe(false);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(folder);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(prefix);
    expect(execFileSync('ip', ['-o', 'link']).toString()).not.toContain(prefix.slice(0, -1));
    // Groups of other labs may go while it looks, of which find complains and goes on.
    expect(spawnSync('find', ['/sys/fs/cgroup', '-name', `${prefix}*`]).stdout.toString()).toBe('');
    expect(await alive(`${folder}/hosts`)).toBe('');
  });
});

async function alive(words: string): Promise<string> {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => commandLine(pid).includes(words))
    .join(' ');
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // It ended meanwhile.
  }
}
