/**
 * oidc-provider as Beacon sets it up: authorization code with PKCE (RFC 6749, 7636), device grant (RFC 8628), refresh
 * tokens that rotate, resource indicators (RFC 8707), DPoP for everybody (RFC 9449), `private_key_jwt` (RFC 7523),
 * revocation (RFC 7009), metadata (RFC 8414). Not used of it: its own pages, its single sign-on (each login makes its own
 * trip to GitHub), id tokens, user info, registration, introspection, pushed requests, log-out pages. Added because the
 * library does not carry them: `slow_down`, the poll interval, token exchange, the session's end as every token's end.
 */
import { CA_AUDIENCE } from '@beacon/protocol/name';
import { proofAlgorithms } from '@beacon/server';
import { calculateJwkThumbprint, decodeProtectedHeader, type JWK } from 'jose';
import {
  type AdapterFactory,
  type ClientMetadata,
  type Configuration,
  type ErrorOut,
  errors,
  type KoaContextWithOIDC,
  Provider,
} from 'oidc-provider';
import { paths } from './authorization-paths.ts';
import { addPolling } from './device-polling.ts';
import {
  audiences,
  COMMAND_LINE_CLIENT,
  clientMetadata,
  createClientAdapter,
  EXCHANGE_GRANT,
  type OauthService,
  SCOPE,
  serviceOfAudience,
} from './oauth-client.ts';
import { keyOf } from './oauth-store.ts';
import { fixPublicUrl } from './public-url.ts';
import type { Session, Sessions } from './session.ts';
import { signInPolicy } from './sign-in-prompt.ts';
import { answerStoreFailures } from './store-failure.ts';

export const CA_TOKEN_SECONDS = 600;
export const BROKER_TOKEN_SECONDS = 300;
const CODE_SECONDS = 60;
const DEVICE_CODE_SECONDS = 600;
/** How long a person may take over a page. */
const PAGE_SECONDS = 900;

/** The pages of oidc-provider, as ours; each writes to `ctx`. */
export interface ProviderPages {
  enterCode(ctx: KoaContextWithOIDC, error: Error | undefined): Promise<void>;
  confirmCode(
    ctx: KoaContextWithOIDC,
    device: { readonly userCode: string; readonly info: unknown },
  ): Promise<void>;
  done(ctx: KoaContextWithOIDC): Promise<void>;
  error(ctx: KoaContextWithOIDC, out: ErrorOut): Promise<void>;
}

export interface ProviderOptions {
  readonly issuer: string;
  /** A private Ed25519 JWK with `kid`. */
  readonly signingJwk: JWK & { readonly kid: string };
  /** Public keys that the key set shows beside it. */
  readonly otherJwks: readonly JWK[];
  readonly adapter: AdapterFactory;
  readonly polledTooSoon: (deviceCode: string) => Promise<boolean>;
  readonly services: ReadonlyMap<string, OauthService>;
  readonly sessions: Pick<Sessions, 'findOfGrant' | 'bindKey'>;
  readonly isAllowed: (session: Session) => Promise<boolean>;
  readonly isDisabled: (person: string) => Promise<boolean>;
  readonly now: () => Date;
  readonly maxHours: number;
  readonly pages: ProviderPages;
  readonly clientAddress: (ctx: KoaContextWithOIDC) => string;
  readonly onError: (error: unknown) => void;
}

export interface AuthorizationProvider {
  readonly provider: Provider;
  /** Says which session the tokens of this request are for. */
  rememberSession(ctx: object, session: Session): void;
  /** Rejects with what oidc-provider says of a client that makes no sense. Call it when all grants are registered. */
  checkClients(): Promise<void>;
  /** Throws what oidc-provider says of a service of another list. */
  checkServices(services: ReadonlyMap<string, OauthService>): void;
}

export function createAuthorizationProvider(options: ProviderOptions): AuthorizationProvider {
  const { issuer, services, sessions, now } = options;
  const secure = issuer.startsWith('https://');
  const sessionOf = new WeakMap<object, Session>();

  /** The session behind a code or a refresh token, remembered for the tokens of this request. */
  async function findSession(ctx: KoaContextWithOIDC, grantId: string | undefined, person: string) {
    const session = grantId === undefined ? undefined : await sessions.findOfGrant(keyOf(grantId));
    if (session === undefined || session.person !== person) return undefined;
    if (session.client !== ctx.oidc.client?.clientId || !(await options.isAllowed(session))) return undefined;
    sessionOf.set(ctx, session);
    return session;
  }

  function secondsLeft(ctx: object): number {
    const session = sessionOf.get(ctx);
    if (session === undefined) throw new errors.InvalidGrant('no session');
    return Math.max(1, Math.floor((session.endsAt.getTime() - now().getTime()) / 1000));
  }

  function resourceServer(resource: string) {
    if (resource === CA_AUDIENCE) {
      return {
        scope: SCOPE,
        audience: CA_AUDIENCE,
        accessTokenFormat: 'opaque' as const,
        accessTokenTTL: CA_TOKEN_SECONDS,
      };
    }
    if (serviceOfAudience(services, resource) === undefined) throw new errors.InvalidTarget();
    return {
      scope: SCOPE,
      audience: resource,
      accessTokenFormat: 'jwt' as const,
      accessTokenTTL: BROKER_TOKEN_SECONDS,
      jwt: { sign: { alg: 'EdDSA' as const, kid: options.signingJwk.kid } },
    };
  }

  const clients = createClientAdapter(services);
  const configuration: Configuration = {
    adapter: (model) => (model === 'Client' ? clients : options.adapter(model)),
    jwks: { keys: [{ ...options.signingJwk, alg: 'EdDSA', use: 'sig' } as never] },
    routes: {
      authorization: paths.authorization,
      token: paths.token,
      revocation: paths.revocation,
      device_authorization: paths.deviceAuthorization,
      code_verification: paths.device,
      jwks: paths.jwks,
    },
    features: {
      devInteractions: { enabled: false },
      deviceFlow: {
        enabled: true,
        charset: 'base-20',
        mask: '****-****',
        deviceInfo: (ctx) => ({
          ip: options.clientAddress(ctx),
          ua: ctx.get('user-agent').slice(0, 200),
          at: now().getTime(),
        }),
        userCodeInputSource: (ctx, _form, _out, error) => options.pages.enterCode(ctx, error),
        userCodeConfirmSource: (ctx, _form, _client, info, userCode) =>
          options.pages.confirmCode(ctx, { userCode, info }),
        successSource: (ctx) => options.pages.done(ctx),
      },
      dPoP: { enabled: true, requireNonce: () => false, allowReplay: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: async (_ctx, _client, oneOf) =>
          oneOf === undefined || oneOf.includes(CA_AUDIENCE) ? CA_AUDIENCE : [...oneOf],
        useGrantedResource: async () => true,
        getResourceServerInfo: async (ctx, resource) => {
          // There is one scope, so leaving it out means it (RFC 6749 section 3.3).
          if (ctx.oidc.params !== undefined) ctx.oidc.params['scope'] ??= SCOPE;
          return resourceServer(resource);
        },
      },
      revocation: {
        enabled: true,
        allowedPolicy: async (_ctx, client, token) => token.clientId === client.clientId,
      },
      pushedAuthorizationRequests: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      userinfo: { enabled: false },
      introspection: { enabled: false },
      registration: { enabled: false },
      claimsParameter: { enabled: false },
      clientCredentials: { enabled: false },
      requestObjects: { enabled: false },
      backchannelLogout: { enabled: false },
    },
    scopes: [SCOPE],
    responseTypes: ['code'],
    clientAuthMethods: ['private_key_jwt', 'none'],
    clientDefaults: {
      grant_types: [],
      response_types: [],
      id_token_signed_response_alg: 'EdDSA',
      token_endpoint_auth_method: 'private_key_jwt',
    },
    enabledJWA: {
      clientAuthSigningAlgValues: ['EdDSA', 'ES256'],
      idTokenSigningAlgValues: ['EdDSA'],
      dPoPSigningAlgValues: proofAlgorithms as ('EdDSA' | 'ES256')[],
    },
    pkce: { required: () => true },
    allowOmittingSingleRegisteredRedirectUri: false,
    acceptQueryParamAccessTokens: false,
    enableHttpPostMethods: false,
    clientBasedCORS: () => false,
    clockTolerance: 5,
    cookies: {
      names: {
        session: `${secure ? '__Host-' : ''}beacon-authorization`,
        interaction: `${secure ? '__Secure-' : ''}beacon-interaction`,
        resume: `${secure ? '__Secure-' : ''}beacon-resume`,
      },
      long: { httpOnly: true, sameSite: 'lax', secure, signed: false },
      short: { httpOnly: true, sameSite: 'lax', secure, signed: false },
    },
    interactions: {
      policy: signInPolicy(),
      url: async (_ctx, interaction) => `${paths.interaction}/${interaction.uid}`,
    },
    /** A grant comes from this very interaction or not at all: nothing is taken from an earlier login. */
    loadExistingGrant: async (ctx) => {
      const grantId = ctx.oidc.result?.consent?.grantId;
      return grantId === undefined ? undefined : ctx.oidc.provider.Grant.find(grantId);
    },
    findAccount: async (ctx, person, token) => {
      if (token === undefined) {
        if (await options.isDisabled(person)) return undefined;
      } else if ((await findSession(ctx, token.grantId, person)) === undefined) return undefined;
      return { accountId: person, claims: () => ({ sub: person }) };
    },
    expiresWithSession: async () => false,
    issueRefreshToken: async () => true,
    rotateRefreshToken: async (ctx) => {
      await checkSameKey(ctx, sessionOf.get(ctx));
      return true;
    },
    revokeGrantPolicy: () => true,
    extraTokenClaims: async (ctx, token) => {
      const session = sessionOf.get(ctx);
      if (session === undefined || token.kind !== 'AccessToken') throw new errors.InvalidGrant('no session');
      if (token.gty !== EXCHANGE_GRANT && !(await sessions.bindKey(session.id, token.jkt ?? ''))) {
        throw new errors.InvalidGrant('the session is bound to another key');
      }
      return { sid: session.id };
    },
    renderError: (ctx, out) => options.pages.error(ctx, out),
    ttl: {
      AccessToken: (ctx, token) =>
        Math.min(token.resourceServer?.accessTokenTTL ?? CA_TOKEN_SECONDS, secondsLeft(ctx)),
      RefreshToken: (ctx) => secondsLeft(ctx),
      AuthorizationCode: CODE_SECONDS,
      DeviceCode: DEVICE_CODE_SECONDS,
      Grant: Math.ceil(options.maxHours * 3600) + PAGE_SECONDS,
      IdToken: BROKER_TOKEN_SECONDS,
      Interaction: PAGE_SECONDS,
      Session: PAGE_SECONDS,
    },
  };

  const provider = new Provider(issuer, configuration);
  fixPublicUrl(provider, issuer);
  addPolling(provider, options.polledTooSoon);
  // Here and not in the configuration, which is read once: services come and go.
  provider.use(async (ctx, next) => {
    await next();
    const { oidc, body } = ctx as KoaContextWithOIDC;
    if (typeof body !== 'object' || body === null) return;
    if (oidc?.route === 'discovery') Object.assign(body, { protected_resources: audiences(services) });
    // Its configuration takes keys that sign alone.
    if (oidc?.route === 'jwks' && 'keys' in body && Array.isArray(body.keys))
      body.keys.push(...options.otherJwks);
  });
  answerStoreFailures(provider, (ctx, out) => options.pages.error(ctx, out));
  provider.on('server_error', (_ctx, error) => options.onError(error));
  // Koa's own event, which the typings of oidc-provider leave out; without a listener Koa writes to stderr.
  (provider as NodeJS.EventEmitter).on('error', (error: unknown) => options.onError(error));
  return {
    provider,
    rememberSession: (ctx, session) => sessionOf.set(ctx, session),
    async checkClients() {
      for (const id of [COMMAND_LINE_CLIENT, ...services.keys()]) await provider.Client.find(id);
    },
    checkServices(others) {
      // The typings leave the constructor out; it is what reads and refuses a client's metadata.
      const Client = provider.Client as unknown as new (metadata: ClientMetadata) => object;
      for (const metadata of clientMetadata(others)) new Client(metadata);
    },
  };
}

/**
 * A refresh token of a service is bound to the service, not to a key (RFC 9449 section 5 binds those of public clients);
 * ours stay with the key of the session as well. Looked at before the token is rotated.
 */
async function checkSameKey(ctx: KoaContextWithOIDC, session: Session | undefined): Promise<void> {
  const { jwk } = decodeProtectedHeader(ctx.get('dpop'));
  const thumbprint = jwk === undefined ? undefined : await calculateJwkThumbprint(jwk, 'sha256');
  if (session === undefined || thumbprint === undefined || session.keyThumbprint !== thumbprint) {
    throw new errors.InvalidGrant('the session is bound to another key');
  }
}
