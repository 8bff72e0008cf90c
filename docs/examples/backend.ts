/**
 * Another backend that acts for people: a web page where a person signs in and asks for something on a host, and the
 * same for programs that people run. Built on `@beacon/client` alone; a test runs it against a real CA.
 *
 * The backend has one secret of its own, the private key that proves it to the CA. It never sees a password, a GitHub
 * token or a long-lived SSH key: each time it needs to act, the CA decides for that person, at that moment.
 *
 * In the CA's services file it stands with `may: [login, exchange, personal-certificates]`.
 */
import { createPrivateKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import {
  type CaApi,
  ClientError,
  createCaApi,
  credentialsOf,
  discoverCa,
  exchangeToken,
  finishAuthorization,
  generateProofKey,
  type ObtainedCertificate,
  obtainCertificate,
  type ServiceClient,
  type StartedAuthorization,
  startAuthorization,
} from '@beacon/client';
import { checkPersonToken, TokenRefusal } from './person-token.ts';

const CA_AUDIENCE = 'urn:beacon:ca';
const LIFETIME_SECONDS = 120;

export interface BackendSettings {
  readonly caUrl: string;
  /** How browsers and programs reach this backend. `<publicUrl>/callback` is its redirect URI at the CA. */
  readonly publicUrl: string;
  /** Its id in the CA's services file. */
  readonly clientId: string;
  /** The file that `beacon ca service key` wrote. */
  readonly keyFile: string;
  /** What is done on the host, with a certificate that is already verified. The person sees the answer. */
  readonly act: (certificate: ObtainedCertificate) => Promise<string>;
}

/** What is remembered of one browser, in memory: a login that has begun, or one that has succeeded. */
interface BrowserSession {
  started?: StartedAuthorization;
  person?: { readonly name: string; readonly api: CaApi };
}

export async function createBackend(settings: BackendSettings): Promise<Server> {
  const ca = await discoverCa(settings.caUrl);
  const service = readServiceKey(settings);
  const redirectUri = `${settings.publicUrl}/callback`;
  const browsers = new Map<string, BrowserSession>();

  /** Sends the browser to the CA. The CA shows the person who asks, and for what. */
  function beginLogin(response: ServerResponse): void {
    const started = startAuthorization({
      metadata: ca,
      clientId: service.clientId,
      redirectUri,
      resources: [CA_AUDIENCE],
    });
    setCookie(response, remember({ started }));
    response.writeHead(303, { location: started.url }).end();
  }

  /** The browser is back. The code is good once, with this service's key, this PKCE verifier and a fresh DPoP key. */
  async function finishLogin(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const before = browsers.get(cookieOf(request));
    browsers.delete(cookieOf(request));
    if (before?.started === undefined) return beginLogin(response);
    const proofKey = generateProofKey();
    const tokens = await finishAuthorization({
      metadata: ca,
      service,
      redirectUri,
      query: new URL(request.url ?? '/', settings.publicUrl).searchParams,
      started: before.started,
      proofKey,
      resource: CA_AUDIENCE,
    });
    const api = createCaApi(credentialsOf(ca.issuer, proofKey, tokens));
    const { session } = await api.whoami();
    // A new cookie: the one from before the login could have been planted in this browser.
    setCookie(response, remember({ person: { name: session.name, api } }));
    response.writeHead(303, { location: '/' }).end();
  }

  /** What a signed-in person asks for in the browser: `POST /hosts/<host>/<login>`. */
  async function actForBrowser(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.headers.origin !== settings.publicUrl) return send(response, 403, 'not from our own page');
    const { person } = browsers.get(cookieOf(request)) ?? {};
    if (person === undefined) return send(response, 401, 'sign in at /login');
    send(response, 200, await actOnHost(person.api, request));
  }

  /** Ends the session at the CA, which takes back its tokens and the person's GitHub token. */
  async function logOut(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.headers.origin !== settings.publicUrl) return send(response, 403, 'not from our own page');
    const { person } = browsers.get(cookieOf(request)) ?? {};
    browsers.delete(cookieOf(request));
    if (person !== undefined) await person.api.endSession((await person.api.whoami()).session.id);
    send(response, 200, 'signed out');
  }

  /**
   * What a person's program asks for: `POST /api/hosts/<host>/<login>` with a token that the CA made for this service
   * alone. It is worth nothing at the CA; exchanged, it becomes a token of minutes for that person and this service.
   */
  async function actForProgram(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const subjectToken = checkPersonToken(request, settings.publicUrl);
    const proofKey = generateProofKey();
    const tokens = await exchangeToken({ metadata: ca, service, proofKey, subjectToken });
    const api = createCaApi(credentialsOf(ca.issuer, proofKey, tokens));
    send(response, 200, await actOnHost(api, request));
  }

  /** A fresh key in memory, a certificate of two minutes for it, and the deed. Policy says no by a ClientError. */
  async function actOnHost(api: CaApi, request: IncomingMessage): Promise<string> {
    const [login = '', host = ''] = (request.url ?? '').split('/').reverse();
    const certificate = await obtainCertificate(api, { host, login, lifetimeSeconds: LIFETIME_SECONDS });
    return settings.act(certificate);
  }

  function remember(session: BrowserSession): string {
    const id = randomBytes(32).toString('base64url');
    browsers.set(id, session);
    return id;
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '/').split('?', 1).join('');
    const route = `${request.method} ${path}`;
    if (route === 'GET /login') return beginLogin(response);
    if (route === 'GET /callback') return finishLogin(request, response);
    if (route === 'POST /logout') return logOut(request, response);
    if (/^POST \/hosts\/[^/]+\/[^/]+$/.test(route)) return actForBrowser(request, response);
    if (/^POST \/api\/hosts\/[^/]+\/[^/]+$/.test(route)) return actForProgram(request, response);
    if (route !== 'GET /') return send(response, 404, 'nothing here');
    const { person } = browsers.get(cookieOf(request)) ?? {};
    send(response, 200, person === undefined ? 'sign in at /login' : `signed in as ${person.name}`);
  }

  return createServer((request, response) => {
    answer(request, response).catch((error: unknown) => refuse(response, error));
  });
}

/** The private key as `beacon ca service key` wrote it: a JWK whose `kid` names it in the services file. */
function readServiceKey({ clientId, keyFile }: BackendSettings): ServiceClient {
  const key = JSON.parse(readFileSync(keyFile, 'utf8')) as { kid: string };
  return { clientId, keyId: key.kid, privateKey: createPrivateKey({ key, format: 'jwk' }) };
}

const STATUS: Partial<Record<ClientError['kind'], number>> = {
  denied: 403,
  unauthenticated: 401,
  'not-found': 404,
  invalid: 400,
  limited: 429,
};

/** A refusal by the CA is written for the person: it says which rule, and what would help. All else is our own trouble. */
function refuse(response: ServerResponse, error: unknown): void {
  if (error instanceof ClientError) send(response, STATUS[error.kind] ?? 502, error.message);
  else if (error instanceof TokenRefusal) send(response, 401, error.message);
  else send(response, 500, 'something went wrong here');
}

function send(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' });
  response.end(`${text}\n`);
}

/** Behind https give it the name `__Host-session`, and `Secure`. */
function setCookie(response: ServerResponse, id: string): void {
  response.setHeader('set-cookie', `session=${id}; Path=/; HttpOnly; SameSite=Lax; Max-Age=28800`);
}

function cookieOf(request: IncomingMessage): string {
  return /(?:^|;\s*)session=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1] ?? '';
}
