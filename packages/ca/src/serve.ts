/** `beacon ca serve`: loads, listens, and stops in order on SIGTERM or SIGINT. Logs are JSON lines on standard error. */
import {
  createApp,
  createLog,
  followTlsFiles,
  healthRoutes,
  type Listening,
  type Log,
  listen,
  metricsRoute,
  type ReadTlsPair,
  readTlsFiles,
  type TlsFiles,
  type TlsFollowing,
} from '@beacon/server';
import type { CaConfiguration } from './configuration.ts';
import { createCa, type RunningCa } from './create-ca.ts';
import { inPolicyFolder, inStore, loadCa, readRules, tlsFiles } from './load.ts';

const MAINTENANCE_EVERY_MS = 60_000;
/** How long a person's token at GitHub may outlive a session that came to its end by itself. */
const RELEASE_EVERY_MS = 5_000;

/**
 * Resolves when the server has stopped in order; `onReload` is given what to call when files are to be read again. Throws what `loadCa`, `createCa` and `listen` throw.
 */
export async function serveCa(
  file: string,
  stopped: Promise<void>,
  onReload: (reload: () => void) => void = () => undefined,
): Promise<void> {
  const log = createLog({ name: 'beacon-ca', level: 'info', destination: process.stderr });
  const { configuration, options } = await loadCa(file, log);
  const running = await createCa(options).catch((error: unknown) => {
    throw inStore(configuration.store, inPolicyFolder(configuration.policy, error));
  });
  const open: Listening[] = [];
  const maintenance = setInterval(() => {
    running.maintain().catch((error: unknown) => log.error({ err: error }, 'maintenance failed'));
  }, MAINTENANCE_EVERY_MS);
  const release = setInterval(() => {
    running.ca.sessions
      .releaseNewTokens()
      .catch((error: unknown) => log.error({ err: error }, 'tokens of ended sessions were not deleted'));
  }, RELEASE_EVERY_MS);
  const files = tlsFiles(configuration);
  let following: TlsFollowing | undefined;
  onReload(() => {
    following?.look();
    reloadRules(running, configuration, log);
  });
  try {
    const { listen: where, trusted_proxies: trustedProxies } = configuration;
    const tls = files === undefined ? undefined : readTlsFiles(files);
    const { connections, connections_per_address: connectionsPerAddress } = configuration.limits;
    const bounds = { maxConnections: connections, maxConnectionsPerAddress: connectionsPerAddress };
    const secured = { trustedProxies, ...bounds, ...(tls === undefined ? {} : { tls }) };
    const listening = await listen(running.app, { host: where.host, port: where.port, ...secured });
    open.push(listening);
    if (files !== undefined && tls !== undefined) following = followTls(files, tls, listening, running, log);
    if (configuration.metrics !== undefined)
      open.push(await listenForMetrics(running, log, configuration.metrics));
    log.info(
      { url: open[0]?.url, public_url: configuration.public_url, policy_version: running.ca.policy.version },
      'serving',
    );
    await stopped;
    log.info('stopping');
  } finally {
    clearInterval(maintenance);
    clearInterval(release);
    following?.stop();
    for (const listening of open) await listening.close();
    await running.close();
  }
}

function reloadRules(running: RunningCa, configuration: CaConfiguration, log: Log): void {
  running
    .reload(() => readRules(configuration))
    .then(
      () =>
        log.info(
          { policy_version: running.ca.policy.version },
          'policy, inventory and services were read again',
        ),
      (error: unknown) =>
        log.error(
          { err: inPolicyFolder(configuration.policy, error) },
          'policy, inventory and services were not replaced: the last good ones stay',
        ),
    );
}

function followTls(
  files: TlsFiles,
  from: ReadTlsPair,
  listening: Listening,
  { metrics }: RunningCa,
  log: Log,
): TlsFollowing {
  const following = followTlsFiles(files, {
    from,
    listening,
    onReplaced: ({ expiresAt }) => log.info({ expires: expiresAt }, 'the TLS certificate was replaced'),
    onFailed: (error) =>
      log.error({ err: error }, 'the TLS certificate was not replaced: the last good one stays'),
  });
  metrics.gauge(
    'beacon_tls_reload_failed',
    'Whether the TLS files hold what cannot be used, so that an older certificate is in use',
    () => (following.failed ? 1 : 0),
  );
  metrics.gauge(
    'beacon_tls_certificate_expires_timestamp_seconds',
    'When the TLS certificate in use ends',
    () => following.expiresAt.getTime() / 1000,
  );
  return following;
}

function listenForMetrics(
  running: RunningCa,
  log: Log,
  where: { host: string; port: number },
): Promise<Listening> {
  const app = createApp<undefined>({
    routes: [metricsRoute(running.metrics, 'public'), ...healthRoutes({}, log)],
    authenticate: () => Promise.resolve(undefined),
    toProblem: () => undefined,
    log,
    publicUrl: `http://${where.host}:${where.port}`,
  });
  return listen(app, where);
}

/** Resolves at the first SIGTERM or SIGINT. */
export function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
}

/** Calls `reload` at each SIGHUP. */
export function reloadSignal(reload: () => void): void {
  process.on('SIGHUP', reload);
}
