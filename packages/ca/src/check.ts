/** `beacon ca check`: looks at everything that `serve` will need, changes nothing, and names each defect with its remedy. */
import { createPolicyEngine } from '@beacon/policy';
import {
  type CheckedStore,
  type CheckResult,
  checkStore,
  createChecks,
  createRecords,
  readSecretFile,
  readTlsFiles,
  type StoreFinding,
  tlsFiles,
} from '@beacon/server';
import type { Tables } from './ca.ts';
import { checkTrust } from './check-trust.ts';
import { readCaConfiguration } from './configuration.ts';
import { migrations } from './create-ca.ts';
import { CaError } from './error.ts';
import { CLIENT_ID_TO_SET } from './init-files.ts';
import { readCaKeys } from './keys.ts';
import { inPolicyFolder, readInventory, readPolicies } from './load.ts';
import { readServices } from './services-configuration.ts';
import { readTrustHealth, type TrustHealth } from './trust-health.ts';

/** One result a check, in order; the file itself first, and nothing more when it cannot be read. */
export async function checkCa(file: string): Promise<CheckResult[]> {
  const { results, attempt } = createChecks();
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
    () => checkStore(configuration.store, { chain: 'ca', migrations }, lookAtTrust),
    ({ detail }) => detail,
  );
  return store?.found === undefined ? results : [...results, ...checkTrust(store.found)];
}

async function lookAtTrust({
  database,
  records,
  current,
}: CheckedStore<Tables>): Promise<StoreFinding<TrustHealth>> {
  const detail = `${records} records, the chain holds`;
  if (!current) return { detail };
  const now = new Date();
  const chain = createRecords({ chain: 'ca', now: () => now });
  return { detail, found: await readTrustHealth(database, chain, now) };
}
