/**
 * `beacon ca ready`: asks the CA that runs by a configuration, on this machine, whether it is ready, and waits for it. For
 * the unit that starts it and for whatever else must not go on before. It reads no secret, and neither tells the CA
 * anything nor believes what it says but "ready".
 */
import { type RequestOptions, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CaConfiguration, readCaConfiguration } from './configuration.ts';
import { CaError } from './error.ts';

const EVERY_MS = 200;
const ANSWER_MS = 10_000;
/** Who listens on all addresses answers on loopback. */
const LOOPBACK_OF: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/**
 * Resolves when `/readyz` says so. Throws CaError `not-ready` with the last answer when it has not within the time, asked
 * at least once.
 */
export async function untilReady(file: string, withinMs: number): Promise<void> {
  const { listen } = readCaConfiguration(file);
  const end = performance.now() + withinMs;
  for (;;) {
    const why = await askReady(listen);
    if (why === undefined) return;
    if (performance.now() >= end)
      throw new CaError('not-ready', `the CA of ${file} is not ready: ${why}: its log says more`);
    await sleep(EVERY_MS);
  }
}

/** Why it is not ready; undefined when it is. */
function askReady({ host, port, tls }: CaConfiguration['listen']): Promise<string | undefined> {
  const options: RequestOptions & { rejectUnauthorized: boolean } = {
    host: LOOPBACK_OF[host] ?? host,
    port,
    path: '/readyz',
    timeout: ANSWER_MS,
    agent: false,
    // Its certificate is for its public name, and here it is only seen whether it answers.
    rejectUnauthorized: false,
  };
  return new Promise((resolve) => {
    const asked = (tls === undefined ? requestHttp : requestHttps)(options, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200 ? undefined : `it answers ${answer.statusCode}`);
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${ANSWER_MS / 1000} seconds`)));
    asked.on('error', (error) => resolve(error.message || 'it cannot be reached'));
    asked.end();
  });
}
