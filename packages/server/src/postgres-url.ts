/**
 * The URL of a PostgreSQL store, read strictly: `postgresql://PERSON:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`.
 * Nothing is taken from the environment or from a password file. Beyond this machine only a verified TLS connection is
 * used. No error repeats any part of the URL that could be the password.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { ServerError } from './error.ts';

/** What the URL says, as the driver takes it. */
export interface PostgresAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly ssl: ConnectionOptions | false;
}

const PARAMETERS = ['host', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey'];
const MAX_LENGTH = 4_096;

/** Throws ServerError `configuration` with what to write instead. */
export function parsePostgresUrl(text: string): PostgresAddress {
  const url = readUrl(text);
  const parameters = new Map<string, string>();
  for (const [name, value] of url.searchParams) {
    if (!PARAMETERS.includes(name)) throw refused(`its parameters can be ${PARAMETERS.join(', ')} alone`);
    if (parameters.has(name)) throw refused(`${name} stands there twice`);
    parameters.set(name, value);
  }
  const host = readHost(url, parameters.get('host'));
  const user = decode(url.username);
  const database = decode(url.pathname.slice(1));
  if (user === '') throw refused('it names nobody to connect as');
  if (database === '' || database.includes('/')) throw refused('it must name one database');
  return {
    host,
    port: url.port === '' ? 5432 : Number(url.port),
    user,
    password: decode(url.password),
    database,
    ssl: readTls(host, parameters),
  };
}

function readUrl(text: string): URL {
  let url: URL | undefined;
  if (text.length <= MAX_LENGTH && /^postgres(ql)?:\/\/[^\s]+$/.test(text)) {
    // An empty host, as before `?host=/run/postgresql`, is nothing that a URL may have.
    url = URL.parse(text.replace(/^(postgres(?:ql)?:\/\/[^/?#]*@)\//, '$1socket.invalid/')) ?? undefined;
  }
  if (url === undefined || url.hash !== '') {
    throw refused('it must be postgresql://NAME:PASSWORD@HOST:PORT/DATABASE, special characters as %XX');
  }
  return url;
}

function readHost(url: URL, socketFolder: string | undefined): string {
  const { hostname } = url;
  if (socketFolder === undefined) {
    if (hostname === '' || hostname === 'socket.invalid') throw refused('it names no host');
    return hostname.replace(/^\[(.*)\]$/, '$1');
  }
  if (hostname !== 'socket.invalid') throw refused('it names two hosts');
  if (!socketFolder.startsWith('/')) throw refused('host= is the folder of a Unix socket');
  return socketFolder;
}

function readTls(host: string, parameters: ReadonlyMap<string, string>): ConnectionOptions | false {
  const mode = parameters.get('sslmode') ?? (isOnThisMachine(host) ? 'disable' : undefined);
  const files = ['sslrootcert', 'sslcert', 'sslkey'].filter((name) => parameters.has(name));
  if (mode === 'disable') {
    if (!isOnThisMachine(host)) throw refused('beyond this machine it needs sslmode=verify-full');
    if (files.length > 0) throw refused(`${files[0]} needs sslmode=verify-full`);
    return false;
  }
  if (mode !== 'verify-full') {
    throw refused(
      mode === undefined
        ? 'beyond this machine it needs sslmode=verify-full'
        : 'sslmode is verify-full, or disable on this machine',
    );
  }
  if (parameters.has('sslcert') !== parameters.has('sslkey')) throw refused('sslcert and sslkey go together');
  const read = (name: string) => {
    const file = parameters.get(name);
    return file === undefined ? undefined : readPem(name, file);
  };
  const [ca, cert, key] = [read('sslrootcert'), read('sslcert'), read('sslkey')];
  return {
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

function isOnThisMachine(host: string): boolean {
  return host.startsWith('/') || ['localhost', '127.0.0.1', '::1'].includes(host);
}

function readPem(name: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw refused(`the file that ${name} names cannot be read`, error);
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw refused('a % in it must stand for itself as %25');
  }
}

function refused(why: string, cause?: unknown): ServerError {
  return new ServerError('configuration', `the PostgreSQL URL was refused: ${why}`, { cause });
}
