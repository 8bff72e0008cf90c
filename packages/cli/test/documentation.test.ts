import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { Command } from 'commander';
import type { Context } from '../src/context.ts';
import { createProgram } from '../src/program.ts';

const page = readFileSync(join(import.meta.dirname, '..', '..', '..', 'docs', 'cli.md'), 'utf8');

describe('docs/cli.md', () => {
  const program = createProgram({} as Context, '0', () => undefined);

  it('names every command', () => {
    const missing = names(program, 'beacon').filter(
      (name) => !page.includes(`\`${name}`) && !page.includes(`\n${name}`),
    );
    expect(missing).toEqual([]);
  });

  it('names every option', () => {
    const missing = options(program).filter((name) => !new RegExp(`${name}(?![a-z-])`).test(page));
    expect(missing).toEqual([]);
  });
});

/** The commands that do something; one that only holds others is named with them. */
function names(command: Command, path: string): string[] {
  if (command.commands.length === 0) return [path];
  return command.commands.flatMap((child) => names(child, `${path} ${child.name()}`));
}

function options(command: Command): string[] {
  const own = command.options.flatMap(({ long }) => (long === undefined || long === null ? [] : [long]));
  return [...own, ...command.commands.flatMap(options)];
}
