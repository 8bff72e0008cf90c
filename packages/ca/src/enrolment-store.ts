/** The tables of enrolment: tokens, of which only digests are kept, and what each host reported last. */
import type { Migrations, Transaction } from '@beacon/server';

export interface HostTokenRow {
  id: string;
  /** SHA-256 of the secret. */
  secret_digest: string;
  /** JSON of {@link TokenContent}. */
  content: string;
  person: string;
  expires_at: number;
  uses_left: number;
  record_seq: number;
  record_hash: string;
}

export interface HostReportRow {
  host: string;
  seen_at: number;
  clock_off_seconds: number;
  /** JSON: versions and trust. */
  content: string;
  trust_root: number;
  contract_sha256: string | null;
  contract: string | null;
  head_seq: number;
  head_hash: string;
  head_refused_at: number | null;
}

export interface EnrolmentTables {
  host_tokens: HostTokenRow;
  host_reports: HostReportRow;
}

export const enrolmentMigrations: Migrations = {
  name: 'enrolment',
  steps: [
    async (tx: Transaction<unknown>) => {
      await tx.schema
        .createTable('host_tokens')
        .addColumn('id', 'text', (c) => c.primaryKey().notNull())
        .addColumn('secret_digest', 'text', (c) => c.notNull().unique())
        .addColumn('content', 'text', (c) => c.notNull())
        .addColumn('person', 'text', (c) => c.notNull())
        .addColumn('expires_at', 'bigint', (c) => c.notNull())
        .addColumn('uses_left', 'bigint', (c) => c.notNull())
        .addColumn('record_seq', 'bigint', (c) => c.notNull())
        .addColumn('record_hash', 'text', (c) => c.notNull())
        .execute();
      await tx.schema
        .createTable('host_reports')
        .addColumn('host', 'text', (c) => c.primaryKey().notNull())
        .addColumn('seen_at', 'bigint', (c) => c.notNull())
        .addColumn('clock_off_seconds', 'bigint', (c) => c.notNull())
        .addColumn('content', 'text', (c) => c.notNull())
        .addColumn('trust_root', 'bigint', (c) => c.notNull())
        .addColumn('contract_sha256', 'text')
        .addColumn('contract', 'text')
        .addColumn('head_seq', 'bigint', (c) => c.notNull())
        .addColumn('head_hash', 'text', (c) => c.notNull())
        .addColumn('head_refused_at', 'bigint')
        .execute();
    },
  ],
};
