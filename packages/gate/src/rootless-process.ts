/**
 * Commands of a gate that is not root, for demos and tests: they run as whoever started the gate, without limits but
 * time. A unit's processes are found by a mark in their environment, which a process can take off: NOT FOR PRODUCTION.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
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

const MARK = 'BEACON_UNIT';

export function createRootlessProcesses(folder: string): Execution {
  return {
    start: (launch) => start(launch, join(folder, `unit-${launch.unit}`)),
    stopUnit: async (unit) => {
      await endAll(unit);
      rmSync(join(folder, `unit-${unit}`), { force: true });
    },
  };
}

function start(given: Launch, lock: string): Running {
  const launch = { ...given, environment: { ...given.environment, [MARK]: given.unit } };
  take(lock, launch.unit);
  const [program, ...rest] = withEnvironment(launch) as [string, ...string[]];
  const child = spawn(program, rest, { env: {}, cwd: '/', stdio: 'pipe', detached: true });
  child.stdin.on('error', () => undefined);
  child.stdin.end(launch.stdin);
  let limit: 'timeout' | undefined;
  let stopping: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.kill('SIGTERM');
    stopping ??= setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_SECONDS * 1_000);
  };
  const timeout = setTimeout(() => {
    limit = 'timeout';
    stop();
  }, launch.timeoutSeconds * 1_000);
  const status = new Promise<Ended>((resolve, reject) => {
    child.on('error', (cause) =>
      reject(new GateError('cannot-start', `${launch.unit} did not start`, { cause })),
    );
    child.on('exit', (code, signal) => resolve({ code, signal }));
  });
  const ended = status.finally(async () => {
    clearTimeout(timeout);
    clearTimeout(stopping);
    await endAll(launch.unit);
    rmSync(lock, { force: true });
  });
  return {
    stdout: child.stdout,
    stderr: child.stderr,
    ended: ended.then((how) => (limit === undefined ? how : { ...how, limit })),
    stop,
  };
}

function take(lock: string, unit: string): void {
  try {
    closeSync(openSync(lock, 'wx', 0o600));
  } catch (error) {
    if (!isCode(error, 'EEXIST'))
      throw new GateError('state-unavailable', `${lock} cannot be made`, { cause: error });
    throw new GateError('busy', `${unit} is in work already: wait until it has ended`);
  }
}

/** Ends what bears the mark, again and again until nothing does. */
async function endAll(unit: string): Promise<void> {
  for (let marked = find(unit); marked.length > 0; marked = find(unit)) {
    for (const pid of marked) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
    await sleep(5);
  }
}

function find(unit: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^[1-9][0-9]*$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`${MARK}=${unit}`);
      } catch {
        return false;
      }
    })
    .map(Number);
}
