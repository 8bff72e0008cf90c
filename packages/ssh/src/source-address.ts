/**
 * The text of the critical option `source-address` (OpenSSH's PROTOCOL.certkeys): addresses in CIDR form, separated
 * by commas. As in sshd there is no negation and no wildcard, a network has no bits set below its mask, and an empty
 * or invalid list admits nobody. An IPv4 address inside IPv6 (`::ffff:192.0.2.1`) counts as the IPv4 address.
 */
import { isIPv4, isIPv6 } from 'node:net';

interface Network {
  readonly bits: 32 | 128;
  readonly value: bigint;
  readonly prefix: number;
}

const MAPPED_IPV4 = 0xffffn;

/** Whether `text` is a list that sshd would accept. */
export function isSourceAddressList(text: string): boolean {
  return parseList(text) !== undefined;
}

/** Whether `address` lies in one of the networks of `list`; an invalid list or address never matches. */
export function isSourceAddressIn(address: string, list: string): boolean {
  const networks = parseList(list);
  const own = parseAddress(address);
  if (networks === undefined || own === undefined) return false;
  return networks.some(
    ({ bits, value, prefix }) => bits === own.bits && (own.value ^ value) >> BigInt(bits - prefix) === 0n,
  );
}

function parseList(text: string): readonly Network[] | undefined {
  const networks: Network[] = [];
  for (const item of text.split(',')) {
    const network = parseNetwork(item);
    if (network === undefined) return undefined;
    networks.push(network);
  }
  return networks;
}

function parseNetwork(text: string): Network | undefined {
  const [address = '', mask, ...more] = text.split('/');
  const parsed = parseAddress(address);
  if (parsed === undefined || more.length > 0) return undefined;
  if (mask !== undefined && !/^(0|[1-9][0-9]{0,2})$/.test(mask)) return undefined;
  const prefix = mask === undefined ? parsed.bits : Number(mask);
  if (prefix > parsed.bits) return undefined;
  const hostBits = (1n << BigInt(parsed.bits - prefix)) - 1n;
  return (parsed.value & hostBits) === 0n ? { ...parsed, prefix } : undefined;
}

function parseAddress(text: string): { bits: 32 | 128; value: bigint } | undefined {
  if (isIPv4(text)) return { bits: 32, value: ipv4(text) };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const value = ipv6(text);
  return value >> 32n === MAPPED_IPV4 ? { bits: 32, value: value & 0xffff_ffffn } : { bits: 128, value };
}

function ipv4(text: string): bigint {
  return text.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
}

/** `text` is known to be an IPv6 address. */
function ipv6(text: string): bigint {
  const dotted = text.includes('.') ? text.slice(text.lastIndexOf(':') + 1) : undefined;
  const hex =
    dotted === undefined
      ? text
      : `${text.slice(0, -dotted.length)}${(ipv4(dotted) >> 16n).toString(16)}:${(ipv4(dotted) & 0xffffn).toString(16)}`;
  const [head = '', tail] = hex.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const zeros = Array<string>(8 - before.length - after.length).fill('0');
  return [...before, ...zeros, ...after].reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}
