/**
 * The runner commands on a managed host of the lab, asked for through its gate, with the small runner and the stand-in in
 * GitHub's place: a runner's whole life, what is refused, and what a hostile job can reach.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { runnerArchive, type Standin, startStandin } from '../github-standin/src/index.ts';
import { GateConnection } from '../lab/gate-connection.ts';
import { GateHost } from '../lab/gate-host.ts';
import { Lab } from '../lab/lab.ts';
import { whyNoLab } from '../lab/possible.ts';
import { type Asked, invocation } from '../lab/throw-away-ca.ts';

const ROOT = join(import.meta.dirname, '../..');
const COMMANDS = '/usr/lib/beacon/commands';
const RUNNERS = '/opt/beacon/runners';
const DOWNLOADS = '/actions/runner/releases/download';
const SCOPE = { kind: 'repository', id: 5 } as const;
const ARCH = process.arch === 'arm64' ? 'arm64' : 'x64';

type Words = Readonly<Record<string, string>>;

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`left out: the runner commands: ${why}\n`);

(why === undefined ? describe : describe.skip)('the runner commands', () => {
  let lab: Lab;
  let host: GateHost;
  let standin: Standin;

  beforeAll(async () => {
    lab = await Lab.temporary();
    standin = await startStandin({
      host: await lab.address(),
      configuration: {
        organizations: [
          { id: 42, login: 'acme', repositories: [{ id: 5, name: 'site' }], runner_groups: ['linux'] },
        ],
      },
    });
    const sources = ['--github-url', standin.url, '--runner-downloads', `${standin.url}${DOWNLOADS}`];
    host = await GateHost.boot(lab, 'build-01', ['--runners', '3', ...sources]);
    // Less room than a real runner wants.
    await host.script('sed -i \'s/"4194304"/"1024"/\' /etc/beacon/allowlist.json');
  }, 120_000);
  afterAll(async () => {
    await standin.close();
    await lab.down();
  });

  /** One session of these commands; what each said and its status, and whether the run was kept. */
  async function session(...asked: readonly Asked[]) {
    const connection = await GateConnection.open(host.lab, await host.ca.certify(asked));
    const statuses: (number | string | null)[] = [];
    for (const one of asked) {
      const answer = await connection.run(one);
      statuses.push(answer.event === 'exit' ? answer.code : answer.code);
      if (answer.event !== 'exit' || answer.code !== 0) break;
    }
    await connection.end();
    const undone = connection.events.flatMap((event) => (event.event === 'undone' ? [event] : []));
    return { statuses, said: connection.output(), errors: connection.output('stderr'), undone };
  }

  const ask = (command: string, words: Words, secrets: Words = {}, undo?: string): Asked => ({
    asked: invocation(`runner.${command}`, words, secrets),
    ...(undo === undefined ? {} : { undo: invocation(`runner.${undo}`, { name: words['name'] ?? '' }) }),
  });
  const program = (name: string, version = '2.336.0') => ({
    ...{ name, version, arch: ARCH },
    sha256: runnerArchive(version, ARCH).sha256,
  });
  const preflight = (name: string) => ask('preflight', { name, arch: ARCH }, {}, 'remove');
  const install = (name: string) => ask('install', program(name));
  const newToken = (): string => standin.state.runners.mintToken(SCOPE, 'registration').token;
  const configure = (name: string, more: Words = {}, token = newToken()) =>
    ask(
      'configure',
      { name, scope: 'acme/site', labels: 'beacon', group: 'Default', mode: 'stays', ...more },
      { token },
      'remove',
    );
  const start = (name: string) => ask('start', { name }, {}, 'stop');
  const provision = (name: string, more: Words = {}) =>
    session(preflight(name), install(name), configure(name, more), start(name));
  const retire = (name: string) => session(ask('stop', { name }), ask('remove', { name }));

  const runnerNamed = (name: string) => standin.state.runners.inScope(SCOPE).find((one) => one.name === name);
  const isOnline = (name: string): boolean => {
    const found = runnerNamed(name);
    return found !== undefined && standin.state.runners.isOnline(found);
  };
  async function until(wanted: () => boolean): Promise<void> {
    while (!wanted()) await delay(50);
  }
  const runJob = async (script: string) => {
    const job = standin.state.runners.queueJob({ scope: SCOPE, labels: ['beacon'], script });
    await until(() => job.state === 'done');
    return job;
  };
  /** `ACCOUNT:NAME` lines. */
  const bindings = (): Promise<string> =>
    host.script('cd /var/lib/beacon/pools && grep -H "" -- * 2>/dev/null || :');
  const filesOf = (account: string): Promise<string> =>
    host.script(`find /dev /etc /home /opt /run /srv /tmp /var -user ${account} 2>/dev/null || :`);

  beforeEach(() => standin.state.clearFaults());

  afterEach(async () => {
    for (const { id } of standin.state.runners.inScope(SCOPE)) standin.state.runners.runners.delete(id);
    for (const line of (await bindings()).split('\n').filter(Boolean)) await retire(line.split(':')[1] ?? '');
    expect(await bindings()).toBe('');
  });

  test('are a list that the host accepts, as a host that is in order has it', async () => {
    const checked = await host.lab.exec(['/usr/lib/beacon/beacon', 'host', 'check']);
    expect(checked.stdout).not.toContain('DEFECT');
    expect(checked.stdout).toContain('runner.preflight is otherwise than it ships');
    const { status, stdout } = await host.lab.exec(['/usr/lib/beacon/node', '/usr/lib/beacon/gate', 'check']);
    expect(stdout).toContain('runner.configure');
    expect(status).toBe(0);
  });

  test('take a runner through its whole life, which leaves nothing', async () => {
    const made = await provision('web-1');
    expect(made).toMatchObject({ statuses: [0, 0, 0, 0], errors: expect.not.stringContaining('not fit') });
    await until(() => isOnline('web-1'));
    expect(await runJob('id -un; pwd')).toMatchObject({
      exit: 0,
      output: `beacon-r-1\n${RUNNERS}/beacon-r-1/runner/_work\n`,
    });
    const looked = await session(
      ask('status', { name: 'web-1' }),
      ask('logs', { name: 'web-1', lines: '50' }),
      ask('list', {}),
    );
    expect(looked.said).toMatch(/state=active\n[\s\S]*advice=it runs\n/);
    expect(looked.said).toMatch(/Listening for Jobs[\s\S]*Running job: /);
    expect(looked.said).toMatch(/^web-1 beacon-r-1 2\.336\.0 active$/m);

    standin.state.runners.remove(runnerNamed('web-1')?.id ?? 0);
    expect(await retire('web-1')).toMatchObject({ statuses: [0, 0] });
    expect(await bindings()).toBe('');
    expect(await filesOf('beacon-r-1')).toBe('');
    expect((await session(ask('list', {}))).said).toBe('');
  });

  test('set a runner up for one job, after which it is gone at GitHub and its account holds no credential', async () => {
    await provision('once-1', { mode: 'one-job' });
    await until(() => isOnline('once-1'));
    expect(runnerNamed('once-1')).toMatchObject({ isEphemeral: true });
    expect(await runJob(':')).toMatchObject({ exit: 0 });
    expect(runnerNamed('once-1')).toBeUndefined();
    await host.script('while systemctl is-active --quiet beacon-runner@beacon-r-1; do sleep 0.1; done');
    expect(await filesOf('beacon-r-1')).not.toContain('credentials');
    expect((await session(ask('status', { name: 'once-1' }))).said).toMatch(/exit=0\n/);
  });

  test('keep the registration token out of every file, and take it on standard input alone', async () => {
    const token = newToken();
    await session(preflight('web-2'), install('web-2'), configure('web-2', {}, token));
    const found = await host.lab.exec([
      ...['grep', '-rlF', '--', token, '/opt', '/etc', '/var', '/run', '/tmp', '/usr/lib/beacon/commands'],
    ]);
    expect(found.stdout).toBe('');
    const visible = { name: 'web-2', scope: 'acme/site', labels: 'beacon', group: 'Default', mode: 'stays' };
    const asArgument = await session({ asked: invocation('runner.configure', { ...visible, token }) });
    expect(asArgument.statuses).toEqual(['parameter-secret']);
  });

  describe('what a job can reach', () => {
    test('G14: no program of its runner, no other runner, nothing of the gate, no rights', async () => {
      await provision('web-1');
      await provision('web-2', { labels: 'other' });
      await until(() => isOnline('web-1') && isOnline('web-2'));
      const mine = `${RUNNERS}/beacon-r-1/runner`;
      const tries = [
        `echo x >>${mine}/bin/Runner.Listener`,
        `mv ${mine}/bin ${mine}/bin.old`,
        `rm -rf ${mine}/bin/Runner.Listener`,
        `mv ${mine} ${mine}.old`,
        `touch ${RUNNERS}/beacon-r-1/installed`,
        `touch ${RUNNERS}/programs/x`,
        `ls ${RUNNERS}/beacon-r-2/runner`,
        'ls /var/lib/beacon',
        'touch /etc/x /usr/lib/beacon/x /var/tmp/../lib/x',
        'sudo -n true',
        `kill -0 $(systemctl show -P MainPID beacon-runner@beacon-r-2)`,
      ];
      const script = tries.map((one, at) => `{ ${one}; } >/dev/null 2>&1 && echo reached ${at}`).join('\n');
      expect((await runJob(`${script}\necho done`)).output).toBe('done\n');
    });

    test('nothing that outlives the runner in its account', async () => {
      await provision('web-1');
      const hide = `
        mkdir -p shut/in; echo x >shut/in/file; chmod 0 shut/in shut
        echo x >/tmp/left; echo x >/var/tmp/left; echo x >/dev/shm/left
        setsid sleep 4711 >/dev/null 2>&1 &
        ln -s /etc ../planted; echo x >../installed`;
      expect(await runJob(hide)).toMatchObject({ exit: 0 });
      standin.state.runners.remove(runnerNamed('web-1')?.id ?? 0);
      expect(await retire('web-1')).toMatchObject({ statuses: [0, 0] });
      expect(await filesOf('beacon-r-1')).toBe('');
      expect((await host.lab.exec(['pgrep', '-u', 'beacon-r-1'])).stdout).toBe('');
      expect(await host.script('ls /etc/passwd')).toBe('/etc/passwd\n');
      expect(await provision('web-3')).toMatchObject({ statuses: [0, 0, 0, 0] });
    });
  });

  describe('refuse', () => {
    test('an archive with another digest, and unpack nothing of it; the run is taken back', async () => {
      const wrong = ask('install', { ...program('web-1', '2.335.1'), sha256: 'a'.repeat(64) });
      const { statuses, errors, undone } = await session(preflight('web-1'), wrong);
      expect(statuses).toEqual([0, 1]);
      expect(errors).toMatch(/its SHA-256 is another/);
      expect(undone).toHaveLength(1);
      expect(await host.script(`ls ${RUNNERS}/programs`)).not.toContain('2.335.1');
      expect(await bindings()).toBe('');
    });

    test('another architecture, and a version that is not there', async () => {
      const other = { ...program('web-1'), arch: ARCH === 'x64' ? 'arm64' : 'x64' };
      expect((await session(preflight('web-1'), ask('install', other))).errors).toMatch(/does not run here/);
      const missing = { ...program('web-1'), version: '1.2.3' };
      expect((await session(preflight('web-1'), ask('install', missing))).errors).toMatch(/not be fetched/);
    });

    test('a scope that is no place at GitHub', async () => {
      await session(preflight('web-1'), install('web-1'));
      for (const scope of ['acme/..', 'acme/', 'ac.me', 'acme/site/more']) {
        const words = [RUNNERS, standin.url, 'web-1', scope, 'beacon', 'Default', 'stays'];
        const asAccount = ['setpriv', '--reuid=beacon-r-1', '--regid=beacon-r-1', '--clear-groups', '--'];
        expect(await host.lab.exec([...asAccount, `${COMMANDS}/runner-configure`, ...words])).toMatchObject({
          status: 1,
          stderr: expect.stringMatching(/neither OWNER\/REPOSITORY|not the name of an organisation/),
        });
      }
    });

    test('what GitHub refuses, with its reason, and take the runner back', async () => {
      const refused = await session(preflight('web-1'), install('web-1'), configure('web-1', {}, 'WRONG'));
      expect(refused.statuses).toEqual([0, 0, 1]);
      expect(refused.errors).toMatch(/NotFound/);
      expect(await bindings()).toBe('');
    });

    test('to configure or start what is not installed, and to remove or upgrade what runs', async () => {
      expect((await session(configure('web-9'))).errors).toMatch(/not installed/);
      expect((await session(ask('start', { name: 'web-9' }))).errors).toMatch(/there is no runner/);
      await provision('web-1');
      expect((await session(ask('remove', { name: 'web-1' }))).errors).toMatch(/call runner.stop first/);
      expect((await session(ask('upgrade', program('web-1')))).errors).toMatch(/runner.stop first/);
      expect((await session(install('web-1'))).errors).toMatch(/set up already/);
    });

    test('a machine without GitHub, and one runner more than there are accounts', async () => {
      standin.state.fault({ path: '/', effect: { kind: 'reset' } });
      expect((await session(preflight('web-1'))).errors).toMatch(/cannot be reached/);
      standin.state.clearFaults();
      for (const name of ['a', 'b', 'c']) expect((await session(preflight(name))).statuses).toEqual([0]);
      expect((await session(preflight('d'))).statuses).toEqual(['pool-empty']);
      // Before GitHub lets go of it, a procedure asks this; what comes after could not be done.
      const absent = await session(ask('status', { name: 'd' }));
      expect([absent.statuses, absent.errors]).toEqual([
        [1],
        expect.stringMatching(/^d is not on this host, and all 3 accounts for runners are in use/),
      ]);
      expect((await session(ask('remove', { name: 'd' }))).statuses).toEqual(['pool-empty']);
      expect((await session(ask('status', { name: 'a' }))).statuses).toEqual([0]);
    });
  });

  describe('end well where there is nothing to do:', () => {
    test.each(['stop', 'remove', 'status'])('%s', async (command) => {
      expect(await session(ask(command, { name: 'nobody' }))).toMatchObject({ statuses: [0] });
    });
  });

  test('upgrade a runner that GitHub sent away, and is not started again: the same registration', async () => {
    const older = ask('install', program('web-1', '2.335.1'));
    await session(preflight('web-1'), older, configure('web-1'), start('web-1'));
    await until(() => isOnline('web-1'));
    const { id } = runnerNamed('web-1') ?? { id: 0 };
    standin.state.runners.deprecated.add('2.335.1');
    await host.script('while systemctl is-active --quiet beacon-runner@beacon-r-1; do sleep 0.1; done');
    expect((await session(ask('status', { name: 'web-1' }))).said).toMatch(/exit=7\n[\s\S]*runner.upgrade/);
    // As a kill in the middle of an upgrade leaves it.
    await session(ask('stop', { name: 'web-1' }));
    await host.script(`cd ${RUNNERS}/beacon-r-1; chown root:root runner; chmod 700 runner
      mkdir -m 700 new; mv runner/.credentials runner/_work new`);
    expect((await session(ask('remove', { name: 'web-1' }))).errors).toMatch(/call runner.upgrade again/);
    const upgraded = await session(ask('stop', { name: 'web-1' }), ask('upgrade', program('web-1')));
    expect(upgraded).toMatchObject({ statuses: [0, 0] });
    standin.state.runners.deprecated.clear();
    expect(await session(start('web-1'))).toMatchObject({ statuses: [0] });
    await until(() => isOnline('web-1'));
    expect(runnerNamed('web-1')?.id).toBe(id);
    expect(await host.script(`cat ${RUNNERS}/beacon-r-1/runner/bin/version`)).toBe('2.336.0\n');
    expect((await session(ask('list', {}))).said).toBe('web-1 beacon-r-1 2.336.0 active\n');
  });

  test('have a unit whose exposure is the one that the documents name', async () => {
    const said = await host.lab.exec([
      ...['systemd-analyze', 'security', '--no-pager', 'beacon-runner@beacon-r-1.service'],
    ]);
    const figure = /Overall exposure level for \S+: ([0-9.]+)/.exec(said.stdout)?.[1];
    const page = readFileSync(join(ROOT, 'docs/runner.md'), 'utf8');
    expect(page).toContain(`exposure ${figure}`);
  });

  test('go with the host, which says which runner is registered at GitHub still', async () => {
    await provision('web-1');
    await until(() => isOnline('web-1'));
    const removed = await host.lab.run(['/usr/lib/beacon/beacon', 'host', 'remove', '--purge']);
    expect(removed).toContain('the runner web-1 was ended');
    expect(await host.script('ls -d /opt/beacon /usr/lib/beacon /etc/beacon 2>/dev/null || :')).toBe('');
    expect(await host.script('ls -R /etc/systemd/system')).not.toContain('beacon-');
    expect(await host.script('getent passwd')).not.toContain('beacon-r-');
  });
});
