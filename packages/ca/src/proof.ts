/**
 * A DPoP proof at the CA's own API (RFC 9449 section 4.3): a JWT signed by the key that the access token is bound to, for
 * one method, one URL, one token and, our addition, one body: `body` is the SHA-256 of the request's exact bytes, so
 * that a proxy in between cannot put its own key into a request. The proofs at the token endpoint are checked by
 * oidc-provider. Nothing is remembered here: using up the `jti` is the proof store's.
 */
import { createHash } from 'node:crypto';
import { errors, type JWTPayload, jwtVerify } from 'jose';
import { CaError } from './error.ts';
import { proofKey } from './proof-key.ts';

/** The algorithms that a proof may be signed with. No RSA: keys are fresh, and made for us. */
export const proofAlgorithms = ['EdDSA', 'ES256'];

/** How far the proof's `iat` may be from our clock, either way. */
export const PROOF_WINDOW_MS = 60_000;

const MAX_PROOF_LENGTH = 12 * 1024;
const JTI = /^[\x21-\x7e]{16,128}$/;
/** Members of a JWK that are or betray a private or shared key. */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];
/** What a proof's header may say; a key by reference or by chain is never followed. */
const HEADER_MEMBERS = new Set(['typ', 'alg', 'jwk']);

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

/**
 * Verifies the `DPoP` header against the request. Throws CaError `proof-missing`, `proof-invalid`, or `proof-body` when
 * only the body's hash is missing or wrong.
 */
export async function verifyProof(header: string | undefined, context: ProofContext): Promise<Proof> {
  if (header === undefined || header === '') {
    throw new CaError('proof-missing', 'the request has no DPoP proof: send one in the header "DPoP"');
  }
  if (header.length > MAX_PROOF_LENGTH || header.includes(','))
    refuse('there must be one DPoP proof of at most 12 KiB');
  const { payload, thumbprint } = await verifySignature(header, context.now);
  if (payload['htm'] !== context.method) refuse('its "htm" is not the request\'s method');
  if (!sameTarget(payload['htu'], context.url)) refuse(`its "htu" is not ${context.url}`);
  const iatMs = issuedAt(payload, context.now);
  if (payload['ath'] !== digest(context.accessToken)) refuse('its "ath" is not the hash of the access token');
  const { jti } = payload;
  if (typeof jti !== 'string' || !JTI.test(jti))
    refuse('its "jti" must be 16 to 128 visible ASCII characters');
  const body = provenBody(payload['body'], context.rawBody);
  const keyProof = payload['key_proof'];
  if (keyProof !== undefined && typeof keyProof !== 'string') refuse('its "key_proof" must be a text');
  return {
    thumbprint,
    jti,
    expiresAt: new Date(iatMs + PROOF_WINDOW_MS),
    ...(body === undefined ? {} : { body }),
    ...(keyProof === undefined ? {} : { keyProof }),
  };
}

async function verifySignature(header: string, now: Date) {
  try {
    const { payload, protectedHeader } = await jwtVerify(
      header,
      (protectedHeader) => proofKey(protectedHeader).key(),
      {
        algorithms: proofAlgorithms,
        typ: 'dpop+jwt',
        currentDate: now,
      },
    );
    const { jwk } = protectedHeader;
    if (jwk === undefined) refuse('its header has no "jwk"');
    if (Object.keys(protectedHeader).some((name) => !HEADER_MEMBERS.has(name))) {
      refuse('its header may have "typ", "alg" and "jwk" only');
    }
    if (PRIVATE_MEMBERS.some((name) => name in jwk))
      refuse('its "jwk" holds a private key: throw that key away');
    return { payload, thumbprint: await proofKey(protectedHeader).thumbprint() };
  } catch (error) {
    if (error instanceof CaError) throw error;
    const cause = error instanceof errors.JOSEError ? error.code : 'malformed';
    throw new CaError('proof-invalid', `the DPoP proof does not hold (${cause}): make a new one`, {
      cause: error,
    });
  }
}

function issuedAt(payload: JWTPayload, now: Date): number {
  const { iat } = payload;
  if (typeof iat !== 'number' || !Number.isSafeInteger(iat))
    refuse('its "iat" must be a whole number of seconds');
  if (Math.abs(iat * 1000 - now.getTime()) > PROOF_WINDOW_MS) {
    refuse('its "iat" is more than 60 seconds from our time: set the clock');
  }
  return iat * 1000;
}

/** RFC 9449 section 4.3 compares without query and fragment, after RFC 3986 normalisation. */
function sameTarget(htu: unknown, url: string): boolean {
  if (typeof htu !== 'string') return false;
  const given = URL.parse(htu);
  if (given === null) return false;
  given.hash = '';
  given.search = '';
  return given.href === new URL(url).href;
}

function provenBody(claim: unknown, rawBody: Buffer): string | undefined {
  if (rawBody.length === 0) {
    if (claim === undefined) return undefined;
    throw new CaError('proof-body', 'the DPoP proof names a body and the request has none: leave "body" out');
  }
  const expected = digest(rawBody);
  if (claim !== expected) {
    throw new CaError(
      'proof-body',
      'the DPoP proof\'s "body" is not the SHA-256 of the request\'s exact body',
    );
  }
  return expected;
}

function digest(value: string | Buffer): string {
  return createHash('sha256').update(value).digest('base64url');
}

function refuse(what: string): never {
  throw new CaError('proof-invalid', `the DPoP proof does not hold: ${what}`);
}
