/**
 * `beacon records trace GRANT`: what CA, broker, host and sshd wrote about one grant, in the order of time, and what does
 * not match between them. The CA is asked itself, so that no broker speaks for it; the broker tells of its run and of
 * the host's records, which may also be read from a copy. The status is 1 when something does not match.
 */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { type BrokerTrace, type CaApi, ClientError } from '@beacon/client';
import { isId } from '@beacon/protocol/id';
import { parseRecord } from '@beacon/protocol/record';
import type { Json } from '@beacon/protocol/strict-json';
import { joinTrace, type Trace, type TraceEntry, type TraceFinding } from '@beacon/protocol/trace';
import { type BrokerChoice, brokerAddress, openBroker } from './broker.ts';
import { type Context, openCa } from './context.ts';
import { CliError, usageError } from './error.ts';
import { reason } from './private-file.ts';
import { formatTime } from './terminal.ts';

export interface TraceOptions extends BrokerChoice {
  /** A copy of the host's records. */
  readonly hostRecords?: string;
  /** sshd's log, or a copy of it. */
  readonly sshdLog?: string;
  readonly json: boolean;
}

const PAGE = 500;
const FOUND = 1;

export async function traceGrant(context: Context, grant: string, options: TraceOptions): Promise<number> {
  if (!isId(grant)) {
    throw usageError(
      `${JSON.stringify(grant.slice(0, 80))} is no grant: 26 characters, as beacon runs ID shows them`,
    );
  }
  const unread = new Map<string, string>();
  const told = await askBroker(context, grant, options, unread);
  const of = (chain: 'broker' | 'ca' | 'host') =>
    told === undefined || told.trace.missing.some((source) => source.chain === chain)
      ? undefined
      : told.trace.lines.filter((line) => line.chain === chain).map(({ line }) => line);
  const { api } = await openCa(context);
  const ca = (await askCa(api, grant, unread)) ?? of('ca');
  const [kept, sshd] = await Promise.all([
    readAbout(grant, options.hostRecords),
    readAbout(grant, options.sshdLog),
  ]);
  const host = kept === undefined ? of('host') : [...(of('host') ?? []), ...kept];
  // A certificate that was issued through another service, to the command line say, belongs to no run of this broker.
  const isOfBroker = told !== undefined && isIssuedTo(ca, grant, told.service);
  const broker = isOfBroker ? of('broker') : undefined;
  const trace = joinTrace(grant, { ca, broker, host, sshd });
  const findings = [...trace.findings, ...(isOfBroker ? others(trace, told.trace) : [])];
  if (trace.entries.length === 0 && findings.length === 0) throw nothingKnown(grant);
  if (options.json) context.terminal.json(traceJson(trace, findings, unread));
  else print(context, trace, findings, unread);
  return findings.length === 0 ? 0 : FOUND;
}

function nothingKnown(grant: string): CliError {
  return new CliError(
    'grant-unknown',
    'not-found',
    `nothing that you may read is recorded about ${grant}: beacon runs ID shows the grants of a run, and ca.records is needed for those of others`,
  );
}

/** Nothing where no broker is known, or where it knows nothing of the grant. */
async function askBroker(
  context: Context,
  grant: string,
  options: TraceOptions,
  unread: Map<string, string>,
): Promise<{ readonly trace: BrokerTrace; readonly service: string } | undefined> {
  if ((await brokerAddress(context, options)) === undefined) {
    unread.set('broker', 'no broker was named: --broker https://…');
    return undefined;
  }
  const { api, facts } = await openBroker(context, options);
  try {
    const trace = await api.trace(grant);
    for (const { chain, reason: why } of trace.missing) unread.set(chain, why);
    return { trace, service: facts.service };
  } catch (error) {
    if (!(error instanceof ClientError) || error.kind !== 'not-found') throw error;
    unread.set('host', 'the broker does not know this grant: --host-records FILE reads a copy');
    return {
      trace: { run: undefined, grants: [], lines: [], missing: [HOST_MISSING], findings: [] },
      service: facts.service,
    };
  }
}

const HOST_MISSING = { chain: 'host', reason: '' } as const;

/** Nothing where the CA does not show them to this person. */
async function askCa(
  api: CaApi,
  grant: string,
  unread: Map<string, string>,
): Promise<readonly string[] | undefined> {
  const found: string[] = [];
  try {
    for (let after = 0; ; ) {
      const { records } = await api.records({ grant, after: String(after), limit: String(PAGE) });
      found.push(...records);
      const last = records.at(-1);
      const seq = last === undefined ? after : parseRecord(last).seq;
      if (records.length < PAGE || seq <= after) return found;
      after = seq;
    }
  } catch (error) {
    if (!(error instanceof ClientError) || error.kind !== 'denied') throw error;
    unread.set('ca', error.message);
    return undefined;
  }
}

/** The lines that name the grant. */
async function readAbout(grant: string, file: string | undefined): Promise<readonly string[] | undefined> {
  if (file === undefined) return undefined;
  const found: string[] = [];
  try {
    const lines = createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY });
    for await (const line of lines) if (line.includes(grant)) found.push(line);
  } catch (error) {
    throw new CliError('file-unreadable', 'not-found', `${file} cannot be read: ${reason(error)}`, {
      cause: error,
    });
  }
  return found;
}

function isIssuedTo(ca: readonly string[] | undefined, grant: string, service: string): boolean {
  const issued = ca
    ?.map((line) => parseRecord(line))
    .find((record) => record.grant === grant && record.kind === 'certificate');
  return issued === undefined || issued.service === service;
}

/** What the broker found, of whatever it saw besides. */
function others(
  trace: Trace,
  told: BrokerTrace,
): readonly { readonly code: string; readonly text: string }[] {
  const isKnown = (text: string) => trace.findings.some((finding) => finding.text === text);
  return told.findings
    .filter(({ text, grant }) => (grant === undefined || grant === trace.grant) && !isKnown(text))
    .map(({ code, text }) => ({ code, text: `the broker says: ${text}` }));
}

type Findings = readonly (TraceFinding | { readonly code: string; readonly text: string })[];

function traceJson(trace: Trace, findings: Findings, unread: ReadonlyMap<string, string>): object {
  return {
    grant: trace.grant,
    entries: trace.entries.map(({ time, source, kind, line }) => ({ time, source, kind, line })),
    findings: findings.map(({ code, text }) => ({ code, text })),
    unread: trace.unread.map((source) => ({ source, reason: unread.get(source) ?? null })),
  };
}

function print(
  { terminal }: Context,
  trace: Trace,
  findings: Findings,
  unread: ReadonlyMap<string, string>,
): void {
  for (const entry of trace.entries) terminal.out(entryLine(entry));
  for (const source of trace.unread) {
    const why = unread.get(source);
    terminal.talk(`not read: ${source}${why === undefined ? (UNREAD[source] ?? '') : `: ${why}`}`);
  }
  for (const { code, text } of findings) terminal.out(`DOES NOT MATCH  ${code}: ${text}`);
  if (findings.length > 0) return;
  terminal.out(`${trace.entries.length} entries, and all that was read matches`);
}

const UNREAD: Readonly<Record<string, string>> = {
  host: ': --host-records FILE reads a copy',
  sshd: ': --sshd-log FILE reads it',
};

function entryLine({ time, source, kind, line, record }: TraceEntry): string {
  const place = record === undefined ? source : `${record.chain} ${record.seq}`;
  const said = record === undefined ? line : factsText(record.facts ?? {});
  // The zone stands behind the seconds.
  const at = formatTime(time).replace(/:[0-9]{2}(?= |$)/, `$&.${time.toISOString().slice(20, 23)}`);
  return [at, place.padEnd(20), kind, said].join('  ').trimEnd();
}

/** What a person reads; digests, keys and what is the same in all of them stand in the exact lines, which `--json` prints. */
function factsText(facts: { readonly [key: string]: Json }): string {
  return Object.entries(facts)
    .filter(([name, value]) => value !== null && !HIDDEN.includes(name))
    .map(([name, value]) => `${name}=${typeof value === 'object' ? shortList(value) : String(value)}`)
    .join(' ');
}

const HIDDEN = [
  'digest',
  'hash',
  'run',
  'valid_after',
  'session',
  'public_key',
  'authority',
  'allowlist',
  'policy_version',
  'source',
  'extensions',
  'unit',
];

/** A list of names, or of what has a command. */
function shortList(value: Json): string {
  if (!Array.isArray(value)) return JSON.stringify(value);
  const name = (one: Json) =>
    one !== null && typeof one === 'object' && !Array.isArray(one) ? (one['command'] ?? '…') : one;
  return value.map((one) => String(name(one))).join(',');
}
