/**
 * `beacon broker serve`: loads, takes up what a dead process left, listens, and stops in order on SIGTERM or SIGINT: first
 * the streams end, then what has begun is answered, then runs in work are left as they are written down. Logs are JSON
 * lines on standard error.
 */
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
import type { BrokerConfiguration } from './configuration.ts';
import { createBroker, type RunningBroker } from './create-broker.ts';
import { createDialer } from './dialer.ts';
import { inStore, loadBroker, tlsFiles } from './load.ts';
import { readProcedures } from './procedures-configuration.ts';

const MAINTENANCE_EVERY_MS = 60_000;

/**
 * Resolves when the server has stopped in order; `onReload` is given what to call when files are to be read again. Throws
 * what `loadBroker`, `createBroker` and `listen` throw.
 */
export async function serveBroker(
  file: string,
  stopped: Promise<void>,
  onReload: (reload: () => void) => void = () => undefined,
): Promise<void> {
  const log = createLog({ name: 'beacon-broker', level: 'info', destination: process.stderr });
  const { configuration, options, dialing } = loadBroker(file, log);
  const dialer = createDialer(dialing);
  const running = await createBroker({ ...options, dial: (dialed) => dialer.dial(dialed) }).catch(
    (error: unknown) => {
      throw inStore(configuration.store, error);
    },
  );
  const open: Listening[] = [];
  const maintenance = setInterval(() => {
    running.maintain().catch((error: unknown) => log.error({ err: error }, 'maintenance failed'));
  }, MAINTENANCE_EVERY_MS);
  const files = tlsFiles(configuration);
  let following: TlsFollowing | undefined;
  onReload(() => {
    following?.look();
    reloadProcedures(running, configuration, log);
  });
  try {
    const interrupted = await running.runs.recover();
    if (interrupted > 0)
      log.warn({ runs: interrupted }, 'runs were in work when the broker ended: they are interrupted');
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
      { url: listening.url, public_url: configuration.public_url, ca: configuration.ca.url },
      'serving',
    );
    await stopped;
    log.info('stopping');
  } finally {
    clearInterval(maintenance);
    following?.stop();
    running.stopWatching();
    for (const listening of open) await listening.close();
    await running.close();
    await dialer.close();
  }
}

function reloadProcedures(running: RunningBroker, configuration: BrokerConfiguration, log: Log): void {
  try {
    const procedures = readProcedures(configuration.procedures);
    running.replaceProcedures(procedures);
    log.info({ procedures: procedures.size }, 'procedures were read again');
  } catch (error) {
    log.error({ err: error }, 'procedures were not replaced: the last good ones stay');
  }
}

function followTls(
  files: TlsFiles,
  from: ReadTlsPair,
  listening: Listening,
  { metrics }: RunningBroker,
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
  running: RunningBroker,
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
