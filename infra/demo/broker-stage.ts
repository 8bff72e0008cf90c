/**
 * The broker of the demo and of the tests: made by `beacon broker init`, known to the CA as a service, run by
 * `beacon broker serve`, and asked through the published client as a person who has logged in.
 */
import type { ChildProcess } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type BrokerApi,
  type CaApi,
  createBrokerApi,
  createCaApi,
  discoverCa,
  exportProofKey,
  finishDeviceLogin,
  generateProofKey,
  importProofKey,
  openBrokerSession,
  openSession,
  type SessionStorage,
  startDeviceLogin,
  storedSession,
} from '@beacon/client';
import { brokerAudience, CA_AUDIENCE } from '@beacon/protocol/name';
import { freePort } from './free-port.ts';
import { approve } from './login.ts';
import type { Stage } from './stage.ts';
import { succeed } from './trust-ceremony.ts';

export const SERVICE = 'broker';
/** As the stage's CA: nothing may meet a limit by being quick. */
const LIMITS =
  'limits: { per_address: { requests: 1000000 }, per_person: { requests: 1000000 }, watchers_per_person: 1000 }\n';

export class DemoBroker {
  readonly stage: Stage;
  readonly url: string;
  readonly folder: string;
  readonly configuration: string;
  #server: ChildProcess | undefined;

  private constructor(stage: Stage, port: number) {
    this.stage = stage;
    this.url = `http://127.0.0.1:${port}`;
    this.folder = join(stage.folder, 'broker');
    this.configuration = join(this.folder, 'broker.yaml');
  }

  /** Makes its folder, and writes its entry into the CA's `services.yaml`. The CA is not served yet. */
  static async make(stage: Stage, caFolder: string): Promise<DemoBroker> {
    const port = await freePort();
    const broker = new DemoBroker(stage, port);
    const made = succeed(
      await stage.beacon('operator', [
        ...['broker', 'init', '--dir', broker.folder, '--public-url', broker.url],
        ...['--listen', `127.0.0.1:${port}`, '--ca-url', stage.caUrl, '--service', SERVICE],
        ...['--github-web-url', stage.standin.url, '--github-api-url', stage.standin.enterpriseApiUrl],
        '--json',
      ]),
    );
    appendFileSync(broker.configuration, LIMITS);
    const { entry } = JSON.parse(made) as { entry: string };
    writeFileSync(join(caFolder, 'services.yaml'), `version: 1\nservices:\n${entry}`);
    return broker;
  }

  get process(): ChildProcess {
    if (this.#server === undefined) throw new Error('the broker does not run');
    return this.#server;
  }

  get log(): string {
    const file = join(this.stage.folder, 'broker.log');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  /** Starts it, and waits until it is ready. */
  async serve(): Promise<void> {
    const child = this.stage.start('operator', ['broker', 'serve', '--config', this.configuration]);
    this.#server = child;
    const log = join(this.stage.folder, 'broker.log');
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (data: Buffer) => appendFileSync(log, data));
    for (let tries = 0; tries < 600; tries++) {
      if (child.exitCode !== null) throw new Error(`the broker ended:\n${this.log}`);
      const status = await fetch(`${this.url}/readyz`).then(
        (answer) => answer.status,
        () => 0,
      );
      if (status === 200) return;
      await sleep(100);
    }
    throw new Error(`the broker was not ready within a minute:\n${this.log}`);
  }

  /** Ends it at once, in the middle of whatever it does. */
  async kill(): Promise<void> {
    const { process: child } = this;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
}

/** A program of a person's own, logged in by the device grant, that asks this broker. */
export async function brokerApiOf(broker: DemoBroker, person: string): Promise<BrokerApi> {
  return (await loginAt(broker, person)).api;
}

/** {@link brokerApiOf}, and the CA as the same login finds it. */
export async function loginAt(broker: DemoBroker, person: string): Promise<{ api: BrokerApi; ca: CaApi }> {
  const login = await logInProgram(broker.stage, person, [SERVICE]);
  const credentials = await openBrokerSession(login, SERVICE);
  return {
    api: createBrokerApi({ url: broker.url, credentials }),
    ca: createCaApi(await openSession(login)),
  };
}

/** The login of such a program, which reaches the CA and these services. */
export async function logInProgram(
  stage: Stage,
  person: string,
  services: readonly string[],
): Promise<SessionStorage> {
  const metadata = await discoverCa(stage.caUrl);
  const key = exportProofKey(generateProofKey());
  const client = { clientId: 'beacon-cli', proofKey: importProofKey(key) };
  const resources = [CA_AUDIENCE, ...services.map(brokerAudience)];
  const login = await startDeviceLogin({ ...client, metadata, resources });
  const [tokens] = await Promise.all([
    finishDeviceLogin({ ...client, metadata, resources }, login),
    approve(stage.caUrl, person, login.userCode),
  ]);
  let stored = storedSession(
    { issuer: metadata.issuer, clientId: client.clientId, tokenEndpoint: metadata.tokenEndpoint, key },
    tokens,
  );
  let last: Promise<unknown> = Promise.resolve();
  return {
    read: async () => stored,
    update: (change) => {
      const next = last.then(async () => (stored = await change(stored)));
      last = next.catch(() => undefined);
      return next;
    },
  };
}
