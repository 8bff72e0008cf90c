/**
 * What still depends on a key that certifies: certificates of persons that have not ended, and hosts that have not yet
 * shown that they renewed theirs. A root that leaves the key out too early would refuse what is right (DESIGN.md section 6).
 */
import type { Readable } from './ca.ts';
import type { KnownKey } from './ca-key-store.ts';
import { readHostCertificates } from './host-certificate-store.ts';

export interface Hold {
  /** When the last certificate of a person ends. */
  readonly until: Date | undefined;
  /** Enabled hosts whose certificate is of this key. */
  readonly hosts: readonly string[];
}

/** Nothing depends on a key that is revoked, or has never signed. */
export async function readHold(store: Readable, key: KnownKey, now: Date): Promise<Hold | undefined> {
  if (key.revoked_at !== null || key.since === 0) return undefined;
  const hold =
    key.kind === 'user'
      ? { until: await readLastEnd(store, key.fingerprint, now), hosts: [] }
      : { until: undefined, hosts: await readHolders(store, key.fingerprint, now) };
  return hold.until === undefined && hold.hosts.length === 0 ? undefined : hold;
}

async function readLastEnd(store: Readable, authority: string, now: Date): Promise<Date | undefined> {
  const { last } = await store
    .selectFrom('certificates')
    .select(({ fn }) => fn.max('valid_before').as('last'))
    .where('kind', '=', 'user')
    .where('authority', '=', authority)
    .where('revoked_at', 'is', null)
    .where('valid_before', '>', now.getTime())
    .executeTakeFirstOrThrow();
  return last === null ? undefined : new Date(Number(last));
}

async function readHolders(store: Readable, authority: string, now: Date): Promise<string[]> {
  const newest = await readHostCertificates(store, now);
  const rows = await store
    .selectFrom('hosts')
    .leftJoin('host_reports', 'host_reports.host', 'hosts.id')
    .select(['hosts.id', 'host_reports.content'])
    .where('hosts.state', '=', 'enabled')
    .orderBy('hosts.id')
    .execute();
  return rows.flatMap(({ id, content }) => {
    const certificates = newest.get(id) ?? [];
    const shown =
      content === null ? undefined : (JSON.parse(content) as { certificate?: string }).certificate;
    const inUse =
      shown === undefined
        ? certificates[0]
        : certificates.find(({ serial }) => BigInt(serial) === BigInt(shown));
    return inUse?.authority === authority ? [id] : [];
  });
}

/** The same for people: why the key has to stay. */
export function describeHold({ until, hosts }: Hold): string {
  const shown = hosts.slice(0, 20).join(', ');
  return until === undefined
    ? `these hosts have not renewed their certificate under another key: ${shown}${hosts.length > 20 ? ', …' : ''}`
    : `certificates of it are good until ${until.toISOString()}`;
}
