/**
 * A login kept fresh: hands out access tokens, renews them with the rotating refresh token, and keeps the renewed ones.
 * A refresh token works once, so the renewal runs alone over all processes: `storage.update` holds a lock while it runs,
 * and whoever waited finds the tokens that the other brought. Where the tokens are kept is the caller's.
 */
import { brokerAudience, CA_AUDIENCE } from '@beacon/protocol/name';
import { clientAssertion, type ServiceClient } from './client-assertion.ts';
import { ClientError } from './error.ts';
import { defaultOutside, type Outside } from './exchange.ts';
import { importProofKey, type ProofKey, type StoredProofKey } from './proof.ts';
import { isRefusal, refusalError, requestTokens, type Tokens } from './token-endpoint.ts';

/** What is kept of a login: all of it is secret, and none of it outlives the session at the CA. */
export interface StoredSession {
  /** The CA's public URL. */
  readonly issuer: string;
  readonly clientId: string;
  readonly tokenEndpoint: string;
  readonly key: StoredProofKey;
  readonly accessToken: string;
  readonly accessTokenExpiresAt: Date;
  readonly refreshToken?: string;
}

export interface SessionStorage {
  read(): Promise<StoredSession | undefined>;
  /**
   * Runs `change` over what is stored while nobody else may, over all processes, and keeps its result durably before
   * answering. When `change` throws, nothing is changed.
   */
  update(change: (stored: StoredSession | undefined) => Promise<StoredSession>): Promise<StoredSession>;
}

/** What a request to the CA, or with a token of another audience to a broker, is made with. */
export interface Credentials {
  readonly issuer: string;
  readonly proofKey: ProofKey;
  /** A token that is good for some time yet; `refused` names one that the CA did not take, to be replaced. */
  accessToken(refused?: string): Promise<string>;
}

/** How long a token must still be good to be handed out. */
const MARGIN_MS = 20_000;

/** The value to store for a login that has just succeeded. */
export function storedSession(
  login: {
    readonly issuer: string;
    readonly clientId: string;
    readonly tokenEndpoint: string;
    readonly key: StoredProofKey;
  },
  tokens: Tokens,
): StoredSession {
  return { ...login, ...tokens };
}

/**
 * Opens the stored login; `service` is needed where the login is a service's, which proves itself at each renewal. Throws
 * ClientError `session-missing` when there is none; `accessToken` throws `session-ended` when the CA renews it no longer.
 */
export async function openSession(
  storage: SessionStorage,
  outside: Outside = defaultOutside(),
  service?: ServiceClient,
): Promise<Credentials> {
  const opened = await storage.read();
  if (opened === undefined) throw missing();
  return {
    issuer: opened.issuer,
    proofKey: importProofKey(opened.key),
    async accessToken(refused) {
      const stored = await storage.read();
      if (isSameLogin(stored, opened) && isGood(stored, refused, outside.now())) return stored.accessToken;
      const renewed = await storage.update(async (current) => {
        if (!isSameLogin(current, opened)) throw missing();
        return isGood(current, refused, outside.now()) ? current : renew(current, outside, service);
      });
      return renewed.accessToken;
    },
  };
}

/**
 * Credentials of the stored login for a broker: tokens for its audience alone, which the CA itself does not take and which
 * are kept in memory only; what is renewed with them, the refresh token, is kept with the login. Throws as
 * {@link openSession} does, and `accessToken` ClientError `oauth-refused` where the login does not reach this broker.
 */
export async function openBrokerSession(
  storage: SessionStorage,
  broker: string,
  outside: Outside = defaultOutside(),
  service?: ServiceClient,
): Promise<Credentials> {
  const opened = await storage.read();
  if (opened === undefined) throw missing();
  const audience = brokerAudience(broker);
  let held: Tokens | undefined;
  let asking: Promise<Tokens> | undefined;
  const ask = async (): Promise<Tokens> => {
    let tokens: Tokens | undefined;
    await storage.update(async (current) => {
      if (!isSameLogin(current, opened)) throw missing();
      tokens = await refresh(current, audience, outside, service);
      const { refreshToken = current.refreshToken } = tokens;
      return refreshToken === undefined ? current : { ...current, refreshToken };
    });
    if (tokens === undefined) throw missing();
    return tokens;
  };
  return {
    issuer: opened.issuer,
    proofKey: importProofKey(opened.key),
    async accessToken(refused) {
      if (held !== undefined && isGood(held, refused, outside.now())) return held.accessToken;
      asking ??= ask().finally(() => {
        asking = undefined;
      });
      held = await asking;
      return held.accessToken;
    },
  };
}

/**
 * Credentials from tokens that are at hand and are not renewed here: for a service that got them by token exchange. Past
 * their end `accessToken` throws ClientError `session-ended`.
 */
export function credentialsOf(
  issuer: string,
  proofKey: ProofKey,
  tokens: Tokens,
  now: () => Date = () => new Date(),
): Credentials {
  return {
    issuer,
    proofKey,
    async accessToken(refused) {
      if (refused === undefined && tokens.accessTokenExpiresAt > now()) return tokens.accessToken;
      throw refusalError({ error: 'invalid_grant', description: '' });
    },
  };
}

async function renew(
  stored: StoredSession,
  outside: Outside,
  service: ServiceClient | undefined,
): Promise<StoredSession> {
  return { ...stored, ...(await refresh(stored, CA_AUDIENCE, outside, service)) };
}

async function refresh(
  stored: StoredSession,
  audience: string,
  outside: Outside,
  service: ServiceClient | undefined,
): Promise<Tokens> {
  if (stored.refreshToken === undefined) throw refusalError({ error: 'invalid_grant', description: '' });
  const answer = await requestTokens(outside, {
    endpoint: stored.tokenEndpoint,
    parameters: {
      grant_type: 'refresh_token',
      refresh_token: stored.refreshToken,
      resource: audience,
      ...(service === undefined
        ? { client_id: stored.clientId }
        : await clientAssertion(service, stored.issuer, outside.now())),
    },
    proofKey: importProofKey(stored.key),
  });
  if (!isRefusal(answer)) return answer;
  if (answer.error !== 'invalid_target') throw refusalError(answer);
  throw new ClientError(
    'oauth-refused',
    'unauthenticated',
    `your login does not reach ${audience}: the CA does not know it, or not when you logged in. Log in again`,
    { problem: { code: answer.error, detail: answer.description, id: '' } },
  );
}

function isGood(stored: Tokens, refused: string | undefined, now: Date): boolean {
  return stored.accessToken !== refused && stored.accessTokenExpiresAt.getTime() - now.getTime() > MARGIN_MS;
}

/** A log-out or another login may have happened in another process. */
function isSameLogin(stored: StoredSession | undefined, opened: StoredSession): stored is StoredSession {
  return stored !== undefined && stored.issuer === opened.issuer && stored.key.x === opened.key.x;
}

function missing(): ClientError {
  return new ClientError('session-missing', 'unauthenticated', 'you are not logged in');
}
