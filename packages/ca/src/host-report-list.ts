/** `GET /v1/host-reports`: how each host stands, and how far services' records go, for who administers hosts. */
import type { ReportedHosts } from '@beacon/protocol/http/enrolment';
import type { Caller } from './access-token.ts';
import { requireAuthority } from './authority.ts';
import type { Ca } from './ca.ts';
import type { HostCondition } from './host-condition.ts';
import type { ServiceHeadRow } from './reported-heads-store.ts';
import { readTrustHealth } from './trust-health.ts';

/** How all hosts stand, in the order of their ids. Denied without `ca.hosts`. */
export async function listReports(ca: Ca, caller: Caller, ip: string): Promise<ReportedHosts> {
  await requireAuthority(ca, caller, 'ca.hosts', ip);
  const { hosts } = await readTrustHealth(ca.store, ca.records, ca.now());
  return {
    hosts: hosts.map(({ id, state, report, certificate, warnings }) => ({
      id,
      state,
      report: report === undefined ? null : reportOf(report),
      certificate:
        certificate === undefined
          ? null
          : {
              serial: BigInt(certificate.serial).toString(),
              authority: certificate.authority,
              valid_before: new Date(certificate.valid_before).toISOString(),
            },
      warnings: [...warnings],
    })),
    services: (await readServiceHeads(ca)).map(({ service, seq, hash, seen_at, refused_at }) => ({
      service,
      seen: new Date(seen_at).toISOString(),
      head: { seq, hash },
      head_refused: refused_at === null ? null : new Date(refused_at).toISOString(),
    })),
  };
}

function readServiceHeads(ca: Ca): Promise<ServiceHeadRow[]> {
  return ca.store.selectFrom('service_heads').selectAll().orderBy('service').execute();
}

function reportOf(report: Exclude<HostCondition['report'], undefined>) {
  return {
    seen: new Date(report.seen_at).toISOString(),
    clock_off_seconds: report.clock_off_seconds,
    versions: report.versions,
    trust: report.trust,
    contract: report.contract_sha256,
    head: { seq: report.head_seq, hash: report.head_hash },
    head_refused: report.head_refused_at === null ? null : new Date(report.head_refused_at).toISOString(),
  };
}
