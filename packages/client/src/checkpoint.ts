/**
 * A signed checkpoint of the CA's record chain (DESIGN.md section 8): a compact JWS of type `beacon-checkpoint+jwt`, by a
 * key of the CA's JWKS. Kept by a caller, it proves later that the chain was cut, forked or rewritten.
 */
import { Buffer } from 'node:buffer';
import { CHECKPOINT_TYPE, type Checkpoint, parseCheckpoint } from '@beacon/protocol/checkpoint';
import { ClientError } from './error.ts';
import { defaultOutside, exchange, type Outside } from './exchange.ts';

/** Fetches the CA's public keys. Throws ClientError. */
export async function fetchJwks(jwksUri: string, outside: Outside = defaultOutside()): Promise<Buffer> {
  const answer = await exchange(outside, { method: 'GET', url: jwksUri });
  if (answer.status === 200) return answer.body;
  throw new ClientError(
    'unreachable',
    'unavailable',
    `the CA's keys cannot be read (${answer.status}): try again`,
  );
}

/** The checkpoint that `jws` carries, its signature verified. Throws ClientError `answer-untrusted`. */
export async function verifyCheckpoint(jws: string, jwks: Buffer): Promise<Checkpoint> {
  const { compactVerify, createLocalJWKSet } = await import('jose');
  try {
    const keys = createLocalJWKSet(JSON.parse(jwks.toString('utf8')));
    const { payload, protectedHeader } = await compactVerify(jws, keys, {
      algorithms: ['EdDSA', 'Ed25519', 'ES256'],
    });
    if (protectedHeader.typ !== CHECKPOINT_TYPE) throw new TypeError('its type is another one');
    return parseCheckpoint(Buffer.from(payload).toString('utf8'));
  } catch (error) {
    throw new ClientError(
      'answer-untrusted',
      'internal',
      "the CA's checkpoint is not signed by the CA's published keys: keep it, and ask the CA's administrator",
      { cause: error },
    );
  }
}
