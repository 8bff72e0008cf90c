/**
 * A host certificate: one principal, the host id, 30 days, no options (DESIGN.md section 4). Who may have one is decided by
 * those who call this; here are the serial, the row and the signature, in the order in which they must happen.
 */
import { randomBytes } from 'node:crypto';
import { formatCertificateLine } from '@beacon/ssh/certificate';
import { fingerprint, type PublicKey } from '@beacon/ssh/public-key';
import { type HostCa, signHostCertificate } from '@beacon/ssh/sign-certificate';
import type { Ca, Tx } from './ca.ts';
import { insertCertificate, nextSerial, storedSerial } from './store.ts';
import { requireKeyOf } from './subject-key.ts';

export const HOST_CERTIFICATE_SECONDS = 30n * 86_400n;
const BACKDATE_SECONDS = 60n;
const NONCE_BYTES = 32;

/** Whole seconds. */
export interface Life {
  readonly validAfter: bigint;
  readonly validBefore: bigint;
}

/** A host certificate and where its record stands. */
export interface IssuedHostCertificate {
  readonly certificate: string;
  readonly serial: bigint;
  readonly validBefore: Date;
  readonly record: { readonly seq: number; readonly hash: string };
}

interface Planned {
  readonly hostCa: HostCa;
  readonly key: PublicKey;
  readonly serial: bigint;
  readonly life: Life;
}

/** What is durable, and not signed yet. */
export interface RecordedHostCertificate extends Planned {
  readonly host: string;
  readonly record: { readonly seq: number; readonly hash: string };
}

export function hostCertificateLife(now: Date): Life {
  const nowSeconds = BigInt(Math.floor(now.getTime() / 1000));
  return { validAfter: nowSeconds - BACKDATE_SECONDS, validBefore: nowSeconds + HOST_CERTIFICATE_SECONDS };
}

/** Who signs the host's key, and its serial. Throws CaError `ca-key-…`, `key-in-use` or `key-revoked`. */
export async function takeHostSerial(
  tx: Tx,
  ca: Ca,
  host: string,
  key: PublicKey,
): Promise<Pick<Planned, 'hostCa' | 'serial'>> {
  const hostCa = await ca.hostCa.signing(tx);
  await requireKeyOf(tx, ca, fingerprint(key), `host/${host}`);
  return { hostCa, serial: await nextSerial(tx) };
}

/** What a record says of the certificate. */
export function hostCertificateFacts({ hostCa, key, serial, life }: Planned) {
  return {
    serial: serial.toString(),
    public_key: fingerprint(key),
    authority: fingerprint(hostCa.publicKey),
    valid_before: new Date(Number(life.validBefore) * 1000).toISOString(),
  };
}

/** Notes the certificate that is about to be signed. */
export function insertHostCertificate(tx: Tx, planned: RecordedHostCertificate): Promise<void> {
  const { hostCa, key, serial, life, host, record } = planned;
  return insertCertificate(tx, {
    serial: storedSerial(serial),
    kind: 'host',
    grant_id: null,
    person: null,
    service: null,
    session: null,
    host,
    login: null,
    commands: '[]',
    public_key: fingerprint(key),
    authority: fingerprint(hostCa.publicKey),
    valid_after: Number(life.validAfter) * 1000,
    valid_before: Number(life.validBefore) * 1000,
    revoked_at: null,
    halted: 0,
    record_seq: record.seq,
    record_hash: record.hash,
  });
}

/** Signs what was recorded. */
export async function signHost({
  hostCa,
  host,
  key,
  serial,
  life,
  record,
}: RecordedHostCertificate): Promise<IssuedHostCertificate> {
  const blob = await signHostCertificate(
    { publicKey: key, serial, keyId: `beacon/host/${host}`, principals: [host], ...life },
    hostCa,
    randomBytes(NONCE_BYTES),
  );
  return {
    certificate: formatCertificateLine(blob, host),
    serial,
    validBefore: new Date(Number(life.validBefore) * 1000),
    record,
  };
}
