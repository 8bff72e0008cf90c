/**
 * What a CA says about itself as an authorization server (RFC 8414). The document must name the very address it was read
 * from as its issuer (section 3.3), and every endpoint must lie on that origin: what we send there opens sessions.
 */
import { Answer } from './answer.ts';
import { ClientError } from './error.ts';
import { defaultOutside, exchange, type Outside } from './exchange.ts';
import { parseServerUrl } from './server-url.ts';

export interface CaMetadata {
  /** The CA's public URL, without a slash at its end; the API's paths follow it. */
  readonly issuer: string;
  readonly tokenEndpoint: string;
  readonly authorizationEndpoint: string;
  readonly deviceAuthorizationEndpoint: string;
  readonly jwksUri: string;
  /** The audiences that tokens can be asked for (RFC 9728 section 4): the CA itself, then its brokers. */
  readonly protectedResources: readonly string[];
}

/** Reads the CA's metadata. Throws ClientError `answer-…`, `unreachable`, `url-…`. */
export async function discoverCa(url: string, outside: Outside = defaultOutside()): Promise<CaMetadata> {
  const issuer = parseServerUrl(url);
  const answer = await exchange(outside, { method: 'GET', url: wellKnown(issuer) });
  if (answer.status !== 200) {
    throw new ClientError(
      'answer-untrusted',
      'unavailable',
      `${issuer} is no Beacon CA (its discovery answers ${answer.status}): check the address`,
    );
  }
  const metadata = Answer.read(answer.body, 'discovery');
  const named = metadata.text('issuer', 2000);
  if (named.replace(/\/$/, '') !== issuer) {
    throw new ClientError(
      'answer-untrusted',
      'internal',
      `the server at ${issuer} calls itself something else: use the address that its administrator gave`,
    );
  }
  const endpoint = (name: string): string => {
    const text = metadata.text(name, 2000);
    if (URL.parse(text)?.origin !== new URL(issuer).origin) {
      throw new ClientError(
        'answer-untrusted',
        'internal',
        `the CA's ${name} lies on another server: tell its administrator`,
      );
    }
    return text;
  };
  return {
    issuer,
    tokenEndpoint: endpoint('token_endpoint'),
    authorizationEndpoint: endpoint('authorization_endpoint'),
    deviceAuthorizationEndpoint: endpoint('device_authorization_endpoint'),
    jwksUri: endpoint('jwks_uri'),
    protectedResources: metadata.has('protected_resources') ? metadata.texts('protected_resources', 300) : [],
  };
}

/** RFC 8414 section 3.1: the well-known part stands between the host and the issuer's path. */
function wellKnown(issuer: string): string {
  const url = new URL(issuer);
  const path = url.pathname === '/' ? '' : url.pathname;
  return `${url.origin}/.well-known/oauth-authorization-server${path}`;
}
