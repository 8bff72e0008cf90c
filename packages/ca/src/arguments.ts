/** How the subcommands on the CA's machine read their words and print: what is not understood is refused with the usage. */
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { CaError } from './error.ts';

export const DEFAULT_FOLDER = '/etc/beacon-ca';
export const DEFAULT_CONFIGURATION = `${DEFAULT_FOLDER}/ca.yaml`;

export const help = `Usage: beacon ca init [--dir ${DEFAULT_FOLDER}] --public-url URL [--listen HOST:PORT] [--admin LOGIN]
                      [--client-id ID] [--github-web-url URL] [--github-api-url URL] [--provider WORD]
                      [--systemd] [--json]
       beacon ca serve [--config ${DEFAULT_CONFIGURATION}]
       beacon ca ready [--config FILE] [--within SECONDS] [--pid PID]
       beacon ca check [--config FILE] [--json]
       beacon ca backup --out FILE [--config FILE] [--json]
       beacon ca restore --from FILE | --in-place [--config FILE] [--anchor SEQ:HASH]… [--json]
       beacon ca service key ID [--out FILE] [--json]
       beacon ca token-key FILE [--new]
       beacon ca key FILE --for user|host|status [--passphrase-file FILE] [--json]
       beacon ca root init FILE [--passphrase-file FILE] [--json]
       beacon ca root draft --out FILE [--config FILE] [--hosts PATTERN] [--login NAME]…
                            [--user-ca FILE]… [--host-ca FILE]… [--json]
       beacon ca root sign DOCUMENT --key FILE [--passphrase-file FILE] [--handover-to FILE] [--json]
       beacon ca rotate prepare NEWKEY --for user|host --out FILE [--passphrase-file FILE] [--config FILE] [--json]
       beacon ca rotate retire --out FILE [--now] [--config FILE] [--json]
       beacon ca rotate lost --for user|host --reason TEXT [--config FILE] [--json]
       beacon ca service list|check [--config FILE | --services FILE] [--json]
       beacon policy check [--policy DIR] [--inventory FILE] [--json]
       beacon policy test CASES [--policy DIR] [--inventory FILE] [--json]
       beacon records erase --person PERSON (--config FILE | --store FILE) [--json]
       beacon records verify --store FILE | --config FILE [--anchor SEQ:HASH]… [--json]
`;

/** The values of options that were given, by name; of those without a value, whether they were. */
export type Values<Name extends string, Flag extends string = 'json'> = Partial<Record<Name, string>> &
  Record<Flag | 'json', boolean>;

/** Options by name, and at most `most` words besides: one that is not understood is refused, not passed over. */
export function read<Name extends string, Flag extends string = 'json'>(
  argv: readonly string[],
  most: number,
  names: readonly Name[],
  flags: readonly Flag[] = [],
): { values: Values<Name, Flag>; positionals: string[] } {
  const all: readonly string[] = [...flags, 'json'];
  const options: Record<string, { type: 'string' | 'boolean' }> = Object.fromEntries([
    ...names.map((name) => [name, { type: 'string' }]),
    ...all.map((name) => [name, { type: 'boolean' }]),
  ]);
  const { values, positionals } = parseArgs({
    args: [...argv],
    options,
    allowPositionals: true,
  });
  const extra = positionals[most];
  if (extra !== undefined)
    throw new CaError('request-malformed', `unexpected ${JSON.stringify(extra)}: see --help`);
  const given = Object.fromEntries(all.map((name) => [name, values[name] === true]));
  return { values: { ...values, ...given } as Values<Name, Flag>, positionals };
}

/** A file of the CA's folder: beside the named configuration, or in the folder of the default one, or here. */
export function beside(configuration: string | undefined, name: string): string {
  return join(configuration === undefined ? DEFAULT_FOLDER : dirname(configuration), basename(name));
}

/** With the lines of the usage that are about these words; with all where there are none. */
export function usage(text: string, words: string): CaError {
  const own = help
    .split(/^(?=(?:Usage:| {6}) beacon)/m)
    .filter((line) => line.slice(7).startsWith(`beacon ${words}`));
  const shown = own.length === 0 ? help : own.map((line) => `Usage: ${line.slice(7)}`).join('');
  return new CaError('request-malformed', `${text}\n${shown}(see --help)`);
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

/** Writes to standard error: the talk. */
export function talk(text: string): void {
  process.stderr.write(visible(text));
}

/** One line of JSON; answers exit status 0. */
export function printJson(value: unknown): number {
  print(`${JSON.stringify(value)}\n`);
  return 0;
}
