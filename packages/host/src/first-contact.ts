/**
 * The first contact with a CA (DESIGN.md section 6, ATTACKS.md E4): its trust documents are asked for before anything is
 * shown to it, and believed when the root is signed by the key whose fingerprint the host was given, by its token or by a
 * file. Until then no token is used.
 */

import type { Outside } from '@beacon/client';
import { TRUST_ROOT_NAMESPACE } from '@beacon/protocol/trust';
import { HANDOVERS_FILE } from '@beacon/protocol/trust-handover';
import { SshError } from '@beacon/ssh/error';
import { fingerprint, formatPublicKeyLine, type PublicKey, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { verifyMessage } from '@beacon/ssh/sshsig';
import { HostError } from './error.ts';
import { fetchTrust } from './fetch-trust.ts';
import type { TrustFiles, VerifiedTrust } from './trust-documents.ts';

export interface FirstContact {
  /** The key that signed the root, one line: what the host pins. */
  readonly rootKey: string;
  /** All that `prepareHost` verifies. */
  readonly files: TrustFiles;
}

/**
 * `pinned` is `SHA256:…`; `known` is what a host has that was one before, and has perhaps followed its root key to another.
 * Throws HostError `root-key-differs`, `answer-malformed`, ClientError `unreachable`, …
 */
export async function meetCa(
  outside: Outside,
  ca: string,
  pinned: string,
  known?: VerifiedTrust,
): Promise<FirstContact> {
  const fetched = await fetchTrust(outside, ca, undefined);
  if (fetched === undefined) throw new HostError('answer-malformed', 'the CA has no trust documents');
  const signer = signerOf(fetched.files);
  const followed = signer === undefined || known === undefined ? undefined : follow(signer, pinned, known);
  if (followed !== undefined)
    return { rootKey: followed.rootKey, files: { ...fetched.files, ...followed.files } };
  if (signer === undefined || fingerprint(signer) !== pinned) {
    const shown = signer === undefined ? 'nobody' : fingerprint(signer);
    throw new HostError(
      'root-key-differs',
      `the trust root at ${ca} is signed by ${shown} and not by ${pinned}: no token was shown to it; is that your CA, and the token of today's root key?`,
    );
  }
  return { rootKey: formatPublicKeyLine(signer), files: fetched.files };
}

/** Where this host has followed from its pinned key to this signer: that key, and how it came about. */
function follow(
  signer: PublicKey,
  pinned: string,
  { rootKeys, files }: VerifiedTrust,
): { readonly rootKey: string; readonly files: Partial<TrustFiles> } | undefined {
  const [first, ...further] = rootKeys;
  const handovers = files[HANDOVERS_FILE];
  if (first === undefined || further.at(-1) !== formatPublicKeyLine(signer)) return undefined;
  const isKnown = rootKeys.some((line) => fingerprint(parsePublicKeyLine(line).key) === pinned);
  return isKnown && handovers !== undefined
    ? { rootKey: first, files: { [HANDOVERS_FILE]: handovers } }
    : undefined;
}

function signerOf(files: TrustFiles): PublicKey | undefined {
  try {
    return verifyMessage({
      signature: files['root.json.sig'].toString('latin1'),
      namespace: TRUST_ROOT_NAMESPACE,
      message: files['root.json'],
    });
  } catch (error) {
    if (error instanceof SshError) return undefined;
    throw error;
  }
}
