/**
 * Who calls the CA's API: the access token (opaque, ours, looked up in the store), the session behind it, and the proof
 * that the caller holds the key that both are bound to (RFC 9449 section 7). The answer names the service as well as the
 * person; what they may do is policy's to say.
 */
import { CA_AUDIENCE } from '@beacon/protocol/name';
import { type Credentials, type Proof, type ProofFault, verifyProof } from '@beacon/server';
import { CaError } from './error.ts';
import type { OauthStore } from './oauth-store.ts';
import type { Session, Sessions } from './session.ts';

export interface Caller {
  /** `<provider>:<numeric id>`. */
  readonly person: string;
  /** For show only. */
  readonly loginName: string;
  readonly sessionId: string;
  readonly sessionEndsAt: Date;
  /** As the session held them when the caller was looked up. */
  readonly memberships: Session['memberships'];
  /** The client that calls for the person: a service's id, or `beacon-cli`. */
  readonly service: string;
  /** Verified, and not yet used up: `consumeProof` belongs into the commit of what is asked. */
  readonly proof: Proof;
}

export interface AuthenticationOptions {
  readonly store: Pick<OauthStore, 'find'>;
  readonly sessions: Pick<Sessions, 'findAlive'>;
  /** Whether the client is one that may hold tokens now: the services file may have changed since it got this one. */
  readonly isClient: (client: string) => boolean;
  readonly isDisabled: (person: string) => Promise<boolean>;
  readonly now: () => Date;
}

/** Throws CaError of kind `unauthenticated`, or `person-disabled`. */
export type Authenticate = (credentials: Credentials) => Promise<Caller>;

const TOKEN = /^DPoP ([A-Za-z0-9_-]{20,512})$/;

interface AccessToken {
  readonly person: string;
  readonly client: string;
  readonly session: string;
  readonly thumbprint: string;
}

export function createAuthenticate(options: AuthenticationOptions): Authenticate {
  const { store, sessions, now } = options;

  async function readToken(text: string): Promise<AccessToken> {
    const stored = await store.find('AccessToken', text);
    if (stored?.kind !== 'AccessToken' || stored.jti !== text) refuseToken('is not one of ours');
    if (stored.exp === undefined || stored.exp * 1000 <= now().getTime()) {
      throw new CaError('token-expired', 'the access token has expired: refresh it');
    }
    if (stored.aud !== CA_AUDIENCE) refuseToken('was not made for this CA');
    const { accountId: person, clientId: client, jkt: thumbprint } = stored;
    const session = stored.extra?.['sid'];
    if (
      person === undefined ||
      client === undefined ||
      thumbprint === undefined ||
      typeof session !== 'string'
    ) {
      refuseToken('is not bound to a person, a client, a session and a key');
    }
    if (!options.isClient(client)) refuseToken('is of a service that may ask for nothing here any more');
    return { person, client, session, thumbprint };
  }

  async function findSession(token: AccessToken): Promise<Session> {
    const session = await sessions.findAlive(token.session);
    if (session === undefined || session.person !== token.person) {
      throw new CaError('session-ended', 'your session has ended: run `beacon login`');
    }
    if (await options.isDisabled(session.person)) {
      throw new CaError('person-disabled', 'an administrator has disabled you at this CA: ask them why');
    }
    return session;
  }

  return async ({ request, rawBody }) => {
    const text = readAuthorization(request.headers['authorization']);
    const token = await readToken(text);
    const { method, url } = request;
    const context = { method, url, accessToken: text, rawBody, now: now() };
    const proof = await verifyProof(request.headers['dpop'], context, refuseProof);
    if (proof.thumbprint !== token.thumbprint) {
      throw new CaError('proof-invalid', 'the DPoP proof was made by another key than the token is bound to');
    }
    const session = await findSession(token);
    return {
      person: session.person,
      loginName: session.loginName,
      sessionId: session.id,
      sessionEndsAt: session.endsAt,
      memberships: session.memberships,
      service: token.client,
      proof,
    };
  };
}

function refuseProof(code: ProofFault, message: string, cause?: unknown): CaError {
  return new CaError(code, message, { cause });
}

function readAuthorization(header: string | undefined): string {
  if (header === undefined || header === '') {
    throw new CaError(
      'token-missing',
      'the request has no access token: run `beacon login`, or send "Authorization: DPoP …"',
    );
  }
  const token = TOKEN.exec(header)?.[1];
  if (token === undefined) refuseToken('must be sent as "Authorization: DPoP <token>"');
  return token;
}

function refuseToken(why: string): never {
  throw new CaError('token-invalid', `the access token ${why}: run \`beacon login\``);
}
