/**
 * Commands as transient systemd units (DESIGN.md section 5): the unit's name is the lock, its control group the kill, its
 * properties the limits, and it can be stopped by name after a crash of the gate. `systemd-run` passes its own three
 * streams to the unit. How the unit ended is written by its `ExecStopPost`, for systemd-run's own status cannot tell a
 * signal from a status; so what comes over the streams is the command's alone. It must outlive a `daemon-reload`, at which
 * systemd (252) reads the unit from its own file again: there a line with a `+` is lost, and one with `$` or `"` changed.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeFolder } from './durable-file.ts';
import { GateError } from './error.ts';
import {
  type Ended,
  type Execution,
  type Launch,
  type Running,
  STOP_GRACE_SECONDS,
  withEnvironment,
} from './execution.ts';

const SYSTEMD_RUN = '/usr/bin/systemd-run';
const SYSTEMCTL = '/usr/bin/systemctl';
/** systemd's words for a limit that was met. */
const LIMITS: ReadonlyMap<string, Pick<Ended, 'limit'>> = new Map([
  ['timeout', { limit: 'timeout' }],
  ['oom-kill', { limit: 'memory' }],
]);

const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const STOP_AGAIN_MS = 100;

export function createTransientUnits(resultsFolder: string): Execution {
  makeFolder(resultsFolder);
  return {
    start: (launch) => start(launch, join(resultsFolder, launch.unit)),
    stopUnit: async (unit) => {
      killCallers(unit);
      await systemctl('stop', unit);
      await systemctl('reset-failed', unit);
      rmSync(join(resultsFolder, unit), { force: true });
    },
  };
}

function start(launch: Launch, resultFile: string): Running {
  rmSync(resultFile, { force: true });
  const child = spawn(SYSTEMD_RUN, systemdArguments(launch, resultFile), {
    env: { PATH },
    cwd: '/',
    stdio: 'pipe',
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(launch.stdin);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', (error) => reject(cannotStart(launch, error)));
    child.on('close', () => {
      const result = takeResult(resultFile);
      if (result === undefined) reject(cannotStart(launch));
      else resolve(result);
    });
  });
  let isOver = false;
  const end = (): void => {
    isOver = true;
  };
  ended.then(end, end);
  return {
    stdout: child.stdout,
    stderr: child.stderr,
    ended,
    stop: () => void stopUntil(() => isOver, launch.unit),
  };
}

/** Asked for once, a stop may come before systemd-run has asked for the unit, and would find nothing to stop. */
async function stopUntil(isOver: () => boolean, unit: string): Promise<void> {
  while (!isOver()) {
    await systemctl('stop', unit);
    await sleep(STOP_AGAIN_MS);
  }
}

/** Ends a systemd-run that a dead gate has left and that may not yet have asked for its unit. */
function killCallers(unit: string): void {
  for (const id of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const words = readFileSync(`/proc/${id}/cmdline`, 'utf8').split('\0');
      // Anybody may call a process of theirs anything.
      if (words.includes(`--unit=${unit}`) && statSync(`/proc/${id}`).uid === 0)
        process.kill(Number(id), 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** What systemd-run is given; a `$` is doubled, for systemd fills in variables where a command line has them. */
export function systemdArguments(launch: Launch, resultFile: string): string[] {
  const { account } = launch;
  const properties = [
    `User=${account.name}`,
    `Group=${account.gid}`,
    `RuntimeMaxSec=${launch.timeoutSeconds}s`,
    `TasksMax=${launch.maxTasks}`,
    `MemoryMax=${launch.maxMemoryBytes}`,
    'UMask=0077',
    'LimitCORE=0',
    'KillMode=control-group',
    `TimeoutStopSec=${STOP_GRACE_SECONDS}s`,
    'WorkingDirectory=/',
    // The line below as root, whoever the command is.
    'PermissionsStartOnly=yes',
    `ExecStopPost=/bin/cp /proc/self/environ ${resultFile}`,
  ];
  return [
    '--quiet',
    '--pipe',
    '--wait',
    '--collect',
    '--service-type=exec',
    `--unit=${launch.unit}`,
    `--description=${launch.description}`,
    ...properties.flatMap((property) => ['-p', property]),
    '--',
    ...withEnvironment(launch).map((word) => word.replaceAll('$', '$$$$')),
  ];
}

/** Reads what the unit has left, and removes the file. */
function takeResult(file: string): Ended | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch {
    return undefined;
  }
  rmSync(file, { force: true });
  return parseResult(text);
}

/** From the environment that systemd gives to `ExecStopPost`; undefined where it does not say how the unit ended. */
export function parseResult(environment: string): Ended | undefined {
  const entries = environment.split('\0');
  // Each entry ends with the separator: another end is a file that was cut.
  if (entries.pop() !== '') return undefined;
  const values = new Map(
    entries.map((entry) => [entry.split('=', 1)[0], entry.slice(entry.indexOf('=') + 1)]),
  );
  const result = values.get('SERVICE_RESULT');
  if (result === undefined) return undefined;
  const [how, status] = [values.get('EXIT_CODE'), values.get('EXIT_STATUS') ?? ''];
  const met = LIMITS.get(result) ?? {};
  if (how === 'exited' && /^\d{1,3}$/.test(status)) return { code: Number(status), signal: null, ...met };
  const signal = Object.keys(constants.signals).find((name) => name === `SIG${status}`);
  return { code: null, signal: signal ?? 'SIGKILL', ...met };
}

function systemctl(verb: 'stop' | 'reset-failed', unit: string): Promise<void> {
  return new Promise((resolve) => {
    // A unit that is not there need not be stopped.
    const child = spawn(SYSTEMCTL, ['--quiet', verb, '--', `${unit}.service`], {
      env: { PATH },
      stdio: 'ignore',
    });
    child.on('error', () => resolve());
    child.on('close', () => resolve());
  });
}

function cannotStart(launch: Launch, cause?: unknown): GateError {
  return new GateError(
    'cannot-start',
    `${launch.unit} did not start: it may be in work already; the host's journal says more`,
    { cause },
  );
}
