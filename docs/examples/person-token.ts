/**
 * What a service checks of a token that a person's program hands it (RFC 9449 section 4.3): that the program holds the
 * key which the token is bound to, for this very request, once. Whether the token itself is genuine, for this service and
 * of a session that goes on is the CA's to say, in the exchange; a token that is only passed on without this check could
 * be used by anybody who has seen it.
 */
import { createHash, createPublicKey, verify } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

export class TokenRefusal extends Error {}

const WINDOW_SECONDS = 60;
/** Proofs that were used, until they are too old anyway. */
const used = new Map<string, number>();

/** The token of `Authorization: DPoP …`. Throws TokenRefusal. */
export function checkPersonToken(request: IncomingMessage, publicUrl: string, now = new Date()): string {
  const token = /^DPoP ([\w.-]+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
  const [header, content, signature] = String(request.headers['dpop'] ?? '').split('.');
  const { typ, alg, jwk } = read(header);
  const proof = read(content);
  const seconds = Math.floor(now.getTime() / 1000);
  const key = readKey(jwk);
  const checks = {
    'a token and a proof are needed': token !== '' && typ === 'dpop+jwt' && alg === 'EdDSA',
    'the proof is not signed by its key': verify(
      null,
      Buffer.from(`${header}.${content}`),
      key.publicKey,
      Buffer.from(signature ?? '', 'base64url'),
    ),
    'the token is bound to another key':
      (read(token.split('.')[1])['cnf'] as { jkt?: string } | undefined)?.jkt === key.thumbprint,
    'the proof is for another token': proof['ath'] === sha256(token),
    'the proof is for another request':
      proof['htm'] === request.method &&
      proof['htu'] === `${publicUrl}${request.url?.split('?', 1).join('')}`,
    'the proof is too old': Math.abs(Number(proof['iat']) - seconds) <= WINDOW_SECONDS,
    'the proof has no id': typeof proof['jti'] === 'string' && proof['jti'].length >= 16,
    'the proof was used before': !used.has(String(proof['jti'])),
  };
  for (const [refusal, holds] of Object.entries(checks)) if (!holds) throw new TokenRefusal(refusal);
  for (const [jti, until] of used) if (until < seconds) used.delete(jti);
  used.set(String(proof['jti']), seconds + 2 * WINDOW_SECONDS);
  return token;
}

function read(part: string | undefined): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part ?? '', 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

/** An Ed25519 key (RFC 8037) and its thumbprint (RFC 7638). */
function readKey(jwk: unknown) {
  const { x } = (jwk ?? {}) as { x?: unknown };
  if (typeof x !== 'string' || !/^[\w-]{43}$/.test(x)) throw new TokenRefusal('the proof has no Ed25519 key');
  const key = { crv: 'Ed25519', kty: 'OKP', x };
  return { publicKey: createPublicKey({ key, format: 'jwk' }), thumbprint: sha256(JSON.stringify(key)) };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
