/**
 * The broker's configuration file, `broker.yaml`: the one place where its settings stand. Secrets stand in files that it
 * names; relative paths are taken from the file's own folder. Every default is here and is printed by
 * `beacon broker --help`.
 */
import { isName, nameForms } from '@beacon/protocol/name';
import {
  chosenListen,
  connectionLimits,
  daysSetting as days,
  listenSettings,
  metricsSetting,
  pathSetting as path,
  placeServerFiles,
  placesOf,
  providerSetting as provider,
  publicUrlSetting,
  readConfiguration,
  recordsSetting,
  requestLimits,
  requireListenable,
  storeSetting,
  urlSetting,
} from '@beacon/server';
import { z } from 'zod';

const EXAMPLE = 'https://broker.example.org';
const url = urlSetting(EXAMPLE);
const publicUrl = publicUrlSetting(EXAMPLE);
const service = z.string().refine((text) => isName('service', text), nameForms.service);

export const brokerConfiguration = z.strictObject({
  public_url: publicUrl.describe('how everybody reaches this broker; proofs and cookies are bound to it'),
  ...listenSettings(8444),
  store: storeSetting('data/broker.db'),
  ca: z.strictObject({
    url: publicUrl.describe('the public URL of the certificate authority'),
    service: service.describe("this broker's id in the CA's services.yaml"),
    key_file: path.describe('the private JWK that proves the broker to the CA'),
  }),
  github: z
    .strictObject({
      provider: provider
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
  stop: z
    .strictObject({
      runs_seconds: z
        .int()
        .min(0)
        .max(3_600)
        .default(60)
        .describe(
          'how long runs in work may go on after SIGTERM before they are interrupted; TimeoutStopSec of the unit is longer by 30',
        ),
    })
    .prefault({}),
  procedures: path
    .optional()
    .describe('a file or a folder of *.yaml with procedures of your own, beside those that are built in'),
  metrics: metricsSetting(9465),
  limits: z
    .strictObject({
      ...requestLimits(1_200, 600),
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
      ...connectionLimits(2_048, 1_024),
    })
    .prefault({}),
  retention: z
    .strictObject({
      output_days: days(30).describe('how long the output of a run is kept after its end'),
      runs_days: days(365).describe('how long a run is listed after its end'),
      records: recordsSetting,
    })
    .prefault({}),
});

export type BrokerConfiguration = z.infer<typeof brokerConfiguration>;

/** The forms of what `beacon broker init` is told and writes into the file. */
export const chosen = z.strictObject({
  'public-url': publicUrl,
  'ca-url': publicUrl,
  service,
  listen: chosenListen('this broker', 'broker.yaml'),
  'github-web-url': url,
  'github-api-url': url,
  provider,
});

/**
 * Reads `file`. All paths in the answer are absolute, but those of secrets that are systemd credentials, which
 * `readSecretFile` finds. Throws ServerError `configuration` with file, line and remedy.
 */
export function readBrokerConfiguration(file: string): BrokerConfiguration {
  const configuration = readConfiguration(file, brokerConfiguration);
  const places = placesOf(file);
  const { at, secretAt } = places;
  const { ca, keys, ssh } = configuration;
  placeServerFiles(configuration, places);
  ca.key_file = secretAt(ca.key_file);
  keys.sealing = secretAt(keys.sealing);
  ssh.path = at(ssh.path);
  const jump = ssh.proxy_jump;
  if (jump !== undefined) {
    jump.known_hosts_file = at(jump.known_hosts_file);
    jump.identity_file = at(jump.identity_file);
    if (jump.agent_socket !== undefined) jump.agent_socket = at(jump.agent_socket);
  }
  if (configuration.procedures !== undefined) configuration.procedures = at(configuration.procedures);
  requireListenable(file, 'this broker', configuration);
  return configuration;
}
