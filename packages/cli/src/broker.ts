/**
 * The broker that runs are asked of: its address as it was typed, from the environment or from the configuration, and its
 * API as the logged-in person. A broker of another CA is refused before any token is asked for.
 */
import {
  type BrokerApi,
  type BrokerFacts,
  ClientError,
  createBrokerApi,
  discoverBroker,
  openBrokerSession,
} from '@beacon/client';
import { readConfiguration } from './configuration.ts';
import { type Context, requirePosix } from './context.ts';
import { CliError } from './error.ts';
import { openSessionFile } from './session-file.ts';

export interface BrokerChoice {
  /** As it was typed. */
  readonly broker?: string;
}

/** The address that is meant; undefined where none is known. */
export async function brokerAddress(context: Context, { broker }: BrokerChoice): Promise<string | undefined> {
  const named = broker ?? context.environment['BEACON_BROKER'];
  if (named !== undefined && named !== '') return named;
  return (await readConfiguration(context.place.configurationFile)).broker;
}

/** Its API as the logged-in person. Throws ClientError `session-missing`, CliError `broker-unknown`. */
export async function openBroker(
  context: Context,
  choice: BrokerChoice,
): Promise<{ readonly api: BrokerApi; readonly facts: BrokerFacts }> {
  requirePosix();
  const address = await brokerAddress(context, choice);
  if (address === undefined) {
    throw new CliError(
      'broker-unknown',
      'invalid',
      'which broker? Name it with --broker https://…, in BEACON_BROKER, or as "broker: https://…" in config.yaml',
    );
  }
  const storage = openSessionFile(context.place.stateDirectory);
  const session = await storage.read();
  if (session === undefined)
    throw new ClientError('session-missing', 'unauthenticated', 'you are not logged in');
  const facts = await findBroker(address, session.issuer);
  const credentials = await openBrokerSession(storage, facts.service);
  return { api: createBrokerApi({ url: facts.url, credentials }), facts };
}

/** What the broker says of itself. Throws ClientError `answer-untrusted` when it takes the tokens of another CA. */
export async function findBroker(address: string, ca: string): Promise<BrokerFacts> {
  const facts = await discoverBroker(address);
  if (facts.ca === ca) return facts;
  throw new ClientError(
    'answer-untrusted',
    'invalid',
    `${facts.url} is a broker of ${facts.ca}, and you are logged in at ${ca}: name another broker, or log in there`,
  );
}
