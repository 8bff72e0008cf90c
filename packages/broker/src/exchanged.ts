/**
 * CA tokens for the tokens that were handed to the broker (RFC 8693): one for each session at the CA, bound to a key that
 * is made for it and lives in memory alone, kept until shortly before its end and replaced with the next token that is
 * handed over. So a run may go on for as long as the person's program comes back.
 */
import {
  type CaApi,
  ClientError,
  exchangeToken,
  generateProofKey,
  type ProofKey,
  type Tokens,
} from '@beacon/client';
import { type CaConnection, caUnavailable } from './ca-connection.ts';
import { requireStanding, type Standing, sessionEnded } from './ca-standing.ts';
import { BrokerError } from './error.ts';
import type { HandedToken } from './handed-token.ts';

export interface Exchanges {
  /** The CA's API for who handed this token over. Throws BrokerError `session-ended`, `ca-unavailable`, `ca-refused`. */
  apiOf(token: HandedToken): Promise<CaApi>;
  /** Forgets what has expired. */
  prune(): void;
  readonly size: number;
}

interface Exchanged {
  readonly person: string;
  readonly key: ProofKey;
  readonly api: CaApi;
  readonly standing: Standing;
  tokens: Tokens | undefined;
  exchanging?: Promise<void> | undefined;
}

/** A token that has less time left than this is replaced as soon as another is handed over. */
const RENEWED_BEFORE_MS = 300_000;
const MOST_KEPT = 10_000;

export function createExchanges(ca: CaConnection): Exchanges {
  const { outside } = ca;
  const kept = new Map<string, Exchanged>();

  function entryOf({ session, person }: HandedToken): Exchanged {
    const known = kept.get(session);
    if (known !== undefined && known.person === person) return known;
    const key = generateProofKey();
    const made: Exchanged = {
      person,
      key,
      tokens: undefined,
      standing: { confirmedAt: new Date(0) },
      api: ca.apiOf({
        issuer: ca.url,
        proofKey: key,
        async accessToken(refused) {
          const { tokens } = made;
          if (tokens === undefined || tokens.accessToken === refused) throw sessionOver();
          if (tokens.accessTokenExpiresAt <= outside.now()) throw sessionOver();
          return tokens.accessToken;
        },
      }),
    };
    if (kept.size >= MOST_KEPT) dropOldest();
    kept.set(session, made);
    return made;
  }

  function dropOldest(): void {
    for (const [session] of kept) {
      kept.delete(session);
      return;
    }
  }

  async function renew(entry: Exchanged, token: HandedToken): Promise<void> {
    try {
      const metadata = await ca.metadata();
      entry.tokens = await exchangeToken({
        metadata,
        service: ca.service,
        proofKey: entry.key,
        subjectToken: token.text,
        outside,
      });
      entry.standing.confirmedAt = outside.now();
      entry.standing.isOver = false;
    } catch (error) {
      const refusal = readRefusal(error);
      if (refusal.code === 'session-ended') kept.delete(token.session);
      throw refusal;
    }
  }

  return {
    get size() {
      return kept.size;
    },
    async apiOf(token) {
      const entry = entryOf(token);
      const left = (entry.tokens?.accessTokenExpiresAt.getTime() ?? 0) - outside.now().getTime();
      if (left < RENEWED_BEFORE_MS) {
        entry.exchanging ??= renew(entry, token).finally(() => {
          entry.exchanging = undefined;
        });
        await entry.exchanging;
      }
      await requireStanding(entry.standing, entry.api, outside.now).catch((error: unknown) => {
        if (error instanceof BrokerError && error.code === 'session-ended') kept.delete(token.session);
        throw error;
      });
      return entry.api;
    },
    prune() {
      const now = outside.now();
      for (const [session, { tokens, exchanging }] of kept) {
        if (exchanging === undefined && (tokens === undefined || tokens.accessTokenExpiresAt <= now))
          kept.delete(session);
      }
    },
  };
}

function sessionOver(): ClientError {
  return new ClientError('session-ended', 'unauthenticated', 'your session has ended: log in again');
}

/** RFC 8693 section 2.2.2: `invalid_request` is what the CA says of a token whose session has ended. */
function readRefusal(error: unknown): BrokerError {
  if (error instanceof BrokerError) return error;
  if (!(error instanceof ClientError)) return caUnavailable(error);
  const said = error.problem?.code;
  if (error.code === 'session-ended' || said === 'invalid_request' || said === 'access_denied')
    return sessionEnded(error);
  if (error.code !== 'oauth-refused' || error.kind === 'unavailable') return caUnavailable(error);
  return new BrokerError(
    'ca-refused',
    `the certificate authority does not take this broker's word (${said ?? 'no reason'}): tell the broker's operator, who finds it with \`beacon broker check\``,
    { cause: error },
  );
}
