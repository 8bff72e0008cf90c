/**
 * A service's requests for tokens count for the service, as all its others do, once it has proven which it is
 * (`private_key_jwt`, RFC 7523). Only those that end in a token: whatever fails stays counted for the address it came from,
 * where a flood of it is stopped before anything is verified.
 */
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';

export interface ServiceCounting {
  readonly isService: (client: string) => boolean;
  /** May reject where the service is over its limit: the address keeps the request then. */
  readonly count: (service: string, ctx: KoaContextWithOIDC) => Promise<void>;
}

export function countServices(provider: Provider, { isService, count }: ServiceCounting): void {
  provider.use(async (ctx, next) => {
    await next();
    const context = ctx as KoaContextWithOIDC;
    const { oidc } = context as Partial<KoaContextWithOIDC>;
    const client = oidc?.client?.clientId;
    if (oidc?.route !== 'token' || context.status !== 200 || client === undefined || !isService(client))
      return;
    // The token has been made; it is the next request that is refused.
    await count(client, context).catch(() => undefined);
  });
}
