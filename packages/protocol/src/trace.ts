/**
 * One grant's way through all that wrote it down (DESIGN.md sections 3.9 and 8): the records of the CA, of the broker and
 * of the host, and sshd's log lines, brought into the order of time. What does not match between them is named by
 * `trace-findings.ts`. A value in, a value out; a source that was not read is left out, and then nothing is said of it.
 */
import { ProtocolError } from './error.ts';
import { idTime } from './id.ts';
import { hashRecord, parseRecord, type RecordFields } from './record.ts';
import { findMismatches } from './trace-findings.ts';

export const TRACE_SOURCES = ['ca', 'broker', 'host', 'sshd'] as const;
export type TraceSource = (typeof TRACE_SOURCES)[number];

/** The lines of each source that was read: records as they stand in their chain, and lines of sshd's log. */
export type TraceLines = { readonly [source in TraceSource]?: readonly string[] | undefined };

export const TRACE_FINDINGS = [
  /** A line is none of its chain's, or a field is not what its kind of record has. */
  'record-malformed',
  /** Two records that follow each other by number do not by hash, or a number comes twice. */
  'chain-broken',
  /** sshd or the host took a certificate that the CA never issued. */
  'never-issued',
  /** The host's record names another person, service or host than the CA's. */
  'other-names',
  /** A command ran that the grant does not hold. */
  'not-granted',
  /** A command ran with other arguments than the CA was asked about. */
  'digest-mismatch',
  /** A command started when the grant had ended. */
  'started-late',
  /** A command ran on the host that belongs to no run of the broker. */
  'command-without-run',
  /** A run says that a command started, and the host knows nothing of it. */
  'run-without-command',
  /** Broker and host say different things of how a command ended. */
  'outcome-mismatch',
  /** The host's record is not the one that the broker was told of while the session went on. */
  'head-mismatch',
  /** A session was closed, and a command that began in it has no end. */
  'command-without-end',
] as const;
export type TraceFindingCode = (typeof TRACE_FINDINGS)[number];

export interface TraceFinding {
  readonly code: TraceFindingCode;
  /** For the person. */
  readonly text: string;
}

export interface TraceEntry {
  readonly time: Date;
  readonly source: TraceSource;
  /** The record's kind; `accepted` or `log` for a line of sshd's. */
  readonly kind: string;
  /** The exact line. */
  readonly line: string;
  /** Undefined for a line of sshd's. */
  readonly record: RecordFields | undefined;
}

export interface Trace {
  readonly grant: string;
  readonly entries: readonly TraceEntry[];
  readonly findings: readonly TraceFinding[];
  /** The sources of which nothing was read, so that nothing is found in them either. */
  readonly unread: readonly TraceSource[];
}

/** A line of sshd's log that is about the grant. */
export interface LoginLine {
  readonly line: string;
  readonly person: string;
  readonly serial: string | undefined;
  readonly isAccepted: boolean;
  /** Undefined where the log has none, or none with its zone. */
  readonly time: Date | undefined;
}

/** What was read, for the rules that compare. */
export interface TraceMaterial {
  readonly grant: string;
  readonly ca: readonly RecordFields[] | undefined;
  readonly broker: readonly RecordFields[] | undefined;
  readonly host: readonly RecordFields[] | undefined;
  readonly sshd: readonly LoginLine[] | undefined;
  /** Of the host's records, by their numbers. */
  readonly hostHashes: ReadonlyMap<number, string>;
}

const LONGEST_LINE = 64 * 1024;
const ZONED_TIME = /^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:[.][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})) /;

/**
 * The trace of `grant`. Of the CA and the host, records of other grants are passed over; of the broker all are taken,
 * since a run is more than its grants. Throws ProtocolError `id-malformed` for a grant that is none.
 */
export function joinTrace(grant: string, lines: TraceLines): Trace {
  const granted = new Date(idTime(grant));
  const findings: TraceFinding[] = [];
  const read = (source: 'ca' | 'broker' | 'host') =>
    lines[source] === undefined ? undefined : readChain(source, lines[source], findings);
  const ofGrant = (records: readonly ChainEntry[] | undefined) =>
    records?.filter(({ record }) => record.grant === grant);
  const [ca, broker, host] = [ofGrant(read('ca')), read('broker'), ofGrant(read('host'))];
  const sshd = lines.sshd?.flatMap((line) => readLogin(grant, line));
  const material = {
    grant,
    ca: recordsOf(ca),
    broker: recordsOf(broker),
    host: recordsOf(host),
    sshd,
    hostHashes: new Map((host ?? []).map(({ record, line }) => [record.seq, hashRecord(line)])),
  };
  findings.push(...findMismatches(material));
  const logins = (sshd ?? []).map((login) => loginEntry(login, material.host ?? [], granted));
  const entries = [...(ca ?? []), ...(broker ?? []), ...logins, ...(host ?? [])];
  return {
    grant,
    // Sorting is stable: what has the same time stays in the order in which one leads to the other.
    entries: entries.toSorted((a, b) => a.time.getTime() - b.time.getTime()),
    findings,
    unread: TRACE_SOURCES.filter((source) => lines[source] === undefined),
  };
}

type ChainEntry = TraceEntry & { readonly record: RecordFields };

function recordsOf(entries: readonly ChainEntry[] | undefined): readonly RecordFields[] | undefined {
  return entries?.map(({ record }) => record);
}

/** The records of one chain, by their numbers; a line that stands there twice counts once. */
function readChain(
  source: 'ca' | 'broker' | 'host',
  lines: readonly string[],
  findings: TraceFinding[],
): readonly ChainEntry[] {
  const entries: (ChainEntry & { readonly prev: string })[] = [];
  for (const line of new Set(lines)) {
    const record = readLine(line);
    if (record === undefined || !isOfChain(source, record.chain)) {
      findings.push({
        code: 'record-malformed',
        text: `a line that was given as a record of the ${source} is none: ${JSON.stringify(line.slice(0, 80))}`,
      });
      continue;
    }
    const { time, kind, prev } = record;
    entries.push({ time, source, kind, line, record, prev });
  }
  entries.sort((a, b) => a.record.seq - b.record.seq);
  for (const [at, entry] of entries.entries()) {
    const before = entries[at - 1];
    if (before === undefined || before.record.chain !== entry.record.chain) continue;
    const { seq } = entry.record;
    const isBroken =
      before.record.seq === seq || (before.record.seq === seq - 1 && hashRecord(before.line) !== entry.prev);
    if (isBroken) {
      findings.push({
        code: 'chain-broken',
        text: `record ${seq} of ${entry.record.chain} does not follow from the one before it`,
      });
    }
  }
  return entries;
}

function readLine(line: string): (RecordFields & { readonly prev: string }) | undefined {
  if (line.length > LONGEST_LINE) return undefined;
  try {
    return parseRecord(line);
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

function isOfChain(source: 'ca' | 'broker' | 'host', chain: string): boolean {
  return source === 'host' ? chain.startsWith('host/') : chain === source;
}

/** sshd writes the certificate's key id, `beacon/<grant>/<person>`, and its serial when it accepts or refuses it. */
function readLogin(grant: string, line: string): readonly LoginLine[] {
  if (line.length > LONGEST_LINE) return [];
  const [, person] = new RegExp(`\\bbeacon/${grant}/([a-z0-9:-]{1,100})(?![a-z0-9:-])`).exec(line) ?? [];
  if (person === undefined) return [];
  const [, serial] = /\(serial ([1-9][0-9]{0,19})\)/.exec(line) ?? [];
  const time = new Date(ZONED_TIME.exec(line)?.[1] ?? Number.NaN);
  return [
    {
      line,
      person,
      serial,
      isAccepted: line.includes('Accepted publickey for '),
      time: Number.isNaN(time.getTime()) ? undefined : time,
    },
  ];
}

/** A line without a time that can be placed stands right before the session that it led to. */
function loginEntry(login: LoginLine, host: readonly RecordFields[], granted: Date): TraceEntry {
  const session = host.find(
    ({ kind, facts }) => kind === 'session-opened' && facts?.['serial'] === login.serial,
  );
  return {
    time: login.time ?? session?.time ?? host[0]?.time ?? granted,
    source: 'sshd',
    kind: login.isAccepted ? 'accepted' : 'log',
    line: login.line,
    record: undefined,
  };
}
