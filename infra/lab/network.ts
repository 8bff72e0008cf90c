/**
 * The lab's network: one bridge on this machine with a /24 of 10.192.0.0/10 that nothing here uses, and for each host a
 * network namespace of its own with one end of a veth pair. No route leads out of it. Names come from the lab's folder
 * alone, so that everything can be found and removed even when nothing but the folder's path is known.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { requireProgram, runProgram } from './system-command.ts';

const NAMESPACES = '/run/netns';
const FIRST_HOST = 10;

export interface LabNetwork {
  readonly bridge: string;
  /** The first three numbers of every address, as text. */
  readonly prefix: string;
}

function digest(folder: string): Buffer {
  return createHash('sha256').update(folder).digest();
}

/** What all names of this lab begin with: 12 characters of the 15 that the name of an interface may have. */
export function labName(folder: string): string {
  return `bcn-${digest(folder).toString('hex').slice(0, 8)}`;
}

export function namespaceOf(folder: string, host: string): string {
  return `${labName(folder)}-${host}`;
}

/** The namespace as a file that programs open. */
export function namespacePath(folder: string, host: string): string {
  return `${NAMESPACES}/${namespaceOf(folder, host)}`;
}

/** The lab's bridge, which is made when it is not there. */
export async function openNetwork(folder: string): Promise<LabNetwork> {
  const bridge = labName(folder);
  const present = await prefixOf(bridge);
  if (present !== undefined) return { bridge, prefix: present };
  const taken = await addressesInUse();
  const start = digest(folder).readUInt16BE(8);
  for (let attempt = 0; attempt < 256; attempt += 1) {
    const number = (start + attempt) % 0x4000;
    const prefix = `10.${192 + (number >> 8)}.${number & 0xff}`;
    if (taken.some((address) => address.startsWith(`${prefix}.`))) continue;
    if (!(await isInterface(bridge)))
      await requireProgram(['ip', 'link', 'add', 'name', bridge, 'type', 'bridge']);
    await requireProgram(['ip', 'address', 'add', `${prefix}.1/24`, 'dev', bridge]);
    await requireProgram(['ip', 'link', 'set', bridge, 'up']);
    return { bridge, prefix };
  }
  throw new Error('no free network was found for the lab: is 10.192.0.0/10 in use on this machine?');
}

/** Gives the host `index` its namespace and its address, on the interface `host0`. */
export async function connectHost(
  folder: string,
  { bridge, prefix }: LabNetwork,
  host: string,
  index: number,
): Promise<void> {
  const namespace = namespaceOf(folder, host);
  const outer = `${labName(folder)}${index.toString(36).padStart(3, '-')}`;
  const ip = (...words: string[]) => requireProgram(['ip', ...words]);
  await ip('netns', 'add', namespace);
  await ip('link', 'add', 'name', outer, 'type', 'veth', 'peer', 'name', 'host0', 'netns', namespace);
  await ip('link', 'set', outer, 'master', bridge, 'up');
  await ip('-n', namespace, 'link', 'set', 'lo', 'up');
  await ip('-n', namespace, 'address', 'add', `${addressOf({ prefix }, index)}/24`, 'dev', 'host0');
  await ip('-n', namespace, 'link', 'set', 'host0', 'up');
}

export function addressOf({ prefix }: Pick<LabNetwork, 'prefix'>, index: number): string {
  return `${prefix}.${FIRST_HOST + index}`;
}

/** Takes a host's namespace away, and with it both ends of its veth. */
export async function disconnectHost(folder: string, host: string): Promise<void> {
  if (existsSync(namespacePath(folder, host)))
    await requireProgram(['ip', 'netns', 'delete', namespaceOf(folder, host)]);
}

/** Hosts that have a namespace, whether or not anything else is left of them. */
export function connectedHosts(folder: string): string[] {
  const prefix = `${labName(folder)}-`;
  return existsSync(NAMESPACES)
    ? readdirSync(NAMESPACES)
        .filter((name) => name.startsWith(prefix))
        .map((name) => name.slice(prefix.length))
    : [];
}

export async function closeNetwork(folder: string): Promise<void> {
  if (await isInterface(labName(folder))) await requireProgram(['ip', 'link', 'delete', labName(folder)]);
}

async function isInterface(name: string): Promise<boolean> {
  return (await runProgram(['ip', 'link', 'show', 'dev', name])).status === 0;
}

async function prefixOf(bridge: string): Promise<string | undefined> {
  const { stdout } = await runProgram(['ip', '-o', '-4', 'address', 'show', 'dev', bridge]);
  return /inet (\d+\.\d+\.\d+)\.1\/24/.exec(stdout)?.[1];
}

/** Addresses and destinations of routes, as far as this machine knows them. */
async function addressesInUse(): Promise<string[]> {
  const said = [
    await requireProgram(['ip', '-o', '-4', 'address', 'show']),
    await requireProgram(['ip', '-4', 'route', 'show', 'table', 'all']),
  ].join('\n');
  return said.match(/\d+\.\d+\.\d+\.\d+/g) ?? [];
}
