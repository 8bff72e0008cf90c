/**
 * `ready` of every server's program: asks the server that runs by a configuration, on this machine, whether it is ready,
 * and waits for it. For the unit that starts it and for whatever else must not go on before. It reads no secret, and
 * neither tells the server anything nor believes what it says but "ready".
 */
import { type RequestOptions, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerError } from './error.ts';

const EVERY_MS = 200;
const ANSWER_MS = 10_000;
/** Who listens on all addresses answers on loopback. */
const LOOPBACK_OF: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/** A server that was started by a configuration file. */
export interface StartedServer {
  /** What messages call it: `the CA of /etc/beacon-ca/ca.yaml`. */
  readonly name: string;
  /** Where it listens, by its configuration; read anew each time that it is asked. */
  readonly listen: () => { readonly host: string; readonly port: number; readonly tls?: unknown };
}

export interface ReadyOptions {
  /** How long to wait; it is asked at least once. */
  readonly withinMs: number;
  /**
   * The process of the server, when it is known: waiting ends with it. Until then nothing is fatal, not even a
   * configuration that cannot be read: what that process says about it is what counts.
   */
  readonly pid?: number;
}

/**
 * Resolves when `/readyz` says so. Throws ServerError `not-ready` with the last answer when it has not in time; without
 * a process, what `listen` throws.
 */
export async function untilReady(server: StartedServer, { withinMs, pid }: ReadyOptions): Promise<void> {
  const end = performance.now() + withinMs;
  for (;;) {
    const alive = pid === undefined || isAlive(pid);
    const why = await askConfigured(server, pid !== undefined);
    if (why === undefined) return;
    if (!alive) throw notReady(server, 'its process has ended');
    if (performance.now() >= end) throw notReady(server, why);
    await sleep(EVERY_MS);
  }
}

function notReady({ name }: StartedServer, why: string): ServerError {
  return new ServerError('not-ready', `${name} is not ready: ${why}: its log says more`);
}

async function askConfigured({ listen }: StartedServer, forgiving: boolean): Promise<string | undefined> {
  try {
    return await askReady(listen());
  } catch (error) {
    if (forgiving) return error instanceof Error ? error.message : String(error);
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // There is a process, of somebody else.
    return typeof error === 'object' && error !== null && 'code' in error && error.code === 'EPERM';
  }
}

/** Why it is not ready; undefined when it is. */
function askReady({ host, port, tls }: ReturnType<StartedServer['listen']>): Promise<string | undefined> {
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
