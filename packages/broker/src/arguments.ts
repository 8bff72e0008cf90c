/** How the subcommands on the broker's machine read their words and print: what is not understood is refused with the usage. */
import { parseArgs } from 'node:util';
import { BrokerError } from './error.ts';

export const DEFAULT_FOLDER = '/etc/beacon-broker';
export const DEFAULT_CONFIGURATION = `${DEFAULT_FOLDER}/broker.yaml`;

export const help = `Usage: beacon broker init [--dir ${DEFAULT_FOLDER}] --public-url URL --ca-url URL [--service broker]
                          [--listen HOST:PORT] [--github-web-url URL] [--github-api-url URL] [--provider WORD]
                          [--systemd] [--json]
       beacon broker serve [--config ${DEFAULT_CONFIGURATION}]
       beacon broker ready [--config FILE] [--within SECONDS] [--pid PID]
       beacon broker check [--config FILE] [--json]
`;

/** The values of options that were given, by name; of those without a value, whether they were. */
export type Values<Name extends string> = Partial<Record<Name, string>> & { json: boolean; systemd: boolean };

/** Options by name and nothing besides: what is not understood is refused, not passed over. */
export function read<Name extends string>(
  argv: readonly string[],
  names: readonly Name[],
  flags: readonly string[] = [],
): Values<Name> {
  const options: Record<string, { type: 'string' | 'boolean' }> = Object.fromEntries([
    ...names.map((name) => [name, { type: 'string' }]),
    ...[...flags, 'json'].map((name) => [name, { type: 'boolean' }]),
  ]);
  const { values } = parseArgs({ args: [...argv], options });
  return { ...values, json: values['json'] === true, systemd: values['systemd'] === true } as Values<Name>;
}

/** With the lines of the usage that are about this subcommand; with all where there is none. */
export function usage(text: string, subcommand: string): BrokerError {
  const own = help
    .split(/^(?=(?:Usage:| {6}) beacon)/m)
    .filter((line) => line.slice(7).startsWith(`beacon broker ${subcommand}`));
  const shown = own.length === 0 ? help : own.map((line) => `Usage: ${line.slice(7)}`).join('');
  return new BrokerError('request-malformed', `${text}\n${shown}(see --help)`);
}

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

/** One line of JSON; answers exit status 0. */
export function printJson(value: unknown): number {
  print(`${JSON.stringify(value)}\n`);
  return 0;
}
