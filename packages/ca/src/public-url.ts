/** Keeps `Host` and what proxies say out of oidc-provider: its URLs are made from the configured public URL alone. */
import type { Provider } from 'oidc-provider';

/** oidc-provider makes its URLs, and what a proof must name, from the request's `Host`; here they are the configured ones. */
export function fixPublicUrl(provider: Provider, issuer: string): void {
  const { host, protocol, origin } = new URL(issuer);
  const fixed: Record<string, (this: { readonly originalUrl: string }) => unknown> = {
    host: () => host,
    protocol: () => protocol.slice(0, -1),
    secure: () => protocol === 'https:',
    origin: () => origin,
    href() {
      return new URL(this.originalUrl, origin).href;
    },
  };
  for (const [name, get] of Object.entries(fixed)) Object.defineProperty(provider.request, name, { get });
}
