/**
 * The broker's configuration file, `broker.yaml`: the one place where its settings stand. Secrets stand in files that it
 * names; relative paths are taken from the file's own folder. Every default is here and is printed by
 * `beacon broker --help`.
 */
import { dirname, resolve } from 'node:path';
import { isName, nameForms } from '@beacon/protocol/name';
import {
  isCredentialPath,
  readConfiguration,
  requireProtection,
  ServerError,
  trustProxies,
} from '@beacon/server';
import { z } from 'zod';
import { BrokerError } from './error.ts';

const path = z.string().min(1);
const url = z
  .url({ protocol: /^https?$/, error: 'an address was expected, such as https://broker.example.org' })
  .refine((text) => !/[?#]/.test(text) && !text.endsWith('/'), {
    message: 'a URL without query, fragment or trailing slash',
  });
const LOOPBACK = /^http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/;
const port = z.int().min(0).max(65535);

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

/** What a server of ours is called by everybody. */
const publicUrl = url
  .refine(
    (text) => text.startsWith('https://') || LOOPBACK.test(text),
    'plain http is for loopback alone: use https',
  )
  .refine(
    (text) => URL.parse(text)?.origin === text,
    'a scheme and a host alone were expected, in small letters and without a path, such as https://broker.example.org',
  );
const service = z.string().refine((text) => isName('service', text), nameForms.service);

export const brokerConfiguration = z.strictObject({
  public_url: publicUrl.describe('how everybody reaches this broker; proofs and cookies are bound to it'),
  listen: z
    .strictObject({
      host: z.string().default('127.0.0.1').describe('address to listen on'),
      port: port.default(8444).describe('port to listen on'),
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
    .default('data/broker.db')
    .describe(
      'the SQLite file; or `sqlite: FILE`, or `postgres_url_file: FILE` for a store of several processes',
    ),
  ca: z.strictObject({
    url: publicUrl.describe('the public URL of the certificate authority'),
    service: service.describe("this broker's id in the CA's services.yaml"),
    key_file: path.describe('the private JWK that proves the broker to the CA'),
  }),
  github: z
    .strictObject({
      provider: z
        .string()
        .regex(/^[a-z][a-z0-9-]{0,31}$/, 'small letters, digits and dashes were expected')
        .default('github')
        .describe("first part of every person id, as in the CA's configuration"),
      web_url: url.default('https://github.com').describe('where GitHub is for browsers and runners'),
      api_url: url
        .default('https://api.github.com')
        .describe('where its API is; https://HOST/api/v3 on an Enterprise Server'),
    })
    .prefault({}),
  keys: z.strictObject({
    sealing: path.describe('32 random bytes in base64: half of what seals the sessions of browsers'),
  }),
  ssh: z
    .strictObject({
      path: path.default('/usr/bin/ssh').describe("OpenSSH's client"),
      max_connections: z.int().min(1).max(4_096).default(256).describe('connections to hosts in all'),
      max_per_host: z
        .int()
        .min(1)
        .max(64)
        .default(8)
        .describe('connections to one host; its gates are 16 and its sshd turns away from 10 that begin'),
      connect_timeout_seconds: z
        .int()
        .min(1)
        .max(120)
        .default(10)
        .describe('how long a host may take to answer'),
      proxy_jump: z
        .strictObject({
          address: z
            .string()
            .regex(/^(?!-)[A-Za-z0-9.:-]{1,253}$/, 'an IP address or a DNS name was expected')
            .describe('of the machine that all hosts are reached through'),
          port: z.int().min(1).max(65535).default(22).describe('its port'),
          login: z
            .string()
            .refine((text) => isName('login', text), nameForms.login)
            .describe('the login there'),
          known_hosts_file: path.describe('its host key, as known_hosts has it'),
          identity_file: path.describe(
            'a private key without a passphrase, or the public half of one in an agent',
          ),
          agent_socket: path.optional().describe('the SSH agent that holds the private half'),
        })
        .optional()
        .describe('a jump host; hosts are reached directly when absent'),
    })
    .prefault({}),
  session: z
    .strictObject({
      idle_minutes: z
        .int()
        .min(1)
        .max(480)
        .default(60)
        .describe(
          "a browser's login ends when it was not used for so long, and at the latest with the CA's session",
        ),
    })
    .prefault({}),
  procedures: path
    .optional()
    .describe('a file or a folder of *.yaml with procedures of your own, beside those that are built in'),
  metrics: z
    .strictObject({
      host: z
        .string()
        .default('127.0.0.1')
        .describe('address of the figures for Prometheus; keep it off the network'),
      port: port.default(9465).describe('port of the figures'),
    })
    .optional()
    .describe('where /metrics is served, apart from the API; nowhere when absent'),
  limits: z
    .strictObject({
      per_address: limit(1_200).describe('requests of one address; an IPv6 network of 64 bits is one'),
      per_person: limit(600).describe('requests of one person, over all their sessions'),
      runs: z.int().min(1).max(10_000).default(256).describe('runs in work in all'),
      runs_per_person: z.int().min(1).max(10_000).default(64).describe('runs in work of one person'),
      output_bytes: z
        .int()
        .min(65_536)
        .max(1_073_741_824)
        .default(16_777_216)
        .describe('what is kept of the output of one attempt of a run'),
      watchers: z.int().min(1).max(65_535).default(1_024).describe('open streams of events in all'),
      watchers_per_person: z
        .int()
        .min(1)
        .max(65_535)
        .default(64)
        .describe('open streams of events of one person'),
      connections: z.int().min(1).max(65_535).default(2_048).describe('open connections in all'),
      connections_per_address: z
        .int()
        .min(1)
        .max(65_535)
        .default(1_024)
        .describe('open connections of one address; not counted with trusted_proxies'),
    })
    .prefault({}),
  retention: z
    .strictObject({
      output_days: days(30).describe('how long the output of a run is kept after its end'),
      runs_days: days(365).describe('how long a run is listed after its end'),
      records: z
        .literal('forever')
        .default('forever')
        .describe('records are never pruned: the chain is whole'),
    })
    .prefault({}),
});

export type BrokerConfiguration = z.infer<typeof brokerConfiguration>;

/** The forms of what `beacon broker init` is told and writes into the file. */
export const chosen = z.strictObject({
  'public-url': publicUrl,
  'ca-url': publicUrl,
  service,
  listen: z
    .string()
    .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, 'HOST:PORT was expected')
    .refine((text) => port.safeParse(Number(text.split(':').at(-1))).success, 'a port is at most 65535')
    .refine(
      (text) => isLoopback(text.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')),
      'this broker speaks plain HTTP, so only loopback is taken here: beyond it, set listen.host together with trusted_proxies in broker.yaml afterwards',
    ),
  'github-web-url': url,
  'github-api-url': url,
  provider: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'small letters, digits and dashes were expected'),
});

const CREDENTIALS_ALONE =
  'no variable is expanded in a path; $CREDENTIALS_DIRECTORY/NAME alone is understood, where a secret is named';

/**
 * Reads `file`. All paths in the answer are absolute, but those of secrets that are systemd credentials, which
 * `readSecretFile` finds. Throws ServerError `configuration` with file, line and remedy, BrokerError `configuration` for
 * what the form alone cannot say.
 */
export function readBrokerConfiguration(file: string): BrokerConfiguration {
  const configuration = readConfiguration(file, brokerConfiguration);
  const folder = dirname(resolve(file));
  const at = (relative: string) => {
    if (!relative.startsWith('$')) return resolve(folder, relative);
    throw new BrokerError('configuration', `${file}: ${relative}: ${CREDENTIALS_ALONE}`);
  };
  const secretAt = (relative: string) => (isCredentialPath(relative) ? relative : at(relative));
  const { store, ca, keys, listen, ssh } = configuration;
  if (typeof store === 'string') configuration.store = at(store);
  else if ('sqlite' in store) store.sqlite = at(store.sqlite);
  else store.postgres_url_file = secretAt(store.postgres_url_file);
  ca.key_file = secretAt(ca.key_file);
  keys.sealing = secretAt(keys.sealing);
  if (listen.tls !== undefined) {
    listen.tls.certificate_file = at(listen.tls.certificate_file);
    listen.tls.key_file = secretAt(listen.tls.key_file);
  }
  ssh.path = at(ssh.path);
  const jump = ssh.proxy_jump;
  if (jump !== undefined) {
    jump.known_hosts_file = at(jump.known_hosts_file);
    jump.identity_file = at(jump.identity_file);
    if (jump.agent_socket !== undefined) jump.agent_socket = at(jump.agent_socket);
  }
  if (configuration.procedures !== undefined) configuration.procedures = at(configuration.procedures);
  requireListenable(file, configuration);
  return configuration;
}

function requireListenable(
  file: string,
  { listen, trusted_proxies: trustedProxies }: BrokerConfiguration,
): void {
  try {
    trustProxies(trustedProxies);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    throw new BrokerError('configuration', `${file}: trusted_proxies: ${error.message}`, { cause: error });
  }
  if (listen.tls !== undefined || trustedProxies.length > 0 || isLoopback(listen.host)) return;
  throw new BrokerError(
    'configuration',
    `${file}: listen.host: ${listen.host} is not loopback, and this broker would speak plain HTTP: name a certificate in listen.tls, or the TLS proxy in front in trusted_proxies, or listen on 127.0.0.1`,
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
