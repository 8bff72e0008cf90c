/**
 * The table of Beacon sessions. One row per trip through GitHub; a row that has ended stays, so that records can be
 * joined with it. Memberships and the GitHub token stand here sealed; the token goes when GitHub has been told to forget it.
 */
import { type Database, type Migrations, prepareQuery, type Transaction } from '@beacon/server';

export interface SessionRow {
  id: string;
  person: string;
  login_name: string;
  client: string;
  /** Hash of the OAuth grant's id. */
  grant_key: string;
  key_thumbprint: string | null;
  started_at: number;
  ends_at: number;
  ended_at: number | null;
  ended_by: string | null;
  /** Sealed; null once it is deleted at GitHub. */
  github_token: string | null;
  /** Sealed: who can write here alone makes nobody a member. */
  memberships: string | null;
  memberships_at: number | null;
}

export interface SessionTables {
  sessions: SessionRow;
}

type Readable = Database<SessionTables> | Transaction<SessionTables>;

export const sessionMigrations: Migrations = {
  name: 'sessions',
  steps: [
    async (tx: Transaction<unknown>) => {
      await tx.schema
        .createTable('sessions')
        .addColumn('id', 'text', (c) => c.primaryKey().notNull())
        .addColumn('person', 'text', (c) => c.notNull())
        .addColumn('login_name', 'text', (c) => c.notNull())
        .addColumn('client', 'text', (c) => c.notNull())
        .addColumn('grant_key', 'text', (c) => c.notNull().unique())
        .addColumn('key_thumbprint', 'text')
        .addColumn('started_at', 'bigint', (c) => c.notNull())
        .addColumn('ends_at', 'bigint', (c) => c.notNull())
        .addColumn('ended_at', 'bigint')
        .addColumn('ended_by', 'text')
        .addColumn('github_token', 'text')
        .addColumn('memberships', 'text')
        .addColumn('memberships_at', 'bigint')
        .execute();
      await tx.schema.createIndex('sessions_person').on('sessions').columns(['person', 'ended_at']).execute();
    },
  ],
};

export async function insertSession(tx: Transaction<SessionTables>, row: SessionRow): Promise<void> {
  await tx.insertInto('sessions').values(row).execute();
}

const findSession = prepareQuery((reader: Database<SessionTables>, values: { id: string }) =>
  reader.selectFrom('sessions').selectAll().where('id', '=', values.id),
);

export async function readSession(reader: Readable, id: string): Promise<SessionRow | undefined> {
  return (await findSession(reader, { id })).rows[0];
}

const findSessionEnd = prepareQuery((reader: Database<SessionTables>, values: { id: string }) =>
  reader.selectFrom('sessions').select(['ended_at', 'ends_at']).where('id', '=', values.id),
);

/** Whether and when a session has ended, and when it will. */
export async function readSessionEnd(
  reader: Readable,
  id: string,
): Promise<Pick<SessionRow, 'ended_at' | 'ends_at'> | undefined> {
  return (await findSessionEnd(reader, { id })).rows[0];
}

export function readSessionOfGrant(reader: Readable, grantKey: string): Promise<SessionRow | undefined> {
  return reader.selectFrom('sessions').selectAll().where('grant_key', '=', grantKey).executeTakeFirst();
}

/** Sessions that are neither ended nor past their end, newest first. */
export function readAliveSessions(
  reader: Readable,
  now: Date,
  person?: string,
  limit = 1_000,
): Promise<SessionRow[]> {
  const alive = reader
    .selectFrom('sessions')
    .selectAll()
    .where('ended_at', 'is', null)
    .where('ends_at', '>', now.getTime());
  return (person === undefined ? alive : alive.where('person', '=', person))
    .orderBy('id', 'desc')
    .limit(limit)
    .execute();
}

/** Marks the end once; false when it was marked before. */
export async function markEnded(
  tx: Transaction<SessionTables>,
  id: string,
  at: Date,
  by: string,
): Promise<boolean> {
  const { numUpdatedRows } = await tx
    .updateTable('sessions')
    .set({ ended_at: at.getTime(), ended_by: by })
    .where('id', '=', id)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** Binds the client's key once; afterwards answers whether it is that key. */
export async function bindKey(
  tx: Transaction<SessionTables>,
  id: string,
  thumbprint: string,
): Promise<boolean> {
  await tx
    .updateTable('sessions')
    .set({ key_thumbprint: thumbprint })
    .where('id', '=', id)
    .where('key_thumbprint', 'is', null)
    .execute();
  return (await readSession(tx, id))?.key_thumbprint === thumbprint;
}

export async function writeMemberships(
  tx: Transaction<SessionTables>,
  id: string,
  memberships: string,
  at: Date,
): Promise<void> {
  await tx
    .updateTable('sessions')
    .set({ memberships, memberships_at: at.getTime() })
    .where('id', '=', id)
    .where('ended_at', 'is', null)
    .execute();
}

/** Sessions that are over and whose GitHub token has not been deleted at GitHub yet. */
export function readUnreleased(reader: Readable, now: Date, limit: number): Promise<SessionRow[]> {
  return reader
    .selectFrom('sessions')
    .selectAll()
    .where('github_token', 'is not', null)
    .where((e) => e.or([e('ended_at', 'is not', null), e('ends_at', '<=', now.getTime())]))
    .orderBy('id')
    .limit(limit)
    .execute();
}

export async function forgetGithubToken(tx: Transaction<SessionTables>, id: string): Promise<void> {
  await tx.updateTable('sessions').set({ github_token: null }).where('id', '=', id).execute();
}
