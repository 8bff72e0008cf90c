/**
 * Administrative rows (hosts, disabled persons) carry the place and the hash of the record that made them, and that
 * record carries the digest of the row (DESIGN.md section 8); it is the last one about that host or person, so that a row
 * of yesterday cannot be put back. Who can write rows alone cannot add or change a host, nor enable a person.
 */
import { createHash } from 'node:crypto';
import type { Records } from '@beacon/server';
import type { Readable } from './ca.ts';
import { CaError } from './error.ts';
import type { AdministrativeRecord } from './store.ts';

const TAG = 'beacon-row-1\0';

/** The digest of a row's content, over its exact text. */
export function rowDigest(table: string, key: string, content: string): string {
  const hash = createHash('sha256').update(TAG);
  for (const part of [table, key, content]) {
    const bytes = Buffer.from(part);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    hash.update(length).update(bytes);
  }
  return hash.digest('base64url');
}

export interface RecordedRow {
  readonly record_seq: number;
  readonly record_hash: string;
}

/** Throws CaError `row-unverified` unless the row's record names this digest and is `last`, the last one about it. */
export async function verifyRow(
  records: Records,
  store: Readable,
  row: RecordedRow,
  digest: string,
  last: AdministrativeRecord | undefined,
): Promise<void> {
  const record = await records.get(store, row.record_seq);
  const named = record?.hash === row.record_hash && record.fields.facts?.['row'] === digest;
  if (!named || last?.seq !== row.record_seq) throw unverified(row.record_seq);
}

/** The refusal of a row, or of its absence, that record `seq` speaks against. */
export function unverified(seq: number): CaError {
  return new CaError(
    'row-unverified',
    `a row of the store does not match its record ${seq}: run beacon records verify, and compare with a backup`,
  );
}
