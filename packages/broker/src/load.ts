/** Reads all that `broker.yaml` names into what `createBroker` takes. Everything is checked before anything is opened. */
import { defaultOutside } from '@beacon/client';
import {
  type DatabaseOptions,
  type Log,
  readSecretFile,
  ServerError,
  storageFailure,
  type TlsFiles,
} from '@beacon/server';
import { readBrokerKeys } from './broker-keys.ts';
import { type BrokerConfiguration, readBrokerConfiguration } from './configuration.ts';
import type { BrokerOptions } from './create-broker.ts';
import type { DialerOptions } from './dialer.ts';
import { BrokerError } from './error.ts';
import { readProcedures } from './procedures-configuration.ts';
import { packageVersion } from './version.ts';

export interface LoadedBroker {
  readonly configuration: BrokerConfiguration;
  /** All but how hosts are connected to, which is opened with the rest. */
  readonly options: Omit<BrokerOptions, 'dial'>;
  readonly dialing: DialerOptions;
}

/** Throws BrokerError or ServerError naming the file and what to do. */
export function loadBroker(file: string, log: Log): LoadedBroker {
  const configuration = readBrokerConfiguration(file);
  const { ca, github, limits, retention } = configuration;
  return {
    configuration,
    dialing: dialingOf(configuration),
    options: {
      publicUrl: configuration.public_url,
      trustedProxies: configuration.trusted_proxies,
      store: readStore(configuration.store),
      keys: readBrokerKeys({
        service: ca.service,
        keyFile: ca.key_file,
        sealing: configuration.keys.sealing,
      }),
      ca: ca.url,
      github: { apiUrl: github.api_url, webUrl: github.web_url, provider: github.provider },
      procedures: readProcedures(configuration.procedures),
      idleMs: configuration.session.idle_minutes * 60_000,
      limits: {
        perAddress: { requests: limits.per_address.requests, perSeconds: limits.per_address.per_seconds },
        perPerson: { requests: limits.per_person.requests, perSeconds: limits.per_person.per_seconds },
        watchers: { inAll: limits.watchers, perPerson: limits.watchers_per_person },
        runs: {
          inWork: limits.runs,
          inWorkPerPerson: limits.runs_per_person,
          outputBytes: limits.output_bytes,
        },
      },
      retention: { outputDays: retention.output_days, runsDays: retention.runs_days },
      outside: defaultOutside(),
      log,
      version: packageVersion(),
    },
  };
}

/** How hosts are connected to. */
export function dialingOf({ ssh }: BrokerConfiguration): DialerOptions {
  const jump = ssh.proxy_jump;
  return {
    sshPath: ssh.path,
    maxConnections: ssh.max_connections,
    maxPerHost: ssh.max_per_host,
    connectTimeoutSeconds: ssh.connect_timeout_seconds,
    ...(jump === undefined
      ? {}
      : {
          proxyJump: {
            address: jump.address,
            port: jump.port,
            login: jump.login,
            knownHostsFile: jump.known_hosts_file,
            identityFile: jump.identity_file,
            ...(jump.agent_socket === undefined ? {} : { agentSocket: jump.agent_socket }),
          },
        }),
    now: () => new Date(),
    random: Math.random,
  };
}

/** Where the store is: a file, or the URL that a secret file holds. Throws BrokerError `configuration`. */
export function readStore(store: BrokerConfiguration['store']): DatabaseOptions {
  if (typeof store === 'string') return { file: store };
  if ('sqlite' in store) return { file: store.sqlite };
  const file = store.postgres_url_file;
  try {
    return { url: readSecretFile(file, { maxBytes: 4_096 }).toString('utf8') };
  } catch (error) {
    throw new BrokerError(
      'configuration',
      `the PostgreSQL URL cannot be read from ${file}: paste it with \`install -m 600 /dev/stdin ${file}\``,
      { cause: error },
    );
  }
}

/** The TLS files that the configuration names, if it does. */
export function tlsFiles({ listen }: Pick<BrokerConfiguration, 'listen'>): TlsFiles | undefined {
  return listen.tls === undefined
    ? undefined
    : { certificateFile: listen.tls.certificate_file, keyFile: listen.tls.key_file };
}

/** How a store is called before people: by its file, or by the file that says where it is. */
export function nameOfStore(store: BrokerConfiguration['store']): string {
  if (typeof store === 'string') return store;
  return 'sqlite' in store ? store.sqlite : `the database of ${store.postgres_url_file}`;
}

/** What is wrong with a store, under the name by which the person finds it. */
export function inStore(store: BrokerConfiguration['store'], error: unknown): unknown {
  const known = error instanceof ServerError ? error : storageFailure(error);
  // A failure to open names the file itself.
  if (known === undefined || (known === error && known.code !== 'store-newer')) return error;
  const code = known.code === 'store-newer' ? known.code : 'store';
  return new BrokerError(code, `${nameOfStore(store)}: ${known.message}`, { cause: error });
}
