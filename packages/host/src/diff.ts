/** A plan as a person reads it: what would be made, and of texts each line that would go or come. */
import { readlinkSync } from 'node:fs';
import { isDone, mergeInto } from './apply.ts';
import { readIfThere } from './durable-file.ts';
import { statOf } from './facts.ts';
import type { Machine } from './machine.ts';
import type { Step } from './plan.ts';
import { NOTE } from './wish.ts';

const LONGEST = 200;

/** The lines of the diff; none where everything is as it should be. Reads; changes nothing. */
export function diffPlan(machine: Machine, steps: readonly Step[]): string[] {
  return steps.filter((step) => !isDone(machine, step)).flatMap((step) => diffStep(machine, step));
}

function diffStep(machine: Machine, step: Step): string[] {
  switch (step.do) {
    case 'account': {
      const { name, home, shell } = step.account;
      return [`+ account ${name}: system, no password, home ${home}, shell ${shell}`];
    }
    case 'folder':
      return [`+ folder ${step.path} ${octal(step.mode)} ${step.owner ?? 'root'}:root`];
    case 'copy':
      return [
        `${sign(machine, step.path)} file ${step.path} ${octal(step.mode)} root:root sha256:${step.sha256}`,
      ];
    case 'entries': {
      const changed = mergeInto(machine, step)?.changed;
      const names = changed ?? ['the runner commands'];
      return [`~ file ${step.path}`, ...names.map((name) => `+ ${name}`)];
    }
    case 'link': {
      const before =
        statOf(machine, step.path)?.isSymbolicLink() === true
          ? readlinkSync(machine.at(step.path))
          : undefined;
      return [
        ...(before === undefined ? [] : [`- link ${step.path} to ${before}`]),
        `+ link ${step.path} to ${step.target}`,
      ];
    }
    case 'unmanaged':
      return [`+ links that mask the user manager of ${step.login}`];
    case 'enable':
      return [`+ unit ${step.unit} enabled and started`];
    case 'file': {
      const before = readIfThere(machine.at(step.path));
      const head = `${sign(machine, step.path)} file ${step.path} ${octal(step.mode)} root:root`;
      if (step.path === NOTE || (step.theirs === true && before !== undefined)) return [head];
      const [from, to] = [before ?? Buffer.alloc(0), step.content].map(textLines);
      if (from === undefined || to === undefined) return [`${head} (${step.content.length} bytes)`];
      return [head, ...diffLines(from, to)];
    }
  }
}

/** The lines between the common beginning and the common end, first those that go. */
function diffLines(from: readonly string[], to: readonly string[]): string[] {
  let start = 0;
  while (start < from.length && start < to.length && from[start] === to[start]) start++;
  let end = 0;
  while (end < from.length - start && end < to.length - start && from.at(-1 - end) === to.at(-1 - end)) end++;
  const cut = (line: string): string => (line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line);
  return [
    `@@ line ${start + 1} @@`,
    ...from.slice(start, from.length - end).map((line) => `-${cut(line)}`),
    ...to.slice(start, to.length - end).map((line) => `+${cut(line)}`),
  ];
}

/** Undefined where it is no text. */
function textLines(bytes: Buffer): string[] | undefined {
  const text = bytes.toString('utf8');
  if (text === '') return [];
  return Buffer.from(text).equals(bytes) && !text.includes('\0')
    ? text.replace(/\n$/, '').split('\n')
    : undefined;
}

function sign(machine: Machine, path: string): '+' | '~' {
  return statOf(machine, path) === undefined ? '+' : '~';
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
