/**
 * What an app may ask about its own tokens with its client id and secret (REST documentation, "OAuth authorizations":
 * check a token, delete an app token, delete an app authorization). A token of another app is answered like one that
 * never was.
 */
import { createHash } from 'node:crypto';
import { json, type Request, type Response, Router } from 'express';
import { same } from './oauth.ts';
import { refuse, reply } from './reply.ts';
import { personSummary } from './rest.ts';
import type { App, StandinState, Token } from './state.ts';

export function appTokenRoutes(state: StandinState): Router {
  const router = Router();
  const path = '/applications/:clientId';

  router.post(`${path}/token`, json(), (request, response) => {
    const found = findToken(state, request, response);
    if (found !== undefined) reply(request, response, describe(state, found.app, found.token));
  });
  router.delete(`${path}/token`, json(), (request, response) => {
    const found = findToken(state, request, response);
    if (found === undefined) return;
    state.revokeToken(found.token.token);
    response.status(204).end();
  });
  router.delete(`${path}/grant`, json(), (request, response) => {
    const found = findToken(state, request, response);
    if (found === undefined) return;
    state.revokeGrant(found.app.clientId, found.token.person);
    response.status(204).end();
  });
  return router;
}

function findToken(
  state: StandinState,
  request: Request,
  response: Response,
): { app: App; token: Token } | undefined {
  const basic = /^basic ([A-Za-z0-9+/]+=*)$/i.exec(request.get('authorization') ?? '')?.[1] ?? '';
  const [clientId = '', clientSecret = ''] = Buffer.from(basic, 'base64').toString().split(':', 2);
  const app = state.apps.get(clientId);
  if (app === undefined || !same(app.clientSecret, clientSecret)) {
    refuse(response, 401, 'Bad credentials');
    return undefined;
  }
  const body: unknown = request.body;
  const given =
    typeof body === 'object' && body !== null && 'access_token' in body ? body.access_token : null;
  if (typeof given !== 'string') {
    refuse(response, 422, 'Validation Failed');
    return undefined;
  }
  const token = state.findToken(given);
  if (request.params['clientId'] !== app.clientId || token?.clientId !== app.clientId) {
    refuse(response, 404, 'Not Found');
    return undefined;
  }
  return { app, token };
}

function describe(state: StandinState, app: App, token: Token): unknown {
  return {
    id: token.id,
    url: `https://api.github.com/authorizations/${token.id}`,
    scopes: token.scopes,
    token: token.token,
    token_last_eight: token.token.slice(-8),
    hashed_token: createHash('sha256').update(token.token).digest('hex'),
    app: { name: app.name, url: 'https://standin.invalid', client_id: app.clientId },
    note: null,
    note_url: null,
    updated_at: token.createdAt.toISOString(),
    created_at: token.createdAt.toISOString(),
    fingerprint: null,
    expires_at: token.expiresAt?.toISOString() ?? null,
    user: personSummary(state.person(token.person)),
  };
}
