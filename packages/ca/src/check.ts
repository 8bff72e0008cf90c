/** `beacon ca check`: looks at everything that `serve` will need, changes nothing, and names each defect with its remedy. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { createPolicyEngine } from '@beacon/policy';
import {
  createRecords,
  inStore,
  migrationState,
  nameOfStore,
  openDatabase,
  readSecretFile,
  readStore,
  readTlsFiles,
  tlsFiles,
  verifyRecords,
} from '@beacon/server';
import type { Tables } from './ca.ts';
import { checkTrust } from './check-trust.ts';
import { type CaConfiguration, readCaConfiguration } from './configuration.ts';
import { migrations } from './create-ca.ts';
import { CaError } from './error.ts';
import { CLIENT_ID_TO_SET } from './init-files.ts';
import { readCaKeys } from './keys.ts';
import { inPolicyFolder, readInventory, readPolicies } from './load.ts';
import { readServices } from './services-configuration.ts';
import { readTrustHealth, type TrustHealth } from './trust-health.ts';

export interface CheckResult {
  readonly check: string;
  readonly ok: boolean;
  /** It is no defect yet. */
  readonly warning?: true;
  readonly detail: string;
}

/** One result a check, in order; the file itself first, and nothing more when it cannot be read. */
export async function checkCa(file: string): Promise<CheckResult[]> {
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
    () => readCaConfiguration(file),
    () => file,
  );
  if (configuration === undefined) return results;
  await attempt(
    'keys',
    () => readCaKeys(configuration.keys),
    () => 'user CA, host CA, token signing, sealing: readable by this program alone',
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
    'github',
    () => {
      if (configuration.github.client_id === CLIENT_ID_TO_SET) {
        throw new CaError(
          'configuration',
          `github.client_id is not set: put your GitHub App's client id into ${file}`,
        );
      }
      readSecretFile(configuration.github.client_secret_file, { maxBytes: 1024 });
      return configuration.github;
    },
    (github) => `client ${github.client_id} at ${github.web_url}`,
  );
  await attempt(
    'services',
    () => readServices(configuration.services),
    (services) => `${services.size} services`,
  );
  const inventory = await attempt(
    'inventory',
    () => readInventory(configuration.inventory),
    ({ commands }) => `${Object.keys(commands).length} commands`,
  );
  if (inventory !== undefined) {
    await attempt(
      'policy',
      () => {
        try {
          const engine = createPolicyEngine({
            files: readPolicies(configuration.policy),
            inventory,
            provider: configuration.github.provider,
          });
          const { policies, version } = engine;
          engine.close();
          return { policies, version };
        } catch (error) {
          throw inPolicyFolder(configuration.policy, error);
        }
      },
      ({ policies, version }) =>
        `${policies.length} policies, version ${version.slice(0, 12)}${policies.length === 0 ? ': nothing is allowed' : ''}`,
    );
  }
  const store = await attempt(
    'store',
    () => checkStore(configuration.store),
    ({ detail }) => detail,
  );
  return store?.health === undefined ? results : [...results, ...checkTrust(store.health)];
}

function requireWritable(path: string): void {
  if (!existsSync(path)) {
    throw new CaError('file', `the folder ${path} is not there: make it with mkdir -m 700 ${path}`);
  }
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    throw new CaError(
      'file',
      `${path} cannot be written: give it to whoever runs serve, and run this check as the same`,
      { cause: error },
    );
  }
}

interface CheckedStore {
  readonly detail: string;
  readonly health?: TrustHealth;
}

async function checkStore(store: CaConfiguration['store']): Promise<CheckedStore> {
  const name = nameOfStore(store);
  const place = readStore(store);
  if ('file' in place) {
    const { file } = place;
    requireWritable(dirname(file));
    if (!existsSync(file)) return { detail: `${file} is not there yet: serve will make it` };
    requireWritable(file);
    if ((statSync(file).mode & 0o077) !== 0)
      throw new CaError('configuration', `${file} is open to others: run chmod 600 ${file}`);
  }
  const database = openDatabase<Tables>({ ...place, readOnly: true });
  try {
    const state = await migrationState(database, ...migrations);
    if (state === 'none') return { detail: `${name} is empty: serve will make its tables` };
    const verdict = await verifyRecords(database, { chain: 'ca' });
    const now = new Date();
    if (verdict.ok) {
      const detail = `${verdict.count} records, the chain holds`;
      if (state !== 'all') return { detail };
      const records = createRecords({ chain: 'ca', now: () => now });
      return { detail, health: await readTrustHealth(database, records, now) };
    }
    throw new CaError(
      'row-unverified',
      `${name}: record ${verdict.firstBad}: ${verdict.why}: compare with a backup`,
    );
  } catch (error) {
    throw inStore(store, error);
  } finally {
    await database.destroy();
  }
}
