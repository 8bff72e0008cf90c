/** `beacon ca host status`: what each host reported last, what certificate it has, and what should be looked at. Below it, services. */
import type { HostStanding, ServiceHead } from '@beacon/client';
import { isName, nameForms } from '@beacon/protocol/name';
import { type Context, openCa } from './context.ts';
import { usageError } from './error.ts';
import { formatTable, formatTime } from './terminal.ts';

const SERVICE_HEADINGS = ['SERVICE', 'SEEN', 'RECORDS', 'LOOK AT'];
const HEADINGS = ['HOST', 'SEEN', 'BEACON', 'SSHD', 'ROOT', 'STATUS', 'CLOCK', 'CONTRACT', 'RECORDS'];

export async function showHosts(
  context: Context,
  id: string | undefined,
  options: { readonly json: boolean },
): Promise<number> {
  if (id !== undefined && !isName('host', id))
    throw usageError(`${JSON.stringify(id.slice(0, 80))} is not ${nameForms.host}`);
  const { api } = await openCa(context);
  // Refused by the CA where there is none.
  if (id !== undefined) await api.host(id);
  const hosts = (await api.hostReports()).filter((host) => id === undefined || host.id === id);
  const { terminal } = context;
  const services = id === undefined ? await api.serviceHeads() : [];
  if (options.json) {
    terminal.json({
      hosts: hosts.map(standingJson),
      ...(id === undefined ? { services: services.map(serviceJson) } : {}),
    });
    return 0;
  }
  const rows = hosts.map((host) => [...cellsOf(host), ...certificateCells(host)]);
  for (const line of formatTable([[...HEADINGS, 'CERTIFICATE ENDS', 'LOOK AT'], ...rows])) terminal.out(line);
  if (services.length === 0) return 0;
  terminal.out('');
  for (const line of formatTable([SERVICE_HEADINGS, ...services.map(serviceCells)])) terminal.out(line);
  return 0;
}

function cellsOf({ id, report }: HostStanding): string[] {
  if (report === undefined) return [id, ...HEADINGS.slice(1).map(() => '-')];
  const { seen, versions, trust, clockOffSeconds, contract, head } = report;
  return [
    id,
    formatTime(seen),
    versions.beacon,
    versions.sshd,
    String(trust.root),
    String(trust.status),
    `${clockOffSeconds > 0 ? '+' : ''}${clockOffSeconds}s`,
    contract?.slice(0, 12) ?? '-',
    String(head.seq),
  ];
}

function certificateCells({ state, certificate, warnings }: HostStanding): string[] {
  const ends = certificate === undefined ? '-' : formatTime(certificate.validBefore);
  return [ends, state === 'disabled' ? 'disabled' : warnings.join(',') || '-'];
}

function serviceCells({ service, seen, head, headRefused }: ServiceHead): string[] {
  return [
    service,
    formatTime(seen),
    String(head.seq),
    headRefused === undefined ? '-' : `head-refused ${formatTime(headRefused)}`,
  ];
}

function serviceJson({ service, seen, head, headRefused }: ServiceHead): object {
  return { service, seen: seen.toISOString(), head, head_refused: headRefused?.toISOString() ?? null };
}

/** The API's own names, so that one reader serves both. */
function standingJson({ id, state, report, certificate, warnings }: HostStanding): object {
  return {
    id,
    state,
    report:
      report === undefined
        ? null
        : {
            seen: report.seen.toISOString(),
            clock_off_seconds: report.clockOffSeconds,
            versions: report.versions,
            trust: report.trust,
            contract: report.contract ?? null,
            head: report.head,
            head_refused: report.headRefused?.toISOString() ?? null,
          },
    certificate:
      certificate === undefined
        ? null
        : {
            serial: certificate.serial.toString(),
            authority: certificate.authority,
            valid_before: certificate.validBefore.toISOString(),
          },
    warnings,
  };
}
