/**
 * How one root key hands over to the next (DESIGN.md section 6). The first trust root of a new key is signed twice: by
 * the new key over the document's exact bytes, as every root is, and by the key before it over the new key and those
 * bytes, in a namespace of its own. The new key stands in what the old one signs, so nobody can take a published root,
 * add a signature of theirs and call it a handover. A host that pinned the old key pins the new one after both hold.
 */
import { ProtocolError } from './error.ts';

export const TRUST_HANDOVER_NAMESPACE = 'trust-handover@beacon';

const KEY_LINE = /^[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{16,}={0,2}$/;

/**
 * What the key before signs: the new key's line without a comment, a newline, and the exact bytes of the root. Throws
 * ProtocolError `trust-root-malformed` when the line is no such line.
 */
export function handoverMessage(newKey: string, root: Uint8Array): Buffer {
  if (!KEY_LINE.test(newKey))
    throw new ProtocolError(
      'trust-root-malformed',
      'the new key must be a public key line without a comment',
    );
  return Buffer.concat([Buffer.from(`${newKey}\n`), root]);
}
