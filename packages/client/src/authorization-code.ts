/**
 * Login in the browser for another backend: authorization code with PKCE (RFC 7636), the service proven by
 * `private_key_jwt`, the tokens bound to a DPoP key (RFC 9449), the answer to its issuer (RFC 9207). The caller keeps
 * what {@link startAuthorization} gives in the person's own browser session, and nowhere else.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { clientAssertion, type ServiceClient } from './client-assertion.ts';
import type { CaMetadata } from './discovery.ts';
import { ClientError } from './error.ts';
import { defaultOutside, type Outside } from './exchange.ts';
import { plainText } from './plain-text.ts';
import type { ProofKey } from './proof.ts';
import { isRefusal, refusalError, requestTokens, type Tokens } from './token-endpoint.ts';

export interface AuthorizationRequest {
  readonly metadata: CaMetadata;
  readonly clientId: string;
  readonly redirectUri: string;
  /** The audiences that the session may ask tokens for. */
  readonly resources: readonly string[];
}

export interface StartedAuthorization {
  /** Where to send the browser. */
  readonly url: string;
  /** Both belong to this one browser session: secret, used once. */
  readonly state: string;
  readonly codeVerifier: string;
}

export interface AuthorizationAnswer {
  readonly metadata: CaMetadata;
  readonly service: ServiceClient;
  readonly redirectUri: string;
  /** The query with which the browser came back. */
  readonly query: URLSearchParams;
  readonly started: StartedAuthorization;
  readonly proofKey: ProofKey;
  /** The audience of the access token. */
  readonly resource: string;
  readonly outside?: Outside;
}

/** Begins a login. */
export function startAuthorization(request: AuthorizationRequest): StartedAuthorization {
  const state = randomBytes(32).toString('base64url');
  const codeVerifier = randomBytes(32).toString('base64url');
  const url = new URL(request.metadata.authorizationEndpoint);
  const parameters = {
    response_type: 'code',
    client_id: request.clientId,
    redirect_uri: request.redirectUri,
    scope: 'beacon',
    state,
    code_challenge: createHash('sha256').update(codeVerifier).digest('base64url'),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  for (const resource of request.resources) url.searchParams.append('resource', resource);
  return { url: url.href, state, codeVerifier };
}

/**
 * Takes the browser's answer and redeems the code. Throws ClientError `state-mismatch` when the answer belongs to another
 * browser session or another CA (nothing is redeemed then), `login-declined`, `session-ended`, `oauth-refused`.
 */
export async function finishAuthorization(answer: AuthorizationAnswer): Promise<Tokens> {
  const { metadata, query, started } = answer;
  const outside = answer.outside ?? defaultOutside();
  const issuer = only(query, 'iss');
  if (
    !equal(only(query, 'state') ?? '', started.state) ||
    (issuer !== undefined && issuer !== metadata.issuer)
  ) {
    throw new ClientError(
      'state-mismatch',
      'denied',
      'this answer belongs to another login: begin the login again',
    );
  }
  const error = only(query, 'error');
  if (error !== undefined) {
    const said = plainText(error, 100);
    throw new ClientError('login-declined', 'denied', `the login was declined (${said}): begin it again`);
  }
  const code = only(query, 'code');
  if (code === undefined) {
    throw new ClientError('state-mismatch', 'invalid', 'the answer carries no code: begin the login again');
  }
  const tokens = await requestTokens(outside, {
    endpoint: metadata.tokenEndpoint,
    parameters: {
      grant_type: 'authorization_code',
      code,
      redirect_uri: answer.redirectUri,
      code_verifier: started.codeVerifier,
      resource: answer.resource,
      ...(await clientAssertion(answer.service, metadata.issuer, outside.now())),
    },
    proofKey: answer.proofKey,
  });
  if (isRefusal(tokens)) throw refusalError(tokens);
  return tokens;
}

/** A parameter that is given once; given twice it is as good as absent (RFC 6749 section 3.1). */
function only(query: URLSearchParams, name: string): string | undefined {
  const values = query.getAll(name);
  return values.length === 1 ? values[0] : undefined;
}

function equal(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
