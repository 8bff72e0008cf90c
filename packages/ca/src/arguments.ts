/** How the subcommands on the CA's machine read their words: what is not understood is refused with the usage. */
import { basename, dirname, join } from 'node:path';
import { readOptions, withUsage } from '@beacon/server';
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

/** Options by name, and at most `most` words besides: one that is not understood is refused, not passed over. */
export function read<Name extends string, Flag extends string = 'json'>(
  argv: readonly string[],
  most: number,
  names: readonly Name[],
  flags: readonly Flag[] = [],
) {
  const { values, positionals } = readOptions(argv, true, names, flags);
  const extra = positionals[most];
  if (extra !== undefined)
    throw new CaError('request-malformed', `unexpected ${JSON.stringify(extra)}: see --help`);
  return { values, positionals };
}

/** A file of the CA's folder: beside the named configuration, or in the folder of the default one, or here. */
export function beside(configuration: string | undefined, name: string): string {
  return join(configuration === undefined ? DEFAULT_FOLDER : dirname(configuration), basename(name));
}

/** With the lines of the usage that are about these words; with all where there are none. */
export function usage(text: string, words: string): CaError {
  return new CaError('request-malformed', withUsage(text, help, `beacon ${words}`));
}
