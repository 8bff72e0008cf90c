/**
 * What oidc-provider 9.13 leaves out of the device grant: `interval` in the answer (RFC 8628 section 3.2) and `slow_down`
 * for those who do not keep to it (section 3.5). It also offers a link that carries the code; that is taken out, so that
 * the person has to look at their own terminal (section 5.4).
 */
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import { POLL_INTERVAL_MS } from './oauth-store.ts';

/** `polledTooSoon` notes a poll and tells whether it came before its time. */
export function addPolling(
  provider: Provider,
  polledTooSoon: (deviceCode: string) => Promise<boolean>,
): void {
  provider.use(async (ctx, next) => {
    await next();
    const { oidc, body } = ctx as KoaContextWithOIDC;
    if (oidc === undefined || typeof body !== 'object' || body === null) return;
    const answer = body as Record<string, unknown>;
    if (oidc.route === 'device_authorization' && ctx.status === 200) {
      delete answer['verification_uri_complete'];
      answer['interval'] = POLL_INTERVAL_MS / 1000;
    }
    const code = oidc.params?.['device_code'];
    if (oidc.route === 'token' && answer['error'] === 'authorization_pending' && typeof code === 'string') {
      if (await polledTooSoon(code)) {
        ctx.body = {
          error: 'slow_down',
          error_description: 'wait 5 seconds longer between two polls from now on',
        };
      }
    }
  });
}
