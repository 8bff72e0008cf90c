/**
 * `GET /v1/krl`: the revocation list that hosts load (OpenSSH's PROTOCOL.krl). It is made from the store: the serials of
 * revoked certificates that have not expired for an hour, by authority, and the authority keys that are revoked themselves. Its
 * version rises with every revocation. Public: it tells serials, which tell nobody anything.
 */
import { encodeKrl } from '@beacon/ssh/krl';
import { fingerprint, parsePublicKeyLine } from '@beacon/ssh/public-key';
import type { Ca } from './ca.ts';
import { readCaKeyRows } from './ca-key-store.ts';
import { readCounter } from './store.ts';

/** How long a list may be handed out again when nothing was revoked: only what has expired could leave it. */
const KEPT_MS = 60_000;
/** How long an expired serial stays in the list, for hosts whose clock is late. */
export const LATE_CLOCK_MS = 3_600_000;

export interface PublishedKrl {
  readonly version: bigint;
  readonly bytes: Buffer;
}

/** A function that answers the present list. */
export function createKrl(ca: Pick<Ca, 'store' | 'now'>): () => Promise<PublishedKrl> {
  let kept: (PublishedKrl & { readonly madeMs: number }) | undefined;
  return async () => {
    const version = await readCounter(ca.store, 'krl');
    const nowMs = ca.now().getTime();
    if (kept?.version === version && Math.abs(nowMs - kept.madeMs) < KEPT_MS) return kept;
    kept = { version, bytes: await makeKrl(ca, version), madeMs: nowMs };
    return kept;
  };
}

/** The list of this moment, under this version. */
export async function makeKrl(ca: Pick<Ca, 'store' | 'now'>, version: bigint): Promise<Buffer> {
  const rows = await ca.store
    .selectFrom('certificates')
    .select(['serial', 'authority'])
    .where('revoked_at', 'is not', null)
    .where('valid_before', '>', ca.now().getTime() - LATE_CLOCK_MS)
    .execute();
  const revokedAuthorities = await ca.store
    .selectFrom('authority_revocations')
    .select('public_key')
    .execute();
  const keys = revokedAuthorities.map((row) => parsePublicKeyLine(row.public_key).key);
  const known = (await readCaKeyRows(ca.store)).map((row) => parsePublicKeyLine(row.public_key).key);
  const authorities = [...known, ...keys].filter(
    (key, index, all) => all.findIndex((other) => other.blob.equals(key.blob)) === index,
  );
  return encodeKrl({
    version,
    generated: ca.now(),
    comment: 'beacon',
    authorities: authorities
      .map((key) => ({
        ca: key,
        serials: rows.filter((row) => row.authority === fingerprint(key)).map((row) => BigInt(row.serial)),
        keyIds: [],
      }))
      .filter(({ serials }) => serials.length > 0),
    keys,
  });
}
