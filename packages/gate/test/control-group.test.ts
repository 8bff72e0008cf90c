import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Launch } from '../src/execution.ts';
import { createRootlessProcesses } from '../src/rootless-process.ts';
import { codeOf } from './refusal.ts';
import { SmallHost } from './small-host.ts';

let host: SmallHost;
beforeEach(async () => {
  host = await SmallHost.open();
});
afterEach(() => host.close());

const launch = (body: string, more: Partial<Launch> = {}): Launch => ({
  unit: 'beacon-test-a',
  description: 'for a test',
  argv: [host.script('a', body)],
  account: { name: 'worker', uid: host.workerUid, gid: host.workerUid, home: '/' },
  environment: { PATH: '/usr/bin:/bin' },
  stdin: '',
  timeoutSeconds: 20,
  maxTasks: 50,
  maxMemoryBytes: 2 ** 30,
  ...more,
});

const sleepers = (seconds: number): number =>
  readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(`sleep\0${seconds}\0`);
    } catch {
      return false;
    }
  }).length;

describe.each(['as on this machine', 'without root'])('an execution, %s,', (kind) => {
  const execution = () =>
    kind === 'without root' ? createRootlessProcesses(host.places.held) : host.execution;

  it('tells the status and the streams, and hands over what is for standard input', async () => {
    const running = execution().start(launch('cat; echo err >&2; exit 7', { stdin: 'in' }));
    const [out, err, ended] = await Promise.all([text(running.stdout), text(running.stderr), running.ended]);
    expect([out, err, ended]).toEqual(['in', 'err\n', { code: 7, signal: null }]);
  });

  it('G17: ends every process, also those that called setsid, when the command ends', async () => {
    const running = execution().start(launch('setsid sleep 4310 & setsid setsid sleep 4310 & sleep 0.1'));
    expect(await running.ended).toEqual({ code: 0, signal: null });
    expect(sleepers(4310)).toBe(0);
  });

  it('ends what does not listen to a first word', async () => {
    const running = execution().start(launch('trap "" TERM; echo up; while :; do sleep 4311; done'));
    await new Promise((resolve) => running.stdout.once('data', resolve));
    running.stop();
    expect(await running.ended).toMatchObject({ code: null, signal: 'SIGKILL' });
    expect(sleepers(4311)).toBe(0);
  });

  it('ends it when its time is over, and says so', async () => {
    const running = execution().start(launch('exec sleep 4312', { timeoutSeconds: 1 }));
    expect(await running.ended).toEqual({ code: null, signal: 'SIGTERM', limit: 'timeout' });
  });

  it('runs a name once at a time, and is found by the name from elsewhere', async () => {
    const running = execution().start(launch('sleep 4313 & echo up; sleep 4313'));
    await new Promise((resolve) => running.stdout.once('data', resolve));
    expect(codeOf(() => execution().start(launch('')))).toBe('busy');
    await execution().stopUnit('beacon-test-a');
    await running.ended;
    expect(sleepers(4313)).toBe(0);
    await execution().stopUnit('beacon-test-a');
    expect(await execution().start(launch('')).ended).toEqual({ code: 0, signal: null });
  });

  it('says that it cannot start what is not there', async () => {
    const running = execution().start(launch('', { argv: ['/nonexistent/program'] }));
    // The program that would have become it says so on standard error.
    expect(await running.ended).toEqual({ code: 127, signal: null });
    if (host.groups !== undefined) expect(existsSync(join(host.groups, 'beacon-test-a'))).toBe(false);
  });
});
