/** Reads all that `broker.yaml` names into what `createBroker` takes. Everything is checked before anything is opened. */
import { defaultOutside } from '@beacon/client';
import { type Log, readStore } from '@beacon/server';
import { readBrokerKeys } from './broker-keys.ts';
import { type BrokerConfiguration, readBrokerConfiguration } from './configuration.ts';
import type { BrokerOptions } from './create-broker.ts';
import type { DialerOptions } from './dialer.ts';
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
