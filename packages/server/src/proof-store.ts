/**
 * The proofs that have been used: a `jti` counts once per key for as long as its proof could be shown again. Using one up
 * belongs into the same group commit as what the request does, so that a replay can never win a race; being in the store,
 * it is used up for every process on it.
 */
import type { Database, Transaction } from './database.ts';
import type { Migrations } from './migration.ts';
import { prepareQuery } from './prepared-query.ts';

export interface ProofTables {
  used_proofs: { thumbprint: string; jti: string; expires_at: number };
}

export interface UsedProof {
  readonly thumbprint: string;
  readonly jti: string;
  readonly expiresAt: Date;
}

export const proofMigrations: Migrations = {
  name: 'proofs',
  steps: [
    async (tx: Transaction<unknown>) => {
      await tx.schema
        .createTable('used_proofs')
        .addColumn('thumbprint', 'text', (c) => c.notNull())
        .addColumn('jti', 'text', (c) => c.notNull())
        .addColumn('expires_at', 'bigint', (c) => c.notNull())
        .addPrimaryKeyConstraint('used_proofs_key', ['thumbprint', 'jti'])
        .execute();
      await tx.schema.createIndex('used_proofs_expiry').on('used_proofs').column('expires_at').execute();
    },
  ],
};

const insertProof = prepareQuery(
  (tx: Database<ProofTables>, row: { thumbprint: string; jti: string; expires_at: number }) =>
    tx
      .insertInto('used_proofs')
      .values({ thumbprint: row.thumbprint, jti: row.jti, expires_at: row.expires_at })
      .onConflict((conflict) => conflict.doNothing()),
);

/** Uses the proof up. False when it was used before: the caller then refuses. */
export async function consumeProof(tx: Transaction<ProofTables>, proof: UsedProof): Promise<boolean> {
  const { thumbprint, jti, expiresAt } = proof;
  const { changed } = await insertProof(tx, { thumbprint, jti, expires_at: expiresAt.getTime() });
  return changed === 1;
}

/**
 * A proof is remembered for this long after it could not be shown again: another process on the store may have a clock
 * that is behind, or this one's may be set back.
 */
export const KEPT_FOR_SLOW_CLOCKS_MS = 600_000;

/** Forgets the proofs that are too old to be shown again, by any clock. */
export async function pruneProofs(tx: Transaction<ProofTables>, now: Date): Promise<void> {
  await tx
    .deleteFrom('used_proofs')
    .where('expires_at', '<', now.getTime() - KEPT_FOR_SLOW_CLOCKS_MS)
    .execute();
}
