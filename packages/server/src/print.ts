/** How the programs on a server's machine print: the product to standard output, the talk to standard error. */
import type { ZodType } from 'zod';
import type { CheckResult } from './check.ts';
import { describeDefaults } from './configuration.ts';

/** Controls but line feed and tab, line and paragraph separators, and the marks that turn the direction of writing. */
const UNSAFE = /[^\P{Cc}\n\t]|[\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** What stands in a file must not move the cursor or rub out a line of ours: it is made visible, as JSON writes it. */
function visible(text: string): string {
  return text.replace(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Writes to standard output: the product alone. */
export function print(text: string): void {
  process.stdout.write(visible(text));
}

/** Writes to standard error: the talk. */
export function talk(text: string): void {
  process.stderr.write(visible(text));
}

/** One line of JSON; answers exit status 0. */
export function printJson(value: unknown): number {
  print(`${JSON.stringify(value)}\n`);
  return 0;
}

/** The results of `check`; answers exit status 1 when one is a defect. */
export function printChecks(checks: readonly CheckResult[], json: boolean): number {
  const ok = checks.every((result) => result.ok);
  if (json) printJson({ ok, checks });
  else
    for (const result of checks)
      print(
        `${result.warning === true ? 'warning' : result.ok ? 'ok     ' : 'DEFECT '} ${result.check}: ${result.detail.replaceAll('\n', '\n        ')}\n`,
      );
  return ok ? 0 : 1;
}

/** A line for each setting of a configuration, for `--help`. */
export function describeSettings(schema: ZodType): string {
  return describeDefaults(schema)
    .map(({ key, required, default: value, description }) => {
      const standing = value === undefined ? (required ? 'required' : 'optional') : `default ${value}`;
      return `  ${key}: ${description} (${standing})\n`;
    })
    .join('');
}
