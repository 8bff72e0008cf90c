/** How the subcommands on the broker's machine read their words: what is not understood is refused with the usage. */
import { readOptions, withUsage } from '@beacon/server';
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

/** Options by name and nothing besides: what is not understood is refused, not passed over. */
export function read<Name extends string, Flag extends string = 'json'>(
  argv: readonly string[],
  names: readonly Name[],
  flags: readonly Flag[] = [],
) {
  return readOptions(argv, false, names, flags).values;
}

/** With the lines of the usage that are about this subcommand; with all where there is none. */
export function usage(text: string, subcommand: string): BrokerError {
  return new BrokerError('request-malformed', withUsage(text, help, `beacon broker ${subcommand}`));
}
