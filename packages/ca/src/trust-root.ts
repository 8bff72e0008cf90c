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
import type { Ca, Tx } from './ca.ts';
import { describeHold, readHold } from './ca-key-hold.ts';
import { type CaKeyKind, type KnownKey, noteNamed, readCaKeyRows } from './ca-key-store.ts';
import { CaError } from './error.ts';
import { revokeCaKey } from './revoke.ts';
import { bumpCounter } from './store.ts';
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
 * for this CA), `trust-root-version`, `trust-root-handover`, `rotation-waits`.
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
  requireUsable(ca, root);
  return write(ca, caller, async (tx) => {
    const before = await readLatestRoot(tx);
    requireNext(before, root);
    requireHandover(before, trust.root, request, bytes);
    const known = await readCaKeyRows(tx);
    requireOwnKeys(trust, root, known);
    const left = leftOut(root, known);
    if (request.now !== true) await requireNothingHeld(ca, tx, left);
    const revoked = request.now === true ? left.filter(({ since }) => since > 0) : [];
    for (const key of revoked) await revokeCaKey(tx, parseKey(key.public_key), ca.now());
    if (revoked.length > 0) await bumpCounter(tx, 'krl');
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
        left_out: left.map((key) => key.fingerprint),
        revoked: revoked.map((key) => key.fingerprint),
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
    await noteNamed(tx, namedKeys(root, { record_seq: record.seq, record_hash: record.hash }));
    return { version: root.version, record: { seq: record.seq, hash: record.hash } };
  });
}

function namedKeys(root: TrustRoot, record: { readonly record_seq: number; readonly record_hash: string }) {
  const of = (kind: CaKeyKind, lines: readonly string[]) =>
    lines.map((line) => ({ kind, fingerprint: fingerprintOf(line), public_key: line, ...record }));
  return [...of('user', root.userCa), ...of('host', root.hostCa)];
}

/** What hosts trust until now and this root does not name. */
function leftOut(root: TrustRoot, known: readonly KnownKey[]): readonly KnownKey[] {
  return known.filter(
    ({ state, kind, public_key: line }) =>
      state !== 'retired' && !(kind === 'user' ? root.userCa : root.hostCa).includes(line),
  );
}

/** Throws CaError `rotation-waits` while something that is right depends on a key that would go. */
async function requireNothingHeld(ca: Ca, tx: Tx, left: readonly KnownKey[]): Promise<void> {
  for (const key of left) {
    const hold = await readHold(tx, key, ca.now());
    if (hold === undefined) continue;
    throw new CaError(
      'rotation-waits',
      `the root leaves out ${key.fingerprint}, a key of the ${key.kind} CA, and ${describeHold(hold)}; wait, or if the key was stolen publish with --now, which revokes it`,
      { denial: { until: hold.until?.toISOString() ?? null, hosts: hold.hosts.slice(0, 1_000) } },
    );
  }
}

/** Throws CaError `trust-root-refused` for a root by which hosts could not go on with this CA. */
function requireOwnKeys(trust: TrustKeys, root: TrustRoot, known: readonly KnownKey[]): void {
  for (const { kind, state, fingerprint: print, public_key: line, revoked_at: revokedAt } of known) {
    const isNamed = (kind === 'user' ? root.userCa : root.hostCa).includes(line);
    if (isNamed && revokedAt !== null) throw refused(`${kind}_ca names ${print}, which is revoked`);
    if (!isNamed && revokedAt === null && state === 'signs')
      throw refused(`hosts could not go on with this CA: ${kind}_ca lacks ${print}, the key that signs`);
  }
  if (!isSameKey(parseKey(root.statusKey), trust.status.publicKey))
    throw refused("hosts could not go on with this CA: status_key is not this CA's");
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

/** What hosts would refuse at once. */
function requireUsable(ca: Ca, root: TrustRoot): void {
  const nowMs = ca.now().getTime();
  const [issuedMs, expiresMs] = [root.issued.getTime(), root.expires.getTime()];
  if (expiresMs <= nowMs) throw refused(`it expired at ${root.expires.toISOString()}`);
  if (issuedMs > nowMs + LATE_CLOCK_MS)
    throw refused(`it was issued in the future, at ${root.issued.toISOString()}`);
  if (expiresMs - issuedMs > LONGEST_LIFE_MS) throw refused('it lives longer than a year');
  if (root.logins.length === 0) throw refused('it names no login');
  for (const line of [...root.userCa, ...root.hostCa]) parseKey(line);
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
