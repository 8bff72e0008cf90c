/**
 * How each host stands, from what it reported last and from the certificates that it was given: for administrators, for
 * `beacon ca check` and for the figures. A report is what the host says of itself; nothing is allowed or refused by it.
 */
import type { HostWarning, ReportRequest } from '@beacon/protocol/http/enrolment';
import type { Readable } from './ca.ts';
import type { HostReportRow } from './enrolment-store.ts';
import { type HostCertificate, readHostCertificates } from './host-certificate-store.ts';
import type { HostContent } from './hosts.ts';
import { createTurns } from './turn.ts';

/** What of a report is kept as one text. */
export interface ReportContent extends Pick<ReportRequest, 'versions' | 'trust' | 'certificate'> {
  /** Whether its trust status was an old one when it reported. */
  readonly is_behind?: boolean;
}

export interface HostCondition {
  readonly id: string;
  readonly state: 'enabled' | 'disabled';
  readonly report: (HostReportRow & ReportContent) | undefined;
  /** The newest that is neither over nor revoked. */
  readonly certificate: HostCertificate | undefined;
  /** Of an enabled host. */
  readonly warnings: readonly HostWarning[];
}

const DAY_MS = 86_400_000;
/** Hosts fetch a root within two minutes and report it with the next sync. */
const ROOT_LATE_MS = 600_000;
/** The gate refuses from a minute on. */
const CLOCK_OFF_SECONDS = 30;
/** A quarter of a host certificate's life; hosts renew when a third is left. */
const CERTIFICATE_ENDS_MS = 7.5 * DAY_MS;

/** What is compared with. */
export interface Standard {
  readonly now: Date;
  /** The release of this CA. */
  readonly release: string;
  readonly root: { readonly version: number; readonly publishedAt: Date } | undefined;
}

/** All hosts in the order of their ids. Their rows are not verified: nothing is decided by them here. */
export async function readHostConditions(store: Readable, standard: Standard): Promise<HostCondition[]> {
  const certificates = await readHostCertificates(store, standard.now);
  const reports = new Map(
    (await store.selectFrom('host_reports').selectAll().execute()).map((row) => [row.host, row]),
  );
  const hosts = await store.selectFrom('hosts').select(['id', 'state', 'content']).orderBy('id').execute();
  const nextTurn = createTurns();
  const conditions: HostCondition[] = [];
  for (const { id, state, content } of hosts) {
    const row = reports.get(id);
    const report = row === undefined ? undefined : { ...row, ...(JSON.parse(row.content) as ReportContent) };
    const certificate = certificates.get(id)?.[0];
    const isManaged = report !== undefined || (JSON.parse(content) as HostContent).enrolled !== undefined;
    const found = { id, state, report, certificate };
    const warnings = state === 'enabled' ? warningsOf(found, isManaged, standard) : [];
    conditions.push({ ...found, warnings });
    await nextTurn();
  }
  return conditions;
}

function warningsOf(
  { report, certificate }: Pick<HostCondition, 'report' | 'certificate'>,
  isManaged: boolean,
  { now, release, root }: Standard,
): HostWarning[] {
  const isRootLate =
    root !== undefined &&
    report !== undefined &&
    report.trust_root < root.version &&
    now.getTime() - root.publishedAt.getTime() > ROOT_LATE_MS;
  const checks: Record<HostWarning, boolean> = {
    unseen: isManaged && !(report !== undefined && now.getTime() - report.seen_at <= DAY_MS),
    'trust-stale': isRootLate || report?.is_behind === true,
    'clock-off': Math.abs(report?.clock_off_seconds ?? 0) > CLOCK_OFF_SECONDS,
    'version-behind': report !== undefined && isOlder(report.versions.beacon, release),
    'head-refused': report !== undefined && report.head_refused_at !== null,
    'certificate-ending':
      certificate === undefined || certificate.valid_before - now.getTime() < CERTIFICATE_ENDS_MS,
  };
  return (Object.keys(checks) as HostWarning[]).filter((warning) => checks[warning]);
}

/** Whether one release is of an older minor version than the other; what is no release is. */
function isOlder(one: string, other: string): boolean {
  const [first, second] = [numbersOf(one), numbersOf(other)];
  if (first === undefined || second === undefined) return first === undefined;
  return first.major < second.major || (first.major === second.major && first.minor < second.minor);
}

function numbersOf(release: string): { readonly major: number; readonly minor: number } | undefined {
  const [, major, minor] = /^([0-9]{1,5})[.]([0-9]{1,5})[.]/.exec(release) ?? [];
  return major === undefined ? undefined : { major: Number(major), minor: Number(minor) };
}
