/** The small runner, unpacked from its archive, against the stand-in: what a provisioner and a host see of it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type RunnerOrder, runnerArchive, type Standin, startStandin } from '../src/index.ts';

const SCOPE = { kind: 'repository', id: 5 } as const;
/** The runner refuses root. */
const NOBODY = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
const OWN_FILES = ['.runner', '.credentials', '.credentials_rsaparams'];

let standin: Standin;
let folder: string;
let children: ChildProcess[];

beforeEach(async () => {
  standin = await startStandin({
    configuration: { organizations: [{ id: 42, login: 'acme', repositories: [{ id: 5, name: 'site' }] }] },
  });
  folder = mkdtempSync(join(tmpdir(), 'small-runner-'));
  chmodSync(folder, 0o777);
  const { bytes } = runnerArchive('2.336.0', 'x64');
  spawnSync('tar', ['-xz', '--no-same-owner', '-C', folder], { input: bytes, ...NOBODY });
  children = [];
});
afterEach(async () => {
  for (const { pid } of children) killGroup(pid);
  await standin.close();
  rmSync(folder, { recursive: true, force: true });
});

function start(argv: readonly string[], environment: Record<string, string> = {}) {
  const [program = '', ...rest] = argv;
  const child = spawn(join(folder, program), rest, {
    cwd: folder,
    env: { PATH: '/usr/bin:/bin', TMPDIR: folder, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that what it started ends with it.
    detached: true,
    ...NOBODY,
  });
  children.push(child);
  const said = { output: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said.output += text;
    });
  }
  return { child, said, ended: once(child, 'close').then(([status]) => Number(status)) };
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // All of it has ended.
  }
}

async function run(argv: readonly string[], environment: Record<string, string> = {}) {
  const { said, ended } = start(argv, environment);
  return { status: await ended, output: said.output };
}

const configure = (words: readonly string[] = [], token?: string) =>
  run(
    [
      'config.sh',
      '--unattended',
      ...['--url', `${standin.url}/acme/site`, '--name', 'web-1', '--labels', 'beacon', '--work', '_work'],
      ...words,
    ],
    {
      ACTIONS_RUNNER_INPUT_TOKEN: token ?? standin.state.runners.mintToken(SCOPE, 'registration').token,
    },
  );
const record = () => standin.state.runners.inScope(SCOPE)[0];
const isOnline = (): boolean => {
  const found = record();
  return found !== undefined && standin.state.runners.isOnline(found);
};
async function until(wanted: () => boolean): Promise<void> {
  while (!wanted()) await delay(20);
}
const left = (): string[] => OWN_FILES.filter((name) => existsSync(join(folder, name)));

describe('the small runner', () => {
  it('registers by a token in its environment, and keeps its credentials to itself', async () => {
    expect(await configure()).toMatchObject({ status: 0 });
    expect(record()).toMatchObject({ name: 'web-1', version: '2.336.0', isEphemeral: false });
    expect(left()).toEqual(OWN_FILES);
    expect(statSync(join(folder, '.credentials_rsaparams')).mode & 0o777).toBe(0o600);
    expect(isOnline()).toBe(false);
    const again = await configure();
    expect(again).toMatchObject({ status: 1 });
    expect(again.output).toMatch(/already configured/);
  });

  it.each([
    ['a wrong token', [], 'NONE', /NotFound/],
    ['an unknown group', ['--runnergroup', 'x'], undefined, /Could not find any self-hosted runner group/],
    ['an unknown word', ['--force'], undefined, /Unrecognized/],
  ])('does not register with %s', async (_, words, token, reason) => {
    const { status, output } = await configure(words, token);
    expect(status).toBe(1);
    expect(output).toMatch(reason);
    expect(left()).toEqual([]);
  });

  it('shows online, runs the jobs that it is handed, and reports them', async () => {
    await configure();
    const runner = start(['run.sh']);
    await until(isOnline);
    const jobs = ['echo hello; pwd', 'exit 3'].map((script) =>
      standin.state.runners.queueJob({ scope: SCOPE, labels: ['self-hosted', 'beacon'], script }),
    );
    await until(() => jobs.every(({ state }) => state === 'done'));
    expect(jobs).toMatchObject([
      { exit: 0, output: `hello\n${folder}/_work\n` },
      { exit: 3, output: '' },
    ]);
    expect(runner.said.output).toMatch(/Listening for Jobs[\s\S]*Running job: job-/);
  });

  it('takes one job when it is ephemeral, and is gone on both sides', async () => {
    await configure(['--ephemeral', '--disableupdate']);
    const { ended } = start(['bin/Runner.Listener', 'run']);
    standin.state.runners.queueJob({ scope: SCOPE, labels: [], script: ':' });
    expect(await ended).toBe(0);
    expect(record()).toBeUndefined();
    expect(left()).toEqual([]);
  });

  it('comes just in time, by what GitHub made for it', async () => {
    const made = standin.state.runners.register(SCOPE, {
      ...{ name: 'jit', labels: ['beacon'], hasDefaultLabels: false, group: undefined },
      ...{ isEphemeral: true, version: '2.336.0' },
    });
    const files = {
      '.runner': JSON.stringify({ agentId: made.id, serverUrl: standin.url, ephemeral: true }),
      '.credentials': '{}',
      '.credentials_rsaparams': made.credential,
    };
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    const entries = Object.entries(files).map(([name, text]) => [name, base64(text)]);
    const { ended } = start(['bin/Runner.Listener', 'run'], {
      ACTIONS_RUNNER_INPUT_JITCONFIG: base64(JSON.stringify(Object.fromEntries(entries))),
    });
    standin.state.runners.queueJob({ scope: SCOPE, labels: ['beacon'], script: ':' });
    expect(await ended).toBe(0);
  });

  it('cancels its job on SIGTERM and goes offline', async () => {
    await configure();
    const { child, ended } = start(['bin/Runner.Listener', 'run']);
    const job = standin.state.runners.queueJob({ scope: SCOPE, labels: [], script: 'touch begun; sleep 30' });
    await until(() => existsSync(join(folder, '_work/begun')));
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(job).toMatchObject({ state: 'done', exit: 143 });
    expect(job.output).toMatch(/received a shutdown signal/);
    expect(isOnline()).toBe(false);
  });

  it('stays busy at GitHub when it is killed', async () => {
    await configure();
    const { child, ended } = start(['bin/Runner.Listener', 'run']);
    const job = standin.state.runners.queueJob({ scope: SCOPE, labels: [], script: 'sleep 1' });
    await until(() => job.state === 'running');
    child.kill('SIGKILL');
    await ended;
    expect(record()?.job).toBe(job);
  });

  it.each<[RunnerOrder, number]>([
    ['terminate', 1],
    ['retry', 2],
    ['update', 3],
    ['refresh', 6],
    ['deprecated', 7],
  ])('ends on %s with %i', async (order, status) => {
    await configure();
    const { ended } = start(['bin/Runner.Listener', 'run'], {
      ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE: '1',
    });
    await until(isOnline);
    standin.state.runners.order(record()?.id ?? 0, order);
    expect(await ended).toBe(status);
    expect(isOnline()).toBe(false);
    expect(existsSync(join(folder, 'update.finished'))).toBe(order === 'update');
  });

  it('does not update itself when it was told not to', async () => {
    await configure(['--disableupdate']);
    const { child, ended } = start(['bin/Runner.Listener', 'run']);
    await until(isOnline);
    standin.state.runners.order(record()?.id ?? 0, 'update');
    const job = standin.state.runners.queueJob({ scope: SCOPE, labels: [], script: ':' });
    await until(() => job.state === 'done');
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });

  it('ends with 5 when another process has its session', async () => {
    await configure();
    start(['bin/Runner.Listener', 'run']);
    await until(isOnline);
    expect(await run(['bin/Runner.Listener', 'run'])).toMatchObject({ status: 5 });
  });

  it('cleans its configuration when GitHub has removed it', async () => {
    await configure();
    const { ended } = start(['bin/Runner.Listener', 'run']);
    await until(isOnline);
    standin.state.runners.remove(record()?.id ?? 0);
    expect(await ended).toBe(0);
    expect(left()).toEqual([]);
  });

  it('hides its statuses behind run.sh', async () => {
    await configure();
    const { ended } = start(['run.sh']);
    await until(isOnline);
    standin.state.runners.order(record()?.id ?? 0, 'terminate');
    expect(await ended).toBe(0);
  });

  it('is removed by a removal token, or here alone', async () => {
    await configure();
    const { token } = standin.state.runners.mintToken(SCOPE, 'removal');
    expect(await run(['config.sh', 'remove', '--local'])).toMatchObject({ status: 0 });
    expect(left()).toEqual([]);
    expect(record()).toBeDefined();
    standin.state.runners.remove(record()?.id ?? 0);
    await configure();
    expect(await run(['config.sh', 'remove', '--token', token])).toMatchObject({ status: 0 });
    expect(record()).toBeUndefined();
  });

  it('writes its token into no file', async () => {
    const { token } = standin.state.runners.mintToken(SCOPE, 'registration');
    await configure([], token);
    for (const name of [...OWN_FILES, '.env', '.path', '_diag/Runner_small.log'])
      expect(readFileSync(join(folder, name), 'utf8')).not.toContain(token);
  });
});
