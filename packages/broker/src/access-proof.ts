/**
 * A DPoP proof at the broker's API (RFC 9449 section 4.3): a JWT by the key that the access token is bound to, for one
 * method, one URL, one token and one exact body, whose SHA-256 it carries as `body`. Nothing is remembered here: using up
 * the `jti` is the proof store's.
 */
import { createHash } from 'node:crypto';
import { calculateJwkThumbprint, EmbeddedJWK, errors, type JWTPayload, jwtVerify } from 'jose';
import { BrokerError } from './error.ts';

/** The algorithms that a proof may be signed with. No RSA: keys are fresh, and made for us. */
const ALGORITHMS = ['EdDSA', 'ES256'];
/** How far the proof's `iat` may be from our clock, either way. */
const WINDOW_MS = 60_000;
const MAX_LENGTH = 12 * 1024;
const JTI = /^[\x21-\x7e]{16,128}$/;
/** What a proof's header may say; a key by reference or by chain is never followed. */
const HEADER_MEMBERS = ['typ', 'alg', 'jwk'];
const PUBLIC_MEMBERS = ['kty', 'crv', 'x', 'y', 'kid', 'alg', 'use', 'key_ops', 'ext'];

/** What a proof that holds said. */
export interface AccessProof {
  /** RFC 7638 SHA-256 thumbprint of the key that signed. */
  readonly thumbprint: string;
  readonly jti: string;
  /** Until when this `jti` must be remembered; past it, the proof is too old anyway. */
  readonly expiresAt: Date;
}

export interface AccessProofContext {
  readonly method: string;
  /** The configured public URL with the request's path, never made from `Host`. */
  readonly url: string;
  readonly accessToken: string;
  readonly rawBody: Buffer;
  readonly now: Date;
}

/** Verifies the `DPoP` header against the request. Throws BrokerError `proof-invalid`. */
export async function verifyAccessProof(
  header: string | undefined,
  context: AccessProofContext,
): Promise<AccessProof> {
  if (header === undefined || header === '') refuse('the request has none: send one in the header "DPoP"');
  if (header.length > MAX_LENGTH || header.includes(',')) refuse('there must be one, of at most 12 KiB');
  const { payload, thumbprint } = await verifySignature(header, context.now);
  if (payload['htm'] !== context.method) refuse('its "htm" is not the request\'s method');
  if (!isTarget(payload['htu'], context.url)) refuse(`its "htu" is not ${context.url}`);
  const { iat, jti } = payload;
  if (!Number.isSafeInteger(iat) || iat === undefined) refuse('its "iat" must be a whole number of seconds');
  if (Math.abs(iat * 1000 - context.now.getTime()) > WINDOW_MS) {
    refuse('its "iat" is more than 60 seconds from our time: set the clock');
  }
  if (payload['ath'] !== digest(context.accessToken)) refuse('its "ath" is not the hash of the access token');
  if (typeof jti !== 'string' || !JTI.test(jti)) refuse('its "jti" must be 16 to 128 visible characters');
  const body = context.rawBody.length === 0 ? undefined : digest(context.rawBody);
  if (payload['body'] !== body) refuse('its "body" is not the SHA-256 of the request\'s exact body');
  return { thumbprint, jti, expiresAt: new Date(iat * 1000 + WINDOW_MS) };
}

async function verifySignature(
  header: string,
  now: Date,
): Promise<{ payload: JWTPayload; thumbprint: string }> {
  try {
    const { payload, protectedHeader } = await jwtVerify(header, EmbeddedJWK, {
      algorithms: ALGORITHMS,
      typ: 'dpop+jwt',
      currentDate: now,
    });
    const { jwk } = protectedHeader;
    if (jwk === undefined) refuse('its header has no "jwk"');
    if (Object.keys(protectedHeader).some((name) => !HEADER_MEMBERS.includes(name))) {
      refuse('its header may have "typ", "alg" and "jwk" only');
    }
    if (Object.keys(jwk).some((name) => !PUBLIC_MEMBERS.includes(name))) {
      refuse('its "jwk" holds more than a public key: throw that key away');
    }
    return { payload, thumbprint: await calculateJwkThumbprint(jwk, 'sha256') };
  } catch (error) {
    if (error instanceof BrokerError) throw error;
    const what = error instanceof errors.JOSEError ? error.code : 'malformed';
    throw new BrokerError('proof-invalid', `the DPoP proof does not hold (${what}): make a new one`, {
      cause: error,
    });
  }
}

/** RFC 9449 section 4.3 compares without query and fragment, after RFC 3986 normalisation. */
function isTarget(htu: unknown, url: string): boolean {
  const given = typeof htu === 'string' ? URL.parse(htu) : null;
  if (given === null) return false;
  given.hash = '';
  given.search = '';
  return given.href === new URL(url).href;
}

function digest(value: string | Buffer): string {
  return createHash('sha256').update(value).digest('base64url');
}

function refuse(what: string): never {
  throw new BrokerError('proof-invalid', `the DPoP proof does not hold: ${what}`);
}
