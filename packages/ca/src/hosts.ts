/** The hosts that certificates can be issued for: registered by administrators, each row bound to its record. */
import { randomBytes } from 'node:crypto';
import type { HostRequest } from '@beacon/protocol/http/hosts';
import { formatCertificateLine } from '@beacon/ssh/certificate';
import { fingerprint, formatPublicKeyLine } from '@beacon/ssh/public-key';
import { signHostCertificate } from '@beacon/ssh/sign-certificate';
import type { Caller } from './access-token.ts';
import { rowDigest, unverified, verifyRow } from './administrative-row.ts';
import { requireAuthority } from './authority.ts';
import type { Ca, Readable, Tx } from './ca.ts';
import { CaError } from './error.ts';
import { readSubjectKey } from './request.ts';
import type { HostRow } from './rows.ts';
import { lastHostRecord, nextSerial, readHost, storedSerial } from './store.ts';
import { requireAuthorityInUse, requireKeyOf } from './subject-key.ts';
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
}

export interface Host extends HostContent {
  readonly id: string;
  readonly state: 'enabled' | 'disabled';
  readonly recordSeq: number;
}

/** Host certificates live 30 days (DESIGN.md section 4). */
export const HOST_CERTIFICATE_SECONDS = 30n * 86_400n;
const BACKDATE_SECONDS = 60n;
const NONCE_BYTES = 32;

/** The host, its row verified. Throws CaError `host-unknown` or `row-unverified`. */
export async function findHost(ca: Ca, id: string, store: Readable = ca.store): Promise<Host> {
  const row = await readHost(store, id);
  if (row === undefined)
    throw new CaError('host-unknown', `there is no host ${id}: see \`beacon ca host list\``);
  return verifiedHost(ca, row, store);
}

/** All hosts in the order of their ids, each verified. */
export async function listHosts(ca: Ca): Promise<Host[]> {
  const rows = await ca.store.selectFrom('hosts').selectAll().orderBy('id').execute();
  return Promise.all(rows.map((row) => verifiedHost(ca, row, ca.store)));
}

async function verifiedHost(ca: Ca, row: HostRow, store: Readable): Promise<Host> {
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
async function requireUnknown(id: string, store: Readable): Promise<void> {
  const last = await lastHostRecord(store, id);
  if (last !== undefined) throw unverified(last.seq);
}

function hostDigest(id: string, content: string, state: string): string {
  return rowDigest('hosts', id, `${state}\n${content}`);
}

/** A host certificate and where its record stands. */
export interface IssuedHostCertificate {
  readonly certificate: string;
  readonly serial: bigint;
  readonly validBefore: Date;
  readonly record: { readonly seq: number; readonly hash: string };
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
  const nowSeconds = BigInt(Math.floor(ca.now().getTime() / 1000));
  const validAfter = nowSeconds - BACKDATE_SECONDS;
  const validBefore = nowSeconds + HOST_CERTIFICATE_SECONDS;

  ca.requireClock();
  await ca.hostCa.ready?.();
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
    await requireAuthorityInUse(tx, fingerprint(ca.hostCa.publicKey));
    await requireKeyOf(tx, ca, fingerprint(key), `host/${id}`);
    const serial = await nextSerial(tx);
    const record = await ca.records.append(tx, {
      kind: before === undefined ? 'host-added' : 'host-certificate',
      person: caller.person,
      service: caller.service,
      host: id,
      facts: {
        row: hostDigest(id, content, 'enabled'),
        serial: serial.toString(),
        public_key: fingerprint(key),
        authority: fingerprint(ca.hostCa.publicKey),
        valid_before: new Date(Number(validBefore) * 1000).toISOString(),
      },
    });
    await putHost(tx, { id, content, state: 'enabled', record_seq: record.seq, record_hash: record.hash });
    await tx
      .insertInto('certificates')
      .values({
        serial: storedSerial(serial),
        kind: 'host',
        grant_id: null,
        person: null,
        service: null,
        session: null,
        host: id,
        login: null,
        commands: '[]',
        public_key: fingerprint(key),
        authority: fingerprint(ca.hostCa.publicKey),
        valid_after: Number(validAfter) * 1000,
        valid_before: Number(validBefore) * 1000,
        revoked_at: null,
        halted: 0,
        record_seq: record.seq,
        record_hash: record.hash,
      })
      .execute();
    return { serial, record: { seq: record.seq, hash: record.hash } };
  });
  const blob = await signHostCertificate(
    {
      publicKey: key,
      serial: written.serial,
      keyId: `beacon/host/${id}`,
      principals: [id],
      validAfter,
      validBefore,
    },
    ca.hostCa,
    randomBytes(NONCE_BYTES),
  );
  return {
    certificate: formatCertificateLine(blob, id),
    serial: written.serial,
    validBefore: new Date(Number(validBefore) * 1000),
    record: written.record,
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

async function putHost(tx: Tx, row: HostRow): Promise<void> {
  const { id, ...rest } = row;
  await tx
    .insertInto('hosts')
    .values(row)
    .onConflict((conflict) => conflict.column('id').doUpdateSet(rest))
    .execute();
}
