/**
 * The one-time token that makes a machine a managed host (DESIGN.md section 6): a secret of 32 bytes, and the
 * fingerprint of the key that signs the trust root, so that the machine believes nobody else on first contact. The CA
 * keeps the secret's digest alone. One text has one token: any other spelling is refused.
 */
import { createHash } from 'node:crypto';
import { decode32 } from './arguments-digest.ts';
import { ProtocolError } from './error.ts';

const PREFIX = 'beacon-host-1';
const DIGEST_TAG = 'beacon-host-token-1\0';

export interface HostToken {
  /** 32 bytes, base64url without padding: what the CA is shown. */
  readonly secret: string;
  /** `SHA256:…` of the key that signs the trust root, as `ssh-keygen -l` prints it. */
  readonly rootKey: string;
}

/** The token's text, such as `beacon-host-1.<secret>.<fingerprint>`. Throws ProtocolError `host-token-malformed`. */
export function formatHostToken(token: HostToken): string {
  const digest = /^SHA256:([A-Za-z0-9+/]{43})$/.exec(token.rootKey)?.[1];
  const bytes = Buffer.from(digest ?? '', 'base64');
  if (bytes.toString('base64') !== `${digest}=` || decode32(token.secret) === undefined) throw malformed();
  return [PREFIX, token.secret, bytes.toString('base64url')].join('.');
}

/** Throws ProtocolError `host-token-malformed`. */
export function parseHostToken(text: string): HostToken {
  const [prefix, secret, digest, ...more] = text.split('.');
  if (prefix !== PREFIX || secret === undefined || digest === undefined || more.length > 0) throw malformed();
  const bytes = decode32(digest);
  if (bytes === undefined || decode32(secret) === undefined) throw malformed();
  return { secret, rootKey: `SHA256:${Buffer.from(bytes).toString('base64').replace('=', '')}` };
}

/** What the CA keeps of a secret: SHA-256, base64url. Throws ProtocolError `host-token-malformed`. */
export function digestTokenSecret(secret: string): string {
  const bytes = decode32(secret);
  if (bytes === undefined) throw malformed();
  return createHash('sha256').update(DIGEST_TAG).update(bytes).digest('base64url');
}

function malformed(): ProtocolError {
  return new ProtocolError(
    'host-token-malformed',
    'this is no host token: copy the whole line that `beacon ca host token` printed',
  );
}
