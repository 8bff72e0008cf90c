/**
 * One host of a lab, for tests and for `scripts/lab`: commands run in it as its own root would run them, files are put
 * into it. It holds no state but names, so that any process may hold one.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { HostForm } from './first-process.ts';
import { findLeader, runsProgram } from './host-processes.ts';
import { type Outcome, type RunOptions, runProgram, SYSTEM_PATH } from './system-command.ts';

/** What the first process of a host is called when it has begun. */
const FIRST: Readonly<Record<HostForm, string>> = { whole: 'systemd', light: 'sshd' };

export interface HostPlace {
  readonly name: string;
  readonly address: string;
  readonly form: HostForm;
  /** Holds `upper`, `work`, `root` and `console.log`. */
  readonly folder: string;
  readonly namespacePath: string;
}

export interface CopyOptions {
  /** Default 0644. */
  readonly mode?: number;
  /** `user` or `user:group` of the host; default root. */
  readonly owner?: string;
}

export class LabHost {
  readonly name: string;
  /** Reached from this machine and from the other hosts of the lab, and from nowhere else. */
  readonly address: string;
  readonly #place: HostPlace;

  constructor(place: HostPlace) {
    this.name = place.name;
    this.address = place.address;
    this.#place = place;
  }

  get running(): boolean {
    return this.leader !== undefined;
  }

  /** Its first process, in this machine's numbers; undefined when it does not run. */
  get leader(): number | undefined {
    return findLeader(this.#place.namespacePath);
  }

  /** The public half of the host's own key, one line. */
  get hostKey(): string {
    return readFileSync(join(this.#place.folder, 'root/etc/ssh/ssh_host_ed25519_key.pub'), 'utf8').trimEnd();
  }

  /** What the host's console said since it started. */
  get console(): string {
    return readFileSync(join(this.#place.folder, 'console.log'), 'utf8');
  }

  /** Runs a program in the host as root, without a shell. */
  exec(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return runProgram(this.#enter(argv), options);
  }

  /** {@link LabHost.exec}, whose standard output is wanted. Throws with what it said when the exit status is not 0. */
  async run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.exec(argv, options);
    if (status === 0) return stdout;
    throw new Error(
      `${this.name}: ${argv.join(' ')} ended with ${status ?? 'a signal'}: ${(stderr || stdout).trim()}`,
    );
  }

  /** Runs a shell script in the host as root; it stops at the first command that fails. */
  script(text: string, options: Omit<RunOptions, 'input'> = {}): Promise<string> {
    return this.run(['/bin/sh', '-eu', '-s'], { ...options, input: text });
  }

  /** Runs a program in the host on this process's own terminal. Resolves with its exit status. */
  attach(argv: readonly string[]): Promise<number> {
    const [program = '', ...rest] = this.#enter(argv);
    return new Promise((resolve, reject) => {
      const child = spawn(program, rest, { stdio: 'inherit' });
      child.on('error', reject).on('close', (status) => resolve(status ?? 255));
    });
  }

  /** Copies a file of this machine into the host. Its folder must be there. */
  async copyIn(from: string, to: string, options: CopyOptions = {}): Promise<void> {
    await this.write(to, readFileSync(from), options);
  }

  /** Writes a file in the host. */
  async write(to: string, content: string | Buffer, options: CopyOptions = {}): Promise<void> {
    const [user = 'root', group = user] = (options.owner ?? 'root').split(':');
    const mode = (options.mode ?? 0o644).toString(8);
    const script = 'install -m "$1" -o "$2" -g "$3" /dev/null "$4"; cat >"$4"';
    await this.run(['sh', '-euc', script, 'write', mode, user, group, to], { input: content });
  }

  /**
   * Waits until the host has started; resolves with why systemd calls it degraded, or with nothing. Throws with its
   * console when it has not within the time.
   */
  async untilStarted(timeoutMs = 60_000): Promise<string> {
    const end = performance.now() + timeoutMs;
    for (; performance.now() < end; await delay(100)) {
      const leader = findLeader(this.#place.namespacePath);
      if (leader === undefined || !runsProgram(leader, FIRST[this.#place.form])) continue;
      if (this.#place.form === 'light') {
        const { status } = await this.exec(['ssh-keyscan', '-T', '1', '-t', 'ed25519', 'localhost']);
        if (status === 0) return '';
        continue;
      }
      const state = (await this.exec(['systemctl', 'is-system-running'])).stdout.trim();
      if (state === 'running') return '';
      if (state !== 'degraded') continue;
      const failed = await this.run(['systemctl', '--failed', '--no-legend', '--plain']);
      return `degraded: ${failed.trim().replaceAll('\n', '; ')}`;
    }
    throw new Error(`${this.name} did not start: ${this.console.slice(-2_000)}`);
  }

  #enter(argv: readonly string[]): string[] {
    const leader = findLeader(this.#place.namespacePath);
    if (leader === undefined) throw new Error(`${this.name} does not run: start it with scripts/lab up`);
    return [
      ...['nsenter', '--target', String(leader), '--mount', '--pid', '--net', '--uts', '--ipc', '--cgroup'],
      ...['--', 'env', '-i', `PATH=${SYSTEM_PATH}`, 'HOME=/root', 'USER=root', 'LANG=C.UTF-8'],
      ...(process.stdout.isTTY ? [`TERM=${process.env['TERM'] ?? 'dumb'}`] : []),
      ...argv,
    ];
  }
}
