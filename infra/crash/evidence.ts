/** What is there after a kill: read from the store by a process of its own, and asked of the server that runs again. */
import { openDatabase, verifyRecords } from '@beacon/server';
import { decodeKrl } from '@beacon/ssh/krl';
import { hasSerial } from '@beacon/ssh/krl-serials';
import type { Tables } from '../../packages/ca/src/ca.ts';
import { type Caller, insist, prepare, send } from './caller.ts';
import type { Evidence, Replay } from './judge.ts';
import { anchorsOf, type Ledger } from './ledger.ts';
import { noteCertificate, type Sent } from './load.ts';
import type { Victim } from './victim.ts';

/** All that the judge wants but the replays. */
export type StoreEvidence = Omit<Evidence, 'replays' | 'endedSessions'>;

/** Reads what came after the record `after`; verifies the whole chain, with every anchor of the ledger, when `whole`. */
export async function gatherEvidence(
  victim: Victim,
  ledger: Ledger,
  { after, whole }: { readonly after: number; readonly whole: boolean },
): Promise<StoreEvidence & { readonly head: number }> {
  const list = await insist(async () =>
    decodeKrl(Buffer.from(await (await fetch(`${victim.url}/v1/krl`)).arrayBuffer())),
  );
  const store = openDatabase<Tables>({ ...victim.store, readOnly: true });
  try {
    const records = await store
      .selectFrom('records')
      .select(['seq', 'hash', 'kind', 'host', 'line'])
      .where('chain', '=', 'ca')
      .where('seq', '>', after)
      .orderBy('seq')
      .execute();
    const certificates = await store
      .selectFrom('certificates')
      .select(['serial', 'public_key', 'revoked_at', 'record_seq', 'record_hash'])
      .where('record_seq', '>', after)
      .orderBy('record_seq')
      .execute();
    const before = await store
      .selectFrom('certificates')
      .select('serial')
      .where('record_seq', '<=', after)
      .orderBy('serial', 'desc')
      .limit(1)
      .executeTakeFirst();
    const revoked = await store
      .selectFrom('certificates')
      .select('serial')
      .where('revoked_at', 'is not', null)
      .execute();
    return {
      chain: whole
        ? await verifyRecords(store, { chain: 'ca', anchors: anchorsOf(ledger.whole) })
        : undefined,
      head: records.at(-1)?.seq ?? after,
      records: new Map(records.map(({ seq, hash }) => [seq, hash])),
      refusedHosts: new Set(
        records.flatMap(({ kind, host }) => (kind === 'refused' && host !== null ? [host] : [])),
      ),
      certificates: certificates.map((row) => ({
        serial: BigInt(row.serial).toString(),
        publicKey: row.public_key,
        revoked: row.revoked_at !== null,
        record: { seq: row.record_seq, hash: row.record_hash },
      })),
      serialBefore: BigInt(before?.serial ?? 0),
      recordedSerials: records.filter(({ kind }) => kind === 'certificate').map(({ line }) => serialOf(line)),
      revoked: new Set(revoked.map(({ serial }) => BigInt(serial).toString())),
      listed: (serial) => list.authorities.some(({ serials }) => hasSerial(serials, BigInt(serial))),
    };
  } finally {
    await store.destroy();
  }
}

function serialOf(line: string): string {
  return (JSON.parse(line) as { facts: { serial: string } }).facts.serial;
}

/** Shows requests once more. One that was under way at the kill, and counts only now, is written down. */
export async function showAgain(victim: Victim, ledger: Ledger, sent: readonly Sent[]): Promise<Replay[]> {
  const replays: Replay[] = [];
  for (const { request, status, publicKey } of sent) {
    const reply = await insist(() => send(victim.url, request));
    if (reply.status === 201 && publicKey !== undefined) noteCertificate(ledger, reply, publicKey);
    const { code } = reply.body;
    replays.push({
      path: request.path,
      before: status,
      status: reply.status,
      code: typeof code === 'string' ? code : '',
    });
  }
  return replays;
}

/** The status that the token of an ended session gets, with a fresh proof. */
export async function tryEnded(victim: Victim, leaving: Caller): Promise<number> {
  const request = await prepare(victim.url, leaving, 'GET', '/v1/sessions/current');
  return (await insist(() => send(victim.url, request))).status;
}
