/**
 * Taking back: certificates by serial, grant, person or public key, and a CA's own key. What is revoked is durable before
 * the answer, is kept as serials of what has not expired, and reaches hosts by the list of `krl.ts`.
 */
import type { RevocationAnswer, RevocationRequest } from '@beacon/protocol/http/revocations';
import { fingerprint, formatPublicKeyLine, type PublicKey, parsePublicKeyLine } from '@beacon/ssh/public-key';
import type { Caller } from './access-token.ts';
import { requireAuthority } from './authority.ts';
import type { Ca, Readable, Tx } from './ca.ts';
import { readCaKeyRows } from './ca-key-store.ts';
import { CaError } from './error.ts';
import type { CertificateRow } from './rows.ts';
import { bumpCounter, storedSerial } from './store.ts';
import { write } from './write.ts';

/** Throws CaError: denied unless all that matches is the caller's own or policy gives `ca.revoke`; `…-unknown`. */
export async function revoke(
  ca: Ca,
  caller: Caller,
  request: RevocationRequest,
  ip: string,
): Promise<RevocationAnswer> {
  const own = await isOwn(ca, caller, request);
  if (!own) await requireAuthority(ca, caller, 'ca.revoke', ip);
  const done = await write(ca, caller, async (tx) => {
    const nowMs = ca.now().getTime();
    const matching = await liveCertificates(tx, ca, request);
    const fresh = matching.filter((row) => row.revoked_at === null);
    if (matching.length === 0) await requireKnown(tx, request);
    if (request.by === 'public_key') await revokeSubjectKey(tx, request.value, nowMs);
    if (request.by === 'ca_key') {
      await revokeCaKey(tx, await findCaKey(tx, request.value), new Date(nowMs));
    }
    const sessions =
      request.by === 'person' ? await ca.sessions.endAllOf(tx, request.value, 'revocation') : 0;
    const record = await ca.records.append(tx, {
      kind: 'revocation',
      person: caller.person,
      service: caller.service,
      facts: {
        by: request.by,
        value:
          request.by === 'public_key' || request.by === 'ca_key'
            ? keyFingerprint(request.value)
            : request.value,
        reason: request.reason,
        halt: request.halt ?? false,
        serials: fresh.map((row) => BigInt(row.serial).toString()),
        sessions_ended: sessions,
        source: await ca.records.hide(tx, ip, caller.person),
      },
    });
    for (const row of matching) {
      await tx
        .updateTable('certificates')
        .set({
          revoked_at: await revokedAt(tx, request, row, nowMs),
          halted: request.halt === true ? 1 : row.halted,
        })
        .where('serial', '=', row.serial)
        .execute();
    }
    await bumpCounter(tx, 'krl');
    return {
      revoked: fresh.map((row) => BigInt(row.serial).toString()),
      already: matching.length - fresh.length,
      sessions_ended: sessions,
      record: { seq: record.seq, hash: record.hash },
    };
  });
  if (done.sessions_ended > 0) await ca.sessions.releaseTokens();
  return done;
}

/** A host renews what went with its CA key alone; what is named by itself after that is not renewed. */
async function revokedAt(
  tx: Tx,
  { by }: RevocationRequest,
  { kind, authority, revoked_at: before }: CertificateRow,
  nowMs: number,
): Promise<number> {
  if (before === null) return nowMs;
  if (kind !== 'host' || by === 'ca_key') return before;
  const withItsCa = await tx
    .selectFrom('authority_revocations')
    .select('revoked_at')
    .where('fingerprint', '=', authority)
    .executeTakeFirst();
  return withItsCa?.revoked_at === before ? Math.max(nowMs, before + 1) : before;
}

/** Whether what is named belongs to the caller alone. What does not exist is nobody's. */
async function isOwn(ca: Ca, caller: Caller, request: RevocationRequest): Promise<boolean> {
  switch (request.by) {
    case 'serial':
      return (
        (await certificateOf(ca.store, 'serial', storedSerial(BigInt(request.value))))?.person ===
        caller.person
      );
    case 'grant':
      return (await certificateOf(ca.store, 'grant_id', request.value))?.person === caller.person;
    case 'person':
      return request.value === caller.person;
    case 'public_key': {
      const key = keyFingerprint(request.value);
      const row = await ca.store
        .selectFrom('subject_keys')
        .select('owner')
        .where('fingerprint', '=', key)
        .executeTakeFirst();
      return row?.owner === caller.person;
    }
    case 'ca_key':
      return false;
  }
}

function certificateOf(
  store: Readable,
  column: 'serial' | 'grant_id',
  value: string,
): Promise<CertificateRow | undefined> {
  return store.selectFrom('certificates').selectAll().where(column, '=', value).executeTakeFirst();
}

/** What the request names among certificates that have not expired. */
async function liveCertificates(tx: Tx, ca: Ca, request: RevocationRequest): Promise<CertificateRow[]> {
  const live = tx.selectFrom('certificates').selectAll().where('valid_before', '>', ca.now().getTime());
  switch (request.by) {
    case 'serial':
      return live.where('serial', '=', storedSerial(BigInt(request.value))).execute();
    case 'grant':
      return live.where('grant_id', '=', request.value).execute();
    case 'person':
      return live.where('person', '=', request.value).execute();
    case 'public_key':
      return live.where('public_key', '=', keyFingerprint(request.value)).execute();
    case 'ca_key':
      return live.where('authority', '=', keyFingerprint(request.value)).execute();
  }
}

/** A serial or grant that was never issued is a slip of the keyboard; one that has expired needs no revocation. */
async function requireKnown(tx: Tx, request: RevocationRequest): Promise<void> {
  if (request.by !== 'serial' && request.by !== 'grant') return;
  const [column, value] =
    request.by === 'serial'
      ? (['serial', storedSerial(BigInt(request.value))] as const)
      : (['grant_id', request.value] as const);
  if ((await certificateOf(tx, column, value)) === undefined) {
    throw new CaError(
      'certificate-unknown',
      `no certificate has the ${request.by} ${request.value}: see \`beacon records tail\``,
    );
  }
}

/** A key that is revoked is never certified again, whoever asks. */
async function revokeSubjectKey(tx: Tx, value: string, nowMs: number): Promise<void> {
  await tx
    .insertInto('subject_keys')
    .values({ fingerprint: keyFingerprint(value), owner: 'revoked', revoked_at: nowMs })
    .onConflict((conflict) => conflict.column('fingerprint').doUpdateSet({ revoked_at: nowMs }))
    .execute();
}

async function findCaKey(tx: Tx, value: string): Promise<PublicKey> {
  const wanted = keyFingerprint(value);
  const known = (await readCaKeyRows(tx)).find((row) => row.fingerprint === wanted);
  const key = known === undefined ? asKey(value) : parsePublicKeyLine(known.public_key).key;
  if (key !== undefined) return key;
  throw new CaError(
    'ca-key-unknown',
    `${wanted} is no key of this CA: give the whole public key line to revoke an old one`,
  );
}

/** The key certifies nothing more, and what it has certified is revoked with it. The list's version is for the caller to raise. */
export async function revokeCaKey(tx: Tx, key: PublicKey, at: Date): Promise<void> {
  const [print, nowMs] = [fingerprint(key), at.getTime()];
  await revokeSubjectKey(tx, print, nowMs);
  await tx
    .insertInto('authority_revocations')
    .values({ fingerprint: print, public_key: formatPublicKeyLine(key), revoked_at: nowMs })
    .onConflict((conflict) => conflict.column('fingerprint').doNothing())
    .execute();
  await tx
    .updateTable('certificates')
    .set({ revoked_at: nowMs })
    .where('authority', '=', print)
    .where('revoked_at', 'is', null)
    .where('valid_before', '>', nowMs)
    .execute();
}

function asKey(value: string): PublicKey | undefined {
  if (value.startsWith('SHA256:')) return undefined;
  try {
    return parsePublicKeyLine(value).key;
  } catch (error) {
    throw new CaError('public-key-malformed', 'the value is neither a fingerprint nor a public key line', {
      cause: error,
    });
  }
}

function keyFingerprint(value: string): string {
  const key = asKey(value);
  return key === undefined ? value : fingerprint(key);
}
