/** `beacon ca host token|tokens|revoke-token`: how machines become hosts by themselves. The token is the product. */
import type { HostTokenWish } from '@beacon/client';
import { isName, nameForms } from '@beacon/protocol/name';
import { type Context, openCa } from './context.ts';
import { usageError } from './error.ts';
import { parseAddress, parseLabels } from './hosts.ts';
import { formatTable, formatTime } from './terminal.ts';

export interface TokenOptions {
  readonly address?: string;
  readonly hosts?: string;
  readonly uses?: string;
  readonly domain?: string;
  readonly port: string;
  readonly login: readonly string[];
  readonly label: readonly string[];
  readonly pool: readonly string[];
  readonly lifetime: string;
  readonly replace: boolean;
  readonly json: boolean;
}

const UNITS: Readonly<Record<string, number>> = { m: 60, h: 3_600, d: 86_400 };

/** For one host by its id, or with `--hosts` for a fleet. Throws CliError `usage`, or what the CA answers. */
export async function makeHostToken(
  context: Context,
  id: string | undefined,
  options: TokenOptions,
): Promise<number> {
  const request = readRequest(id, options);
  const { api } = await openCa(context);
  const made = await api.makeHostToken(request);
  const { terminal } = context;
  if (options.json) {
    terminal.json({ id: made.id, token: made.token, expires: made.expires });
    return 0;
  }
  terminal.talk(`The token ${made.id} is good until ${formatTime(made.expires)}; it is not shown again.`);
  terminal.out(made.token);
  return 0;
}

function readRequest(id: string | undefined, options: TokenOptions): HostTokenWish {
  const place = {
    logins: [...(options.login.length === 0 ? ['beacon'] : options.login)],
    labels: parseLabels(options.label),
    pools: [...options.pool],
    lifetime_seconds: readLifetime(options.lifetime),
  };
  if (id !== undefined && options.hosts === undefined) {
    if (!isName('host', id)) throw usageError(`${JSON.stringify(id.slice(0, 80))} is not ${nameForms.host}`);
    if (options.uses !== undefined || options.domain !== undefined)
      throw usageError('--uses and --domain belong to --hosts, for many machines');
    const { address, port } = parseAddress(options.address ?? id);
    return { kind: 'host', host: id, address, port, replace: options.replace, ...place } as const;
  }
  if (id !== undefined || options.hosts === undefined)
    throw usageError('name one host, or a pattern of host ids by --hosts');
  if (options.replace || options.address !== undefined)
    throw usageError('--replace and --address are for one host: an id once taken stays with its machine');
  return {
    kind: 'pool',
    hosts: options.hosts,
    uses: readNumber('--uses', options.uses ?? '1', 10_000),
    port: readNumber('--port', options.port, 65_535),
    ...(options.domain === undefined ? {} : { domain: options.domain }),
    ...place,
  } as const;
}

function readNumber(name: string, text: string, most: number): number {
  if (/^[1-9][0-9]{0,5}$/.test(text) && Number(text) <= most) return Number(text);
  throw usageError(`${name} is a number from 1 to ${most}`);
}

function readLifetime(text: string): number {
  const [, count, unit = ''] = /^([1-9][0-9]{0,3})([mhd])$/.exec(text) ?? [];
  const seconds = Number(count) * (UNITS[unit] ?? Number.NaN);
  if (seconds >= 60 && seconds <= 30 * 86_400) return seconds;
  throw usageError('--lifetime is a time from 1m to 30d, such as 1h');
}

export async function listHostTokens(context: Context, options: { readonly json: boolean }): Promise<number> {
  const { api } = await openCa(context);
  const tokens = await api.hostTokens();
  if (options.json) {
    context.terminal.json({ tokens });
    return 0;
  }
  const rows = tokens.map(({ id, hosts, person, expires, usesLeft }) => [
    id,
    hosts,
    person,
    formatTime(expires),
    String(usesLeft),
  ]);
  for (const line of formatTable([['TOKEN', 'HOSTS', 'BY', 'EXPIRES', 'USES'], ...rows]))
    context.terminal.out(line);
  return 0;
}

export async function revokeHostToken(
  context: Context,
  id: string,
  options: { readonly json: boolean },
): Promise<number> {
  const { api } = await openCa(context);
  const record = await api.revokeHostToken(id);
  if (options.json) context.terminal.json({ id, record });
  else context.terminal.out(`${id} is good for nothing more`);
  return 0;
}
