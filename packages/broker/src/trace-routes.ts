/**
 * The trace of a run and of a grant: the records of this broker, of the CA and of the host about the same thing, joined in
 * the order of time, with what does not match (DESIGN.md section 8). Each source is asked in the caller's name; one that
 * cannot be asked is named, and nothing is concluded from its silence.
 */
import { ProtocolError } from '@beacon/protocol';
import { runParams } from '@beacon/protocol/http/runs';
import { type Trace, trace as traceAnswer, traceParams } from '@beacon/protocol/http/trace';
import { parseRecord } from '@beacon/protocol/record';
import { joinTrace } from '@beacon/protocol/trace';
import type { Records, Route } from '@beacon/server';
import { type BrokerCaller, defineRoute } from './define-route.ts';
import type { Door } from './door.ts';
import { BrokerError } from './error.ts';
import { askHost, type HostQuestionParts } from './host-questions.ts';
import { runFailure } from './run-failure.ts';
import type { Runs, StoredRun } from './run-order.ts';
import { ownRun } from './run-routes.ts';
import type { RunDatabase } from './store.ts';

export interface TraceRouteParts extends HostQuestionParts {
  readonly runs: Runs;
  readonly store: RunDatabase;
  readonly records: Records;
}

type Missing = Trace['missing'][number];

const TAG = 'trace';
const MOST_RECORDS = 500;
const MOST_PAGES = 100;
const SLACK_MS = 60_000;

export function traceRoutes(parts: TraceRouteParts, { prefix, read }: Door): readonly Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: `${prefix}/runs/{id}/trace`,
      summary: 'Joins the records of a run: here, at the CA and on the host',
      tag: TAG,
      access: read,
      request: { params: runParams },
      responses: { 200: { description: 'The trace', schema: traceAnswer } },
      handle: async ({ params, caller, signal }) => {
        const run = await ownRun(parts.runs, params.id, caller);
        return { status: 200, body: await traceRun(parts, { run, caller, signal }) };
      },
    }),
    defineRoute({
      method: 'GET',
      path: `${prefix}/trace/{grant}`,
      summary: 'Joins the records of a grant: here, at the CA and on the host',
      tag: TAG,
      access: read,
      request: { params: traceParams },
      responses: { 200: { description: 'The trace', schema: traceAnswer } },
      handle: async ({ params, caller, signal }) => {
        const run = await runOfGrant(parts, params.grant);
        if (run === undefined || run.person !== caller.person) {
          throw new BrokerError(
            'run-unknown',
            `you have no run with the grant ${params.grant} here: what was not granted to a run of this broker, the certificate authority can tell`,
          );
        }
        return { status: 200, body: await traceRun(parts, { run, caller, signal, only: params.grant }) };
      },
    }),
  ];
}

async function runOfGrant(
  { runs, store, records }: TraceRouteParts,
  grant: string,
): Promise<StoredRun | undefined> {
  for (const { fields } of await records.list(store, { grant, limit: MOST_RECORDS })) {
    const run = fields.facts?.['run'];
    if (typeof run === 'string') return runs.get(run);
  }
  return undefined;
}

async function traceRun(
  parts: TraceRouteParts,
  the: { run: StoredRun; caller: BrokerCaller; signal: AbortSignal; only?: string },
): Promise<Trace> {
  const { run, caller, signal, only } = the;
  const grants = only === undefined ? run.grants.map(({ grant }) => grant) : [only];
  const missing: Missing[] = [];
  const named = async (chain: Missing['chain'], read: () => Promise<readonly (readonly string[])[]>) => {
    try {
      return await read();
    } catch (error) {
      missing.push({ chain, reason: runFailure(error).reason });
      return undefined;
    }
  };
  const [broker, ca, host] = await Promise.all([
    brokerLines(parts, run),
    named('ca', () => Promise.all(grants.map((grant) => caLines(caller, grant)))),
    named('host', () => hostLines(parts, { run, grants, caller, signal })),
  ]);
  const findings: Trace['findings'] = [];
  for (const [at, grant] of grants.entries()) {
    const joined = joinTrace(grant, { broker, ca: ca?.[at], host: host?.[at] });
    findings.push(...joined.findings.map(({ code, text }) => ({ code, text, grant })));
  }
  const lines = [
    ...broker.flatMap((line) => traceLines('broker', line)),
    ...(ca ?? []).flat().flatMap((line) => traceLines('ca', line)),
    ...(host ?? []).flat().flatMap((line) => traceLines('host', line, { host: run.host })),
  ];
  // Of records that have the same time, those of one chain stay in their order.
  lines.sort((a, b) => (a.time === b.time ? 0 : a.time < b.time ? -1 : 1));
  return { run: run.id, grants, lines, missing, findings };
}

/** None for a line that is no record: a finding has named it, and a host must not hide the others' lines by one. */
function traceLines(chain: Missing['chain'], line: string, more: { host?: string } = {}): Trace['lines'] {
  try {
    const { seq, time, kind, grant } = parseRecord(line);
    const about = { ...more, ...(grant === undefined ? {} : { grant }) };
    return [{ chain, seq, time: time.toISOString(), kind, ...about, line }];
  } catch (error) {
    if (error instanceof ProtocolError) return [];
    throw error;
  }
}

/** All that this broker recorded of the run, between its making and its last change. */
async function brokerLines({ store, records }: TraceRouteParts, run: StoredRun): Promise<readonly string[]> {
  const lines: string[] = [];
  const { person, host } = run;
  const last = run.updated.getTime() + SLACK_MS;
  let after = await lastBefore({ store, records }, run.created.getTime() - SLACK_MS);
  for (let page = 0; page < MOST_PAGES; page++) {
    const found = await records.list(store, { person, host, after, limit: MOST_RECORDS });
    for (const { seq, line, fields } of found) {
      after = seq;
      if (fields.facts?.['run'] === run.id) lines.push(line);
    }
    if (found.length < MOST_RECORDS || (found.at(-1)?.fields.time.getTime() ?? 0) > last) break;
  }
  return lines;
}

/** The number of the last record before that time: a chain's times rise, but for what a clock was set back. */
async function lastBefore(
  { store, records }: Pick<TraceRouteParts, 'store' | 'records'>,
  at: number,
): Promise<number> {
  let low = 0;
  let high = (await records.head(store))?.seq ?? 0;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const record = await records.get(store, middle);
    if (record !== undefined && record.fields.time.getTime() < at) low = middle;
    else high = middle - 1;
  }
  return low;
}

async function caLines({ api }: BrokerCaller, grant: string): Promise<readonly string[]> {
  return (await api.records({ grant, limit: String(MOST_RECORDS) })).records;
}

async function hostLines(
  parts: TraceRouteParts,
  the: { run: StoredRun; grants: readonly string[]; caller: BrokerCaller; signal: AbortSignal },
): Promise<readonly (readonly string[])[]> {
  const { run, grants, caller, signal } = the;
  if (grants.length === 0) return [];
  const answers = await askHost(parts, {
    person: caller.person,
    api: caller.api,
    host: run.host,
    login: run.login,
    questions: grants.map((grant) => ({ command: 'gate.records', params: { grant } })),
    signal,
  });
  const refused = answers.find(({ isDone }) => !isDone);
  if (refused !== undefined) throw new BrokerError('gate-refused', refused.reason);
  return answers.map(({ output }) => output.split('\n').filter((line) => line !== ''));
}
