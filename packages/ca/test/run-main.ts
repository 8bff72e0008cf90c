/** Runs this package's `main` as a process of its own, as the command line does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starting takes two thirds of the time once node has kept what it compiled. */
const COMPILED = join(import.meta.dirname, '..', '..', '..', 'node_modules', '.cache', 'beacon-ca-tests');

/** What a process of the CA has of this one's environment. */
export const ENVIRONMENT = { PATH: process.env['PATH'], NO_COLOR: '1', NODE_COMPILE_CACHE: COMPILED };

const MAIN = join(import.meta.dirname, '..', 'src', 'main.ts');
const SCRIPT = `
  const { main } = await import(${JSON.stringify(MAIN)});
  try {
    process.exitCode = await main(process.argv.slice(1));
  } catch (error) {
    process.stderr.write(error.name + ' ' + error.code + ': ' + error.message);
    process.exitCode = 99;
  }`;

export function startMain(
  argv: readonly string[],
  cwd?: string,
): { child: ChildProcess; ended: Promise<Outcome> } {
  const child = spawn(
    process.execPath,
    ['--conditions=@beacon/source', '--no-warnings', '--input-type=module', '-e', SCRIPT, '--', ...argv],
    {
      env: ENVIRONMENT,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(cwd === undefined ? {} : { cwd }),
    },
  );
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<Outcome>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
  return { child, ended };
}

export function runMain(argv: readonly string[], cwd?: string): Promise<Outcome> {
  return startMain(argv, cwd).ended;
}
