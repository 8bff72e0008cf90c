/**
 * Commands without systemd: each in a control group (v2) of its own, made for it. The group's folder is the lock, for it
 * can be made only once; `cgroup.kill` ends every process in it, one that called setsid(2) too; and it is found by name
 * after a crash of the gate. Limits hold as far as the group has the controllers; where it lacks the one for processes,
 * RLIMIT_NPROC stands in.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isCode } from './durable-file.ts';
import { GateError } from './error.ts';
import {
  type Ended,
  type Execution,
  type Launch,
  type Running,
  STOP_GRACE_SECONDS,
  withEnvironment,
} from './execution.ts';

const SETPRIV = '/usr/bin/setpriv';
const PRLIMIT = '/usr/bin/prlimit';
/** Enters the group as root, and only then becomes somebody else. */
const ENTER = 'echo 0 >"$0/cgroup.procs" && exec "$@"';

/** The folder of the control groups of this machine, or undefined where there is no cgroup v2. */
export function findControlGroups(
  mountInfo = readFileSync('/proc/self/mountinfo', 'utf8'),
): string | undefined {
  const mount = mountInfo.split('\n').find((line) => / - cgroup2 /.test(line));
  const place = mount?.split(' ')[4];
  return place !== undefined && existsSync(join(place, 'cgroup.procs')) ? join(place, 'beacon') : undefined;
}

export function createControlGroups(folder: string): Execution {
  return { start: (launch) => start(launch, folder), stopUnit: (unit) => empty(join(folder, unit)) };
}

function start(launch: Launch, folder: string): Running {
  const group = join(folder, launch.unit);
  makeGroup(group, folder, launch);
  const child = spawn('/bin/sh', ['-c', ENTER, group, ...becoming(launch)], {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    cwd: '/',
    stdio: 'pipe',
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(launch.stdin);
  let limit: 'timeout' | 'memory' | undefined;
  let stopping: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.kill('SIGTERM');
    stopping ??= setTimeout(() => kill(group), STOP_GRACE_SECONDS * 1_000);
  };
  const timeout = setTimeout(() => {
    limit = 'timeout';
    stop();
  }, launch.timeoutSeconds * 1_000);
  const status = new Promise<Ended>((resolve, reject) => {
    child.on('error', (error) => reject(cannotStart(launch, error)));
    // Not 'close': a process that went on in the background may hold the streams open.
    child.on('exit', (code, signal) => resolve({ code, signal }));
  });
  const ended = status.finally(async () => {
    clearTimeout(timeout);
    clearTimeout(stopping);
    if (wasShortOfMemory(group)) limit ??= 'memory';
    await empty(group);
  });
  return {
    stdout: child.stdout,
    stderr: child.stderr,
    ended: ended.then((how) => (limit === undefined ? how : { ...how, limit })),
    stop,
  };
}

function becoming(launch: Launch): string[] {
  const { account, maxTasks } = launch;
  // The count is of all processes of the uid, so root has none.
  const processes = account.uid === 0 ? [] : [`--nproc=${maxTasks}`];
  return [
    PRLIMIT,
    '--core=0',
    ...processes,
    '--',
    SETPRIV,
    `--reuid=${account.uid}`,
    `--regid=${account.gid}`,
    '--init-groups',
    '--',
    '/bin/sh',
    '-c',
    'umask 077 && exec "$@"',
    'sh',
    ...withEnvironment(launch),
  ];
}

function makeGroup(group: string, folder: string, launch: Launch): void {
  try {
    mkdirSync(folder, { recursive: true });
    enableControllers(folder);
    mkdirSync(group);
  } catch (error) {
    if (isCode(error, 'EEXIST')) {
      throw new GateError('busy', `${launch.unit} is in work already: wait until it has ended`);
    }
    throw cannotStart(launch, error);
  }
  for (const [file, value] of [
    ['pids.max', launch.maxTasks],
    ['memory.max', launch.maxMemoryBytes],
  ] as const) {
    if (existsSync(join(group, file))) writeFileSync(join(group, file), String(value));
  }
}

function enableControllers(folder: string): void {
  const offered = readFileSync(join(folder, 'cgroup.controllers'), 'latin1').trim().split(' ');
  const wanted = ['pids', 'memory'].filter((controller) => offered.includes(controller));
  if (wanted.length === 0) return;
  writeFileSync(join(folder, 'cgroup.subtree_control'), wanted.map((name) => `+${name}`).join(' '));
}

/** Ends every process in the group and removes it. */
async function empty(group: string): Promise<void> {
  while (existsSync(group)) {
    kill(group);
    try {
      rmdirSync(group);
      return;
    } catch (error) {
      if (isCode(error, 'ENOENT')) return;
      await sleep(5);
    }
  }
}

function kill(group: string): void {
  try {
    writeFileSync(join(group, 'cgroup.kill'), '1');
  } catch {
    // Before Linux 5.14: one by one, for as long as there are some.
    for (const pid of processesOf(group)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
  }
}

function processesOf(group: string): number[] {
  try {
    return readFileSync(join(group, 'cgroup.procs'), 'latin1').split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function wasShortOfMemory(group: string): boolean {
  try {
    return /^oom_kill [1-9]/m.test(readFileSync(join(group, 'memory.events'), 'latin1'));
  } catch {
    return false;
  }
}

function cannotStart(launch: Launch, cause: unknown): GateError {
  return new GateError('cannot-start', `${launch.unit} did not start: look at the host's control groups`, {
    cause,
  });
}
