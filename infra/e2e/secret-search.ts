/**
 * Looks for secrets where none may be: in every file below some folders, of this machine or of a lab host, and in the
 * arguments and environments of processes while something runs. Programs that search are told what for on their standard
 * input, so that they do not find themselves.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { runProgram } from '../lab/system-command.ts';

/** What came to be known of one process: its arguments, or its environment. */
export interface Seen {
  readonly kind: 'cmdline' | 'environ';
  readonly command: string;
  readonly text: string;
}

/** The files that hold one of these texts; what is not a file of a disk or of memory is passed over. */
export async function filesWith(secrets: readonly string[], folders: readonly string[]): Promise<string[]> {
  // An empty text stands in every file.
  if (secrets.length === 0 || secrets.includes('')) throw new Error('there is nothing to look for');
  return grep(['-F', '-f', '-'], `${secrets.join('\n')}\n`, folders);
}

/** The files that hold something of one of these forms (POSIX, extended). */
export async function filesLike(forms: readonly string[], folders: readonly string[]): Promise<string[]> {
  return grep(['-E', '-f', '-'], `${forms.join('\n')}\n`, folders);
}

async function grep(how: readonly string[], input: string, folders: readonly string[]): Promise<string[]> {
  const words = ['grep', '-rlas', '--devices=skip', ...how, '--', ...folders];
  const { status, stdout, stderr } = await runProgram(words, { input, timeoutMs: 120_000 });
  // 2: some file could not be read, or went while it was looked for; what was found stands in the output all the same.
  if (status === null || status > 2) throw new Error(`grep ended with ${status}: ${stderr}`);
  return stdout.split('\n').filter((line) => line !== '');
}

/** Looks at all processes of this machine, those of its lab hosts among them, until it is stopped. */
export class ProcessWatch {
  readonly #seen = new Map<string, Seen>();
  readonly #known = new Set<string>();
  readonly #ended: Promise<void>;
  #goesOn = true;
  looks = 0;

  constructor() {
    this.#ended = this.#watch();
  }

  /** Everything that was seen. */
  async stop(): Promise<readonly Seen[]> {
    this.#goesOn = false;
    await this.#ended;
    return [...this.#seen.values()];
  }

  async #watch(): Promise<void> {
    while (this.#goesOn) {
      this.looks += 1;
      for (const pid of readdirSync('/proc')) if (/^\d+$/.test(pid)) this.#look(pid);
      await sleep(50);
    }
  }

  #look(pid: string): void {
    const cmdline = read(`/proc/${pid}/cmdline`);
    const command = cmdline.replaceAll('\0', ' ');
    if (command === '' || this.#known.has(`${pid} ${command}`)) return;
    const environ = read(`/proc/${pid}/environ`);
    // A program that has just begun has no environment yet; it is looked at again.
    if (environ !== '') this.#known.add(`${pid} ${command}`);
    this.#keep({ kind: 'cmdline', command, text: command });
    this.#keep({ kind: 'environ', command, text: environ.replaceAll('\0', '\n') });
  }

  #keep(one: Seen): void {
    this.#seen.set(`${one.kind} ${one.command} ${one.text}`, one);
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
