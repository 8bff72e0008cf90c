/**
 * oidc-provider answers 500 for every error that it does not know. A store that fails is no fault of the program and comes
 * back, so it is 503 here, in the form that was asked for: `temporarily_unavailable` as JSON or as a page. What is sent on
 * to a client's own address is left as it is.
 */
import { storageFailure } from '@beacon/server';
import type { ErrorOut, KoaContextWithOIDC, Provider } from 'oidc-provider';

const OUT: ErrorOut = {
  error: 'temporarily_unavailable',
  error_description: 'the server cannot do this now: try again soon',
};

/** `showError` answers with a page. */
export function answerStoreFailures(
  provider: Provider,
  showError: (ctx: KoaContextWithOIDC, out: ErrorOut) => Promise<void>,
): void {
  const failed = new WeakSet<object>();
  provider.on('server_error', (ctx, error) => {
    if (storageFailure(error) !== undefined) failed.add(ctx);
  });
  provider.use(async (ctx, next) => {
    try {
      await next();
    } catch (error) {
      if (storageFailure(error) === undefined) throw error;
      provider.emit('server_error', ctx as KoaContextWithOIDC, error as Error);
      ctx.status = 500;
    }
    if (!failed.has(ctx) || ctx.status !== 500) return;
    ctx.status = 503;
    if (ctx.accepts('json', 'html') === 'html') await showError(ctx as KoaContextWithOIDC, OUT);
    else ctx.body = { ...OUT };
  });
}
