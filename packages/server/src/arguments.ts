/**
 * How the subcommands on a server's machine read their words: what is not understood is refused, not passed over. The
 * refusal's class is its program's, so a text is given to `refuse`, which answers the error to be thrown.
 */
import { parseArgs } from 'node:util';
import type { ZodObject } from 'zod';
import type { ReadyOptions } from './ready.ts';

/** Makes the program's own error of a text, with the usage. */
export type Refuse = (text: string) => Error;

/** The values of options that were given, by name; of those without a value, whether they were. */
export type OptionValues<Name extends string, Flag extends string> = Partial<Record<Name, string>> &
  Record<Flag | 'json', boolean>;

/** Options by name, `--json` always among them, and words besides where the subcommand takes some. Throws what `parseArgs` throws. */
export function readOptions<Name extends string, Flag extends string>(
  argv: readonly string[],
  allowPositionals: boolean,
  names: readonly Name[],
  flags: readonly Flag[],
): { values: OptionValues<Name, Flag>; positionals: string[] } {
  const all: readonly string[] = [...flags, 'json'];
  const options: Record<string, { type: 'string' | 'boolean' }> = Object.fromEntries([
    ...names.map((name) => [name, { type: 'string' }]),
    ...all.map((name) => [name, { type: 'boolean' }]),
  ]);
  const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals });
  const given = Object.fromEntries(all.map((name) => [name, values[name] === true]));
  return { values: { ...values, ...given } as OptionValues<Name, Flag>, positionals };
}

/** What `parseArgs` says of an option that it does not understand; undefined for any other error. */
export function unreadOption(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error) || !('message' in error))
    return undefined;
  if (!String(error.code).startsWith('ERR_PARSE_ARGS')) return undefined;
  return String(error.message).replace(/ To specify a positional.*$/, '');
}

/** A refusal with the lines of `help` that are about these words (`beacon ca init`); with all where there are none. */
export function withUsage(text: string, help: string, words: string): string {
  const own = help.split(/^(?=(?:Usage:| {6}) beacon)/m).filter((line) => line.slice(7).startsWith(words));
  const shown = own.length === 0 ? help : own.map((line) => `Usage: ${line.slice(7)}`).join('');
  return `${text}\n${shown}(see --help)`;
}

/** Everything that `init` writes into the configuration must be what a later start reads, and is refused by the option's name. */
export function requireChosen(
  values: Partial<Record<string, string | boolean>>,
  { shape }: ZodObject,
  refuse: Refuse,
): void {
  for (const [name, form] of Object.entries(shape)) {
    if (values[name] === undefined) continue;
    const [issue] = form.safeParse(values[name]).error?.issues ?? [];
    if (issue !== undefined) throw refuse(`--${name}: ${issue.message}`);
  }
}

export interface ChosenPlaces {
  readonly listenHost: string;
  readonly listenPort: number;
  readonly provider: string;
  readonly webUrl: string;
  readonly apiUrl: string;
}

/** Where `init` was told that the server listens and GitHub is, with what is meant where it was not told. */
export function chosenPlaces(
  values: Partial<Record<'listen' | 'github-web-url' | 'github-api-url' | 'provider', string>>,
  defaultListen: string,
): ChosenPlaces {
  const [, host = '', port = ''] = /^(.+):(\d+)$/.exec(values.listen ?? defaultListen) ?? [];
  const webUrl = values['github-web-url'] ?? 'https://github.com';
  return {
    listenHost: host.replace(/^\[|\]$/g, ''),
    listenPort: Number(port),
    provider: values.provider ?? 'github',
    webUrl,
    apiUrl:
      values['github-api-url'] ??
      (webUrl === 'https://github.com' ? 'https://api.github.com' : `${webUrl}/api/v3`),
  };
}

/** How long `ready` waits, and for which process. */
export function readyOptions(
  { within = '0', pid }: Partial<Record<'within' | 'pid', string>>,
  refuse: Refuse,
): ReadyOptions {
  if (!/^\d{1,4}$/.test(within)) throw refuse('--within is a number of seconds');
  if (pid !== undefined && !/^[1-9]\d{0,9}$/.test(pid)) throw refuse('--pid is the number of a process');
  return { withinMs: Number(within) * 1000, ...(pid === undefined ? {} : { pid: Number(pid) }) };
}
