/**
 * express-session around a handler, for the few pages that a browser walks through between GitHub and the person's
 * decision. The cookie's signature key is made from the sealing key, so that every replica has the same and no further
 * secret has to be kept.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import createSession from 'express-session';
import type { BrowserRequest } from './github-sign-in.ts';
import { SIGN_IN_LIFETIME_MS, type SignInStore } from './sign-in-store.ts';

export type BrowserHandler = (request: BrowserRequest, response: ServerResponse) => Promise<void>;

/** Gives a handler the browser's session; `https` public URLs get cookies that no other host can set (`__Host-`). */
export function createBrowserSessions(issuer: string, key: Buffer, store: SignInStore) {
  const secure = issuer.startsWith('https://');
  const attach = createSession({
    name: `${secure ? '__Host-' : ''}beacon-sign-in`,
    secret: key.toString('hex'),
    store,
    resave: false,
    saveUninitialized: false,
    rolling: false,
    cookie: { httpOnly: true, secure, sameSite: 'lax', path: '/', maxAge: SIGN_IN_LIFETIME_MS },
  }) as unknown as (
    request: IncomingMessage,
    response: ServerResponse,
    next: (error?: unknown) => void,
  ) => void;
  return (handle: BrowserHandler) => (request: IncomingMessage, response: ServerResponse) =>
    new Promise<void>((resolve, reject) => {
      // The public URL says whether the browser came by TLS, whatever stands in between.
      Object.defineProperty(request, 'secure', { value: secure, configurable: true });
      attach(request, response, (error) => {
        if (error !== undefined && error !== null) return reject(error);
        handle(request as BrowserRequest, response).then(resolve, reject);
      });
    });
}
