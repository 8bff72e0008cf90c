/**
 * `beacon broker serve`: loads, takes up what a dead process left, listens, and stops in order on SIGTERM or SIGINT: no new
 * runs are taken, those in work may end for a while and are interrupted then; then the streams end, and what has begun is
 * answered. A second signal ends the waiting. Logs are JSON lines on standard error.
 */
import { createLog, inStore, type Log, type Serving, type StopSignals, serveApp } from '@beacon/server';
import type { BrokerConfiguration } from './configuration.ts';
import { createBroker, type RunningBroker } from './create-broker.ts';
import { createDialer } from './dialer.ts';
import { loadBroker } from './load.ts';
import { readProcedures } from './procedures-configuration.ts';

const MAINTENANCE_EVERY_MS = 60_000;

/**
 * Resolves when the server has stopped in order; `onReload` is given what to call when files are to be read again. Throws
 * what `loadBroker`, `createBroker` and `listen` throw.
 */
export async function serveBroker(
  file: string,
  stop: StopSignals,
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
  const maintenance = setInterval(() => {
    running.maintain().catch((error: unknown) => log.error({ err: error }, 'maintenance failed'));
  }, MAINTENANCE_EVERY_MS);
  let serving: Serving | undefined;
  onReload(() => {
    serving?.lookAtTls();
    reloadProcedures(running, configuration, log);
  });
  try {
    const interrupted = await running.runs.recover();
    if (interrupted > 0)
      log.warn({ runs: interrupted }, 'runs were in work when the broker ended: they are interrupted');
    const { app, metrics } = running;
    serving = await serveApp({ app, metrics, log, configuration });
    log.info({ url: serving.url, public_url: configuration.public_url, ca: configuration.ca.url }, 'serving');
    await stop.first;
    const { runs_seconds: seconds } = configuration.stop;
    log.info({ seconds }, 'stopping: no new runs are taken');
    const late = await running.runs.drain(seconds * 1000, stop.second);
    if (late > 0) log.warn({ runs: late }, 'runs were in work when the broker ended: they are interrupted');
  } finally {
    clearInterval(maintenance);
    running.stopWatching();
    stop.second.addEventListener('abort', () => void serving?.close(0));
    await serving?.close(stop.second.aborted ? 0 : undefined);
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
