/**
 * Listens, within bounds, and stops in order. Beyond loopback it wants TLS of its own or a proxy that is named in the
 * configuration: what passes here is bound to keys, but who reads along still learns much.
 */
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { type AddressInfo, BlockList, isIP } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import { ServerError } from './error.ts';
import { addressKey, plainAddress } from './peer.ts';

/** PEM. */
export interface TlsPair {
  readonly certificate: string | Buffer;
  readonly key: string | Buffer;
}

export interface ListenOptions {
  /** An address, or `localhost`. */
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly tls?: TlsPair;
  /** Those of the configuration; with one, TLS is its work. */
  readonly trustedProxies?: readonly string[];
  /** Default 1,024. */
  readonly maxConnections?: number;
  /** Of one peer, an IPv6 network of 64 bits being one; not counted where proxies are named, and without bound when absent. */
  readonly maxConnectionsPerAddress?: number;
  /** The whole request, headers and body, must have come within this. Default 30,000. */
  readonly requestTimeoutMs?: number;
  /** Default 10,000. */
  readonly headersTimeoutMs?: number;
}

export interface Listening {
  /** As reached on this machine: `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly port: number;
  /** Connections from now on see this pair; those that are open go on. Throws what node says of a pair that does not fit. */
  replaceTls(pair: TlsPair): void;
  /** Takes no more connections, lets what has begun end within `graceMs` (default 10,000), then cuts the rest; 0 cuts at once, also later. */
  close(graceMs?: number): Promise<void>;
}

const MAX_HEADER_BYTES = 16 * 1024;
const MAX_HEADERS = 100;
const KEEP_ALIVE_MS = 5_000;
const CHECK_EVERY_MS = 1_000;
const CLOSE_IDLE_EVERY_MS = 50;

/** Throws ServerError `listen` when the address must not be listened on, or cannot be. */
export async function listen(app: RequestListener, options: ListenOptions): Promise<Listening> {
  requireProtection(options);
  const server = createBounded(app, options);
  let closing = false;
  server.prependListener('request', (_request, response) => {
    if (closing) response.setHeader('connection', 'close');
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'another program listens there' : (error.code ?? 'unknown');
      reject(
        new ServerError('listen', `cannot listen on ${options.host}:${options.port}: ${why}`, {
          cause: error,
        }),
      );
    });
    server.listen(options.port, options.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const name = isIP(options.host) === 6 ? `[${options.host}]` : options.host;
  let closed: Promise<void> | undefined;
  return {
    url: `${options.tls === undefined ? 'http' : 'https'}://${name}:${port}`,
    port,
    replaceTls(pair) {
      if ('setSecureContext' in server) (server as TlsServer).setSecureContext(secureContext(pair));
    },
    close(graceMs = 10_000) {
      closing = true;
      if (closed !== undefined && graceMs === 0) server.closeAllConnections();
      closed ??= stop(server, graceMs);
      return closed;
    },
  };
}

function createBounded(app: RequestListener, options: ListenOptions): Server {
  const bounds = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: options.headersTimeoutMs ?? 10_000,
    requestTimeout: options.requestTimeoutMs ?? 30_000,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: CHECK_EVERY_MS,
    requireHostHeader: true,
  };
  const server: Server =
    options.tls === undefined
      ? createServer(bounds, app)
      : createTlsServer({ ...bounds, ...secureContext(options.tls) }, app);
  server.maxHeadersCount = MAX_HEADERS;
  boundAddresses(server, options);
  server.maxConnections = options.maxConnections ?? 1_024;
  return server;
}

/** Cuts what one address opens beyond its bound, before a byte of it is read. */
function boundAddresses(
  server: Server,
  { maxConnectionsPerAddress: most, trustedProxies = [] }: ListenOptions,
): void {
  if (most === undefined || trustedProxies.length > 0) return;
  const open = new Map<string, number>();
  server.on('connection', (socket) => {
    const key = addressKey(plainAddress(socket.remoteAddress ?? ''));
    const count = open.get(key) ?? 0;
    if (count >= most) {
      socket.destroy();
      return;
    }
    open.set(key, count + 1);
    socket.once('close', () => {
      const left = (open.get(key) ?? 1) - 1;
      if (left > 0) open.set(key, left);
      else open.delete(key);
    });
  });
}

function secureContext({ certificate, key }: TlsPair): SecureContextOptions {
  return { cert: certificate, key, minVersion: 'TLSv1.2' };
}

/** Throws ServerError `listen` when the address is beyond loopback and neither TLS nor a proxy protects it. */
export function requireProtection(options: Pick<ListenOptions, 'host' | 'tls' | 'trustedProxies'>): void {
  const proxied = (options.trustedProxies ?? []).length > 0;
  if (isLoopback(options.host) || options.tls !== undefined || proxied) return;
  throw new ServerError(
    'listen',
    `will not listen on ${options.host} without TLS: name a certificate and its key, or the proxy that does TLS, or listen on 127.0.0.1`,
  );
}

function isLoopback(host: string): boolean {
  const version = isIP(host);
  if (version === 0) return host === 'localhost';
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  return loopback.check(host, version === 4 ? 'ipv4' : 'ipv6');
}

async function stop(server: Server, graceMs: number): Promise<void> {
  const ended = new Promise<void>((resolve) => server.close(() => resolve()));
  const idle = setInterval(() => server.closeIdleConnections(), CLOSE_IDLE_EVERY_MS);
  const cut = setTimeout(() => server.closeAllConnections(), graceMs);
  try {
    await ended;
  } finally {
    clearInterval(idle);
    clearTimeout(cut);
  }
}
