/**
 * `beacon records erase`: what the store knows of a person beyond their number goes, their names and addresses with the
 * salts that hid them, and the chain still verifies, for it never held more than salted digests. The erasure is recorded.
 * Records, certificates and an entry among the disabled keep the number; backups keep what they have.
 */
import { existsSync } from 'node:fs';
import { createRecords, type DatabaseOptions, openDatabase, scrubDeleted } from '@beacon/server';
import type { Tables, Tx } from './ca.ts';
import { CaError } from './error.ts';

export interface Erasure {
  readonly person: string;
  /** Names and addresses that were taken away. */
  readonly values: number;
  /** Sessions whose login name was taken away; those that went on have ended. */
  readonly sessions: number;
  readonly record: { readonly seq: number; readonly hash: string };
}

const PERSON = /^[a-z][a-z0-9-]{0,31}:[1-9][0-9]{0,18}$/;

/**
 * Erases in a SQLite store that no CA has open, or in a PostgreSQL store while CAs serve. Throws CaError `request-malformed`,
 * `store`, or ServerError `store-in-use`.
 */
export async function erasePerson(place: DatabaseOptions, person: string, now: () => Date): Promise<Erasure> {
  if (!PERSON.test(person))
    throw new CaError(
      'request-malformed',
      `${JSON.stringify(person)} is no person: write it like github:583231`,
    );
  if ('file' in place && !existsSync(place.file))
    throw new CaError('store', `there is no ${place.file}: name the CA's store, data/ca.db`);
  const records = createRecords({ chain: 'ca', now });
  const store = openDatabase<Tables>(place);
  let erased: Erasure;
  try {
    erased = await store.transaction().execute(async (tx) => {
      const { values, sessions } = await erase(tx, person, now());
      const { seq, hash } = await records.append(tx, {
        kind: 'person-erased',
        facts: { erased: person, values, sessions },
      });
      return { person, values, sessions, record: { seq, hash } };
    });
  } finally {
    await store.destroy();
  }
  if ('file' in place) scrubDeleted(place.file);
  return erased;
}

async function erase(tx: Tx, person: string, at: Date): Promise<{ values: number; sessions: number }> {
  const values = await tx.deleteFrom('personal').where('person', '=', person).executeTakeFirst();
  await tx
    .updateTable('sessions')
    .set({ ended_at: at.getTime(), ended_by: 'erasure' })
    .where('person', '=', person)
    .where('ended_at', 'is', null)
    .execute();
  const sessions = await tx
    .updateTable('sessions')
    .set({ login_name: '', memberships: null, memberships_at: null })
    .where('person', '=', person)
    .where('login_name', '!=', '')
    .executeTakeFirst();
  return { values: Number(values.numDeletedRows), sessions: Number(sessions.numUpdatedRows) };
}
