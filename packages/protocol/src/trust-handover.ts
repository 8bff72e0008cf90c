/**
 * How one root key hands over to the next (DESIGN.md section 6). The first trust root of a new key is signed twice: by
 * the new key over the document's exact bytes, as every root is, and by the key before it over the new key and those
 * bytes, in a namespace of its own. The new key stands in what the old one signs, so nobody can take a published root,
 * add a signature of theirs and call it a handover.
 *
 * A host keeps its handovers in one file beside the documents that they lead to, {@link HANDOVERS_FILE}, and follows them
 * from the key that it pinned each time that it verifies: so pin and documents can never come apart, and who can write
 * that folder alone can put no other key there. Signatures are checked by who calls.
 */
import { ProtocolError } from './error.ts';
import { parseStrictJsonBytes } from './strict-json.ts';
import { parseTrustRoot, TRUST_DOCUMENT_MAX_BYTES, TRUST_ROOT_NAMESPACE } from './trust.ts';
import { ValueReader } from './value-reader.ts';

export const TRUST_HANDOVER_NAMESPACE = 'trust-handover@beacon';
/** The name of the file; a host that pinned the present key has none. */
export const HANDOVERS_FILE = 'handovers.json';
export const HANDOVERS_MAX_BYTES = 1_048_576;

/** The first root of a new key, with both signatures, as text. */
export interface Handover {
  /** The new key's line without a comment. */
  readonly rootKey: string;
  readonly document: string;
  readonly signature: string;
  /** By the key before. */
  readonly handover: string;
}

/** Whether the key of this line signed this message. May throw where the signature is none. */
export type IsSignedBy = (
  line: string,
  signed: { readonly signature: string; readonly namespace: string; readonly message: Buffer },
) => boolean;

const KEY_LINE = /^[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{16,}={0,2}$/;
const MOST_HANDOVERS = 32;
const LONGEST_SIGNATURE = 16_384;

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

/** Where handovers lead to. */
export interface HandedOver {
  /** From the pinned key to that of now, in their order. */
  readonly keys: readonly string[];
  /** The key of now. */
  readonly key: string;
  /** The root with which it began; none of a lower version follows. 0: it is the pinned one. */
  readonly since: number;
}

/** Throws ProtocolError `trust-root-malformed` for a handover that does not hold. */
export function followHandovers(
  pinned: string,
  handovers: readonly Handover[],
  isSignedBy: IsSignedBy,
): HandedOver {
  const keys = [pinned];
  let [key, since] = [pinned, 0];
  for (const one of handovers) {
    const version = verifyHandover(key, one, isSignedBy);
    if (version <= since) throw refused('its versions do not rise');
    if (keys.includes(one.rootKey)) throw refused('it leads back to a key before');
    [key, since] = [one.rootKey, version];
    keys.push(key);
  }
  return { keys, key, since };
}

/** The version of the root in which `former` hands over. Throws ProtocolError `trust-root-malformed`. */
export function verifyHandover(former: string, one: Handover, isSignedBy: IsSignedBy): number {
  const bytes = Buffer.from(one.document);
  const { version } = parseTrustRoot(bytes);
  const byNew = { signature: one.signature, namespace: TRUST_ROOT_NAMESPACE, message: bytes };
  if (!isSignedBy(one.rootKey, byNew)) throw refused(`root ${version} is not signed by the new key`);
  const byFormer = {
    signature: one.handover,
    namespace: TRUST_HANDOVER_NAMESPACE,
    message: handoverMessage(one.rootKey, bytes),
  };
  if (!isSignedBy(former, byFormer)) throw refused(`root ${version} is not signed by the key before`);
  return version;
}

/** The file's exact text, with a newline at its end. Throws ProtocolError `trust-root-malformed`. */
export function formatHandovers(handovers: readonly Handover[]): string {
  const list = handovers.map(({ rootKey, document, signature, handover }) => ({
    root_key: rootKey,
    document,
    signature,
    handover,
  }));
  const text = `${JSON.stringify({ v: 1, kind: 'trust-handovers', handovers: list })}\n`;
  readHandovers(Buffer.from(text));
  return text;
}

/** Throws ProtocolError `trust-root-malformed` or `json-…`. What is read is not verified yet. */
export function parseHandovers(bytes: Uint8Array): Handover[] {
  const handovers = readHandovers(bytes);
  if (!Buffer.from(formatHandovers(handovers)).equals(bytes)) throw refused('it is not in its one spelling');
  return handovers;
}

function readHandovers(bytes: Uint8Array): Handover[] {
  if (bytes.length > HANDOVERS_MAX_BYTES) throw refused(`it is longer than ${HANDOVERS_MAX_BYTES} bytes`);
  const top = new ValueReader('trust-root-malformed', 'handovers', parseStrictJsonBytes(bytes));
  const read = top.members(['v', 'kind', 'handovers']);
  if (read.v.value !== 1) throw read.v.refusal('it must be 1');
  if (read.kind.value !== 'trust-handovers') throw read.kind.refusal('it must be "trust-handovers"');
  return read.handovers.list(MOST_HANDOVERS).map((each) => {
    const one = each.members(['root_key', 'document', 'signature', 'handover']);
    const rootKey = one.root_key.text(8_192);
    if (!KEY_LINE.test(rootKey)) throw one.root_key.refusal('it must be a public key line without a comment');
    return {
      rootKey,
      document: readLines(one.document, TRUST_DOCUMENT_MAX_BYTES),
      signature: readLines(one.signature, LONGEST_SIGNATURE),
      handover: readLines(one.handover, LONGEST_SIGNATURE),
    };
  });
}

/** A text of several lines. */
function readLines(reader: ValueReader, longest: number): string {
  const { value } = reader;
  if (typeof value !== 'string' || value === '' || value.length > longest)
    throw reader.refusal(`it must be a text of 1 to ${longest} characters`);
  return value;
}

function refused(what: string): ProtocolError {
  return new ProtocolError('trust-root-malformed', `the handover of the root key is refused: ${what}`);
}
