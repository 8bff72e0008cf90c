/** The token endpoint of the CA for tests: proofs, nonces, the device grant, codes and rotating refresh tokens. */
import { randomBytes, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createId } from '@beacon/protocol/id';
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose';
import type { Knobs } from './small-ca-knobs.ts';
import { Refusal, send } from './small-ca-refusal.ts';

export const BROKER_AUDIENCE = 'urn:beacon:broker:portal';
const CA_AUDIENCE = 'urn:beacon:ca';

export interface AccessToken {
  readonly thumbprint: string;
  readonly expiresAt: number;
  readonly session: string;
  readonly audience: string;
}

export function createTokens(knobs: Knobs, url: () => string) {
  const refreshes = { count: 0, reused: 0 };
  const accessTokens = new Map<string, AccessToken>();
  const refreshTokens = new Map<string, { thumbprint: string; used: boolean; session: string }>();
  const ended = new Set<string>();
  const proofs = new Set<string>();
  let polls = 0;
  const nonce = randomUUID();

  const issueTokens = (thumbprint: string, session: string, audience = CA_AUDIENCE) => {
    const accessToken = randomBytes(24).toString('base64url');
    const refreshToken = randomBytes(24).toString('base64url');
    accessTokens.set(accessToken, {
      thumbprint,
      session,
      audience,
      expiresAt: Date.now() + knobs.accessTokenSeconds * 1000,
    });
    refreshTokens.set(refreshToken, { thumbprint, session, used: false });
    return {
      token_type: 'DPoP',
      access_token: accessToken,
      expires_in: knobs.accessTokenSeconds,
      refresh_token: refreshToken,
      scope: 'beacon',
    };
  };

  async function proofOf(request: IncomingMessage, path: string) {
    const header = request.headers['dpop'];
    if (typeof header !== 'string') throw new Refusal(401, 'proof-missing');
    const { payload, protectedHeader } = await jwtVerify(header, EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: ['EdDSA'],
    });
    const jti = String(payload.jti);
    if (payload['htm'] !== request.method || payload['htu'] !== `${url()}${path}` || proofs.has(jti)) {
      throw new Refusal(401, 'proof-invalid');
    }
    proofs.add(jti);
    const thumbprint = await calculateJwkThumbprint(protectedHeader.jwk ?? {});
    return { payload, thumbprint };
  }

  async function token(request: IncomingMessage, response: ServerResponse, body: Buffer) {
    const form = new URLSearchParams(body.toString());
    const { payload, thumbprint } = await proofOf(request, '/oauth/token');
    const fail = (error: string) => send(response, 400, { error, error_description: `because of ${error}` });
    if (knobs.askNonce && payload['nonce'] !== nonce) {
      response.setHeader('dpop-nonce', nonce);
      return fail('use_dpop_nonce');
    }
    if (form.get('grant_type') === 'refresh_token') {
      const known = refreshTokens.get(form.get('refresh_token') ?? '');
      refreshes.count += 1;
      if (known?.used === true) refreshes.reused += 1;
      if (known === undefined || ended.has(known.session) || known.used || known.thumbprint !== thumbprint)
        return fail('invalid_grant');
      const audience = form.get('resource') ?? CA_AUDIENCE;
      if (audience !== CA_AUDIENCE && audience !== BROKER_AUDIENCE) return fail('invalid_target');
      known.used = true;
      return send(response, 200, issueTokens(thumbprint, known.session, audience));
    }
    if (form.get('grant_type') === 'urn:ietf:params:oauth:grant-type:device_code') {
      polls += 1;
      if (knobs.pollRefusal !== undefined) return fail(knobs.pollRefusal);
      if (polls <= knobs.pendingPolls) return fail('authorization_pending');
      return send(response, 200, knobs.tamper('/oauth/token', issueTokens(thumbprint, createId(Date.now()))));
    }
    if (form.get('grant_type') === 'authorization_code') {
      if (form.get('client_assertion') === null || form.get('code_verifier') === null)
        return fail('invalid_client');
      return form.get('code') === 'good'
        ? send(response, 200, issueTokens(thumbprint, createId(Date.now())))
        : fail('invalid_grant');
    }
    return fail('unsupported_grant_type');
  }

  return {
    refreshes,
    ended,
    proofOf,
    token,
    find: (accessToken: string) => accessTokens.get(accessToken),
    beginLogin: () => {
      polls = 0;
    },
    endAll: () => {
      for (const { session } of accessTokens.values()) ended.add(session);
    },
  };
}
