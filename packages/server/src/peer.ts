/**
 * Who is at the other end. `X-Forwarded-For` is believed hop by hop, from the nearest, and only where the hop before is
 * a configured proxy. Every other header by which an intermediary could speak for somebody is removed, whoever sent it,
 * and what remains is rewritten from the configuration, so that nothing behind this file can be misled (ATTACKS A12).
 */
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { ServerError } from './error.ts';

/** Tells the address of a request's origin. */
export type PeerAddress = (request: IncomingMessage) => string;

/** `proxies` are addresses or networks (`10.0.0.0/8`). Throws ServerError `configuration`. */
export function trustProxies(proxies: readonly string[]): PeerAddress {
  const trusted = new BlockList();
  for (const proxy of proxies) {
    const [address = '', prefix, more] = proxy.split('/');
    const version = isIP(address);
    const longest = version === 4 ? 32 : 128;
    const length = prefix === undefined ? longest : Number(prefix);
    const numeric = prefix === undefined || /^[0-9]{1,3}$/.test(prefix);
    if (version === 0 || more !== undefined || !numeric || length > longest) {
      throw new ServerError(
        'configuration',
        `${JSON.stringify(proxy)} is not an address or a network: write it like 10.0.0.7 or 10.0.0.0/8`,
      );
    }
    // Whoever comes could then name any address as their own, and policies and limits look at it.
    if (length === 0) {
      throw new ServerError(
        'configuration',
        `${JSON.stringify(proxy)} is everybody: name the proxy in front alone`,
      );
    }
    trusted.addSubnet(address, length, version === 4 ? 'ipv4' : 'ipv6');
  }
  const isTrusted = (address: string): boolean => {
    const version = isIP(address);
    return version !== 0 && trusted.check(address, version === 4 ? 'ipv4' : 'ipv6');
  };
  return (request) => {
    let address = plainAddress(request.socket.remoteAddress ?? '');
    const hops = String(request.headers['x-forwarded-for'] ?? '').split(',');
    while (isTrusted(address)) {
      const hop = plainAddress(hops.pop()?.trim() ?? '');
      if (isIP(hop) === 0) break;
      address = hop;
    }
    return address;
  };
}

const SPEAKS_FOR_ANOTHER =
  /^(forwarded|x-forwarded-.*|x-real-ip|x-client-.*|x-http-method.*|x-method-override|x-original-.*|x-rewrite-.*|x-request-id)$/;

/** Rewrites the headers of a request: afterwards `host` and `x-forwarded-*` say what is configured and what was found. */
export function rewriteHeaders(
  request: IncomingMessage,
  facts: { readonly id: string; readonly ip: string; readonly publicUrl: URL },
): void {
  for (const name of Object.keys(request.headers)) {
    if (SPEAKS_FOR_ANOTHER.test(name)) delete request.headers[name];
  }
  request.headers.host = facts.publicUrl.host;
  request.headers['x-forwarded-for'] = facts.ip;
  request.headers['x-forwarded-proto'] = facts.publicUrl.protocol.slice(0, -1);
  request.headers['x-request-id'] = facts.id;
}

/** The key under which an address is counted: all of an IPv6 network of 64 bits is one, for it belongs to one customer. */
export function addressKey(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = '', tail] = address.split('%', 1).join('').toLowerCase().split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups = [
    ...before,
    ...Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => '0'),
    ...after,
  ];
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}

export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=[0-9]+[.])/i, '');
}
