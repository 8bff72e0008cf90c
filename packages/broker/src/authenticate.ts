/**
 * Who asks the broker: a program with a token that was made for this broker and a proof that it holds the token's key, or
 * a browser with the portal's cookie, which for a change must also say that it comes from a page of ours. Both have a
 * session at the CA behind them, and neither has rights here: every grant is the CA's to give.
 */
import {
  type Credentials,
  consumeProof,
  type GroupCommit,
  type ProofFault,
  type ProofTables,
  verifyProof,
} from '@beacon/server';
import type { CaConnection } from './ca-connection.ts';
import type { Access, BrokerCaller } from './define-route.ts';
import { BrokerError } from './error.ts';
import type { Exchanges } from './exchanged.ts';
import { verifyHandedToken } from './handed-token.ts';
import { type CookieForm, readCookie } from './portal-cookie.ts';
import type { PortalSessions, Visit } from './portal-session.ts';

/** A page of another site cannot set it, nor can a form of ours be made to. */
export const CSRF_HEADER = 'x-beacon-csrf';

export interface AuthenticationOptions {
  readonly publicUrl: string;
  readonly ca: CaConnection;
  readonly commit: Pick<GroupCommit<ProofTables>, 'write'>;
  readonly exchanges: Exchanges;
  readonly portal: Pick<PortalSessions, 'find' | 'end'>;
  readonly cookie: CookieForm;
}

/** Throws BrokerError of kind `unauthenticated`, `origin-refused`, or `ca-unavailable`. */
export function createAuthenticate(
  options: AuthenticationOptions,
): (credentials: Credentials, access: string) => Promise<BrokerCaller> {
  const { ca, portal, cookie } = options;

  async function byToken({ request, rawBody }: Credentials): Promise<BrokerCaller> {
    const token = await verifyHandedToken(request.headers['authorization'], {
      issuer: ca.url,
      service: ca.service.clientId,
      keys: ca.keys,
      now: ca.outside.now(),
    });
    const { method, url } = request;
    const context = { method, url, accessToken: token.text, rawBody, now: ca.outside.now() };
    const proof = await verifyProof(request.headers['dpop'], context, refuseProof);
    if (proof.thumbprint !== token.thumbprint) {
      throw new BrokerError(
        'proof-invalid',
        'the DPoP proof was made by another key than the token is bound to',
      );
    }
    if (!(await options.commit.write((tx) => consumeProof(tx, proof)))) {
      throw new BrokerError(
        'proof-invalid',
        'the DPoP proof was used before: make a new one for each request',
      );
    }
    return {
      person: token.person,
      sessionKey: token.session,
      client: token.client,
      api: await options.exchanges.apiOf(token),
      goodUntil: token.expiresAt,
      isStillThere: () => isThere(async () => void (await options.exchanges.apiOf(token))),
    };
  }

  async function byCookie({ request }: Credentials, why: Visit): Promise<BrokerCaller> {
    const ticket = readCookie(cookie, request.headers['cookie']);
    const session = ticket === undefined ? undefined : await portal.find(ticket, why);
    if (ticket === undefined || session === undefined) {
      throw new BrokerError(
        'not-logged-in',
        'nobody is logged in here, or the login has ended: log in at /login',
      );
    }
    return {
      person: session.person,
      sessionKey: session.session,
      client: undefined,
      api: session.api,
      goodUntil: session.endsAt,
      // A silent CA is believed there for a while; past that, who watches is let in no more than who asks anew.
      isStillThere: () =>
        portal.find(ticket, 'watch').then(
          (found) => found !== undefined,
          () => false,
        ),
      portal: { name: session.name, end: () => portal.end(ticket) },
    };
  }

  return async (credentials, access) => {
    switch (access as Access) {
      case 'api':
        return byToken(credentials);
      case 'portal':
        refuseForeign(credentials, options.publicUrl);
        return byCookie(credentials, 'use');
      case 'portal-change':
        requireOwnPage(credentials, options.publicUrl);
        return byCookie(credentials, 'use');
      case 'portal-leave':
        requireOwnPage(credentials, options.publicUrl);
        return byCookie(credentials, 'leave');
    }
  };
}

function refuseProof(_fault: ProofFault, message: string, cause?: unknown): BrokerError {
  return new BrokerError('proof-invalid', message, { cause });
}

/** A read by a page of another site would tell it nothing, but there is none that should be asked for. */
function refuseForeign({ request: { headers } }: Credentials, publicUrl: string): void {
  const { origin, 'sec-fetch-site': site } = headers;
  if (origin !== undefined && origin !== publicUrl) throw foreign();
  if (site !== undefined && site !== 'same-origin' && site !== 'none') throw foreign();
}

function requireOwnPage(credentials: Credentials, publicUrl: string): void {
  refuseForeign(credentials, publicUrl);
  const { headers } = credentials.request;
  if (headers['origin'] !== publicUrl || headers[CSRF_HEADER] !== '1') throw foreign();
}

function foreign(): BrokerError {
  return new BrokerError(
    'origin-refused',
    `a request with the portal's cookie must come from its own page, with its origin and the header ${CSRF_HEADER}: programs send a token instead`,
  );
}

/** While the CA is silent nobody is sent away: the token, which ends soon, counts until then. */
async function isThere(look: () => Promise<void>): Promise<boolean> {
  try {
    await look();
    return true;
  } catch (error) {
    return error instanceof BrokerError && error.kind === 'unavailable';
  }
}
