/**
 * The heads that services report: of their own chain of records, and of hosts' chains as they saw them at work. The heads
 * that hosts report themselves stand with their reports (`enrolment-store.ts`).
 */
import type { Migrations, Transaction } from '@beacon/server';

export interface ServiceHeadRow {
  service: string;
  seq: number;
  hash: string;
  seen_at: number;
  refused_at: number | null;
}

/** The furthest head of a host that a service saw and the host has not reported yet. */
export interface WitnessedHeadRow {
  host: string;
  seq: number;
  hash: string;
  service: string;
  seen_at: number;
}

export interface ReportedHeadTables {
  service_heads: ServiceHeadRow;
  witnessed_heads: WitnessedHeadRow;
}

export const reportedHeadMigrations: Migrations = {
  name: 'reported-heads',
  steps: [
    async (tx: Transaction<unknown>) => {
      await tx.schema
        .createTable('service_heads')
        .addColumn('service', 'text', (c) => c.primaryKey().notNull())
        .addColumn('seq', 'bigint', (c) => c.notNull())
        .addColumn('hash', 'text', (c) => c.notNull())
        .addColumn('seen_at', 'bigint', (c) => c.notNull())
        .addColumn('refused_at', 'bigint')
        .execute();
      await tx.schema
        .createTable('witnessed_heads')
        .addColumn('host', 'text', (c) => c.primaryKey().notNull())
        .addColumn('seq', 'bigint', (c) => c.notNull())
        .addColumn('hash', 'text', (c) => c.notNull())
        .addColumn('service', 'text', (c) => c.notNull())
        .addColumn('seen_at', 'bigint', (c) => c.notNull())
        .execute();
    },
  ],
};
