/**
 * The CA's configuration file, `ca.yaml`: the one place where its settings stand. Secrets stand in files that it names;
 * relative paths are taken from the file's own folder. Every default is here and is printed by `beacon ca --help`.
 */
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
  serviceLimit,
  storeSetting,
  urlSetting,
} from '@beacon/server';
import { z } from 'zod';
import { DEFAULT_RETENTION } from './retention.ts';

const EXAMPLE = 'https://ca.example.org';
const url = urlSetting(EXAMPLE);
/** What the CA is called by everybody: its issuer, in tokens and proofs. */
const publicUrl = publicUrlSetting(EXAMPLE);

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

export const caConfiguration = z.strictObject({
  public_url: publicUrl.describe('how everybody reaches this CA; tokens and proofs are bound to it'),
  ...listenSettings(8443),
  store: storeSetting('data/ca.db'),
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
  metrics: metricsSetting(9464),
  limits: z
    .strictObject({
      ...requestLimits(600, 1_200),
      ...serviceLimit(6_000),
      ...connectionLimits(1_024, 256),
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
      records: recordsSetting,
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

const PATHS = ['inventory', 'services', 'policy'] as const;

/** The forms of what `beacon ca init` is told and writes into the file. */
export const chosen = z.strictObject({
  'public-url': publicUrl,
  listen: chosenListen('this CA', 'ca.yaml'),
  'client-id': z.string().regex(/^[A-Za-z0-9._-]{1,100}$/, "a GitHub App's client id was expected"),
  'github-web-url': url,
  'github-api-url': url,
  provider,
});

/**
 * Reads `file`. All paths in the answer are absolute, but those of secrets that are systemd credentials, which
 * `readSecretFile` finds. Throws ServerError `configuration` with file, line and remedy.
 */
export function readCaConfiguration(file: string): CaConfiguration {
  const configuration = readConfiguration(file, caConfiguration);
  const places = placesOf(file);
  const { at, secretAt } = places;
  for (const name of PATHS) configuration[name] = at(configuration[name]);
  const { keys, github } = configuration;
  placeServerFiles(configuration, places);
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
  keys.token_signing = secretAt(keys.token_signing);
  if (keys.token_next !== undefined) keys.token_next = at(keys.token_next);
  for (const former of keys.token_former) former.file = at(former.file);
  keys.sealing = secretAt(keys.sealing);
  github.client_secret_file = secretAt(github.client_secret_file);
  requireListenable(file, 'this CA', configuration);
  return configuration;
}
