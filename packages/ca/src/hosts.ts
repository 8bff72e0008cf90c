/** The hosts that certificates can be issued for: registered by administrators, each row bound to its record. */
import type { HostRequest } from '@beacon/protocol/http/hosts';
import { formatPublicKeyLine, type PublicKey } from '@beacon/ssh/public-key';
import type { Caller } from './access-token.ts';
import { rowDigest, unverified, verifyRow } from './administrative-row.ts';
import { requireAuthority } from './authority.ts';
import type { Ca, Readable, Tx } from './ca.ts';
import { requireReady } from './ca-key.ts';
import { CaError } from './error.ts';
import {
  hostCertificateFacts,
  hostCertificateLife,
  type IssuedHostCertificate,
  insertHostCertificate,
  type Life,
  type RecordedHostCertificate,
  signHost,
  takeHostSerial,
} from './host-certificate.ts';
import { readSubjectKey } from './request.ts';
import type { HostRow } from './rows.ts';
import { lastHostRecord, readHost } from './store.ts';
import { createTurns } from './turn.ts';
import { write } from './write.ts';

/** What a host row holds, as the exact JSON text that its digest covers. */
export interface HostContent {
  readonly address: string;
  readonly port: number;
  readonly logins: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly pools: readonly string[];
  /** One public key line without comment. */
  readonly host_key: string;
  /** Of a host that enrolled itself: by which token, whose, and when. */
  readonly enrolled?: { readonly token: string; readonly person: string; readonly at: string };
}

export interface Host extends HostContent {
  readonly id: string;
  readonly state: 'enabled' | 'disabled';
  readonly recordSeq: number;
}

/** The host, its row verified. Throws CaError `host-unknown` or `row-unverified`. */
export async function findHost(ca: Ca, id: string, store: Readable = ca.store): Promise<Host> {
  const row = await readHost(store, id);
  if (row === undefined)
    throw new CaError('host-unknown', `there is no host ${id}: see \`beacon ca host list\``);
  return verifiedHost(ca, row, store);
}

/** Why nothing is issued for the host, if so. */
export function hostRefusal({ id, state }: Pick<Host, 'id' | 'state'>): CaError | undefined {
  if (state === 'enabled') return undefined;
  return new CaError('host-disabled', `the host ${id} is disabled: ask an administrator`);
}

/** Rows verified at once: a database elsewhere is not waited for one by one, and no turn becomes long. */
const AT_ONCE = 16;

/** All hosts in the order of their ids, each verified. */
export async function listHosts(ca: Ca): Promise<Host[]> {
  const rows = await ca.store.selectFrom('hosts').selectAll().orderBy('id').execute();
  const nextTurn = createTurns();
  const hosts: Host[] = [];
  for (let at = 0; at < rows.length; at += AT_ONCE) {
    hosts.push(...(await Promise.all(rows.slice(at, at + AT_ONCE).map((row) => listedHost(ca, row)))));
    await nextTurn();
  }
  return hosts;
}

/** Verified as it was read, or as it is now when it was changed meanwhile. */
async function listedHost(ca: Ca, row: HostRow): Promise<Host> {
  try {
    return await verifiedHost(ca, row, ca.store);
  } catch (error) {
    if (!(error instanceof CaError && error.code === 'row-unverified')) throw error;
    return findHost(ca, row.id);
  }
}

/** The row as a host. Throws CaError `row-unverified`. */
export async function verifiedHost(ca: Ca, row: HostRow, store: Readable): Promise<Host> {
  const digest = hostDigest(row.id, row.content, row.state);
  await verifyRow(ca.records, store, row, digest, await lastHostRecord(store, row.id));
  return {
    ...(JSON.parse(row.content) as HostContent),
    id: row.id,
    state: row.state,
    recordSeq: row.record_seq,
  };
}

/** Throws CaError `row-unverified` when there once was a host with this id, whose row somebody took away. */
export async function requireUnknown(id: string, store: Readable): Promise<void> {
  const last = await lastHostRecord(store, id);
  if (last !== undefined) throw unverified(last.seq);
}

/** What a record says of a host's row. */
export function hostDigest(id: string, content: string, state: string): string {
  return rowDigest('hosts', id, `${state}\n${content}`);
}

/**
 * Registers a host and signs its certificate. With an id that is there: `host-exists`, unless key and content are the
 * same, which renews the certificate. Throws CaError (`denied` without ca.hosts).
 */
export async function addHost(
  ca: Ca,
  caller: Caller,
  request: HostRequest,
  ip: string,
): Promise<IssuedHostCertificate & { host: Host }> {
  await requireAuthority(ca, caller, 'ca.hosts', ip);
  const key = readSubjectKey(request.host_key);
  const { id, address, port, labels, pools } = request;
  const logins = [...new Set(request.logins)];
  const content = JSON.stringify({
    address,
    port,
    logins,
    labels,
    pools,
    host_key: formatPublicKeyLine(key),
  });
  const life = hostCertificateLife(ca.now());

  ca.requireClock();
  await requireReady(ca, ca.hostCa);
  const written = await write(ca, caller, async (tx) => {
    const before = await tx.selectFrom('hosts').selectAll().where('id', '=', id).executeTakeFirst();
    if (before === undefined) await requireUnknown(id, tx);
    else await verifiedHost(ca, before, tx);
    if (before !== undefined && before.content !== content) {
      throw new CaError(
        'host-exists',
        `the host ${id} is registered with other values: an id once taken is not given again`,
      );
    }
    if (before?.state === 'disabled')
      throw new CaError('host-disabled', `the host ${id} is disabled: enable it first`);
    return certifyHost(
      ca,
      tx,
      { id, content, key, life },
      {
        kind: before === undefined ? 'host-added' : 'host-certificate',
        person: caller.person,
        service: caller.service,
      },
    );
  });
  return {
    ...(await signHost(written)),
    host: { ...(JSON.parse(content) as HostContent), id, state: 'enabled', recordSeq: written.record.seq },
  };
}

/** Takes a host out of use or back into it. Throws CaError `host-unknown`, or denied without ca.hosts. */
export async function setHostState(
  ca: Ca,
  caller: Caller,
  change: { id: string; state: Host['state']; reason: string },
  ip: string,
): Promise<{ host: Host; record: { seq: number; hash: string } }> {
  await requireAuthority(ca, caller, 'ca.hosts', ip);
  return write(ca, caller, async (tx) => {
    const row = await tx.selectFrom('hosts').selectAll().where('id', '=', change.id).executeTakeFirst();
    if (row === undefined)
      throw new CaError('host-unknown', `there is no host ${change.id}: see \`beacon ca host list\``);
    const host = await verifiedHost(ca, row, tx);
    const record = await ca.records.append(tx, {
      kind: change.state === 'enabled' ? 'host-enabled' : 'host-disabled',
      person: caller.person,
      service: caller.service,
      host: change.id,
      facts: { row: hostDigest(change.id, row.content, change.state), reason: change.reason },
    });
    await putHost(tx, { ...row, state: change.state, record_seq: record.seq, record_hash: record.hash });
    return { host: { ...host, state: change.state }, record: { seq: record.seq, hash: record.hash } };
  });
}

/**
 * An enabled host's row with its record and the certificate that goes with it; `signHost` signs what is durable. Throws
 * CaError `ca-key-…`, `key-in-use` or `key-revoked`.
 */
export async function certifyHost(
  ca: Ca,
  tx: Tx,
  { id, content, key, life }: Certified,
  entry: Pick<Parameters<Ca['records']['append']>[1], 'kind' | 'person' | 'service' | 'facts'>,
): Promise<RecordedHostCertificate> {
  const planned = { ...(await takeHostSerial(tx, ca, id, key)), host: id, key, life };
  const row = hostDigest(id, content, 'enabled');
  const { seq, hash } = await ca.records.append(tx, {
    ...entry,
    host: id,
    facts: { row, ...entry.facts, ...hostCertificateFacts(planned) },
  });
  await putHost(tx, { id, content, state: 'enabled', record_seq: seq, record_hash: hash });
  const recorded = { ...planned, record: { seq, hash } };
  await insertHostCertificate(tx, recorded);
  return recorded;
}

interface Certified {
  readonly id: string;
  readonly content: string;
  readonly key: PublicKey;
  readonly life: Life;
}

/** Writes a row whose record is written. */
async function putHost(tx: Tx, row: HostRow): Promise<void> {
  const { id, ...rest } = row;
  await tx
    .insertInto('hosts')
    .values(row)
    .onConflict((conflict) => conflict.column('id').doUpdateSet(rest))
    .execute();
}
