/** `beacon ca host add|list|disable|enable`: the machines that certificates can be issued for. */
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import type { Host } from '@beacon/client';
import { isName, nameForms } from '@beacon/protocol/name';
import { formatPublicKeyLine, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { type Context, openCa } from './context.ts';
import { CliError, usageError } from './error.ts';
import { reason } from './private-file.ts';
import { formatTable, formatTime } from './terminal.ts';

export interface AddHostOptions {
  readonly address: string;
  readonly login: readonly string[];
  readonly label: readonly string[];
  readonly pool: readonly string[];
  readonly hostKey: string;
  readonly json: boolean;
}

export interface ChangeOptions {
  readonly reason: string;
  readonly json: boolean;
}

const SSH_PORT = 22;

/** Registers a host; the product is its host certificate, one line for a `-cert.pub` file. */
export async function addHost(context: Context, id: string, options: AddHostOptions): Promise<number> {
  if (!isName('host', id)) throw usageError(`${JSON.stringify(id.slice(0, 80))} is not ${nameForms.host}`);
  const { address, port } = parseAddress(options.address);
  const hostKey = await readPublicKey(options.hostKey);
  const { api } = await openCa(context);
  const registered = await api.registerHost({
    id,
    address,
    port,
    logins: [...options.login],
    labels: parseLabels(options.label),
    pools: [...options.pool],
    host_key: hostKey,
  });
  const { terminal } = context;
  if (options.json) {
    terminal.json({
      host: hostJson(registered.host),
      certificate: registered.certificate,
      serial: registered.serial,
      valid_before: registered.validBefore,
      record: registered.record,
    });
    return 0;
  }
  terminal.talk(
    `${id} is registered. Its host certificate is valid until ${formatTime(registered.validBefore)}.`,
  );
  terminal.talk(
    "Put it beside the host's key as ….-cert.pub, and name it in sshd_config: HostCertificate FILE",
  );
  terminal.out(registered.certificate.trimEnd());
  return 0;
}

export async function listHosts(context: Context, options: { readonly json: boolean }): Promise<number> {
  const { api } = await openCa(context);
  const hosts = await api.hosts();
  if (options.json) {
    context.terminal.json({ hosts: hosts.map(hostJson) });
    return 0;
  }
  const rows = hosts.map((host) => [
    host.id,
    host.state,
    host.logins.join(','),
    host.address === undefined ? '-' : `${host.address}:${host.port ?? SSH_PORT}`,
    (host.pools ?? []).join(',') || '-',
    Object.entries(host.labels ?? {})
      .map(([name, value]) => `${name}=${value}`)
      .join(',') || '-',
  ]);
  const table = formatTable([['HOST', 'STATE', 'LOGINS', 'ADDRESS', 'POOLS', 'LABELS'], ...rows]);
  for (const line of table) context.terminal.out(line);
  return 0;
}

/** No certificate is issued for a disabled host; what was issued is revoked with `beacon revoke`. */
export async function changeHost(
  context: Context,
  id: string,
  change: 'disable' | 'enable',
  options: ChangeOptions,
): Promise<number> {
  const { api } = await openCa(context);
  const host = await api.changeHost(id, change, options.reason);
  if (options.json) context.terminal.json({ host: hostJson(host) });
  else context.terminal.out(`${host.id} is ${host.state}`);
  return 0;
}

/** The API's own names, so that one reader serves both. */
function hostJson(host: Host): object {
  const { hostKey, ...same } = host;
  return hostKey === undefined ? same : { ...same, host_key: hostKey };
}

/** `HOST`, `HOST:PORT`, `[v6]`, `[v6]:PORT`; a bare IPv6 address has no port. Throws CliError `usage`. */
export function parseAddress(text: string): { readonly address: string; readonly port: number } {
  const [, bracketed, plain, digits] = /^(?:\[(.+)\]|([^[\]:]+))(?::([1-9][0-9]{0,4}))?$/.exec(text) ?? [];
  const bare = isIPv6(text) ? text : undefined;
  const address = bracketed === undefined ? (plain ?? bare) : isIPv6(bracketed) ? bracketed : undefined;
  const port = digits === undefined ? SSH_PORT : Number(digits);
  if (address === undefined || port > 65_535) {
    throw usageError(
      `${JSON.stringify(text.slice(0, 100))} is no address: write HOST, HOST:PORT or [IPv6]:PORT`,
    );
  }
  return { address, port };
}

/** `k=v`, each name once. Throws CliError `usage`. */
export function parseLabels(labels: readonly string[]): Record<string, string> {
  const parsed: Record<string, string> = {};
  for (const label of labels) {
    const [, name, value] = /^([^=]+)=(.+)$/.exec(label) ?? [];
    if (name === undefined || value === undefined)
      throw usageError(`${JSON.stringify(label)} is no label: write k=v`);
    if (Object.hasOwn(parsed, name)) throw usageError(`the label ${JSON.stringify(name)} is given twice`);
    parsed[name] = value;
  }
  return parsed;
}

/** A public key file's one line without its comment, which often names a person. */
export async function readPublicKey(file: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new CliError('file-unreadable', 'not-found', `${file} cannot be read: ${reason(error)}`, {
      cause: error,
    });
  }
  if (text.startsWith('-----BEGIN')) {
    throw new CliError('file-malformed', 'invalid', `${file} is a private key: name the .pub file beside it`);
  }
  return formatPublicKeyLine(parsePublicKeyLine(text).key);
}
