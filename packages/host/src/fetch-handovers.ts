/**
 * Going from the root key that a host knows to the one that signed the newest root (DESIGN.md section 6): root by root in
 * the order of their versions, none left out, each signed by the key before it or handed over by it (TUF 5.3.2 to 5.3.7).
 * What a root that is only passed says, and whether it has expired, is of no interest. Nothing is installed here.
 */
import type { Outside } from '@beacon/client';
import { ProtocolError } from '@beacon/protocol/error';
import { parseTrustRoot, TRUST_ROOT_NAMESPACE } from '@beacon/protocol/trust';
import { type Handover, verifyHandover } from '@beacon/protocol/trust-handover';
import { SshError } from '@beacon/ssh/error';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import { verifyMessage } from '@beacon/ssh/sshsig';
import { HostError } from './error.ts';
import { getSigned, type SignedRoot } from './fetch-trust.ts';
import { isSignedBy } from './trust-documents.ts';

/** From where on: the newest root that is known, 0 for none, and the key that signed it. */
export interface KnownRoot {
  readonly version: number;
  readonly rootKey: string;
}

/** More are not passed at once: a host that was away for longer is enrolled again. */
const MOST_STEPS = 256;

/** The handovers on the way to `newest`; none where the known key signed it. Throws HostError `trust-refused`, … */
export async function fetchHandovers(
  outside: Outside,
  ca: string,
  known: KnownRoot,
  newest: SignedRoot,
): Promise<Handover[]> {
  if (refuseWhere('the newest', () => isRootSignedBy(known.rootKey, newest))) return [];
  const end = refuseWhere('the newest', () => parseTrustRoot(Buffer.from(newest.document)).version);
  if (end <= known.version) throw refused(`root ${end} is signed by another key than the host's`);
  if (end - known.version > MOST_STEPS) throw refused(`it is ${end - known.version} versions ahead`);
  const found: Handover[] = [];
  let key = known.rootKey;
  for (let version = known.version + 1; version <= end; version++) {
    const step = version === end ? newest : await getRoot(outside, ca, version);
    const handover = refuseWhere(`root ${version}`, () => readStep(key, version, step));
    if (handover === undefined) continue;
    found.push(handover);
    key = handover.rootKey;
  }
  return found;
}

async function getRoot(outside: Outside, ca: string, version: number): Promise<SignedRoot> {
  const url = new URL(`/v1/trust/roots/${version}`, ca).href;
  const answer = await getSigned(outside, url, 'root');
  if (answer === undefined) throw refused(`root ${version} is missing`);
  return answer.signed;
}

/** The handover in this root, if it has one. */
function readStep(key: string, version: number, step: SignedRoot): Handover | undefined {
  const is = parseTrustRoot(Buffer.from(step.document)).version;
  if (is !== version) throw refused(`it is root ${is} in the place of root ${version}`);
  if (isRootSignedBy(key, step)) return undefined;
  if (step.handover === undefined) throw refused(`root ${version} is not signed by the key before`);
  const { document, signature, handover } = step;
  const message = Buffer.from(document);
  const signer = verifyMessage({ signature, namespace: TRUST_ROOT_NAMESPACE, message });
  const found = { rootKey: formatPublicKeyLine(signer), document, signature, handover };
  verifyHandover(key, found, isSignedBy);
  return found;
}

function isRootSignedBy(line: string, { document, signature }: SignedRoot): boolean {
  return isSignedBy(line, { signature, namespace: TRUST_ROOT_NAMESPACE, message: Buffer.from(document) });
}

function refuseWhere<Result>(what: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (error instanceof ProtocolError || error instanceof SshError)
      throw refused(`${what}: ${error.message}`, { cause: error });
    throw error;
  }
}

function refused(why: string, options?: ErrorOptions): HostError {
  const advice = 'nothing was changed; find out who sent it, or enrol this host again';
  return new HostError(
    'trust-refused',
    `the way to the newest root key is refused: ${why}: ${advice}`,
    options,
  );
}
