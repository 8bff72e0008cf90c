/**
 * Heads of hosts' records as services saw them at work (DESIGN.md section 3.9), held against what the hosts report
 * themselves: a host that cuts or rewrites what it had shown is found, though it never reported it. A service shows no
 * lines, so what it saw never moves a host's own head and refuses none of its reports: where the two differ, one of them
 * lies, and a record says which two.
 */
import type { ChainHead } from '@beacon/protocol/checkpoint';
import type { ReportRequest } from '@beacon/protocol/http/enrolment';
import type { HeadsRequest } from '@beacon/protocol/http/heads';
import { hashRecord } from '@beacon/protocol/record';
import type { Caller } from './access-token.ts';
import type { Ca, Tx } from './ca.ts';
import { CaError } from './error.ts';
import type { WitnessedHeadRow } from './reported-heads-store.ts';

type Witnessed = HeadsRequest['hosts'][number];

/** A report was drawn up at most this long before it arrives, and a host's clock may be as far off. */
const REPORT_LATE_MS = 600_000;

/** Takes what a service saw. Answers why not, if so; what is older than what is known is passed over. */
export async function takeWitness(
  ca: Ca,
  tx: Tx,
  caller: Caller,
  { host, head }: Witnessed,
): Promise<CaError | undefined> {
  const entered = await tx
    .selectFrom('certificates')
    .select('serial')
    .where('person', '=', caller.person)
    .where('service', '=', caller.service)
    .where('host', '=', host)
    .where('kind', '=', 'user')
    .limit(1)
    .executeTakeFirst();
  if (entered === undefined)
    return new CaError(
      'grant-unknown',
      `you have had no grant for ${host} by this service: report no head of it`,
    );
  const reported = await tx
    .selectFrom('host_reports')
    .select(['head_seq', 'head_hash'])
    .where('host', '=', host)
    .executeTakeFirst();
  const before = await readWitness(tx, host);
  const known = [
    ...(reported === undefined ? [] : [{ seq: reported.head_seq, hash: reported.head_hash }]),
    ...(before === undefined ? [] : [before]),
  ];
  const other = known.find(({ seq, hash }) => seq === head.seq && hash !== head.hash);
  if (other !== undefined) {
    await recordContradiction(ca, tx, host, { ...head, service: caller.service }, other);
    return new CaError(
      'head-refused',
      `the head ${head.seq} of ${host} is known as another one: tell an administrator`,
      { denial: { host, seq: other.seq, hash: other.hash } },
    );
  }
  if (known.some(({ seq }) => seq >= head.seq)) return undefined;
  const row = { ...head, service: caller.service, seen_at: ca.now().getTime() };
  await tx
    .insertInto('witnessed_heads')
    .values({ host, ...row })
    .onConflict((conflict) => conflict.column('host').doUpdateSet(row))
    .execute();
  return undefined;
}

/** Holds a report that was taken against what a service saw; answers whether they contradict each other. */
export async function checkWitness(
  ca: Ca,
  tx: Tx,
  { host, head, records }: Pick<ReportRequest, 'host' | 'head' | 'records'>,
): Promise<boolean> {
  const seen = await readWitness(tx, host);
  if (seen === undefined) return false;
  const isAhead = seen.seq > head.seq;
  if (isAhead && ca.now().getTime() - seen.seen_at < REPORT_LATE_MS) return false;
  await forgetWitness(tx, host);
  const there = isAhead ? head : reportedAt(seen.seq, { head, records });
  // Of the first report no lines lead back to what was seen.
  const holds = there === undefined || (there.seq === seen.seq && there.hash === seen.hash);
  if (!holds) await recordContradiction(ca, tx, host, seen, there);
  return !holds;
}

/** The head that the chain had at that number, as far as the report shows it. */
function reportedAt(
  seq: number,
  { head, records }: Pick<ReportRequest, 'head' | 'records'>,
): ChainHead | undefined {
  if (seq === head.seq) return head;
  const line = records.at(seq - head.seq - 1);
  return line === undefined ? undefined : { seq, hash: hashRecord(line) };
}

/** A host that is enrolled anew begins its records anew. */
export async function forgetWitness(tx: Tx, host: string): Promise<void> {
  await tx.deleteFrom('witnessed_heads').where('host', '=', host).execute();
}

function readWitness(tx: Tx, host: string): Promise<WitnessedHeadRow | undefined> {
  return tx.selectFrom('witnessed_heads').selectAll().where('host', '=', host).executeTakeFirst();
}

async function recordContradiction(
  ca: Ca,
  tx: Tx,
  host: string,
  seen: Pick<WitnessedHeadRow, 'seq' | 'hash' | 'service'>,
  known: ChainHead,
): Promise<void> {
  await ca.records.append(tx, {
    kind: 'host-head-contradicted',
    service: seen.service,
    host,
    facts: {
      code: 'head-refused',
      seen: `${seen.seq}:${seen.hash}`,
      known: `${known.seq}:${known.hash}`,
    },
  });
  await tx
    .updateTable('host_reports')
    .set({ head_refused_at: ca.now().getTime() })
    .where('host', '=', host)
    .execute();
}
