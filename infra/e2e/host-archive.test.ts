/**
 * The archive for hosts as an operator carries it: the same bytes from each build, unpacked on a machine without Node, and
 * `beacon host` called from it.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { BuiltArchive } from '../../scripts/archive.ts';
import { packHost } from '../../scripts/build-host.ts';
import { GATE_FILES } from '../../scripts/bundle-gate.ts';
import { Lab } from '../lab/lab.ts';
import type { LabHost } from '../lab/lab-host.ts';
import { whyNoLab } from '../lab/possible.ts';
import { lineOf, ThrowAwayCa } from '../lab/throw-away-ca.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`the archive on a bare host is left out: ${why}\n`);

const LAUNCHER = join(import.meta.dirname, '../../packages/host/files/beacon');

describe('the archive for hosts', () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-host-archive-'));
  let archive: BuiltArchive;
  let lab: Lab | undefined;
  const ca = new ThrowAwayCa({ host: 'build-01', login: 'beacon' }, () => new Date());
  beforeAll(async () => {
    archive = await packHost(join(folder, 'built'), 'x64', { compress: false });
  }, 120_000);
  afterAll(async () => {
    await lab?.down();
    rmSync(folder, { recursive: true, force: true });
  });

  test('two builds of one tree give the same bytes, whatever the umask', async () => {
    const before = process.umask(0o077);
    try {
      const again = await packHost(join(folder, 'again'), 'x64', { compress: false });
      expect(again.sha256).toBe(archive.sha256);
    } finally {
      process.umask(before);
    }
  }, 120_000);

  test('its name says version and platform, its digest lies beside it, and nothing is in it that a host does not need', () => {
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
      version: string;
    };
    const name = `beacon-host-${version}-linux-x64.tar`;
    expect(readdirSync(join(folder, 'built'))).toEqual([name, `${name}.sha256`]);
    const { status } = spawnSync('sha256sum', ['--check', `${name}.sha256`], { cwd: join(folder, 'built') });
    expect(status).toBe(0);
    const known =
      /^(LICENSE([.](node|libraries))?|beacon([.]js)?|gate([.]js)?|compile[.]cjs|node|principals|shell|beacon-host[-.].*|commands.*|runner-allowlist[.]json|beacon-runner@[.]service)$/;
    expect(Object.keys(archive.unpacked).filter((part) => !known.test(part))).toEqual([]);
  });

  test.each([
    ['/lib/no-such-loader.so.1', 'x86_64', 'the runtime needs glibc'],
    ['/lib/no-such-loader.so.1', 'other64', 'this archive is for other64'],
  ])('I8: without the loader %s of a machine %s it says: %s', (loader, machine, said) => {
    const launcher = join(folder, 'beacon');
    const text = readFileSync(LAUNCHER, 'utf8')
      .replace(/^loader=.*/m, `loader=${loader}`)
      .replace(/^machine=.*/m, `machine=${machine}`)
      // The test's own machine may be of another kind than the archive is for.
      .replace('uname -m', 'echo x86_64');
    writeFileSync(launcher, text);
    chmodSync(launcher, 0o755);
    const { status, stderr } = spawnSync(launcher, ['host', 'check'], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 64, stderr: expect.stringContaining(said) });
  });

  const bare = async (): Promise<LabHost> => {
    lab = await Lab.temporary();
    const { host } = await lab.boot('build-01');
    await host.run(['mkdir', '/root/trust']);
    await host.run(['tar', '-x', '-C', '/opt'], { input: readFileSync(archive.file) });
    await host.write('/root/root.pub', `${lineOf(ca.rootKey)}\n`);
    for (const [name, content] of Object.entries(await ca.publish()))
      await host.write(`/root/trust/${name}`, content);
    return host;
  };

  (why === undefined ? describe : describe.skip)('on a machine without Node', () => {
    let host: LabHost;
    let beacon: string;
    const init = () => `${beacon} host init --id build-01 --root-key /root/root.pub --trust /root/trust`;

    test('beacon host init --dry-run shows the plan, and check says that it is no managed host', async () => {
      host = await bare();
      beacon = `/opt/${basename(archive.file, '.tar')}/beacon`;
      expect((await host.exec(['sh', '-c', 'command -v node'])).status).not.toBe(0);
      expect(await host.script(`${init()} --dry-run`)).toContain('+ account beacon: system, no password');
      expect(await host.exec(['sh', '-c', `${beacon} host check`])).toMatchObject({
        status: 66,
        stderr: expect.stringContaining('no managed host'),
      });
    });

    test('init makes it one, whose gate starts from what its own runtime has compiled', async () => {
      await host.script(init());
      await host.script(
        `rm -r ${beacon.replace(/beacon$/, '')}; ln -s /usr/lib/beacon/beacon /usr/local/bin/beacon`,
      );
      const checked = await host.exec(['sh', '-c', 'beacon host check']);
      expect(checked.stdout).not.toContain('DEFECT');
      expect(checked.status).toBe(0);
      const [program, source, compiled] = GATE_FILES.map((suffix) => `/usr/lib/beacon/gate${suffix}`);
      const rejected = await host.run([
        '/usr/lib/beacon/node',
        '-e',
        `const { readFileSync } = require('node:fs');
         const cachedData = readFileSync('${compiled}');
         const { Script } = require('node:vm');
         console.log(new Script(readFileSync('${source}', 'utf8'), { filename: '${source}', cachedData }).cachedDataRejected);`,
      ]);
      expect(rejected).toBe('false\n');
      expect((await host.exec([program ?? '', 'check'])).status).toBe(0);
    });

    test('check names a configuration that the running sshd has not read, however it was changed and whoever reloads', async () => {
      const said = async () => (await host.exec(['sh', '-c', 'beacon host check'])).stdout;
      const dropIn = '/etc/ssh/sshd_config.d/10-beacon.conf';
      const isNamed = expect.stringContaining('sshd has not read its configuration since this changed');
      expect(await said()).not.toEqual(isNamed);
      // The same bytes and an older time, as an archive that is unpacked gives a file.
      await host.script(`cp -p ${dropIn} /root/old; rm ${dropIn}; cp -p /root/old ${dropIn}`);
      expect(await said()).toEqual(isNamed);
      await host.script('systemctl reload ssh');
      await host.script('sleep 1');
      expect(await said()).not.toEqual(isNamed);
      await host.script('echo "MaxStartups 20" >/etc/ssh/sshd_config.d/99-x.conf');
      expect(await said()).toEqual(isNamed);
      await host.script('kill -HUP "$(cat /run/sshd.pid)"; sleep 1');
      expect(await said()).not.toEqual(isNamed);
      await host.script('rm /etc/ssh/sshd_config.d/99-x.conf');
      expect(await said()).toContain('DEFECT /etc/ssh/sshd_config.d: sshd has not read');
      await host.script('systemctl restart ssh; sleep 1');
      expect(await said()).not.toContain('DEFECT');
    });

    test('check names a compiled gate that was changed', async () => {
      await host.script('printf x >>/usr/lib/beacon/gate.cache');
      expect(await host.exec(['sh', '-c', 'beacon host check'])).toMatchObject({
        status: 78,
        stdout: expect.stringContaining('DEFECT /usr/lib/beacon/gate.cache'),
      });
    });
  });
});
