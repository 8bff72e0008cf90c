/**
 * Seals what the store must keep but must not be able to tell: AES-256-GCM under a key that lies in a file, never in the
 * database. The associated data binds a sealed value to its place, so that it cannot be moved to another row.
 */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  randomBytes as cryptoRandomBytes,
  hkdfSync,
} from 'node:crypto';
import { ServerError } from './error.ts';

export interface Sealer {
  /** `1.` and base64url of nonce ‖ ciphertext ‖ tag. */
  seal(plain: string | Uint8Array, associated: string): string;
  /** Throws ServerError `seal` for a wrong key, other associated data, or a changed text; they cannot be told apart. */
  open(sealed: string, associated: string): Buffer;
  /** 32 bytes for another purpose, the same wherever the key is the same; they tell nothing of the key (RFC 5869). */
  derive(purpose: string): Buffer;
}

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const FORM = /^1[.]([A-Za-z0-9_-]+)$/;

/** Throws ServerError `seal` for a key that is not 32 bytes. */
export function createSealer(
  key: Uint8Array,
  randomBytes: (size: number) => Buffer = cryptoRandomBytes,
): Sealer {
  if (key.length !== KEY_BYTES) {
    throw new ServerError(
      'seal',
      `a sealing key has ${KEY_BYTES} bytes, this one ${key.length}: make one with head -c ${KEY_BYTES} /dev/urandom`,
    );
  }
  // As bytes it would be imported anew for each text, which costs five times what opening one does.
  const ownKey = createSecretKey(key);
  return {
    derive: (purpose) => Buffer.from(hkdfSync('sha256', ownKey, '', `beacon ${purpose}`, KEY_BYTES)),
    seal(plain, associated) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', ownKey, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(Buffer.from(associated));
      const text = Buffer.concat([cipher.update(plain), cipher.final()]);
      return `1.${Buffer.concat([nonce, text, cipher.getAuthTag()]).toString('base64url')}`;
    },
    open(sealed, associated) {
      const encoded = FORM.exec(sealed)?.[1];
      const bytes = Buffer.from(encoded ?? '', 'base64url');
      if (bytes.length < NONCE_BYTES + TAG_BYTES || bytes.toString('base64url') !== encoded) throw refused();
      const nonce = bytes.subarray(0, NONCE_BYTES);
      const decipher = createDecipheriv('aes-256-gcm', ownKey, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(associated));
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      try {
        return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
      } catch {
        throw refused();
      }
    },
  };
}

function refused(): ServerError {
  return new ServerError(
    'seal',
    'a sealed value does not open: was the sealing key replaced, or the store changed?',
  );
}
