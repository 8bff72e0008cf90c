/**
 * Proofs of possession (DPoP, RFC 9449): a JWT per request, signed by the Ed25519 key that the tokens are bound to. Ours
 * also carry `body`, the SHA-256 of the exact body, and for a certificate `key_proof`, made by the key to be certified
 * (DESIGN.md section 3.3). A stolen token without this key is worth nothing.
 */
import { Buffer } from 'node:buffer';
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose/jwt/sign';
import { ClientError } from './error.ts';

/** A private Ed25519 key as a JWK (RFC 8037), as it is stored. */
export interface StoredProofKey {
  readonly kty: 'OKP';
  readonly crv: 'Ed25519';
  readonly x: string;
  readonly d: string;
}

export interface ProofKey {
  readonly privateKey: KeyObject;
  /** The public half, as it stands in a proof's header. */
  readonly publicJwk: { readonly kty: 'OKP'; readonly crv: 'Ed25519'; readonly x: string };
}

export interface ProofContent {
  readonly method: string;
  readonly url: string;
  readonly now: Date;
  readonly accessToken?: string;
  /** The exact bytes of the body; none when there is no body. */
  readonly body?: Uint8Array;
  /** The SSHSIG blob by the key to be certified, base64url without padding. */
  readonly keyProof?: string;
  /** What the server asked to be repeated (RFC 9449 section 8). */
  readonly nonce?: string;
}

const KEY_BYTES = /^[A-Za-z0-9_-]{43}$/;

/** A fresh key. */
export function generateProofKey(): ProofKey {
  return fromPrivateKey(generateKeyPairSync('ed25519').privateKey);
}

/** The key that {@link exportProofKey} wrote. Throws ClientError `session-missing` when it is none. */
export function importProofKey(stored: StoredProofKey): ProofKey {
  if (
    stored.kty === 'OKP' &&
    stored.crv === 'Ed25519' &&
    KEY_BYTES.test(stored.x) &&
    KEY_BYTES.test(stored.d)
  ) {
    try {
      const key = fromPrivateKey(createPrivateKey({ key: { ...stored }, format: 'jwk' }));
      if (key.publicJwk.x === stored.x) return key;
    } catch {
      // Said below: node's own message would not tell what to do.
    }
  }
  throw new ClientError(
    'session-missing',
    'unauthenticated',
    'the stored proof key is damaged: log in again',
  );
}

/** The private key as a JWK: a secret, to be kept where only its owner can read it. */
export function exportProofKey(key: ProofKey): StoredProofKey {
  const { x, d } = key.privateKey.export({ format: 'jwk' });
  if (x === undefined || d === undefined) throw new TypeError('a proof key is an Ed25519 key');
  return { kty: 'OKP', crv: 'Ed25519', x, d };
}

/** The value of a request's `DPoP` header. */
export async function createProof(key: ProofKey, content: ProofContent): Promise<string> {
  const url = new URL(content.url);
  url.search = '';
  url.hash = '';
  return new SignJWT({
    jti: randomUUID(),
    htm: content.method,
    htu: url.href,
    iat: Math.floor(content.now.getTime() / 1000),
    ...(content.accessToken === undefined ? {} : { ath: sha256(Buffer.from(content.accessToken)) }),
    ...(content.body === undefined ? {} : { body: sha256(content.body) }),
    ...(content.keyProof === undefined ? {} : { key_proof: content.keyProof }),
    ...(content.nonce === undefined ? {} : { nonce: content.nonce }),
  })
    .setProtectedHeader({ typ: 'dpop+jwt', alg: 'EdDSA', jwk: key.publicJwk })
    .sign(key.privateKey);
}

function fromPrivateKey(privateKey: KeyObject): ProofKey {
  const { x } = privateKey.export({ format: 'jwk' });
  if (x === undefined) throw new TypeError('a proof key is an Ed25519 key');
  return { privateKey, publicJwk: { kty: 'OKP', crv: 'Ed25519', x } };
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64url');
}
