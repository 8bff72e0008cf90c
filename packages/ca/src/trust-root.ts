/**
 * The trust root at the CA (DESIGN.md section 6): an administrator hands in what the offline key has signed, the CA looks
 * whether hosts would take it and whether this CA could go on with it, records it, and publishes it. The CA never holds
 * the key; which key it is stands in its configuration. Refused is what a host would refuse: another signer, another
 * version than the next, a new key without the old one's word, what has expired.
 */
import { ProtocolError } from '@beacon/protocol';
import type { RootPublication } from '@beacon/protocol/http/trust';
import { parseTrustRoot, TRUST_ROOT_NAMESPACE, type TrustRoot } from '@beacon/protocol/trust';
import { handoverMessage, TRUST_HANDOVER_NAMESPACE } from '@beacon/protocol/trust-handover';
import { SshError } from '@beacon/ssh';
import {
  fingerprint,
  formatPublicKeyLine,
  isSameKey,
  type PublicKey,
  parsePublicKeyLine,
} from '@beacon/ssh/public-key';
import type { Signer } from '@beacon/ssh/signature';
import { verifyMessage } from '@beacon/ssh/sshsig';
import type { Caller } from './access-token.ts';
import { requireAuthority } from './authority.ts';
import type { Ca } from './ca.ts';
import { CaError } from './error.ts';
import { insertRoot, readLatestRoot, type TrustRootRow } from './trust-store.ts';
import { write } from './write.ts';

/** The keys of the trust documents: of the root the public half alone. */
export interface TrustKeys {
  readonly root: PublicKey;
  readonly status: Signer;
}

/** A root lives a year; a day more for who draws it up before midnight. */
export const ROOT_LIFE_MS = 365 * 86_400_000;
const LONGEST_LIFE_MS = ROOT_LIFE_MS + 86_400_000;
const LATE_CLOCK_MS = 300_000;

/** The trust keys. Throws CaError `trust-unpublished` when the configuration names none. */
export function requireTrust(ca: { readonly trust?: TrustKeys | undefined }): TrustKeys {
  if (ca.trust === undefined)
    throw new CaError(
      'trust-unpublished',
      'this CA publishes no trust documents: its operator has to name keys.trust_root and keys.trust_status',
    );
  return ca.trust;
}

/**
 * Publishes a root. Throws CaError: denied without `ca.rotate`; `trust-root-refused` (malformed, signature, expired, not
 * for this CA), `trust-root-version`, `trust-root-handover`.
 */
export async function publishRoot(
  ca: Ca,
  caller: Caller,
  request: RootPublication,
  ip: string,
): Promise<{ version: number; record: { seq: number; hash: string } }> {
  await requireAuthority(ca, caller, 'ca.rotate', ip);
  const trust = requireTrust(ca);
  const bytes = Buffer.from(request.document);
  const root = readSignedRoot(request, trust.root);
  requireUsable(ca, trust, root);
  return write(ca, caller, async (tx) => {
    const before = await readLatestRoot(tx);
    requireNext(before, root);
    requireHandover(before, trust.root, request, bytes);
    const record = await ca.records.append(tx, {
      kind: 'trust-root-published',
      person: caller.person,
      service: caller.service,
      facts: {
        version: root.version,
        root_key: fingerprint(trust.root),
        expires: root.expires.toISOString(),
        user_ca: root.userCa.map(fingerprintOf),
        host_ca: root.hostCa.map(fingerprintOf),
        status_key: fingerprintOf(root.statusKey),
        source: await ca.records.hide(tx, ip, caller.person),
      },
    });
    await insertRoot(tx, {
      version: root.version,
      document: request.document,
      signature: request.signature,
      handover: request.handover ?? null,
      root_key: formatPublicKeyLine(trust.root),
      record_seq: record.seq,
      record_hash: record.hash,
    });
    return { version: root.version, record: { seq: record.seq, hash: record.hash } };
  });
}

/** The document, its signature verified. Throws CaError `trust-root-refused`. */
export function readSignedRoot(
  { document, signature }: Pick<RootPublication, 'document' | 'signature'>,
  key: PublicKey,
): TrustRoot {
  const bytes = Buffer.from(document);
  requireSigner(signature, TRUST_ROOT_NAMESPACE, bytes, key, 'the document');
  try {
    return parseTrustRoot(bytes);
  } catch (error) {
    if (error instanceof ProtocolError) throw refused(error.message, error);
    throw error;
  }
}

function requireSigner(
  signature: string,
  namespace: string,
  message: Buffer,
  key: PublicKey,
  what: string,
): void {
  let signer: PublicKey;
  try {
    signer = verifyMessage({ signature, namespace, message });
  } catch (error) {
    if (error instanceof SshError)
      throw refused(`the signature of ${what} does not hold: ${error.message}`, error);
    throw error;
  }
  if (!isSameKey(signer, key))
    throw refused(`${what} is signed by ${fingerprint(signer)}, not by the root key ${fingerprint(key)}`);
}

/** What hosts would refuse at once, or what would lock this CA out of them. */
function requireUsable(ca: Ca, trust: TrustKeys, root: TrustRoot): void {
  const nowMs = ca.now().getTime();
  const [issuedMs, expiresMs] = [root.issued.getTime(), root.expires.getTime()];
  if (expiresMs <= nowMs) throw refused(`it expired at ${root.expires.toISOString()}`);
  if (issuedMs > nowMs + LATE_CLOCK_MS)
    throw refused(`it was issued in the future, at ${root.issued.toISOString()}`);
  if (expiresMs - issuedMs > LONGEST_LIFE_MS) throw refused('it lives longer than a year');
  if (root.logins.length === 0) throw refused('it names no login');
  const named = (lines: readonly string[], key: PublicKey) =>
    lines.some((line) => isSameKey(parseKey(line), key));
  const missing = [
    ...(named(root.userCa, ca.userCa.publicKey) ? [] : ["user_ca lacks this CA's user key"]),
    ...(named(root.hostCa, ca.hostCa.publicKey) ? [] : ["host_ca lacks this CA's host key"]),
    ...(named([root.statusKey], trust.status.publicKey) ? [] : ["status_key is not this CA's"]),
  ];
  for (const line of [...root.userCa, ...root.hostCa]) parseKey(line);
  if (missing.length > 0) throw refused(`hosts could not go on with this CA: ${missing.join(', ')}`);
}

function parseKey(line: string): PublicKey {
  try {
    return parsePublicKeyLine(line).key;
  } catch (error) {
    throw refused(`${line.slice(0, 40)}… is no public key`, error);
  }
}

function requireNext(before: TrustRootRow | undefined, root: TrustRoot): void {
  const next = (before?.version ?? 0) + 1;
  if (root.version === next) return;
  throw new CaError(
    'trust-root-version',
    `the next trust root has version ${next}, this one has ${root.version}: draw it up again with \`beacon ca root draft\``,
  );
}

function requireHandover(
  before: TrustRootRow | undefined,
  key: PublicKey,
  { handover }: RootPublication,
  bytes: Buffer,
): void {
  const line = formatPublicKeyLine(key);
  if (before === undefined || before.root_key === line) {
    if (handover !== undefined)
      throw new CaError('trust-root-handover', 'the root key is the same as before: leave the handover out');
    return;
  }
  const former = parsePublicKeyLine(before.root_key).key;
  if (handover === undefined)
    throw new CaError(
      'trust-root-handover',
      `the root key is a new one: the one before, ${fingerprint(former)}, must hand over; sign with --handover-to`,
    );
  try {
    requireSigner(handover, TRUST_HANDOVER_NAMESPACE, handoverMessage(line, bytes), former, 'the handover');
  } catch (error) {
    if (error instanceof CaError) throw new CaError('trust-root-handover', error.message, { cause: error });
    throw error;
  }
}

function fingerprintOf(line: string): string {
  return fingerprint(parseKey(line));
}

function refused(why: string, cause?: unknown): CaError {
  return new CaError(
    'trust-root-refused',
    `the trust root is refused: ${why}; draw it up with \`beacon ca root draft\` and sign it with \`beacon ca root sign\``,
    cause === undefined ? {} : { cause },
  );
}
