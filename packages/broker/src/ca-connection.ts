/**
 * What the broker knows of its CA: where its endpoints are, by which keys it signs tokens, and by which key the broker
 * proves to it which service it is. Read when it is first needed, so that a broker starts while its CA is down.
 */
import {
  type CaApi,
  type CaMetadata,
  ClientError,
  type Credentials,
  createCaApi,
  discoverCa,
  type Outside,
  type ServiceClient,
} from '@beacon/client';
import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose';
import { createSharedDocuments } from './ca-documents.ts';
import { BrokerError } from './error.ts';

export interface CaConnection {
  /** The CA's public URL: its issuer. */
  readonly url: string;
  readonly service: ServiceClient;
  readonly outside: Outside;
  /** Whether it has answered since this program started. */
  readonly isKnown: boolean;
  /** Throws BrokerError `ca-unavailable`. */
  metadata(): Promise<CaMetadata>;
  /** The CA's API with these credentials; what it publishes for everybody is read once for all. */
  apiOf(credentials: Credentials): CaApi;
  /** The CA's keys for tokens; an unknown one is looked for anew, at most every 30 seconds. */
  readonly keys: JWTVerifyGetKey;
}

export interface CaConnectionOptions {
  readonly url: string;
  readonly service: ServiceClient;
  readonly outside: Outside;
}

const METADATA_KEPT_MS = 3_600_000;
const KEYS_KEPT_MS = 600_000;
const KEYS_COOLDOWN_MS = 30_000;
const KEYS_TIMEOUT_MS = 5_000;

export function connectCa({ url, service, outside }: CaConnectionOptions): CaConnection {
  const documents = createSharedDocuments(outside.now);
  let known:
    | { readonly metadata: CaMetadata; readonly keys: JWTVerifyGetKey; readonly at: number }
    | undefined;
  let reading: Promise<NonNullable<typeof known>> | undefined;

  async function read(): Promise<NonNullable<typeof known>> {
    try {
      const metadata = await discoverCa(url, outside);
      const keys = createRemoteJWKSet(new URL(metadata.jwksUri), {
        cacheMaxAge: KEYS_KEPT_MS,
        cooldownDuration: KEYS_COOLDOWN_MS,
        timeoutDuration: KEYS_TIMEOUT_MS,
        [customFetch]: outside.fetch,
      });
      known = { metadata, keys, at: outside.now().getTime() };
      return known;
    } catch (error) {
      // What is known from before is better than nothing: none of it is secret, and the CA is asked with it all the same.
      if (known !== undefined) return known;
      throw caUnavailable(error);
    } finally {
      reading = undefined;
    }
  }

  async function current(): Promise<NonNullable<typeof known>> {
    if (known !== undefined && outside.now().getTime() - known.at < METADATA_KEPT_MS) return known;
    reading ??= read();
    return reading;
  }

  return {
    url,
    service,
    outside,
    get isKnown() {
      return known !== undefined;
    },
    apiOf: (credentials) => documents.share(createCaApi(credentials, outside)),
    metadata: async () => (await current()).metadata,
    keys: async (header, token) => {
      const { keys } = await current();
      try {
        return await keys(header, token);
      } catch (error) {
        if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys)
          throw error;
        throw caUnavailable(error);
      }
    },
  };
}

/** What it means for the person when the CA does not answer, or not as a CA. */
export function caUnavailable(cause: unknown): BrokerError {
  const said = cause instanceof ClientError ? ` (${cause.message})` : '';
  return new BrokerError(
    'ca-unavailable',
    `the certificate authority does not answer${said}: try again soon`,
    {
      cause,
    },
  );
}
