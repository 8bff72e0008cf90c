/**
 * The settings that every server's configuration file has, each the same in all of them but for its defaults, and what
 * their form alone cannot say: paths are taken from the file's own folder, and a server speaks plain HTTP only where
 * nobody reads along.
 */
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { ServerError } from './error.ts';
import { requireProtection } from './listen.ts';
import { trustProxies } from './peer.ts';
import { isCredentialPath } from './secret-file.ts';

export const pathSetting = z.string().min(1);

const count = z.int().min(1).max(65_535);
const port = z.int().min(0).max(65_535);
const LOOPBACK = /^http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/;

/** An address of another server; `example` is shown where it is none. */
export function urlSetting(example: string) {
  return z
    .url({ protocol: /^https?$/, error: `an address was expected, such as ${example}` })
    .refine((text) => !/[?#]/.test(text) && !text.endsWith('/'), {
      message: 'a URL without query, fragment or trailing slash',
    });
}

/** What a server of ours is called by everybody: an origin. */
export function publicUrlSetting(example: string) {
  return urlSetting(example)
    .refine(
      (text) => text.startsWith('https://') || LOOPBACK.test(text),
      'plain http is for loopback alone: use https',
    )
    .refine(
      (text) => URL.parse(text)?.origin === text,
      `a scheme and a host alone were expected, in small letters and without a path, such as ${example}`,
    );
}

/** The first part of every person id. */
export const providerSetting = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,31}$/, 'small letters, digits and dashes were expected');

/** `listen` and `trusted_proxies`. */
export function listenSettings(defaultPort: number) {
  return {
    listen: z
      .strictObject({
        host: z.string().default('127.0.0.1').describe('address to listen on'),
        port: port.default(defaultPort).describe('port to listen on'),
        tls: z
          .strictObject({
            certificate_file: pathSetting.describe(
              'the certificate in PEM, with those between it and the root',
            ),
            key_file: pathSetting.describe('its private key in PEM'),
          })
          .optional()
          .describe('speaks TLS; without it, only on loopback or behind trusted_proxies'),
      })
      .prefault({}),
    trusted_proxies: z
      .array(z.string())
      .default([])
      .describe('addresses of the TLS proxy in front; X-Forwarded-For of anybody else is ignored'),
  };
}

/** `store`: where the records and the rest are kept. */
export function storeSetting(file: string) {
  return z
    .union([
      pathSetting,
      z.strictObject({ sqlite: pathSetting.describe('the SQLite file') }),
      z.strictObject({
        postgres_url_file: pathSetting.describe('the file that holds the URL of a PostgreSQL database'),
      }),
    ])
    .default(file)
    .describe(
      'the SQLite file; or `sqlite: FILE`, or `postgres_url_file: FILE` for a store of several processes',
    );
}

export type StoreSetting = z.infer<ReturnType<typeof storeSetting>>;

/** `metrics`: where the figures for Prometheus are. */
export function metricsSetting(defaultPort: number) {
  return z
    .strictObject({
      host: z
        .string()
        .default('127.0.0.1')
        .describe('address of the figures for Prometheus; keep it off the network'),
      port: port.default(defaultPort).describe('port of the figures'),
    })
    .optional()
    .describe('where /metrics is served, apart from the API; nowhere when absent');
}

/** So many requests a minute, where the file says nothing else. */
function rate(requests: number) {
  return z
    .strictObject({
      requests: z.int().min(1).max(1_000_000).default(requests).describe('how many'),
      per_seconds: z.int().min(1).max(3_600).default(60).describe('in how many seconds'),
    })
    .prefault({});
}

/** `limits.per_address` and `limits.per_person`, with their defaults a minute. */
export function requestLimits(perAddress: number, perPerson: number) {
  return {
    per_address: rate(perAddress).describe('requests of one address; an IPv6 network of 64 bits is one'),
    per_person: rate(perPerson).describe('requests of one person, over all their sessions'),
  };
}

/** `limits.per_service`, with its default a minute. */
export function serviceLimit(perService: number) {
  return {
    per_service: rate(perService).describe(
      'requests of one service that has proven itself, from wherever; they do not count for its address',
    ),
  };
}

/** `limits.connections` and `limits.connections_per_address`, with their defaults. */
export function connectionLimits(inAll: number, perAddress: number) {
  return {
    connections: count.default(inAll).describe('open connections in all'),
    connections_per_address: count
      .default(perAddress)
      .describe('open connections of one address; not counted with trusted_proxies'),
  };
}

/** A number of days that something is kept. */
export function daysSetting(days: number) {
  return z.int().min(1).max(36_500).default(days);
}

/** `retention.records`. */
export const recordsSetting = z
  .literal('forever')
  .default('forever')
  .describe('records are never pruned: the chain is whole');

/** What `init --listen` takes. `server` and `file` are named where it is refused: `this CA`, `ca.yaml`. */
export function chosenListen(server: string, file: string) {
  return z
    .string()
    .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, 'HOST:PORT was expected')
    .refine((text) => port.safeParse(Number(text.split(':').at(-1))).success, 'a port is at most 65535')
    .refine(
      (text) => isLoopback(text.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')),
      `${server} speaks plain HTTP, so only loopback is taken here: beyond it, set listen.host together with trusted_proxies in ${file} afterwards`,
    );
}

const CREDENTIALS_ALONE =
  'no variable is expanded in a path; $CREDENTIALS_DIRECTORY/NAME alone is understood, where a secret is named';

export interface Places {
  /** The absolute path. Throws ServerError `configuration` for one that begins with a variable. */
  at(relative: string): string;
  /** The same for a secret, which may be a systemd credential: `readSecretFile` finds it. */
  secretAt(relative: string): string;
}

/** How the paths of a configuration file are meant: from its own folder. */
export function placesOf(file: string): Places {
  const folder = dirname(resolve(file));
  const at = (relative: string) => {
    if (!relative.startsWith('$')) return resolve(folder, relative);
    throw new ServerError('configuration', `${file}: ${relative}: ${CREDENTIALS_ALONE}`);
  };
  return { at, secretAt: (relative) => (isCredentialPath(relative) ? relative : at(relative)) };
}

/** What a configuration says of where and how its server listens. */
export interface ListenSettings {
  readonly listen: {
    readonly host: string;
    readonly port: number;
    readonly tls?: { certificate_file: string; key_file: string } | undefined;
  };
  readonly trusted_proxies: readonly string[];
  readonly limits: { readonly connections: number; readonly connections_per_address: number };
  readonly metrics?: { readonly host: string; readonly port: number } | undefined;
}

/** Makes the paths of the store and of TLS absolute. */
export function placeServerFiles(
  configuration: Pick<ListenSettings, 'listen'> & { store: StoreSetting },
  { at, secretAt }: Places,
): void {
  const { store, listen } = configuration;
  if (typeof store === 'string') configuration.store = at(store);
  else if ('sqlite' in store) store.sqlite = at(store.sqlite);
  else store.postgres_url_file = secretAt(store.postgres_url_file);
  if (listen.tls === undefined) return;
  listen.tls.certificate_file = at(listen.tls.certificate_file);
  listen.tls.key_file = secretAt(listen.tls.key_file);
}

/** Throws ServerError `configuration` when `server` (`this CA`) may not be served as the file says. */
export function requireListenable(
  file: string,
  server: string,
  { listen, trusted_proxies: trustedProxies }: Pick<ListenSettings, 'listen' | 'trusted_proxies'>,
): void {
  try {
    trustProxies(trustedProxies);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    throw new ServerError('configuration', `${file}: trusted_proxies: ${error.message}`, { cause: error });
  }
  if (listen.tls !== undefined || trustedProxies.length > 0 || isLoopback(listen.host)) return;
  throw new ServerError(
    'configuration',
    `${file}: listen.host: ${listen.host} is not loopback, and ${server} would speak plain HTTP: name a certificate in listen.tls, or the TLS proxy in front in trusted_proxies, or listen on 127.0.0.1`,
  );
}

function isLoopback(host: string): boolean {
  try {
    requireProtection({ host });
    return true;
  } catch {
    return false;
  }
}
