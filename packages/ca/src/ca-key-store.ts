/**
 * The table of the keys that certify. Of each kind one signs; those that the newest trust root names beside it are the
 * next ones and former ones; a key that no root names more is retired. Which one signs is said here and not by `ca.yaml`,
 * so that several processes on one store change over together.
 */
import {
  type Database,
  type Migrations,
  prepareQuery,
  type QueriedStore,
  type Transaction,
} from '@beacon/server';
import { sql } from 'kysely';
import type { CaTables } from './rows.ts';

export type CaKeyKind = 'user' | 'host';

export interface CaKeyRow {
  fingerprint: string;
  kind: CaKeyKind;
  /** One line without comment. */
  public_key: string;
  state: 'next' | 'signs' | 'former' | 'retired';
  /** When it began to sign; 0: never. */
  since: number;
  record_seq: number;
  record_hash: string;
}

export interface CaKeyTables {
  ca_keys: CaKeyRow;
}

export const caKeyMigrations: Migrations = {
  name: 'ca_keys',
  steps: [
    async (tx: Transaction<unknown>) => {
      await tx.schema
        .createTable('ca_keys')
        .addColumn('fingerprint', 'text', (c) => c.primaryKey().notNull())
        .addColumn('kind', 'text', (c) => c.notNull())
        .addColumn('public_key', 'text', (c) => c.notNull())
        .addColumn('state', 'text', (c) => c.notNull())
        .addColumn('since', 'bigint', (c) => c.notNull())
        .addColumn('record_seq', 'bigint', (c) => c.notNull())
        .addColumn('record_hash', 'text', (c) => c.notNull())
        .execute();
      await tx.schema
        .createIndex('ca_keys_signing')
        .unique()
        .on('ca_keys')
        .column('kind')
        .where(sql.ref('state'), '=', sql.lit('signs'))
        .execute();
    },
  ],
};

type Tables = CaKeyTables & Pick<CaTables, 'authority_revocations'>;

function knownKeys(store: Database<Tables>) {
  return store
    .selectFrom('ca_keys')
    .leftJoin('authority_revocations', 'authority_revocations.fingerprint', 'ca_keys.fingerprint')
    .selectAll('ca_keys')
    .select('authority_revocations.revoked_at');
}

const findSigning = prepareQuery((store: Database<Tables>, values: { kind: CaKeyKind }) =>
  knownKeys(store).where('kind', '=', values.kind).where('state', '=', 'signs'),
);

/** A row, and when its key was revoked. */
export type KnownKey = CaKeyRow & { readonly revoked_at: number | null };

/** The row of the key that signs, and whether it is revoked. */
export async function readSigning(store: QueriedStore, kind: CaKeyKind): Promise<KnownKey | undefined> {
  return (await findSigning(store, { kind })).rows[0];
}

const findAll = prepareQuery((store: Database<Tables>, values: { least: number }) =>
  knownKeys(store).where('since', '>=', values.least).orderBy('since', 'desc').orderBy('ca_keys.fingerprint'),
);

/** All keys, retired ones too; those that began to sign last come first. */
export async function readCaKeyRows(store: QueriedStore): Promise<readonly KnownKey[]> {
  return (await findAll(store, { least: 0 })).rows;
}

/** Those by which certificates of this kind are to be believed now: the one that signs first, none that is revoked. */
export async function readTrustedKeys(store: QueriedStore, kind: CaKeyKind): Promise<KnownKey[]> {
  const rows = (await readCaKeyRows(store)).filter(
    (row) => row.kind === kind && row.state !== 'retired' && row.revoked_at === null,
  );
  return [...rows.filter(({ state }) => state === 'signs'), ...rows.filter(({ state }) => state !== 'signs')];
}

/** What signs of this kind does so no more; nothing signs until another is put in its place. */
export async function leaveSigning(
  tx: Transaction<CaKeyTables>,
  kind: CaKeyKind,
  state: 'former' | 'retired',
): Promise<void> {
  await tx
    .updateTable('ca_keys')
    .set({ state })
    .where('kind', '=', kind)
    .where('state', '=', 'signs')
    .execute();
}

export async function putCaKey(tx: Transaction<CaKeyTables>, row: CaKeyRow): Promise<void> {
  await tx
    .insertInto('ca_keys')
    .values(row)
    .onConflict((conflict) => conflict.column('fingerprint').doUpdateSet(row))
    .execute();
}

/** Notes which keys a root names, of each kind; `row` is what its record says of a key that was not known. */
export async function noteNamed(
  tx: Transaction<CaKeyTables & Pick<CaTables, 'authority_revocations'>>,
  named: readonly Omit<CaKeyRow, 'state' | 'since'>[],
): Promise<void> {
  const known = new Map((await readCaKeyRows(tx)).map(({ revoked_at, ...row }) => [row.fingerprint, row]));
  for (const row of named) {
    const before = known.get(row.fingerprint);
    if (before === undefined) await putCaKey(tx, { ...row, state: 'next', since: 0 });
    else if (before.state === 'retired')
      await putCaKey(tx, { ...before, state: before.since === 0 ? 'next' : 'former' });
  }
  const names = new Set(named.map((row) => row.fingerprint));
  for (const row of known.values())
    if (row.state !== 'signs' && !names.has(row.fingerprint))
      await putCaKey(tx, { ...row, state: 'retired' });
}
