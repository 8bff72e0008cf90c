/**
 * Token exchange (RFC 8693) as a grant of oidc-provider: a service hands in the JWT that a person's program sent it, made
 * for that service alone, and gets an opaque token for this CA, bound to the service's own key, that names both. It looks
 * at the session, so nothing is exchanged for a person who has logged out. No actor token, no other kinds of token.
 * The library brings no such grant; its own helpers for grants (DPoP, replay) are used.
 */
import { brokerAudience, CA_AUDIENCE } from '@beacon/protocol/name';
import { type JWTPayload, jwtVerify } from 'jose';
import { errors, type Provider, type TokenEndpointGrantContext } from 'oidc-provider';
import { checkDpopReplay, validateDpop } from 'oidc-provider/lib/helpers/grants.js';
import { EXCHANGE_GRANT, SCOPE } from './oauth-client.ts';
import type { Session } from './session.ts';
import type { TokenKeys } from './token-keys.ts';

const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';
const PARAMETERS = [
  'subject_token',
  'subject_token_type',
  'requested_token_type',
  'actor_token',
  'actor_token_type',
  'audience',
  'resource',
  'scope',
] as const;
const MAX_TOKEN_LENGTH = 4096;
/** As long as a token for a broker lives. */
const MAX_TOKEN_AGE_SECONDS = 300;

type Parameters = Partial<Record<(typeof PARAMETERS)[number], string>>;

export interface TokenExchangeOptions {
  readonly issuer: string;
  readonly keys: TokenKeys;
  readonly now: () => Date;
  /** The session if it goes on and its person is not disabled. */
  readonly findSession: (id: string) => Promise<Session | undefined>;
  /** Tells the token's lifetime and claims what session they are for. */
  readonly onSession: (ctx: TokenEndpointGrantContext, session: Session) => void;
}

export function registerTokenExchange(provider: Provider, options: TokenExchangeOptions): void {
  provider.registerGrantType<Parameters>(
    EXCHANGE_GRANT,
    async (ctx) => {
      const { params, client } = ctx.oidc;
      checkParameters(params);
      const proof = await validateDpop(provider, ctx);
      if (proof === undefined) throw new errors.InvalidDpopProof('a DPoP proof by the service is required');
      const claims = await verifySubjectToken(params.subject_token ?? '', client.clientId, options);
      const session = await findSession(claims, options);
      await checkDpopReplay(provider, ctx, proof, client.clientId, errors.InvalidDpopProof);
      options.onSession(ctx, session);

      const token = new provider.AccessToken({
        accountId: session.person,
        client,
        gty: EXCHANGE_GRANT,
        // No grant of oidc-provider stands behind it: the session alone ends it.
        grantId: `exchange/${session.id}`,
      });
      token.resourceServer = new provider.ResourceServer(CA_AUDIENCE, {
        scope: SCOPE,
        audience: CA_AUDIENCE,
        accessTokenFormat: 'opaque',
      });
      token.scope = SCOPE;
      token.setThumbprint('jkt', proof.thumbprint);
      ctx.oidc.entity('AccessToken', token);
      ctx.body = {
        access_token: await token.save(),
        issued_token_type: ACCESS_TOKEN_TYPE,
        token_type: 'DPoP',
        expires_in: token.expiration,
        scope: SCOPE,
      };
    },
    PARAMETERS,
  );
}

function checkParameters(params: Parameters): void {
  if (params.subject_token === undefined) throw new errors.InvalidRequest('subject_token is missing');
  if (params.subject_token_type !== ACCESS_TOKEN_TYPE && params.subject_token_type !== JWT_TYPE) {
    throw new errors.InvalidRequest('subject_token_type must be that of an access token or of a JWT');
  }
  if (params.actor_token !== undefined || params.actor_token_type !== undefined) {
    throw new errors.InvalidRequest('an actor_token is not taken: the service proves itself');
  }
  if (params.requested_token_type !== undefined && params.requested_token_type !== ACCESS_TOKEN_TYPE) {
    throw new errors.InvalidRequest('requested_token_type can only be that of an access token');
  }
  for (const target of [params.audience, params.resource]) {
    if (target !== undefined && target !== CA_AUDIENCE) throw new errors.InvalidTarget();
  }
  if (params.scope !== undefined && params.scope !== SCOPE) {
    throw new errors.InvalidScope('only one scope can be asked for', params.scope);
  }
}

/** RFC 8693 section 2.2.2: a subject token that does not hold is an `invalid_request`, whatever is wrong with it. */
async function verifySubjectToken(
  token: string,
  service: string,
  options: TokenExchangeOptions,
): Promise<JWTPayload> {
  try {
    if (token.length > MAX_TOKEN_LENGTH) throw new Error('too long');
    const { payload, protectedHeader } = await jwtVerify(token, ({ kid }) => options.keys.find(kid), {
      algorithms: ['EdDSA'],
      typ: 'at+jwt',
      issuer: options.issuer,
      audience: brokerAudience(service),
      currentDate: options.now(),
      maxTokenAge: MAX_TOKEN_AGE_SECONDS,
      requiredClaims: ['exp', 'iat', 'jti', 'sub', 'sid', 'client_id', 'cnf'],
    });
    options.keys.requireInTime(protectedHeader.kid, payload.iat);
    if (typeof payload.aud !== 'string') throw new Error('more than one audience');
    return payload;
  } catch (cause) {
    throw new errors.InvalidRequest(
      'the subject_token is not a token of ours for this service, or has expired',
      undefined,
      {
        cause,
      },
    );
  }
}

async function findSession(claims: JWTPayload, options: TokenExchangeOptions): Promise<Session> {
  const { sid, sub } = claims;
  const session = typeof sid === 'string' ? await options.findSession(sid) : undefined;
  if (session === undefined || session.person !== sub) {
    throw new errors.InvalidRequest(
      'the session behind the subject_token has ended: the person must sign in again',
    );
  }
  return session;
}
