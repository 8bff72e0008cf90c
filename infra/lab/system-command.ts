/**
 * Programs of the machine that the lab is built with (`ip`, `mount`, `nsenter`, …): run without a shell, with an
 * environment made from nothing.
 */
import { spawn } from 'node:child_process';

/** Where the machine's own programs are, outside and inside of a host. */
export const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What a command left behind. */
export interface Outcome {
  /** Null when a signal ended it. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Buffer;
  /** After it the command is killed; default a minute. */
  readonly timeoutMs?: number;
}

/** Runs a program and collects what it says, whatever its exit status. */
export function runProgram(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const [program = '', ...rest] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, {
      env: { PATH: SYSTEM_PATH, LANG: 'C.UTF-8' },
      timeout: options.timeoutMs ?? 60_000,
      killSignal: 'SIGKILL',
    });
    const said = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        said[stream] += text;
      });
    }
    child.on('error', reject).on('close', (status) => resolve({ status, ...said }));
    // A program that reads nothing may be gone before its input is written.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input);
  });
}

/** {@link runProgram}, whose standard output is wanted. Throws with what the program said when it fails. */
export async function requireProgram(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await runProgram(argv, options);
  if (status === 0) return stdout;
  throw new Error(`${argv.join(' ')}: ${(stderr || stdout).trim() || `ended with ${status ?? 'a signal'}`}`);
}

/** Whether it is the machine's error of this name, such as `EBUSY`. */
export function hasCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}
