/**
 * A machine of another system, as far as it can be looked at here: its files in a folder, and what its programs answer. Files
 * are laid out as the system's own packages lay them out.
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Machine, openMachine } from '../src/machine.ts';

export interface TreeForm {
  /** Path and text; a text that begins with `-> ` is a link. */
  readonly files: Readonly<Record<string, string>>;
  /** Paths of programs. */
  readonly programs: readonly string[];
  /** What the programs print, by the words of the call. */
  readonly answers?: Readonly<Record<string, string>>;
}

export interface MachineTree extends Machine {
  /** The calls that had no answer: they have succeeded and printed nothing. */
  readonly calls: readonly string[];
  close(): void;
}

export function openTree({ files, programs, answers = {} }: TreeForm): MachineTree {
  const root = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-tree-'));
  const calls: string[] = [];
  const put = (path: string, text: string, mode: number): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    if (text.startsWith('-> ')) symlinkSync(text.slice(3), join(root, path));
    else writeFileSync(join(root, path), text, { mode });
  };
  // Links first: what lies below /lib may lie below /usr/lib.
  const links = (text: string): number => (text.startsWith('-> ') ? 0 : 1);
  const entries = Object.entries(files).sort(([, one], [, other]) => links(one) - links(other));
  for (const [path, text] of entries) put(path, text, 0o644);
  for (const path of programs) put(path, '', 0o755);
  return {
    ...openMachine(root),
    calls,
    run(argv) {
      const call = argv.join(' ');
      const answer = answers[call];
      if (answer === undefined) calls.push(call);
      return { status: 0, stdout: answer ?? '', stderr: '' };
    },
    close: () => rmSync(root, { recursive: true }),
  };
}
