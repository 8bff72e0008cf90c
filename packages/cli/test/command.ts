/** Runs the real command as a process of its own: exit status, stdout, stderr, and the files that it leaves. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A home directory of its own, so that no test sees another's login, nor the person's who runs it. */
export interface Home {
  readonly directory: string;
  readonly state: string;
  readonly session: string;
  readonly configuration: string;
  /** What node is given, and in which environment, to run the command otherwise than `run` does. */
  command(args: readonly string[]): string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Arguments behind `beacon`. */
  run(args: readonly string[], options?: RunOptions): Promise<Result>;
  start(args: readonly string[], options?: RunOptions): Running;
  remove(): void;
}

export interface Running {
  readonly pid: number;
  kill(signal: NodeJS.Signals): void;
  /** What it has said on stdout so far. */
  said(): string;
  readonly result: Promise<Result>;
}

export interface RunOptions {
  readonly stdin?: string | Buffer;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Starting takes a third of the time once node has kept what it compiled. */
const COMPILED = join(import.meta.dirname, '..', '..', '..', 'node_modules', '.cache', 'beacon-cli-tests');

export const MAIN = join(import.meta.dirname, '..', 'src', 'main.ts');

export function createHome(): Home {
  const directory = mkdtempSync(join(tmpdir(), 'beacon-home-'));
  const environment = {
    PATH: process.env['PATH'] ?? '',
    HOME: directory,
    TMPDIR: directory,
    NO_COLOR: '1',
    NODE_COMPILE_CACHE: COMPILED,
  };
  const command = (args: readonly string[]) => [
    '--conditions=@beacon/source',
    '--no-warnings',
    MAIN,
    ...args,
  ];
  const start: Home['start'] = (args, options = {}) => {
    const child = spawn(process.execPath, command(args), {
      env: { ...environment, ...options.environment },
      stdio: 'pipe',
    });
    let stdout = '';
    let stderr = '';
    const result = new Promise<Result>((resolve, reject) => {
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
      });
      child.once('error', reject);
      child.once('close', (status) => resolve({ status, stdout, stderr }));
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.stdin ?? '');
    return { pid: child.pid ?? 0, kill: (signal) => void child.kill(signal), said: () => stdout, result };
  };
  const state = join(directory, '.local', 'state', 'beacon');
  return {
    directory,
    state,
    session: join(state, 'session.json'),
    configuration: join(directory, '.config', 'beacon', 'config.yaml'),
    command,
    environment,
    start,
    run: (args, options) => start(args, options).result,
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
