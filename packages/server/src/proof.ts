/**
 * A DPoP proof at a server's own API (RFC 9449 section 4.3): a JWT signed by the key that the access token is bound to,
 * for one method, one URL, one token and, our addition, one body: `body` is the SHA-256 of the request's exact bytes, so
 * that a proxy in between cannot put its own key into a request. Nothing is remembered here: using up the `jti` is the
 * proof store's.
 */
import { createHash } from 'node:crypto';
import { errors, type JWTPayload, jwtVerify } from 'jose';
import { proofKey } from './proof-key.ts';

/** The algorithms that a proof may be signed with. No RSA: keys are fresh, and made for us. */
export const proofAlgorithms = ['EdDSA', 'ES256'];

/** How far the proof's `iat` may be from our clock, either way. */
const WINDOW_MS = 60_000;
const MAX_LENGTH = 12 * 1024;
const JTI = /^[\x21-\x7e]{16,128}$/;
/** What a proof's header may say; a key by reference or by chain is never followed. */
const HEADER_MEMBERS = ['typ', 'alg', 'jwk'];
/** What a public key of these algorithms is made of; anything else is, or betrays, a private or shared one. */
const PUBLIC_MEMBERS = ['kty', 'crv', 'x', 'y', 'kid', 'alg', 'use', 'key_ops', 'ext'];

/** What a proof that holds said. */
export interface Proof {
  /** RFC 7638 SHA-256 thumbprint of the key that signed. */
  readonly thumbprint: string;
  readonly jti: string;
  /** Until when this `jti` must be remembered; past it, the proof is too old anyway. */
  readonly expiresAt: Date;
  /** base64url SHA-256 of the body, proven right; absent without a body. */
  readonly body?: string;
  /** An SSHSIG by the key to be certified, over the body; passed on as it came. */
  readonly keyProof?: string;
}

export interface ProofContext {
  readonly method: string;
  /** The configured public URL with the request's path, never made from `Host`. */
  readonly url: string;
  readonly accessToken: string;
  readonly rawBody: Buffer;
  readonly now: Date;
}

/** `proof-body`: only the body's hash is missing or wrong. */
export type ProofFault = 'proof-missing' | 'proof-invalid' | 'proof-body';

/** Makes the server's own error of a fault. */
export type RefuseProof = (fault: ProofFault, message: string, cause?: unknown) => Error;

/** Verifies the `DPoP` header against the request. Throws what `refuse` answers. */
export async function verifyProof(
  header: string | undefined,
  context: ProofContext,
  refuse: RefuseProof,
): Promise<Proof> {
  const invalid = (what: string) => refuse('proof-invalid', `the DPoP proof does not hold: ${what}`);
  if (header === undefined || header === '')
    throw refuse('proof-missing', 'the request has no DPoP proof: send one in the header "DPoP"');
  if (header.length > MAX_LENGTH || header.includes(','))
    throw invalid('there must be one DPoP proof of at most 12 KiB');
  const { payload, protectedHeader, thumbprint } = await verifySignature(header, context.now, refuse);
  if (!hasOnly(protectedHeader, HEADER_MEMBERS))
    throw invalid('its header may have "typ", "alg" and "jwk" only');
  if (!hasOnly(protectedHeader.jwk ?? {}, PUBLIC_MEMBERS))
    throw invalid('its "jwk" holds more than a public key: throw that key away');
  if (payload['htm'] !== context.method) throw invalid('its "htm" is not the request\'s method');
  if (!isTarget(payload['htu'], context.url)) throw invalid(`its "htu" is not ${context.url}`);
  const { iat, jti } = payload;
  if (iat === undefined || !Number.isSafeInteger(iat))
    throw invalid('its "iat" must be a whole number of seconds');
  if (Math.abs(iat * 1000 - context.now.getTime()) > WINDOW_MS)
    throw invalid('its "iat" is more than 60 seconds from our time: set the clock');
  if (payload['ath'] !== digest(context.accessToken))
    throw invalid('its "ath" is not the hash of the access token');
  if (typeof jti !== 'string' || !JTI.test(jti))
    throw invalid('its "jti" must be 16 to 128 visible ASCII characters');
  const body = provenBody(payload['body'], context.rawBody, refuse);
  const keyProof = payload['key_proof'];
  if (keyProof !== undefined && typeof keyProof !== 'string') throw invalid('its "key_proof" must be a text');
  return {
    thumbprint,
    jti,
    expiresAt: new Date(iat * 1000 + WINDOW_MS),
    ...(body === undefined ? {} : { body }),
    ...(keyProof === undefined ? {} : { keyProof }),
  };
}

async function verifySignature(header: string, now: Date, refuse: RefuseProof) {
  try {
    const { payload, protectedHeader } = await jwtVerify(header, (head) => proofKey(head).key(), {
      algorithms: proofAlgorithms,
      typ: 'dpop+jwt',
      currentDate: now,
    });
    return { payload, protectedHeader, thumbprint: await proofKey(protectedHeader).thumbprint() };
  } catch (error) {
    const what = error instanceof errors.JOSEError ? error.code : 'malformed';
    throw refuse('proof-invalid', `the DPoP proof does not hold (${what}): make a new one`, error);
  }
}

function hasOnly(object: object, members: readonly string[]): boolean {
  return Object.keys(object).every((name) => members.includes(name));
}

/** RFC 9449 section 4.3 compares without query and fragment, after RFC 3986 normalisation. */
function isTarget(htu: JWTPayload[string], url: string): boolean {
  const given = typeof htu === 'string' ? URL.parse(htu) : null;
  if (given === null) return false;
  given.hash = '';
  given.search = '';
  return given.href === new URL(url).href;
}

function provenBody(claim: unknown, rawBody: Buffer, refuse: RefuseProof): string | undefined {
  if (rawBody.length === 0) {
    if (claim === undefined) return undefined;
    throw refuse('proof-body', 'the DPoP proof names a body and the request has none: leave "body" out');
  }
  const expected = digest(rawBody);
  if (claim === expected) return expected;
  throw refuse('proof-body', 'the DPoP proof\'s "body" is not the SHA-256 of the request\'s exact body');
}

function digest(value: string | Buffer): string {
  return createHash('sha256').update(value).digest('base64url');
}
