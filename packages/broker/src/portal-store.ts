/**
 * The portal's rows: logins that have begun and sessions, each under the SHA-256 of an id that the browser alone holds, its
 * content sealed by a key that needs the browser's half as well as the broker's. Nothing in a row opens anything.
 */
import { type Database, type Migrations, prepareQuery, type Transaction } from '@beacon/server';

export interface PortalSessionRow {
  readonly id_hash: string;
  readonly person: string;
  readonly sealed: string;
  /** Milliseconds, as all times. */
  readonly seen_at: number;
  readonly ends_at: number;
  /** Somebody renews its tokens until then; nobody else may. */
  readonly renewing_until: number;
}

export interface PortalTables {
  readonly portal_logins: { readonly id_hash: string; readonly sealed: string; readonly ends_at: number };
  readonly portal_sessions: PortalSessionRow;
}

export type PortalDatabase = Database<PortalTables>;
export type PortalTransaction = Transaction<PortalTables>;

export const portalMigrations: Migrations = {
  name: 'portal',
  steps: [
    async (tx: Transaction<unknown>) => {
      await tx.schema
        .createTable('portal_logins')
        .addColumn('id_hash', 'text', (c) => c.primaryKey().notNull())
        .addColumn('sealed', 'text', (c) => c.notNull())
        .addColumn('ends_at', 'bigint', (c) => c.notNull())
        .execute();
      await tx.schema
        .createTable('portal_sessions')
        .addColumn('id_hash', 'text', (c) => c.primaryKey().notNull())
        .addColumn('person', 'text', (c) => c.notNull())
        .addColumn('sealed', 'text', (c) => c.notNull())
        .addColumn('seen_at', 'bigint', (c) => c.notNull())
        .addColumn('ends_at', 'bigint', (c) => c.notNull())
        .addColumn('renewing_until', 'bigint', (c) => c.notNull())
        .execute();
      await tx.schema.createIndex('portal_sessions_end').on('portal_sessions').column('ends_at').execute();
    },
  ],
};

export async function insertLogin(tx: PortalTransaction, row: PortalTables['portal_logins']): Promise<void> {
  await tx.insertInto('portal_logins').values(row).execute();
}

/** A login is finished once: the row goes with its answer. */
export async function takeLogin(
  tx: PortalTransaction,
  idHash: string,
): Promise<PortalTables['portal_logins'] | undefined> {
  const row = await tx
    .selectFrom('portal_logins')
    .selectAll()
    .where('id_hash', '=', idHash)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  await tx.deleteFrom('portal_logins').where('id_hash', '=', idHash).execute();
  return row;
}

export async function insertSession(
  tx: PortalTransaction,
  row: Omit<PortalSessionRow, 'renewing_until'>,
): Promise<void> {
  await tx
    .insertInto('portal_sessions')
    .values({ ...row, renewing_until: 0 })
    .execute();
}

const findSessionRow = prepareQuery((store: PortalDatabase, values: { id_hash: string }) =>
  store.selectFrom('portal_sessions').selectAll().where('id_hash', '=', values.id_hash),
);

export async function findSession(
  store: PortalDatabase | PortalTransaction,
  idHash: string,
): Promise<PortalSessionRow | undefined> {
  return (await findSessionRow(store, { id_hash: idHash })).rows[0];
}

export async function seeSession(tx: PortalTransaction, idHash: string, at: number): Promise<void> {
  await tx.updateTable('portal_sessions').set({ seen_at: at }).where('id_hash', '=', idHash).execute();
}

/** Whether the caller may renew the tokens now; nobody else may until then. */
export async function beginRenewal(
  tx: PortalTransaction,
  idHash: string,
  now: number,
  until: number,
): Promise<boolean> {
  const changed = await tx
    .updateTable('portal_sessions')
    .set({ renewing_until: until })
    .where('id_hash', '=', idHash)
    .where('renewing_until', '<=', now)
    .returning('id_hash')
    .execute();
  return changed.length === 1;
}

/** Ends the renewal, and keeps what it brought where it brought something. */
export async function endRenewal(
  tx: PortalTransaction,
  idHash: string,
  sealed: string | undefined,
): Promise<void> {
  await tx
    .updateTable('portal_sessions')
    .set({ renewing_until: 0, ...(sealed === undefined ? {} : { sealed }) })
    .where('id_hash', '=', idHash)
    .execute();
}

export async function deleteSession(tx: PortalTransaction, idHash: string): Promise<void> {
  await tx.deleteFrom('portal_sessions').where('id_hash', '=', idHash).execute();
}

/** Forgets logins and sessions that are over, and sessions that were not used since `idleSince`. */
export async function prunePortal(tx: PortalTransaction, now: number, idleSince: number): Promise<void> {
  await tx.deleteFrom('portal_logins').where('ends_at', '<=', now).execute();
  await tx
    .deleteFrom('portal_sessions')
    .where((row) => row.or([row('ends_at', '<=', now), row('seen_at', '<', idleSince)]))
    .execute();
}
