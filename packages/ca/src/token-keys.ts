/**
 * The keys behind tokens for services and behind checkpoints: one signs; beside it stand the public halves of the next one
 * and of former ones, so that a key can be replaced with no token refused meanwhile. The key set (RFC 7517) shows all of
 * them. A token holds by the key that its `kid` names and by no other, and by a former key only when it was issued before
 * that key was replaced: with the minutes that a token lives, such a key is worth nothing soon after.
 */
import { type CryptoKey, importJWK, type JWK } from 'jose';

/** The public half of a key that signs tokens: Ed25519, named by its `kid`. */
export interface PublicTokenKey {
  readonly kty: 'OKP';
  readonly crv: 'Ed25519';
  readonly x: string;
  readonly kid: string;
}

export interface OtherTokenKey {
  readonly jwk: PublicTokenKey;
  /** When a former key was replaced; absent for the next one. */
  readonly until?: Date;
}

export interface TokenKeys {
  /** What the key set shows beside the key that signs. */
  readonly others: readonly JWK[];
  /** The key that `kid` names. Throws an Error for one that is not known. */
  find(kid: string | undefined): CryptoKey;
  /** Throws an Error for a token that a former key signed after it was replaced. `issuedAt`: seconds, as in `iat`. */
  requireInTime(kid: string | undefined, issuedAt: number | undefined): void;
}

export async function createTokenKeys(
  signing: JWK & { readonly kid: string },
  others: readonly OtherTokenKey[] = [],
): Promise<TokenKeys> {
  const keys = new Map<string, { readonly key: CryptoKey; readonly until?: Date }>();
  keys.set(signing.kid, { key: await importPublic(signing) });
  for (const { jwk, until } of others)
    keys.set(jwk.kid, { key: await importPublic(jwk), ...(until === undefined ? {} : { until }) });

  function named(kid: string | undefined) {
    const found = kid === undefined ? undefined : keys.get(kid);
    if (found === undefined) throw new Error('signed by a key that is not known');
    return found;
  }

  return {
    others: others.map(({ jwk: { kty, crv, x, kid } }) => ({ kty, crv, x, kid, alg: 'EdDSA', use: 'sig' })),
    find: (kid) => named(kid).key,
    requireInTime(kid, issuedAt) {
      const { until } = named(kid);
      if (until === undefined) return;
      if (issuedAt === undefined || issuedAt * 1000 > until.getTime())
        throw new Error('signed by a former key after it was replaced');
    },
  };
}

async function importPublic({ kty, crv, x }: Pick<JWK, 'kty' | 'crv' | 'x'>): Promise<CryptoKey> {
  const key = await importJWK({ kty: kty ?? '', crv: crv ?? '', x: x ?? '' } as JWK, 'EdDSA');
  if (key instanceof Uint8Array) throw new TypeError('the signing key is no public key pair');
  return key;
}
