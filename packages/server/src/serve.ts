/**
 * Puts an assembled app where its configuration says, as every program of ours is served: with TLS of its own that is
 * followed as its files are renewed, bounded, and with the figures on a port of their own. What the program does besides,
 * and when it stops, is its own business.
 */
import type { RequestListener } from 'node:http';
import { createApp } from './app.ts';
import { healthRoutes } from './health.ts';
import { type Listening, type ListenOptions, listen } from './listen.ts';
import type { Log } from './log.ts';
import { type Metrics, metricsRoute } from './metrics.ts';
import type { ListenSettings } from './server-configuration.ts';
import {
  followTlsFiles,
  type ReadTlsPair,
  readTlsFiles,
  type TlsFiles,
  type TlsFollowing,
} from './tls-files.ts';

export interface ServeOptions {
  readonly app: RequestListener;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly configuration: ListenSettings;
}

export interface Serving {
  /** As reached on this machine. */
  readonly url: string;
  /** Looks at the TLS files at once. */
  lookAtTls(): void;
  /** Takes no more connections, and lets what has begun end within `graceMs` (default 10,000); 0 cuts at once, also later. */
  close(graceMs?: number): Promise<void>;
}

/** Throws what `listen` and `readTlsFiles` throw; nothing is left open then. */
export async function serveApp({ app, metrics, log, configuration }: ServeOptions): Promise<Serving> {
  const files = tlsFiles(configuration);
  const tls = files === undefined ? undefined : readTlsFiles(files);
  const { host, port } = configuration.listen;
  const listening = await listen(app, {
    host,
    port,
    ...bounds(configuration),
    ...(tls === undefined ? {} : { tls }),
  });
  const following =
    files === undefined || tls === undefined ? undefined : followTls(files, tls, listening, metrics, log);
  const open = [listening];
  const serving: Serving = {
    url: listening.url,
    lookAtTls: () => following?.look(),
    async close(graceMs) {
      following?.stop();
      await Promise.all(open.map((one) => one.close(graceMs)));
    },
  };
  try {
    if (configuration.metrics !== undefined)
      open.push(await listenForMetrics(metrics, log, configuration.metrics));
    return serving;
  } catch (error) {
    await serving.close();
    throw error;
  }
}

function bounds({ trusted_proxies: trustedProxies, limits }: ListenSettings): Partial<ListenOptions> {
  return {
    trustedProxies,
    maxConnections: limits.connections,
    maxConnectionsPerAddress: limits.connections_per_address,
  };
}

/** The TLS files that the configuration names, if it does. */
export function tlsFiles({ listen: { tls } }: Pick<ListenSettings, 'listen'>): TlsFiles | undefined {
  return tls === undefined ? undefined : { certificateFile: tls.certificate_file, keyFile: tls.key_file };
}

function followTls(
  files: TlsFiles,
  from: ReadTlsPair,
  listening: Listening,
  metrics: Metrics,
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
  metrics: Metrics,
  log: Log,
  where: { readonly host: string; readonly port: number },
): Promise<Listening> {
  const app = createApp<undefined>({
    routes: [metricsRoute(metrics, 'public'), ...healthRoutes({}, log)],
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

/** Who says that a program is to stop, and once more that it is to wait for nothing. */
export interface StopSignals {
  readonly first: Promise<void>;
  readonly second: AbortSignal;
}

/** The first and the second SIGTERM or SIGINT; a third ends the process where it is. */
export function stopSignals(): StopSignals {
  const first = stopSignal();
  const second = new AbortController();
  void first.then(stopSignal).then(() => second.abort());
  return { first, second: second.signal };
}

/** Calls `reload` at each SIGHUP. */
export function reloadSignal(reload: () => void): void {
  process.on('SIGHUP', reload);
}
