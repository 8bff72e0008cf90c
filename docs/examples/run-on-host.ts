/**
 * A program that runs a command on a host through a broker, for the person who signs in: login by a code, one run, its
 * output as it comes, its result. Built on `@beacon/client` alone; a test runs it against a real CA, broker and host.
 *
 * A backend with people in browsers does the same with other tokens: it signs them in with `startAuthorization` and
 * `finishAuthorization` (see backend.ts), names the broker's audience in `resources` and in `resource`, and goes on from
 * `credentialsOf` below. It never holds a password, a GitHub token or an SSH key: the CA decides for that person, at that
 * moment, and the broker obtains the certificate.
 */
import {
  type BrokerApi,
  createBrokerApi,
  credentialsOf,
  discoverBroker,
  discoverCa,
  finishDeviceLogin,
  generateProofKey,
  type Run,
  type RunOrder,
  startDeviceLogin,
} from '@beacon/client';

export interface Settings {
  readonly brokerUrl: string;
  /** This program's id among the CA's clients. */
  readonly clientId: string;
  /** Shows the person the page to open and the code to type there. */
  readonly show: (page: string, code: string) => void;
}

/** Logs a person in, for this broker alone: the tokens are worth nothing anywhere else. */
export async function logIn({ brokerUrl, clientId, show }: Settings): Promise<BrokerApi> {
  const broker = await discoverBroker(brokerUrl);
  const metadata = await discoverCa(broker.ca);
  const proofKey = generateProofKey();
  const client = { metadata, clientId, proofKey, resources: [`urn:beacon:broker:${broker.service}`] };
  const login = await startDeviceLogin(client);
  show(login.verificationUri, login.userCode);
  const tokens = await finishDeviceLogin(client, login);
  // Five minutes. A program that runs longer keeps the refresh token in a place of its own: openBrokerSession renews.
  return createBrokerApi({ url: broker.url, credentials: credentialsOf(metadata.issuer, proofKey, tokens) });
}

export interface Result {
  readonly run: Run;
  readonly stdout: string;
  /** Of the command, when the gate has said it. */
  readonly status: number | undefined;
}

/**
 * Asks for a run and waits until it is over. `key` names what is wanted: asked for again with the same key, after a crash
 * say, it is the same run. The run goes on when this program does not; `events` begins again where it was.
 */
export async function runOnHost(broker: BrokerApi, order: RunOrder, key: string): Promise<Result> {
  const { run } = await broker.createRun(order, key);
  let stdout = '';
  let status: number | undefined;
  for await (const { kind, data } of broker.events(run.id)) {
    if (kind === 'stdout') stdout += textOf(data);
    if (kind === 'step' && typeof data['code'] === 'number') status = data['code'];
    if (kind === 'phase' && data['phase'] === 'interrupted') break;
  }
  // What it came to, why, what is left behind, and what the person may press now: `look`, `resume`, `retry`, `undo`.
  return { run: await broker.run(run.id), stdout, status };
}

/** Output that is no UTF-8 comes as base64. */
function textOf({ text, base64 }: Readonly<Record<string, unknown>>): string {
  return typeof text === 'string' ? text : Buffer.from(String(base64 ?? ''), 'base64').toString('latin1');
}
