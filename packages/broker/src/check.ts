/**
 * `beacon broker check`: looks at everything that `serve` will need, changes nothing, and names each defect with its
 * remedy. Whether the CA knows the broker is tried: it is asked to exchange a token that is none, which it refuses in
 * other words for a service that it knows than for one that it does not.
 */
import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
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
  inStore,
  migrationState,
  nameOfStore,
  openDatabase,
  readStore,
  readTlsFiles,
  tlsFiles,
  verifyRecords,
} from '@beacon/server';
import { type BrokerKeys, readBrokerKeys } from './broker-keys.ts';
import { type BrokerConfiguration, readBrokerConfiguration } from './configuration.ts';
import { type BrokerTables, migrations } from './create-broker.ts';
import { BrokerError } from './error.ts';
import { readProcedures } from './procedures-configuration.ts';

export interface CheckResult {
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** A certificate begins a minute before it is made, and a proof is believed for a minute. */
const MAX_CLOCK_OFF_MS = 30_000;

/** One result a check, in order; the file itself first, and nothing more when it cannot be read. */
export async function checkBroker(file: string, outside: Outside = defaultOutside()): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  const attempt = async <T>(
    check: string,
    work: () => T | Promise<T>,
    detail: (value: T) => string,
  ): Promise<T | undefined> => {
    try {
      const value = await work();
      results.push({ check, ok: true, detail: detail(value) });
      return value;
    } catch (error) {
      results.push({ check, ok: false, detail: error instanceof Error ? error.message : String(error) });
      return undefined;
    }
  };
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
    () => checkStore(configuration.store),
    (detail) => detail,
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

function requireWritable(path: string): void {
  if (!existsSync(path)) {
    throw new BrokerError('file', `the folder ${path} is not there: make it with mkdir -m 700 ${path}`);
  }
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    throw new BrokerError(
      'file',
      `${path} cannot be written: give it to whoever runs serve, and run this check as the same`,
      { cause: error },
    );
  }
}

async function checkStore(store: BrokerConfiguration['store']): Promise<string> {
  const name = nameOfStore(store);
  const place = readStore(store);
  if ('file' in place) {
    const { file } = place;
    requireWritable(dirname(file));
    if (!existsSync(file)) return `${file} is not there yet: serve will make it`;
    requireWritable(file);
    if ((statSync(file).mode & 0o077) !== 0)
      throw new BrokerError('configuration', `${file} is open to others: run chmod 600 ${file}`);
  }
  const database = openDatabase<BrokerTables>({ ...place, readOnly: true });
  try {
    const state = await migrationState(database, ...migrations);
    if (state === 'none') return `${name} is empty: serve will make its tables`;
    const verdict = await verifyRecords(database, { chain: 'broker' });
    if (verdict.ok) return `${name}: ${verdict.count} records, the chain holds`;
    throw new BrokerError(
      'store',
      `${name}: record ${verdict.firstBad}: ${verdict.why}: compare with a backup`,
    );
  } catch (error) {
    throw inStore(store, error);
  } finally {
    await database.destroy();
  }
}
