/**
 * The web application flow as GitHub documents it ("Authorizing OAuth apps", "Generating a user access token for a
 * GitHub App", and the two pages on troubleshooting errors): authorisation with `state` and PKCE (S256 only), and the
 * exchange of the code, whose errors come with status 200. A page asks which person one is; there is no password. The
 * redirect address must equal a registered one, which is GitHub's rule for GitHub Apps; its laxer one for OAuth Apps is
 * not offered. Refresh tokens are given out but not taken back; there is no device flow.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { type Request, type Response, Router, urlencoded } from 'express';
import { randomText } from './random-text.ts';
import type { App, StandinState } from './state.ts';

const CODE_LIFETIME_MS = 10 * 60 * 1000;

interface Code {
  readonly clientId: string;
  readonly person: number;
  readonly redirectUri: string;
  readonly scopes: readonly string[];
  readonly challenge: string | undefined;
  readonly expiresAt: Date;
}

interface Authorization {
  readonly app: App;
  readonly redirectUri: string;
  readonly state: string | undefined;
  readonly scopes: readonly string[];
  readonly challenge: string | undefined;
}

type Fields = Record<string, unknown>;

export function oauthRoutes(state: StandinState): Router {
  const codes = new Map<string, Code>();
  const router = Router();

  router.get('/login/oauth/authorize', (request, response) => {
    const authorization = readAuthorization(state, request.query, response);
    if (authorization === undefined) return;
    response.type('html').send(page(state, authorization.app, request.query));
  });

  router.post('/login/oauth/authorize', urlencoded({ extended: false }), (request, response) => {
    const authorization = readAuthorization(state, fieldsOf(request), response);
    if (authorization === undefined) return;
    const { person: login } = fieldsOf(request);
    const person = typeof login === 'string' ? state.findLogin(login) : undefined;
    if (person === undefined || !state.persons.has(person.id)) {
      return redirect(response, authorization, {
        error: 'access_denied',
        error_description: 'The user has denied your application access.',
      });
    }
    const code = randomText(20).toLowerCase();
    state.canaries.push(code);
    codes.set(code, {
      clientId: authorization.app.clientId,
      person: person.id,
      redirectUri: authorization.redirectUri,
      scopes: authorization.scopes,
      challenge: authorization.challenge,
      expiresAt: new Date(state.now().getTime() + CODE_LIFETIME_MS),
    });
    redirect(response, authorization, { code });
  });

  router.post(
    '/login/oauth/access_token',
    urlencoded({ extended: false }),
    (request: Request, response: Response) => {
      const fields = fieldsOf(request);
      const app = state.apps.get(text(fields['client_id']) ?? '');
      if (app === undefined || !same(app.clientSecret, text(fields['client_secret']) ?? '')) {
        return tell(request, response, 'incorrect_client_credentials');
      }
      const given = text(fields['code']) ?? '';
      const code = codes.get(given);
      // A code works once, whoever brings it and however the exchange ends.
      codes.delete(given);
      if (code === undefined || code.clientId !== app.clientId || code.expiresAt <= state.now()) {
        return tell(request, response, 'bad_verification_code');
      }
      const redirectUri = text(fields['redirect_uri']);
      if (redirectUri !== undefined && redirectUri !== code.redirectUri) {
        return tell(request, response, 'redirect_uri_mismatch');
      }
      if (!provesChallenge(code.challenge, text(fields['code_verifier']))) {
        return tell(request, response, 'bad_verification_code');
      }
      const token = state.mintToken({ clientId: app.clientId, person: code.person, scopes: code.scopes });
      answer(request, response, {
        access_token: token.token,
        ...(token.refreshToken === null
          ? {}
          : { expires_in: 28_800, refresh_token: token.refreshToken, refresh_token_expires_in: 15_897_600 }),
        scope: token.scopes.join(','),
        token_type: 'bearer',
      });
    },
  );
  return router;
}

function readAuthorization(
  state: StandinState,
  fields: Fields,
  response: Response,
): Authorization | undefined {
  const app = state.apps.get(text(fields['client_id']) ?? '');
  const registered = app?.callbackUrls[0];
  if (app === undefined || registered === undefined) {
    response.status(404).type('html').send('<!doctype html><title>404</title>There is no such app.');
    return undefined;
  }
  const redirectUri = text(fields['redirect_uri']) ?? registered;
  const authorization: Authorization = {
    app,
    redirectUri,
    state: text(fields['state']),
    scopes: (text(fields['scope']) ?? '').split(/[ ,]+/).filter((scope) => scope !== ''),
    challenge: text(fields['code_challenge']),
  };
  if (!app.callbackUrls.includes(redirectUri)) {
    // GitHub tells the registered address, never the one that was asked for.
    redirect(
      response,
      { ...authorization, redirectUri: registered },
      { error: 'redirect_uri_mismatch', error_description: DESCRIPTIONS.redirect_uri_mismatch },
    );
    return undefined;
  }
  const method = text(fields['code_challenge_method']);
  if (authorization.challenge === undefined ? method !== undefined : method !== 'S256') {
    redirect(response, authorization, {
      error: 'invalid_request',
      error_description: 'Only the code challenge method S256 is supported.',
    });
    return undefined;
  }
  return authorization;
}

function provesChallenge(challenge: string | undefined, verifier: string | undefined): boolean {
  if (challenge === undefined) return true;
  if (verifier === undefined || !/^[A-Za-z0-9._~-]{43,128}$/.test(verifier)) return false;
  return same(createHash('sha256').update(verifier).digest('base64url'), challenge);
}

const DESCRIPTIONS = {
  incorrect_client_credentials: 'The client_id and/or client_secret passed are incorrect.',
  redirect_uri_mismatch: 'The redirect_uri MUST match the registered callback URL for this application.',
  bad_verification_code: 'The code passed is incorrect or expired.',
} as const;

function tell(request: Request, response: Response, error: keyof typeof DESCRIPTIONS): void {
  answer(request, response, {
    error,
    error_description: DESCRIPTIONS[error],
    error_uri: `https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors#${error.replaceAll('_', '-')}`,
  });
}

/** Form-encoded unless `Accept` asks for JSON. */
function answer(request: Request, response: Response, fields: Record<string, string | number>): void {
  response.status(200).set('cache-control', 'no-store');
  if (request.accepts(['application/x-www-form-urlencoded', 'application/json']) === 'application/json') {
    response.json(fields);
    return;
  }
  const entries = Object.entries(fields).map(([name, value]): [string, string] => [name, String(value)]);
  response.type('application/x-www-form-urlencoded').send(new URLSearchParams(entries).toString());
}

function redirect(response: Response, authorization: Authorization, fields: Record<string, string>): void {
  const url = new URL(authorization.redirectUri);
  for (const [name, value] of Object.entries(fields)) url.searchParams.set(name, value);
  if (authorization.state !== undefined) url.searchParams.set('state', authorization.state);
  response.redirect(302, url.href);
}

function page(state: StandinState, app: App, fields: Fields): string {
  const hidden = Object.entries(fields)
    .filter((entry): entry is [string, string] => typeof entry[1] === 'string')
    .map(([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`);
  const hinted = text(fields['login'])?.toLowerCase();
  const buttons = [...state.persons.values()]
    .sort((a, b) => Number(b.login.toLowerCase() === hinted) - Number(a.login.toLowerCase() === hinted))
    .map(({ login }) => `<button name="person" value="${escapeHtml(login)}">${escapeHtml(login)}</button>`);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Authorize ${escapeHtml(app.name)}</title></head>
<body><h1>Authorize ${escapeHtml(app.name)}</h1>
<p>This is a stand-in for GitHub, for demonstrations and tests. Who are you?</p>
<form method="post" action="/login/oauth/authorize">${hidden.join('')}${buttons.join(' ')}
<button name="cancel" value="1">Cancel</button></form></body></html>
`;
}

function fieldsOf(request: Request): Fields {
  const body: unknown = request.body;
  return typeof body === 'object' && body !== null ? { ...body } : {};
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function escapeHtml(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Compares without telling by time how much was right. */
export function same(a: string, b: string): boolean {
  const [left, right] = [a, b].map((value) => createHash('sha256').update(value).digest());
  return left !== undefined && right !== undefined && timingSafeEqual(left, right);
}
