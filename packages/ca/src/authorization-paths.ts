/** Where the authorization server's things are below the public URL, and which of them oidc-provider answers by itself. */

/** Where things are, below the public URL. Discovery tells them; nothing else should know them. */
export const paths = {
  authorization: '/oauth/authorize',
  token: '/oauth/token',
  revocation: '/oauth/revoke',
  deviceAuthorization: '/oauth/device',
  device: '/device',
  jwks: '/.well-known/jwks.json',
  metadata: '/.well-known/oauth-authorization-server',
  interaction: '/interaction',
} as const;

/** What oidc-provider answers by itself. */
export const PROVIDER_ROUTES = [
  /^GET \/[.]well-known\/(oauth-authorization-server|jwks[.]json)$/,
  /^POST \/oauth\/(token|revoke|device)$/,
  /^GET \/device\/[A-Za-z0-9_-]+$/,
];
