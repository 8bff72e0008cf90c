/**
 * The proofs that were shown to this broker: a `jti` counts once per key for as long as its proof could be shown again, in
 * the store, so that no other process on it takes it either.
 */
import { randomUUID } from 'node:crypto';
import { type Database, type Migrations, prepareQuery, type Transaction } from '@beacon/server';
import type { AccessProof } from './access-proof.ts';

export interface ProofTables {
  used_proofs: { thumbprint: string; jti: string; expires_at: number };
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

/** Uses the proof up. False when it was used before. */
export async function consumeProof(tx: Transaction<ProofTables>, proof: AccessProof): Promise<boolean> {
  const { thumbprint, jti, expiresAt } = proof;
  const { changed } = await insertProof(tx, { thumbprint, jti, expires_at: expiresAt.getTime() });
  return changed === 1;
}

/** Writes a row of nobody's, that is forgotten at the next pruning. */
export async function probeProofs(tx: Transaction<ProofTables>): Promise<void> {
  await consumeProof(tx, { thumbprint: 'readiness', jti: randomUUID(), expiresAt: new Date(0) });
}

/** Another process on the store may have a clock that is behind, or this one's may be set back. */
const KEPT_FOR_SLOW_CLOCKS_MS = 600_000;

/** Forgets the proofs that are too old to be shown again, by any clock. */
export async function pruneProofs(tx: Transaction<ProofTables>, now: Date): Promise<void> {
  await tx
    .deleteFrom('used_proofs')
    .where('expires_at', '<', now.getTime() - KEPT_FOR_SLOW_CLOCKS_MS)
    .execute();
}
