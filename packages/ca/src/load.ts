/** Reads all that `ca.yaml` names into what `createCa` takes. Everything is checked before anything is opened. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Inventory, PolicyError, type PolicyFile, parseInventory } from '@beacon/policy';
import { type Limit, type Log, readSecretFile, readStore } from '@beacon/server';
import { type CaConfiguration, readCaConfiguration } from './configuration.ts';
import type { CaOptions } from './create-ca.ts';
import { CaError } from './error.ts';
import { CLIENT_ID_TO_SET } from './init-files.ts';
import { readCaKeys } from './keys.ts';
import { readInventoryFile } from './policy-configuration.ts';
import type { RuleFiles } from './rules.ts';
import { readServices } from './services-configuration.ts';
import { packageVersion } from './version.ts';

const MAX_POLICY_BYTES = 1024 * 1024;

export interface LoadedCa {
  readonly configuration: CaConfiguration;
  readonly options: CaOptions;
}

/** Throws CaError, ServerError or PolicyError naming the file and what to do. */
export async function loadCa(file: string, log: Log): Promise<LoadedCa> {
  const configuration = readCaConfiguration(file);
  const { github, limits, retention } = configuration;
  if (github.client_id === CLIENT_ID_TO_SET) {
    throw new CaError(
      'configuration',
      `${file}: github.client_id is not set: put your GitHub App's client id there (docs/github-app.md)`,
    );
  }
  const clientSecret = readClientSecret(github.client_secret_file);
  return {
    configuration,
    options: {
      publicUrl: configuration.public_url,
      trustedProxies: configuration.trusted_proxies,
      store: readStore(configuration.store),
      keys: await readCaKeys(configuration.keys),
      github: {
        provider: github.provider,
        webUrl: github.web_url,
        apiUrl: github.api_url,
        clientId: github.client_id,
        clientSecret: () => clientSecret,
      },
      ...readRules(configuration),
      limits: {
        perAddress: toLimit(limits.per_address),
        perService: toLimit(limits.per_service),
        perPerson: toLimit(limits.per_person),
      },
      retention: {
        certificatesDays: retention.certificates_days,
        sessionsDays: retention.sessions_days,
      },
      clockTrustedAfterRecord: configuration.clock_trusted_after_record,
      sessionMaxHours: configuration.session.max_hours,
      log,
      version: packageVersion(),
    },
  };
}

function toLimit(limit: { requests: number; per_seconds: number }): Limit {
  return { requests: limit.requests, perSeconds: limit.per_seconds };
}

/** Policy, inventory and services as their files are now. Throws like `loadCa`. */
export function readRules(configuration: CaConfiguration): RuleFiles {
  return {
    services: readServices(configuration.services),
    policies: readPolicies(configuration.policy),
    inventory: readInventory(configuration.inventory),
  };
}

function readClientSecret(file: string): string {
  try {
    return readSecretFile(file, { maxBytes: 1024 }).toString('utf8');
  } catch (error) {
    throw new CaError(
      'configuration',
      `the GitHub App's client secret cannot be read from ${file}: paste it with \`install -m 600 /dev/stdin ${file}\``,
      { cause: error },
    );
  }
}

/** The `*.cedar` files of a folder, by name. An empty folder is a policy that allows nothing. */
export function readPolicies(folder: string): PolicyFile[] {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => name.endsWith('.cedar') && !name.startsWith('.'));
  } catch (error) {
    throw new CaError('policy', `${folder} cannot be read: it must be a folder of *.cedar files`, {
      cause: error,
    });
  }
  return names.sort().map((name) => ({ name, text: readPolicy(join(folder, name)) }));
}

function readPolicy(file: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new CaError('policy', `${file} cannot be read: it must be a file that this program may read`, {
      cause: error,
    });
  }
  if (bytes.length > MAX_POLICY_BYTES)
    throw new CaError('policy', `${file} is longer than 1 MiB: make the policies fewer`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new CaError('policy', `${file} is not UTF-8 text: save it as UTF-8`, { cause: error });
  }
}

/** What is wrong with a policy file, under the path where the person finds it. */
export function inPolicyFolder(folder: string, error: unknown): unknown {
  return error instanceof PolicyError && error.place.file.endsWith('.cedar')
    ? new CaError('policy', join(folder, error.message), { cause: error })
    : error;
}

/** The inventory. Throws PolicyError or ServerError with the place. */
export function readInventory(file: string): Inventory {
  return parseInventory(readInventoryFile(file), file);
}
