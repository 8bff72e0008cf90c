/** What is asked of the certificates of hosts alone, few among those of people: by the index `certificates_of_hosts`. */
import { type Database, prepareQuery, type QueriedStore } from '@beacon/server';
import { sql } from 'kysely';
import type { CaTables, CertificateRow } from './rows.ts';

/** As a literal, else SQLite passes over the index. */
const ofHost = sql.lit('host' as const);

export type HostCertificate = Pick<CertificateRow, 'host' | 'serial' | 'authority' | 'valid_before'>;

const findLive = prepareQuery((store: Database<CaTables>, values: { now: number }) =>
  store
    .selectFrom('certificates')
    .select(['host', 'serial', 'authority', 'valid_before'])
    .where('kind', '=', ofHost)
    .where('revoked_at', 'is', null)
    .where('valid_before', '>', values.now),
);

/** The certificates of hosts that are neither over nor revoked, by host, newest first. */
export async function readHostCertificates(
  store: QueriedStore,
  now: Date,
): Promise<ReadonlyMap<string, readonly HostCertificate[]>> {
  const byHost = new Map<string, HostCertificate[]>();
  // Sorted here: for an order of the statement SQLite would read all certificates.
  const rows = (await findLive(store, { now: now.getTime() })).rows.toSorted((a, b) =>
    a.serial < b.serial ? 1 : -1,
  );
  for (const row of rows) {
    const others = byHost.get(row.host);
    if (others === undefined) byHost.set(row.host, [row]);
    else others.push(row);
  }
  return byHost;
}

const findSince = prepareQuery((store: Database<CaTables>, values: { host: string; since: number }) =>
  store
    .selectFrom('certificates')
    .select('serial')
    .where('kind', '=', ofHost)
    .where('host', '=', values.host)
    .where('valid_after', '>', values.since),
);

/** How many a host was given since then. */
export async function countHostCertificates(store: QueriedStore, host: string, since: Date): Promise<number> {
  return (await findSince(store, { host, since: since.getTime() })).rows.length;
}
