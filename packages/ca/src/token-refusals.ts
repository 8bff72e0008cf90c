/**
 * Records of what the token and revocation endpoints refuse to somebody whom they know: a service that has proven itself,
 * or whoever holds a code or a refresh token of a person. Strangers leave a log line alone, for anybody can be one and
 * would fill the store. "Not yet" (RFC 8628 section 3.5) is no refusal.
 */
import type { errors, KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { OauthStore } from './oauth-store.ts';

export interface TokenRefusal {
  /** `<provider>:<numeric id>`, where what was shown is a person's. */
  readonly person?: string;
  readonly client: string;
  /** The error of RFC 6749 section 5.2, and what oidc-provider says of it. */
  readonly code: string;
  readonly why: string;
  readonly path: string;
}

export interface TokenRefusalOptions {
  readonly find: OauthStore['find'];
  /** Keeps it durably before the refusal is answered. */
  readonly record: (refusal: TokenRefusal, ctx: KoaContextWithOIDC) => Promise<void>;
  readonly onError: (error: unknown) => void;
}

const NOT_YET = new Set(['authorization_pending', 'slow_down']);
const MAX_WHY = 120;
/** The parameters that hold something of a person's, and what they hold. */
const HELD = [
  ['refresh_token', 'RefreshToken'],
  ['code', 'AuthorizationCode'],
  ['device_code', 'DeviceCode'],
] as const;

export function recordTokenRefusals(provider: Provider, options: TokenRefusalOptions): void {
  const refusals = new WeakMap<object, errors.OIDCProviderError>();
  const note = (ctx: object, error: errors.OIDCProviderError) => void refusals.set(ctx, error);
  provider.on('grant.error', note);
  provider.on('revocation.error', note);

  async function personOf({ oidc }: KoaContextWithOIDC): Promise<string | undefined> {
    const shown = oidc.entities.RefreshToken ?? oidc.entities.AuthorizationCode ?? oidc.entities.DeviceCode;
    if (shown?.accountId !== undefined) return shown.accountId;
    for (const [parameter, model] of HELD) {
      const value = oidc.params?.[parameter];
      if (typeof value !== 'string') continue;
      const found = await options.find(model, value);
      if (found?.accountId !== undefined) return found.accountId;
    }
    return undefined;
  }

  provider.use(async (anyCtx, next) => {
    await next();
    const ctx = anyCtx as KoaContextWithOIDC;
    const error = refusals.get(ctx);
    if (error === undefined || NOT_YET.has(error.error)) return;
    const { client } = ctx.oidc;
    if (client === undefined || error.error === 'invalid_client') return;
    try {
      const person = await personOf(ctx);
      if (person === undefined && client.clientAuthMethod !== 'private_key_jwt') return;
      const why = (error.error_detail ?? error.error_description ?? '').slice(0, MAX_WHY);
      const refusal = { client: client.clientId, code: error.error, why, path: ctx.path };
      await options.record(person === undefined ? refusal : { ...refusal, person }, ctx);
    } catch (failure) {
      options.onError(failure);
      ctx.status = 503;
      ctx.body = { error: 'temporarily_unavailable', error_description: 'the refusal could not be recorded' };
    }
  });
}
