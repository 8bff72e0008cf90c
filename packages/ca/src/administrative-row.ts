/**
 * Administrative rows (hosts, disabled persons) carry the place and the hash of the record that made them, and that
 * record carries the digest of the row (DESIGN.md section 8). Who can write to the database alone cannot add a host or
 * enable a person: the row is refused.
 */
import { createHash } from 'node:crypto';
import type { Records } from '@beacon/server';
import type { Readable } from './ca.ts';
import { CaError } from './error.ts';

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

/** Throws CaError `row-unverified` unless the row's record is what its hash says and names this digest. */
export async function verifyRow(
  records: Records,
  store: Readable,
  row: RecordedRow,
  digest: string,
): Promise<void> {
  const record = await records.get(store, row.record_seq);
  if (record?.hash !== row.record_hash || record.fields.facts?.['row'] !== digest) {
    throw new CaError(
      'row-unverified',
      `a row of the store does not match its record ${row.record_seq}: run beacon records verify, and compare with a backup`,
    );
  }
}
