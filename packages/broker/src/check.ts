/**
 * `beacon broker check`: looks at everything that `serve` will need, changes nothing, and names each defect with its
 * remedy. Whether the CA knows the broker is tried: it is asked to exchange a token that is none, which it refuses in
 * other words for a service that it knows than for one that it does not.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import {
  type CaMetadata,
  ClientError,
  defaultOutside,
  discoverCa,
  exchange,
  exchangeToken,
  generateProofKey,
  type Outside,
} from '@beacon/client';
import { brokerAudience } from '@beacon/protocol/name';
import {
  type CheckedStore,
  type CheckResult,
  checkStore,
  createChecks,
  readTlsFiles,
  tlsFiles,
} from '@beacon/server';
import { type BrokerKeys, readBrokerKeys } from './broker-keys.ts';
import { readBrokerConfiguration } from './configuration.ts';
import { type BrokerTables, migrations } from './create-broker.ts';
import { BrokerError } from './error.ts';
import { readProcedures } from './procedures-configuration.ts';

/** A certificate begins a minute before it is made, and a proof is believed for a minute. */
const MAX_CLOCK_OFF_MS = 30_000;

/** One result a check, in order; the file itself first, and nothing more when it cannot be read. */
export async function checkBroker(file: string, outside: Outside = defaultOutside()): Promise<CheckResult[]> {
  const { results, attempt } = createChecks();
  const configuration = await attempt(
    'configuration',
    () => readBrokerConfiguration(file),
    () => file,
  );
  if (configuration === undefined) return results;
  const { ca } = configuration;
  const keys = await attempt(
    'keys',
    () => readBrokerKeys({ service: ca.service, keyFile: ca.key_file, sealing: configuration.keys.sealing }),
    () => 'service key, sealing: readable by this program alone',
  );
  const tls = tlsFiles(configuration);
  if (tls !== undefined) {
    await attempt(
      'tls',
      () => readTlsFiles(tls),
      ({ expiresAt }) => `the certificate and its key fit; it ends ${expiresAt.toISOString()}`,
    );
  }
  await attempt(
    'procedures',
    () => readProcedures(configuration.procedures),
    (procedures) => [...procedures.keys()].join(', '),
  );
  await attempt(
    'store',
    () =>
      checkStore(
        configuration.store,
        { chain: 'broker', migrations },
        (checked: CheckedStore<BrokerTables>) => ({
          detail: `${checked.name}: ${checked.records} records, the chain holds`,
        }),
      ),
    ({ detail }) => detail,
  );
  await attempt(
    'ssh',
    () => checkSsh(configuration.ssh.path),
    (version) => version,
  );
  const metadata = await attempt(
    'ca',
    () => discoverCa(ca.url, outside),
    ({ issuer }) => `${issuer} answers`,
  );
  if (metadata === undefined) return results;
  await attempt(
    'clock',
    () => checkClock(ca.url, outside),
    (detail) => detail,
  );
  if (keys !== undefined) {
    await attempt(
      'service',
      () => checkService(metadata, keys, outside),
      () => `the CA knows ${ca.service} by this key, and lets it exchange tokens`,
    );
  }
  return results;
}

/** Throws BrokerError `ca-refused` with what has to be done at the CA. */
async function checkService(metadata: CaMetadata, { service }: BrokerKeys, outside: Outside): Promise<void> {
  const { clientId } = service;
  if (!metadata.protectedResources.includes(brokerAudience(clientId))) {
    throw new BrokerError(
      'ca-refused',
      `the CA lets no service ${clientId} exchange tokens: put the entry that \`beacon broker init\` printed into its services.yaml, with "exchange" under "may", and let the CA read it again`,
    );
  }
  try {
    await exchangeToken({ metadata, service, proofKey: generateProofKey(), subjectToken: 'none', outside });
  } catch (error) {
    // It refuses the token, and so it knows who asks.
    if (error instanceof ClientError && error.problem?.code === 'invalid_request') return;
    if (!(error instanceof ClientError) || error.problem?.code !== 'invalid_client') throw error;
    throw new BrokerError(
      'ca-refused',
      `the CA knows ${clientId} by another key than that of ca.key_file: put the public half of this one into its services.yaml, or the file of the other one here`,
      { cause: error },
    );
  }
}

async function checkClock(url: string, outside: Outside): Promise<string> {
  const before = outside.now();
  const { headers } = await exchange(outside, { method: 'GET', url: `${url}/healthz` });
  const said = Date.parse(headers.get('date') ?? '');
  if (Number.isNaN(said)) return 'the CA does not say what time it is';
  // The header has whole seconds.
  const offMs = said + 500 - (before.getTime() + outside.now().getTime()) / 2;
  const words = `${Math.abs(Math.round(offMs / 1000))} s ${offMs > 0 ? 'behind' : 'before'} the CA's`;
  if (Math.abs(offMs) <= MAX_CLOCK_OFF_MS) return `this machine's is ${words}`;
  throw new BrokerError(
    'clock-skew',
    `this machine's clock is ${words}: set it, and keep it set by a time service`,
  );
}

async function checkSsh(path: string): Promise<string> {
  try {
    const { stderr } = await promisify(execFile)(path, ['-V'], { timeout: 5_000, env: {} });
    return stderr.trim().split('\n')[0] ?? path;
  } catch (error) {
    throw new BrokerError(
      'ssh-missing',
      `${path} cannot be started: install OpenSSH's client, or name its place in ssh.path`,
      { cause: error },
    );
  }
}
