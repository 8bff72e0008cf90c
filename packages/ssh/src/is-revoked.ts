/** The question that a revocation list answers, by the rules of OpenSSH's `ssh_krl_check_key`. Reading the list is `krl.ts`. */
import { createHash } from 'node:crypto';
import type { Krl } from './krl.ts';
import { hasSerial } from './krl-serials.ts';
import { isSameKey, type PublicKey } from './public-key.ts';

/** The parts of a certificate that a revocation list speaks about. */
export interface RevocableCertificate {
  /** The subject's plain key. */
  readonly publicKey: PublicKey;
  readonly ca: PublicKey;
  readonly serial: bigint;
  readonly keyId: string;
}

/**
 * Whether a list revokes a certificate or a plain key, as `ssh-keygen -Q` and sshd judge: by the key itself (for a certificate also its
 * CA's key), by its fingerprint, and for a certificate by key id or serial under its CA or under every CA.
 */
export function isRevoked(krl: Krl, target: PublicKey | RevocableCertificate): boolean {
  if (!('publicKey' in target)) {
    return isKeyRevoked(krl, target);
  }
  return (
    isKeyRevoked(krl, target.publicKey) ||
    isKeyRevoked(krl, target.ca) ||
    krl.authorities.some(
      ({ ca, serials, keyIds }) =>
        (ca === null || isSameKey(ca, target.ca)) &&
        (keyIds.includes(target.keyId) || hasSerial(serials, target.serial)),
    )
  );
}

function isKeyRevoked(krl: Krl, key: PublicKey): boolean {
  return (
    krl.keys.some((revoked) => isSameKey(revoked, key)) ||
    (krl.fingerprints.length > 0 &&
      (['SHA256', 'SHA1'] as const).some((hash) =>
        krl.fingerprints.includes(
          formatFingerprint(hash, createHash(hash.toLowerCase()).update(key.blob).digest()),
        ),
      ))
  );
}

/** `SHA256:…` without padding, as `ssh-keygen -l` prints it. */
export function formatFingerprint(hash: 'SHA256' | 'SHA1', digest: Buffer): string {
  return `${hash}:${digest.toString('base64').replace(/=+$/, '')}`;
}
