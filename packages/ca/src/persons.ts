/** Persons that an administrator has disabled. A disabled person gets no session, no token and no certificate. */
import { prepareQuery } from '@beacon/server';
import type { Caller } from './access-token.ts';
import { rowDigest, unverified, verifyRow } from './administrative-row.ts';
import { requireAuthority } from './authority.ts';
import type { Ca, Readable } from './ca.ts';
import type { DisabledPersonRow } from './rows.ts';
import { lastPersonRecord } from './store.ts';
import { write } from './write.ts';

const findDisabled = prepareQuery((store: Readable, values: { person: string }) =>
  store.selectFrom('disabled_persons').selectAll().where('person', '=', values.person),
);

/** Whether the person is disabled. Throws CaError `row-unverified` where row and records do not agree. */
export async function isDisabled(
  ca: Pick<Ca, 'records' | 'store'>,
  person: string,
  store: Readable = ca.store,
): Promise<boolean> {
  const [row] = (await findDisabled(store, { person })).rows;
  const last = await lastPersonRecord(store, person);
  if (row !== undefined) await verifyRow(ca.records, store, row, personDigest(row), last);
  else if (last?.kind === 'person-disabled') throw unverified(last.seq);
  return row !== undefined;
}

function personDigest(row: Omit<DisabledPersonRow, 'record_seq' | 'record_hash'>): string {
  return rowDigest('disabled_persons', row.person, `${row.by_person}\n${row.since}\n${row.reason}`);
}

/** All disabled persons, each row verified. */
export async function listDisabled(ca: Ca): Promise<DisabledPersonRow[]> {
  const rows = await ca.store.selectFrom('disabled_persons').selectAll().orderBy('person').execute();
  for (const row of rows) {
    const last = await lastPersonRecord(ca.store, row.person);
    await verifyRow(ca.records, ca.store, row, personDigest(row), last);
  }
  return rows;
}

export interface PersonChange {
  readonly person: string;
  readonly reason: string;
}

/** Disables a person and ends all their sessions. Throws CaError (denied without ca.persons). */
export async function disablePerson(ca: Ca, caller: Caller, change: PersonChange, ip: string) {
  await requireAuthority(ca, caller, 'ca.persons', ip);
  const content = {
    person: change.person,
    by_person: caller.person,
    reason: change.reason,
    since: ca.now().getTime(),
  };
  const disabled = await write(ca, caller, async (tx) => {
    const record = await ca.records.append(tx, {
      kind: 'person-disabled',
      person: caller.person,
      service: caller.service,
      facts: { disabled: change.person, row: personDigest(content), reason: change.reason },
    });
    const { person, ...rest } = { ...content, record_seq: record.seq, record_hash: record.hash };
    await tx
      .insertInto('disabled_persons')
      .values({ person, ...rest })
      .onConflict((conflict) => conflict.column('person').doUpdateSet(rest))
      .execute();
    const ended = await ca.sessions.endAllOf(tx, change.person, 'person-disabled');
    return { sessionsEnded: ended, record: { seq: record.seq, hash: record.hash } };
  });
  await ca.sessions.releaseTokens();
  return disabled;
}

/** Lets a person act again; their old sessions stay ended. Throws CaError (denied without ca.persons). */
export async function enablePerson(ca: Ca, caller: Caller, change: PersonChange, ip: string) {
  await requireAuthority(ca, caller, 'ca.persons', ip);
  return write(ca, caller, async (tx) => {
    const record = await ca.records.append(tx, {
      kind: 'person-enabled',
      person: caller.person,
      service: caller.service,
      facts: { enabled: change.person, reason: change.reason },
    });
    await tx.deleteFrom('disabled_persons').where('person', '=', change.person).execute();
    return { sessionsEnded: 0, record: { seq: record.seq, hash: record.hash } };
  });
}
