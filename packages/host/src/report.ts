/**
 * Telling the CA about this host (DESIGN.md sections 3.9 and 6): versions, trust, clock and contract, and the head of its
 * records with the lines that lead to it from the head that the CA holds, in as many requests as they need. Not every
 * minute: when the root, the contract, the release or the head is another, and once an hour.
 */
import { createHash } from 'node:crypto';
import { parseAllowlist } from '@beacon/protocol/allowlist';
import type { ChainHead } from '@beacon/protocol/checkpoint';
import { ProtocolError } from '@beacon/protocol/error';
import { FIRST_PREVIOUS } from '@beacon/protocol/record';
import { parseCertificateLine } from '@beacon/ssh/certificate';
import { SshError } from '@beacon/ssh/error';
import { type Asker, type ReportTaken, readHead, sendReport } from './ask-ca.ts';
import { readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import { readHostCertificate } from './host-certificate.ts';
import { headOf, readRecordHead, readRecordsAfter } from './host-records.ts';
import type { Machine } from './machine.ts';
import { ALLOWLIST } from './plan.ts';
import type { Reported } from './sync-state.ts';
import type { VerifiedTrust } from './trust-documents.ts';
import { HOST_VERSION } from './version.ts';

/** What a report would say now, as far as it decides whether one is due. */
export interface Tellable {
  readonly root: number;
  readonly status: number;
  readonly beacon: string;
  readonly contract: { readonly sha256: string; readonly allowlist: string } | undefined;
  readonly head: ChainHead;
}

const AGAIN_AFTER_MS = 3_300_000;
/** The CA takes 500 lines, and 512 KiB in all. */
const PORTION = { lines: 500, bytes: 300_000 };
/** Requests for one report: a host that has much to tell goes on in the next minute. */
const MOST_REQUESTS = 20;
const LONGEST_ALLOWLIST = 65_536;

/** Throws HostError `state-damaged`. */
export function lookForReport(machine: Machine, { root, status }: VerifiedTrust): Tellable {
  return {
    root: root.version,
    status: status.version,
    beacon: HOST_VERSION,
    contract: readContract(machine),
    head: readRecordHead(machine),
  };
}

/** A newer trust status alone is no reason: every host has one after each revocation. */
export function isReportDue(now: Tellable, last: Reported | undefined, at: Date): boolean {
  if (last === undefined || Math.abs(at.getTime() - last.at.getTime()) >= AGAIN_AFTER_MS) return true;
  if (last.isHeadRefused) return false;
  return (
    last.root !== now.root ||
    last.beacon !== now.beacon ||
    last.contract !== now.contract?.sha256 ||
    last.head.seq !== now.head.seq ||
    last.head.hash !== now.head.hash
  );
}

export interface ReportDone {
  readonly reported: Reported;
  readonly taken: ReportTaken | undefined;
}

/**
 * Reports. `isHeadRefused` in the result: the CA holds a head that this host's records do not extend. Throws HostError
 * `ca-refused`, ClientError.
 */
export async function reportHost(
  machine: Machine,
  asker: Asker,
  tellable: Tellable,
  last: Reported | undefined,
): Promise<ReportDone> {
  const { contract, root, status, beacon } = tellable;
  const at = asker.outside.now();
  const told: Omit<Reported, 'head' | 'isHeadRefused'> = { at, root, beacon, contract: contract?.sha256 };
  const base = {
    clock: at.toISOString(),
    versions: { beacon, sshd: readSshdRelease(machine) },
    trust: { root, status },
    ...readCertificate(machine),
  };
  let from = last?.head;
  let isTextKnown = contract === undefined || last?.contract === contract.sha256;
  let taken: ReportTaken | undefined;
  for (let requests = 0; requests < MOST_REQUESTS; requests++) {
    const records = from === undefined ? [] : readRecordsAfter(machine, from.seq, PORTION);
    const newest = records.at(-1);
    const head = newest === undefined ? tellable.head : headOf(newest);
    const spelled = contract === undefined || !isTextKnown ? contract : { sha256: contract.sha256 };
    try {
      taken = await sendReport(asker, {
        ...base,
        ...(spelled === undefined ? {} : { contract: spelled }),
        head,
        records,
      });
    } catch (error) {
      const refusal = error instanceof HostError ? error.refusal : undefined;
      if (refusal?.code === 'head-refused')
        return { reported: { ...told, head, isHeadRefused: true }, taken: undefined };
      if (refusal?.code !== 'head-gap') throw error;
      from = gapFrom(refusal.denial, records.length > 0);
      continue;
    }
    from = taken.head;
    const wasTextWanted = !taken.contractKnown && isTextKnown;
    isTextKnown = taken.contractKnown;
    if (from.seq >= tellable.head.seq && !wasTextWanted) break;
  }
  // Without an answer nothing is known of what the CA holds.
  if (taken === undefined)
    throw new HostError('answer-malformed', 'the CA asks for records again and again: report this');
  return { reported: { ...told, head: taken.head, isHeadRefused: false }, taken };
}

/** From which head on the CA wants the lines; undefined: it has none of this host, and wants the head alone. */
function gapFrom(
  denial: { readonly [key: string]: unknown } | undefined,
  hadRecords: boolean,
): ChainHead | undefined {
  const head = readHead(denial ?? {});
  if (head === undefined)
    throw new HostError(
      'answer-malformed',
      'the CA misses records and does not say from where on: report this',
    );
  return head.seq === 0 && head.hash === FIRST_PREVIOUS && hadRecords ? undefined : head;
}

function readCertificate(machine: Machine): { readonly certificate?: string } {
  const line = readHostCertificate(machine);
  try {
    return line === undefined ? {} : { certificate: parseCertificateLine(line).serial.toString() };
  } catch (error) {
    if (error instanceof SshError) return {};
    throw error;
  }
}

/** What the gate would follow; an allowlist that it refuses is none. */
function readContract(machine: Machine): Tellable['contract'] {
  const bytes = readIfThere(machine.at(ALLOWLIST));
  if (bytes === undefined || bytes.length > LONGEST_ALLOWLIST) return undefined;
  try {
    parseAllowlist(bytes);
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
  return {
    sha256: createHash('sha256').update(bytes).digest('hex'),
    allowlist: bytes.toString('utf8'),
  };
}

/** Such as `OpenSSH_9.2p1 Debian-2+deb12u3`. */
function readSshdRelease(machine: Machine): string {
  const { stdout, stderr } = machine.run([machine.find('sshd') ?? '/usr/sbin/sshd', '-V']);
  return (
    /OpenSSH_[\x21-\x2b\x2d-\x7e]+( [\x21-\x2b\x2d-\x7e]+)?/.exec(`${stdout}${stderr}`)?.[0]?.slice(0, 100) ??
    'unknown'
  );
}
