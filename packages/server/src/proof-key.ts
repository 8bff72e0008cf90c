/**
 * The key that stands in a proof's header, imported by jose. A caller proves many requests with one key, and to import it
 * costs as much as to verify by it; so the latest are kept, by the exact text of algorithm and key. What is kept is a pure
 * function of that text, and says nothing of whether anybody trusts the key.
 */
import { type CryptoKey, calculateJwkThumbprint, EmbeddedJWK, type JWSHeaderParameters } from 'jose';

export interface ProofKey {
  /** For verifying. Rejects with jose's error for what is no public key of this algorithm. */
  key(): Promise<CryptoKey>;
  /** RFC 7638, SHA-256. */
  thumbprint(): Promise<string>;
}

const KEPT = 1_000;
/** Longer than any key that a proof may be signed with. */
const MAX_KEPT_LENGTH = 512;

const kept = new Map<string, ProofKey>();

/** The key of this header. */
export function proofKey(header: JWSHeaderParameters): ProofKey {
  const text = JSON.stringify([header.alg, header.jwk]);
  const known = kept.get(text);
  if (known !== undefined) return known;
  let importing: Promise<CryptoKey> | undefined;
  let digesting: Promise<string> | undefined;
  const made: ProofKey = {
    key() {
      importing ??= EmbeddedJWK(header);
      return importing;
    },
    thumbprint() {
      digesting ??= calculateJwkThumbprint(header.jwk ?? {}, 'sha256');
      return digesting;
    },
  };
  if (text.length > MAX_KEPT_LENGTH) return made;
  if (kept.size >= KEPT) kept.clear();
  kept.set(text, made);
  return made;
}
