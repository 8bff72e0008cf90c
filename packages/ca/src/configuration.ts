/**
 * The CA's configuration file, `ca.yaml`: the one place where its settings stand. Secrets stand in files that it names;
 * relative paths are taken from the file's own folder. Every default is here and is printed by `beacon ca --help`.
 */
import { dirname, resolve } from 'node:path';
import {
  isCredentialPath,
  readConfiguration,
  requireProtection,
  ServerError,
  trustProxies,
} from '@beacon/server';
import { z } from 'zod';
import { CaError } from './error.ts';
import { DEFAULT_RETENTION } from './retention.ts';

const path = z.string().min(1);
const url = z
  .url({ protocol: /^https?$/, error: 'an address was expected, such as https://ca.example.org' })
  .refine((text) => !/[?#]/.test(text) && !text.endsWith('/'), {
    message: 'a URL without query, fragment or trailing slash',
  });
const LOOPBACK = /^http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/;

function days(count: number) {
  return z.int().min(1).max(36_500).default(count);
}

function limit(requests: number) {
  return z
    .strictObject({
      requests: z.int().min(1).max(1_000_000).default(requests).describe('how many'),
      per_seconds: z.int().min(1).max(3_600).default(60).describe('in how many seconds'),
    })
    .prefault({});
}

const FILE_OR_AGENT =
  'either file and passphrase_file, or agent: a key is in a file or in an SSH agent, never in both';

const key = z
  .strictObject({
    file: path.optional().describe('an OpenSSH private key file'),
    passphrase_file: path.optional().describe('the file that holds its passphrase'),
    agent: path
      .optional()
      .describe('instead of both: the .pub file of a key that the SSH agent holds, such as one in a token'),
  })
  .transform(({ file, passphrase_file, agent }, context): AuthorityKey => {
    if (agent !== undefined && file === undefined && passphrase_file === undefined) return { agent };
    if (agent === undefined && file !== undefined && passphrase_file !== undefined)
      return { file, passphrase_file };
    context.addIssue({ code: 'custom', message: FILE_OR_AGENT });
    return z.NEVER;
  });

/** Where a key that signs certificates is: in a file behind a passphrase, or in an SSH agent, known by its public half. */
export type AuthorityKey =
  | { readonly file: string; readonly passphrase_file: string }
  | { readonly agent: string };

/** What the CA is called by everybody: its issuer, in tokens and proofs. */
const publicUrl = url
  .refine(
    (text) => text.startsWith('https://') || LOOPBACK.test(text),
    'plain http is for loopback alone: use https',
  )
  .refine(
    (text) => URL.parse(text)?.origin === text,
    'a scheme and a host alone were expected, in small letters and without a path, such as https://ca.example.org',
  );
const port = z.int().min(0).max(65535);
const provider = z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'small letters, digits and dashes were expected');

export const caConfiguration = z.strictObject({
  public_url: publicUrl.describe('how everybody reaches this CA; tokens and proofs are bound to it'),
  listen: z
    .strictObject({
      host: z.string().default('127.0.0.1').describe('address to listen on'),
      port: port.default(8443).describe('port to listen on'),
      tls: z
        .strictObject({
          certificate_file: path.describe('the certificate in PEM, with those between it and the root'),
          key_file: path.describe('its private key in PEM'),
        })
        .optional()
        .describe('speaks TLS; without it, only on loopback or behind trusted_proxies'),
    })
    .prefault({}),
  trusted_proxies: z
    .array(z.string())
    .default([])
    .describe('addresses of the TLS proxy in front; X-Forwarded-For of anybody else is ignored'),
  store: z
    .union([
      path,
      z.strictObject({ sqlite: path.describe('the SQLite file') }),
      z.strictObject({
        postgres_url_file: path.describe('the file that holds the URL of a PostgreSQL database'),
      }),
    ])
    .default('data/ca.db')
    .describe(
      'the SQLite file; or `sqlite: FILE`, or `postgres_url_file: FILE` for a store of several processes',
    ),
  keys: z.strictObject({
    user_ca: key,
    host_ca: key,
    user_ca_next: key
      .optional()
      .describe('the key that takes the place of user_ca when it is activated, once hosts trust it'),
    host_ca_next: key.optional().describe('the same for host_ca'),
    trust_status: key
      .optional()
      .describe('signs the trust status; without it and trust_root no trust documents are published'),
    trust_root: path
      .optional()
      .describe('the .pub file of the key that signs the trust root; the private half is kept offline'),
    agent_socket: path
      .optional()
      .describe('the socket of the SSH agent; what SSH_AUTH_SOCK names when absent'),
    token_signing: path.describe('a private Ed25519 JWK, for tokens and checkpoints'),
    token_next: path
      .optional()
      .describe('the public half of the key that will take its place, shown and believed beforehand'),
    token_former: z
      .array(
        z.strictObject({
          file: path.describe('the public half of a key that was in its place'),
          until: z.iso
            .datetime({ error: 'a time such as 2026-01-31T12:00:00Z was expected' })
            .describe('when it was replaced: what it signed later counts for nothing'),
        }),
      )
      .max(8)
      .default([])
      .describe(
        'former keys, still shown: their tokens last their minutes, their checkpoints can be verified',
      ),
    sealing: path.describe('32 random bytes in base64: seals GitHub tokens in the store'),
  }),
  github: z.strictObject({
    provider: provider
      .default('github')
      .describe('first part of every person id; another word for a GitHub Enterprise Server'),
    web_url: url.default('https://github.com').describe('where people sign in'),
    api_url: url
      .default('https://api.github.com')
      .describe('where the API is; https://HOST/api/v3 on an Enterprise Server'),
    client_id: z.string().min(1).describe("the GitHub App's client id"),
    client_secret_file: path.describe("the file that holds the GitHub App's client secret"),
  }),
  session: z
    .strictObject({
      max_hours: z
        .number()
        .min(0.01)
        .max(8)
        .default(8)
        .describe('the absolute end of a login, at most 8 hours'),
    })
    .prefault({}),
  metrics: z
    .strictObject({
      host: z
        .string()
        .default('127.0.0.1')
        .describe('address of the figures for Prometheus; keep it off the network'),
      port: port.default(9464).describe('port of the figures'),
    })
    .optional()
    .describe('where /metrics is served, apart from the API; nowhere when absent'),
  limits: z
    .strictObject({
      per_address: limit(600).describe('requests of one address; an IPv6 network of 64 bits is one'),
      per_person: limit(300).describe('requests of one person, over all their sessions'),
      connections: z.int().min(1).max(65_535).default(1_024).describe('open connections in all'),
      connections_per_address: z
        .int()
        .min(1)
        .max(65_535)
        .default(256)
        .describe('open connections of one address; not counted with trusted_proxies'),
    })
    .prefault({}),
  retention: z
    .strictObject({
      certificates_days: days(DEFAULT_RETENTION.certificatesDays).describe(
        'how long a certificate is listed after its end; never less than until its end, revoked or not',
      ),
      sessions_days: days(DEFAULT_RETENTION.sessionsDays).describe(
        'how long a session is kept after its end',
      ),
      records: z
        .literal('forever')
        .default('forever')
        .describe('records are never pruned: the chain is whole'),
    })
    .prefault({}),
  clock_trusted_after_record: z
    .int()
    .min(0)
    .default(0)
    .describe('times of records up to this one do not count; for after a clock that ran ahead'),
  inventory: path.default('inventory.yaml').describe('the commands that hosts offer'),
  services: path.default('services.yaml').describe('the services that may act for people'),
  policy: path.default('policy').describe('the folder of *.cedar files'),
});

export type CaConfiguration = z.infer<typeof caConfiguration>;

const CREDENTIALS_ALONE =
  'no variable is expanded in a path; $CREDENTIALS_DIRECTORY/NAME alone is understood, where a secret is named';

const PATHS = ['inventory', 'services', 'policy'] as const;

/** The forms of what `beacon ca init` is told and writes into the file. */
export const chosen = z.strictObject({
  'public-url': publicUrl,
  listen: z
    .string()
    .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, 'HOST:PORT was expected')
    .refine((text) => port.safeParse(Number(text.split(':').at(-1))).success, 'a port is at most 65535')
    .refine(
      (text) => isLoopback(text.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')),
      'this CA speaks plain HTTP, so only loopback is taken here: beyond it, set listen.host together with trusted_proxies in ca.yaml afterwards',
    ),
  'client-id': z.string().regex(/^[A-Za-z0-9._-]{1,100}$/, "a GitHub App's client id was expected"),
  'github-web-url': url,
  'github-api-url': url,
  provider,
});

/**
 * Reads `file`. All paths in the answer are absolute, but those of secrets that are systemd credentials, which
 * `readSecretFile` finds. Throws ServerError `configuration` with file, line and remedy, CaError
 * `configuration` for what the form alone cannot say.
 */
export function readCaConfiguration(file: string): CaConfiguration {
  const configuration = readConfiguration(file, caConfiguration);
  const folder = dirname(resolve(file));
  const at = (relative: string) => {
    if (!relative.startsWith('$')) return resolve(folder, relative);
    throw new CaError('configuration', `${file}: ${relative}: ${CREDENTIALS_ALONE}`);
  };
  const secretAt = (relative: string) => (isCredentialPath(relative) ? relative : at(relative));
  for (const name of PATHS) configuration[name] = at(configuration[name]);
  const { keys, github, store } = configuration;
  if (typeof store === 'string') configuration.store = at(store);
  else if ('sqlite' in store) store.sqlite = at(store.sqlite);
  else store.postgres_url_file = secretAt(store.postgres_url_file);
  for (const name of ['user_ca', 'host_ca', 'user_ca_next', 'host_ca_next', 'trust_status'] as const) {
    const ca = keys[name];
    if (ca === undefined) continue;
    keys[name] =
      'agent' in ca
        ? { agent: at(ca.agent) }
        : { file: secretAt(ca.file), passphrase_file: secretAt(ca.passphrase_file) };
  }
  if (keys.trust_root !== undefined) keys.trust_root = at(keys.trust_root);
  if (keys.agent_socket !== undefined) keys.agent_socket = at(keys.agent_socket);
  const { tls } = configuration.listen;
  if (tls !== undefined) {
    tls.certificate_file = at(tls.certificate_file);
    tls.key_file = secretAt(tls.key_file);
  }
  keys.token_signing = secretAt(keys.token_signing);
  if (keys.token_next !== undefined) keys.token_next = at(keys.token_next);
  for (const former of keys.token_former) former.file = at(former.file);
  keys.sealing = secretAt(keys.sealing);
  github.client_secret_file = secretAt(github.client_secret_file);
  requireListenable(file, configuration);
  return configuration;
}

function requireListenable(file: string, { listen, trusted_proxies: trustedProxies }: CaConfiguration): void {
  try {
    trustProxies(trustedProxies);
  } catch (error) {
    throw inFile(`${file}: trusted_proxies`, error);
  }
  if (listen.tls !== undefined || trustedProxies.length > 0 || isLoopback(listen.host)) return;
  throw new CaError(
    'configuration',
    `${file}: listen.host: ${listen.host} is not loopback, and this CA would speak plain HTTP: name a certificate in listen.tls, or the TLS proxy in front in trusted_proxies, or listen on 127.0.0.1`,
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

function inFile(place: string, error: unknown): unknown {
  return error instanceof ServerError
    ? new CaError('configuration', `${place}: ${error.message}`, { cause: error })
    : error;
}
