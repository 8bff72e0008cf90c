/**
 * The portal's pages, as far as there is no portal yet: the way into a login and back from the CA, who is logged in and
 * where the interface is described, and the way out. Plain pages of the server's, without a script.
 */
import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { html, type Log, type MountHandler, messagePage, type Page, sendPage } from '@beacon/server';
import { BrokerError } from './error.ts';
import { type CookieForm, cookieForm, formatCookie, readCookie } from './portal-cookie.ts';
import type { PortalSession, PortalSessions } from './portal-session.ts';

export const CALLBACK_PATH = '/callback';

export interface PortalPageOptions {
  readonly publicUrl: string;
  readonly service: string;
  readonly sessions: PortalSessions;
  readonly cookie: CookieForm;
  /** Counts a login that an address begins; throws when there are too many. */
  readonly countLogin: (address: string) => Promise<void>;
  readonly now: () => Date;
  readonly log: Pick<Log, 'warn'>;
}

type PageHandler = (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void>;

/** A path of ours: what else might a browser be led to after a login? */
const RETURN = /^\/(?!\/)[A-Za-z0-9/_.~-]{0,200}$/;
const LOGIN_SECONDS = 900;
const MAX_FORM = 1024;
const AGAIN = { href: '/login', label: 'Log in' };

export function createPortalPages(options: PortalPageOptions): MountHandler {
  const { publicUrl, sessions, cookie, now, log } = options;
  const loginCookie = cookieForm(publicUrl, 'beacon-login', 'Lax');

  async function current(request: IncomingMessage): Promise<PortalSession | undefined> {
    const ticket = readCookie(cookie, request.headers.cookie);
    return ticket === undefined ? undefined : sessions.find(ticket);
  }

  async function begin(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const returnTo = url.searchParams.get('return') ?? '/';
    const known = [...url.searchParams.keys()].every((key) => key === 'return');
    if (!RETURN.test(returnTo) || !known || url.searchParams.size > 1) {
      const text = 'This link leads to no page of this server. Begin at its first page.';
      return sendPage(response, 400, messagePage('Not a link of ours', text, { href: '/', label: 'Begin' }));
    }
    await options.countLogin(addressOf(request));
    const { url: there, ticket } = await sessions.beginLogin(returnTo);
    response
      .writeHead(303, { location: there, 'set-cookie': formatCookie(loginCookie, ticket, LOGIN_SECONDS) })
      .end();
  }

  async function finish(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const before = readCookie(cookie, request.headers.cookie);
    const begun = readCookie(loginCookie, request.headers.cookie);
    try {
      const { ticket, endsAt, returnTo, name } = await sessions.finishLogin(begun, url.searchParams);
      if (before !== undefined) await sessions.forget(before);
      const seconds = (endsAt.getTime() - now().getTime()) / 1000;
      response.setHeader('set-cookie', [
        formatCookie(cookie, ticket, seconds),
        formatCookie(loginCookie, undefined),
      ]);
      // The cookie is sent from our own pages alone, and a redirection would still count as the CA's.
      response.setHeader('refresh', `0; url=${returnTo}`);
      const page = messagePage('Logged in', `You are logged in as ${name}.`, {
        href: returnTo,
        label: 'Go on',
      });
      sendPage(response, 200, page);
    } catch (error) {
      if (!(error instanceof BrokerError) || error.code !== 'login-failed') throw error;
      log.warn({ reason: error.message, address: addressOf(request) }, 'a login failed');
      response.setHeader('set-cookie', formatCookie(loginCookie, undefined));
      sendPage(
        response,
        403,
        messagePage('Not logged in', `${sentence(error.message)} Log in again.`, AGAIN),
      );
    }
  }

  async function leave(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = () => {
      const text = 'This form did not come from our page. Go back and try again.';
      sendPage(response, 403, messagePage('Refused', text, { href: '/', label: 'Back' }));
    };
    // First: the form of another site comes without the cookie, and would have the browser forget it all the same.
    if (!isOwnForm(request, publicUrl)) return refuse();
    const ticket = readCookie(cookie, request.headers.cookie);
    const session = ticket === undefined ? undefined : await sessions.find(ticket, 'leave');
    if (ticket === undefined || session === undefined) {
      response.setHeader('set-cookie', formatCookie(cookie, undefined));
      return sendPage(response, 200, messagePage('Logged out', 'Nobody is logged in here.', AGAIN));
    }
    const form = await readForm(request);
    if (!isEqual(form?.get('form') ?? '', session.formKey)) return refuse();
    const told = await sessions.end(ticket);
    response.setHeader('set-cookie', formatCookie(cookie, undefined));
    const text = told
      ? 'You are logged out, here and at the certificate authority.'
      : 'You are logged out here. The certificate authority could not be told: log out there too, or wait for the end of your session.';
    sendPage(response, 200, messagePage('Logged out', text, AGAIN));
  }

  async function first(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const session = await current(request);
    sendPage(response, 200, session === undefined ? strangerPage() : personPage(session, options.service));
  }

  const pages: Readonly<Record<string, PageHandler>> = {
    'GET /': first,
    'GET /login': begin,
    [`GET ${CALLBACK_PATH}`]: finish,
    'POST /logout': leave,
  };

  return (request, response, next) => {
    const url = URL.parse(request.url ?? '/', publicUrl);
    const handle = url === null ? undefined : pages[`${request.method} ${url.pathname}`];
    if (url === null || handle === undefined) return next();
    handle(request, response, url).catch((error: unknown) => {
      // What a person sees in a browser is a page; the app logs what it was.
      if (!(error instanceof BrokerError) || error.kind !== 'unavailable' || response.headersSent)
        return next(error);
      log.warn({ err: error }, 'a page could not be served');
      const again = { href: '/', label: 'Try again' };
      sendPage(response, 503, messagePage('Not available now', sentence(error.message), again));
    });
  };
}

function strangerPage(): Page {
  return {
    title: 'Beacon',
    body: html`<p>Nobody is logged in here.</p><p><a href="/login">Log in</a></p>
<p class="small">For programs, the interface is described at <a href="/openapi.json">/openapi.json</a>.</p>`,
  };
}

function personPage({ name, person, endsAt, formKey }: PortalSession, service: string): Page {
  return {
    title: 'Beacon',
    body: html`<p>You are logged in as <strong>${name}</strong>.</p>
<dl><dt>Person</dt><dd><code>${person}</code></dd><dt>Through</dt><dd>${service}</dd>
<dt>Until</dt><dd>${endsAt.toISOString()}, or until you log out</dd></dl>
<p>The hosts that you may use: <a href="/api/hosts">/api/hosts</a>. Your runs: <a href="/api/runs">/api/runs</a>.</p>
<p>The interface is described at <a href="/openapi.json">/openapi.json</a>; on a terminal, try <code>beacon hosts</code>.</p>
<form method="post" action="/logout"><input type="hidden" name="form" value="${formKey}"><button>Log out</button></form>`,
  };
}

/** Browsers name no origin in the form of a page that tells nobody where it stands; then they say that it is our own. */
function isOwnForm({ headers }: IncomingMessage, publicUrl: string): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site === 'same-origin';
  return headers.origin === publicUrl;
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams | undefined> {
  if (!/^application\/x-www-form-urlencoded(;|$)/.test(request.headers['content-type'] ?? ''))
    return undefined;
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > MAX_FORM) return undefined;
    parts.push(part);
  }
  return new URLSearchParams(Buffer.concat(parts).toString('utf8'));
}

function isEqual(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a), Buffer.from(b)];
  return one.length === other.length && timingSafeEqual(one, other);
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
}

/** What the app in front has found out, else the peer. */
function addressOf(request: IncomingMessage): string {
  const found = 'ip' in request && typeof request.ip === 'string' ? request.ip : undefined;
  return found ?? request.socket.remoteAddress ?? 'unknown';
}
