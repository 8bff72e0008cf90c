/**
 * How old the trust documents are and how the hosts stand, as one answer for the figures of `/metrics` and for `beacon ca
 * check`. Read from the store when it is asked for, at most every so often.
 */
import type { HostWarning } from '@beacon/protocol/http/enrolment';
import { parseTrustRoot } from '@beacon/protocol/trust';
import type { Metrics, Records } from '@beacon/server';
import type { Ca, Readable } from './ca.ts';
import { type HostCondition, readHostConditions } from './host-condition.ts';
import { STATUS_LIFE_MS } from './trust-status.ts';
import { readLatestRoot, readStatusState } from './trust-store.ts';
import { packageVersion } from './version.ts';

/** How much of its life a document has had when somebody should look. */
export const LATE = 0.75;

export interface DocumentAge {
  readonly version: number;
  readonly expires: Date;
  /** 0 when it was made, 1 when it ends. */
  readonly lifeUsed: number;
}

export interface TrustHealth {
  readonly root: DocumentAge | undefined;
  readonly status: DocumentAge | undefined;
  readonly hosts: readonly HostCondition[];
}

export async function readTrustHealth(store: Readable, records: Records, now: Date): Promise<TrustHealth> {
  const row = await readLatestRoot(store);
  const root = row === undefined ? undefined : parseTrustRoot(Buffer.from(row.document));
  const published = row === undefined ? undefined : await records.get(store, row.record_seq);
  const status = await readStatusState(store);
  const hosts = await readHostConditions(store, {
    now,
    release: packageVersion(),
    root:
      root === undefined
        ? undefined
        : { version: root.version, publishedAt: published?.fields.time ?? root.issued },
  });
  return {
    root: root === undefined ? undefined : ageOf(root.version, root.issued, root.expires, now),
    status:
      status === undefined
        ? undefined
        : ageOf(status.version, new Date(status.issued_at), new Date(status.issued_at + STATUS_LIFE_MS), now),
    hosts,
  };
}

function ageOf(version: number, issued: Date, expires: Date, now: Date): DocumentAge {
  const life = expires.getTime() - issued.getTime();
  return { version, expires, lifeUsed: Math.max(0, (now.getTime() - issued.getTime()) / life) };
}

/** The ids of enabled hosts with each warning. */
export function hostsByWarning(hosts: readonly HostCondition[]): Readonly<Record<HostWarning, string[]>> {
  const found: Record<HostWarning, string[]> = {
    unseen: [],
    'trust-stale': [],
    'clock-off': [],
    'version-behind': [],
    'head-refused': [],
    'certificate-ending': [],
  };
  for (const { id, warnings } of hosts) for (const warning of warnings) found[warning].push(id);
  return found;
}

/** A reading of the figures asks for each by itself: they are of one moment. */
const KEPT_MS = 10_000;

export function showTrustHealth(metrics: Metrics, ca: Pick<Ca, 'store' | 'records' | 'now'>): void {
  let kept: { readonly at: number; readonly health: Promise<TrustHealth> } | undefined;
  const health = () => {
    const at = performance.now();
    if (kept === undefined || at - kept.at > KEPT_MS)
      kept = { at, health: readTrustHealth(ca.store, ca.records, ca.now()) };
    return kept.health;
  };
  for (const [document, { ratio, ends }] of Object.entries(DOCUMENT_FIGURES)) {
    const age = async () => (await health())[document as keyof typeof DOCUMENT_FIGURES];
    metrics.gauge(
      ratio,
      `How much of its life the trust ${document} has had; 1: hosts admit nobody`,
      async () => (await age())?.lifeUsed ?? 0,
    );
    metrics.gauge(
      ends,
      `When the trust ${document} ends; 0: there is none`,
      async () => ((await age())?.expires.getTime() ?? 0) / 1000,
    );
  }
  metrics.gauge(
    'beacon_hosts_enabled',
    'Hosts that certificates are issued for',
    async () => (await health()).hosts.filter(({ state }) => state === 'enabled').length,
  );
  for (const [warning, { name, help }] of Object.entries(HOST_FIGURES) as [HostWarning, Figure][])
    metrics.gauge(name, help, async () => hostsByWarning((await health()).hosts)[warning].length);
}

const DOCUMENT_FIGURES = {
  root: {
    ratio: 'beacon_trust_root_life_used_ratio',
    ends: 'beacon_trust_root_expires_timestamp_seconds',
  },
  status: {
    ratio: 'beacon_trust_status_life_used_ratio',
    ends: 'beacon_trust_status_expires_timestamp_seconds',
  },
} as const;

interface Figure {
  readonly name: string;
  readonly help: string;
}

const HOST_FIGURES: Readonly<Record<HostWarning, Figure>> = {
  unseen: {
    name: 'beacon_hosts_unseen',
    help: 'Enabled hosts that reported nothing within a day',
  },
  'trust-stale': {
    name: 'beacon_hosts_trust_stale',
    help: 'Enabled hosts that reported older trust documents than they should have',
  },
  'clock-off': {
    name: 'beacon_hosts_clock_off',
    help: 'Enabled hosts whose clock is over 30 seconds off',
  },
  'version-behind': {
    name: 'beacon_hosts_version_behind',
    help: 'Enabled hosts with an older minor version of Beacon than this CA',
  },
  'head-refused': {
    name: 'beacon_hosts_head_refused',
    help: 'Enabled hosts that reported a record head which does not extend their last one',
  },
  'certificate-ending': {
    name: 'beacon_hosts_certificate_ending',
    help: 'Enabled hosts whose host certificate ends within 7½ days, or is over',
  },
};
