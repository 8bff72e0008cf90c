/**
 * Which key certifies (DESIGN.md section 6). A process opens what its `ca.yaml` names, the key in use and perhaps the
 * next; which of them signs is a row of the store, looked at in the transaction of each certificate, so that the next one
 * never signs before it was activated, nor does one process still sign with the key that another has left.
 */
import { fingerprint, formatPublicKeyLine, type PublicKey } from '@beacon/ssh/public-key';
import type { HostCa, UserCa } from '@beacon/ssh/sign-certificate';
import { rowDigest, unverified } from './administrative-row.ts';
import type { Ca, Readable, Tx } from './ca.ts';
import { type CaKeyKind, type KnownKey, leaveSigning, putCaKey, readSigning } from './ca-key-store.ts';
import { CaError } from './error.ts';
import { claimSubjectKey, readCounter } from './store.ts';
import { readLatestRoot } from './trust-store.ts';

/** The counter that holds the number of the newest record `restored`. */
export const RESTORED_COUNTER = 'restored';

export interface CaKey<Key extends UserCa | HostCa = UserCa | HostCa> {
  readonly kind: CaKeyKind;
  /** What this process can sign with: what `user_ca` or `host_ca` names, then the next. */
  readonly opened: readonly [Key, ...Key[]];
  /** The key that signs now. Throws CaError `ca-key-revoked`, `ca-key-missing` or `row-unverified`. */
  signing(store: Readable): Promise<Key>;
}

export function createCaKey<Key extends UserCa | HostCa>(
  ca: Pick<Ca, 'records'>,
  kind: CaKeyKind,
  opened: readonly [Key, ...Key[]],
): CaKey<Key> {
  const keys = new Map(opened.map((key) => [fingerprint(key.publicKey), key]));
  let verified: string | undefined;
  return {
    kind,
    opened,
    async signing(store) {
      const row = await readSigning(store, kind);
      if (row === undefined) throw missing(kind);
      if (row.revoked_at !== null)
        throw new CaError(
          'ca-key-revoked',
          "this CA's key is revoked: its operator must put a new one in its place",
        );
      if (verified !== row.record_hash) await requireRecorded(ca, store, row);
      verified = row.record_hash;
      const key = keys.get(row.fingerprint);
      if (key === undefined) throw missing(kind);
      return key;
    },
  };
}

/** Throws CaError `row-unverified` unless the row's record names it. */
async function requireRecorded(ca: Pick<Ca, 'records'>, store: Readable, row: KnownKey): Promise<void> {
  const record = await ca.records.get(store, row.record_seq);
  const named = record?.hash === row.record_hash && record.fields.facts?.['row'] === digestOf(row);
  if (!named) throw unverified(row.record_seq);
}

function digestOf({ kind, fingerprint: print, public_key: line }: Omit<KeyOf, 'since'>): string {
  return rowDigest('ca_keys', print, `${kind}\n${line}`);
}

type KeyOf = Pick<KnownKey, 'kind' | 'fingerprint' | 'public_key' | 'since'>;

function missing(kind: CaKeyKind): CaError {
  return new CaError(
    'ca-key-missing',
    `this process does not have the ${kind} CA key that signs now: its operator must name it in ca.yaml, and restart it`,
  );
}

/** What a record of a key that begins to sign says beyond the key. */
export type TakingEntry = Pick<
  Parameters<Ca['records']['append']>[1],
  'kind' | 'person' | 'service' | 'facts'
>;

/** From this transaction on the key signs, and belongs to nobody else. Answers where that is recorded. */
export async function takeIntoUse(
  ca: Pick<Ca, 'records' | 'now'>,
  tx: Tx,
  key: { readonly kind: CaKeyKind; readonly publicKey: PublicKey },
  entry: TakingEntry,
): Promise<{ seq: number; hash: string }> {
  const row = {
    kind: key.kind,
    fingerprint: fingerprint(key.publicKey),
    public_key: formatPublicKeyLine(key.publicKey),
    since: ca.now().getTime(),
  };
  const { seq, hash } = await ca.records.append(tx, {
    ...entry,
    facts: { ...entry.facts, authority: row.kind, key: row.fingerprint, row: digestOf(row) },
  });
  const isPublished = (await readLatestRoot(tx)) !== undefined;
  await leaveSigning(tx, row.kind, isPublished ? 'former' : 'retired');
  await putCaKey(tx, { ...row, state: 'signs', record_seq: seq, record_hash: hash });
  await claimSubjectKey(tx, row.fingerprint, 'ca');
  return { seq, hash };
}

/**
 * At the start of a process: the first key of a store is the one that `ca.yaml` names. So is another in place of one that
 * was revoked, while no root is published, and after a restore, since which another may have been activated. Throws
 * CaError `keys` when this process cannot sign with the key that signs, so that none is exchanged before hosts trust it.
 */
export async function settleCaKey(
  ca: Pick<Ca, 'records' | 'now'>,
  tx: Tx,
  { kind, opened }: CaKey,
): Promise<void> {
  const row = await readSigning(tx, kind);
  const [own] = opened;
  if (row !== undefined && row.revoked_at === null) {
    if (opened.some(({ publicKey }) => fingerprint(publicKey) === row.fingerprint)) return;
    const isPublished = (await readLatestRoot(tx)) !== undefined;
    const mayHaveChanged = row.record_seq < (await readCounter(tx, RESTORED_COUNTER));
    if (isPublished && !mayHaveChanged) throw exchanged(kind, row, own);
  }
  const revoked = new Set(
    (await tx.selectFrom('authority_revocations').select('fingerprint').execute()).map(
      (one) => one.fingerprint,
    ),
  );
  const first = opened.find(({ publicKey }) => !revoked.has(fingerprint(publicKey)));
  if (first === undefined && row !== undefined) return;
  const { publicKey } = first ?? own;
  await takeIntoUse(ca, tx, { kind, publicKey }, { kind: 'ca-key', facts: {} });
}

function exchanged(kind: CaKeyKind, row: KnownKey, own: UserCa | HostCa): CaError {
  const [now, wanted] = [row.fingerprint, fingerprint(own.publicKey)];
  return new CaError(
    'keys',
    `keys.${kind}_ca is ${wanted}, and this CA signs with ${now} until hosts trust another: name ${now} as keys.${kind}_ca and ${wanted} as keys.${kind}_ca_next, start, and see \`beacon ca rotate\`; or revoke a key that was stolen, or say \`beacon ca rotate lost --for ${kind}\` of one that is lost`,
  );
}

/**
 * Whether an agent has the key that signs, before a serial is taken. Keys that lie in this process are there: nothing is
 * asked. Throws CaError as `signing` does, or what an agent without the key throws.
 */
export async function requireReady(ca: Pick<Ca, 'store'>, key: CaKey): Promise<void> {
  if (key.opened.some(({ ready }) => ready !== undefined)) await (await key.signing(ca.store)).ready?.();
}

/** Whether the process serves: a key that was revoked takes nothing away from what it still does. */
export async function requireReachable(ca: Pick<Ca, 'store'>, key: CaKey): Promise<void> {
  try {
    await (await key.signing(ca.store)).ready?.();
  } catch (error) {
    if (!(error instanceof CaError && error.code === 'ca-key-revoked')) throw error;
  }
}
