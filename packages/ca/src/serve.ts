/** `beacon ca serve`: loads, listens, and stops in order on SIGTERM or SIGINT. Logs are JSON lines on standard error. */
import { createLog, inStore, type Log, type Serving, serveApp } from '@beacon/server';
import type { CaConfiguration } from './configuration.ts';
import { createCa, type RunningCa } from './create-ca.ts';
import { inPolicyFolder, loadCa, readRules } from './load.ts';

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
  const maintenance = setInterval(() => {
    running.maintain().catch((error: unknown) => log.error({ err: error }, 'maintenance failed'));
  }, MAINTENANCE_EVERY_MS);
  const release = setInterval(() => {
    running.ca.sessions
      .releaseNewTokens()
      .catch((error: unknown) => log.error({ err: error }, 'tokens of ended sessions were not deleted'));
  }, RELEASE_EVERY_MS);
  let serving: Serving | undefined;
  onReload(() => {
    serving?.lookAtTls();
    reloadRules(running, configuration, log);
  });
  try {
    const { app, metrics } = running;
    serving = await serveApp({ app, metrics, log, configuration });
    log.info(
      { url: serving.url, public_url: configuration.public_url, policy_version: running.ca.policy.version },
      'serving',
    );
    await stopped;
    log.info('stopping');
  } finally {
    clearInterval(maintenance);
    clearInterval(release);
    await serving?.close();
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
