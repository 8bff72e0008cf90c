/**
 * `POST /v1/host-reports`: what a host says of itself — versions, trust documents, contract, clock — and the head of its
 * records (DESIGN.md sections 3.9 and 6). It is information: the host decides. The head is more: with it come the lines
 * that lead to it from the head reported last, each naming the hash of the one before, so that a host can hide only what
 * came after its last report. A head that does not extend the last one is refused, recorded, and shown to administrators.
 */
import { createHash } from 'node:crypto';
import { ProtocolError } from '@beacon/protocol';
import { HOST_SIGNATURE_HEADER, REPORT_NAMESPACE } from '@beacon/protocol/host-request';
import type { ReportAnswer, ReportRequest } from '@beacon/protocol/http/enrolment';
import { FIRST_PREVIOUS, hashRecord, parseRecord } from '@beacon/protocol/record';
import type { Log } from '@beacon/server';
import { fingerprint, type PublicKey } from '@beacon/ssh/public-key';
import type { Ca, Tx } from './ca.ts';
import { readSigning } from './ca-key-store.ts';
import type { HostReportRow } from './enrolment-store.ts';
import { CaError } from './error.ts';
import type { ReportContent } from './host-condition.ts';
import { HEADS_COUNTER } from './host-heads.ts';
import { readSigner, requireFresh, requireHost, type SignedRequest, useNonce } from './host-request.ts';
import { checkWitness } from './host-witness.ts';
import { bumpCounter, storedSerial } from './store.ts';
import { readStatusState } from './trust-store.ts';

interface Head {
  readonly seq: number;
  readonly hash: string;
}

/** Hosts fetch a status within two minutes. */
const STATUS_LATE_MS = 300_000;

/** One record of refused heads in this time, so that a host cannot fill the chain. */
const REFUSALS_APART_MS = 60_000;

/** Throws CaError `host-signature-invalid`, `host-request-…`, `head-gap`, `head-refused`; the last head is in the denial. */
export async function takeReport(
  ca: Ca,
  body: ReportRequest,
  signed: SignedRequest,
  log: Pick<Log, 'error'>,
): Promise<ReportAnswer> {
  requireFresh(ca, body.at);
  const signer = await readSigner(signed, HOST_SIGNATURE_HEADER, REPORT_NAMESPACE);
  requireContract(body);
  const done = await ca.commit.write(async (tx) => {
    const { id, key } = await requireHost(ca, body.host, signer, tx);
    await useNonce(ca, tx, id, body.nonce);
    const before = await tx.selectFrom('host_reports').selectAll().where('host', '=', id).executeTakeFirst();
    const refusal = before === undefined ? requireFirst(body) : judgeHead(headOf(before), body, id);
    // A value, so that its record becomes durable with this group.
    if (refusal !== undefined) {
      if (refusal.code === 'head-refused') await recordAlarm(ca, tx, body, before);
      return { refusal };
    }
    return { answer: await keep(ca, tx, body, { key, before }) };
  });
  if ('refusal' in done) {
    const { host, head } = body;
    if (done.refusal.code === 'head-refused')
      log.error(
        { host, reported: head, last: done.refusal.denial },
        'a host reported a record head that does not extend its last one',
      );
    throw done.refusal;
  }
  return done.answer;
}

function requireContract({ contract }: ReportRequest): void {
  if (contract?.allowlist === undefined) return;
  if (createHash('sha256').update(contract.allowlist).digest('hex') === contract.sha256) return;
  throw new CaError('request-malformed', 'contract: sha256 is not that of the allowlist beside it');
}

/** The first head after an enrolment is where what can be shown begins. */
function requireFirst({ records }: ReportRequest): CaError | undefined {
  if (records.length === 0) return undefined;
  return new CaError('head-gap', 'the first report of a host leads from nowhere: send it without records', {
    denial: { seq: 0, hash: FIRST_PREVIOUS },
  });
}

/** Why this head is not taken, if it is not. */
function judgeHead(last: Head, { head, records }: ReportRequest, host: string): CaError | undefined {
  const denial = { seq: last.seq, hash: last.hash };
  const refused = (why: string) =>
    new CaError(
      'head-refused',
      `this head does not extend the last one, ${last.seq}: ${why}; tell an administrator`,
      {
        denial,
      },
    );
  if (head.seq < last.seq) return refused('it is older');
  if (head.seq === last.seq && records.length === 0)
    return head.hash === last.hash ? undefined : refused('it has the same number and is another');
  let [seq, hash] = [last.seq, last.hash];
  for (const line of records) {
    let fields: ReturnType<typeof parseRecord>;
    try {
      fields = parseRecord(line);
    } catch (error) {
      if (error instanceof ProtocolError) return refused('a line is no record');
      throw error;
    }
    if (seq === last.seq && fields.seq !== last.seq + 1)
      return new CaError('head-gap', `send the lines from ${last.seq + 1} on`, { denial });
    if (fields.seq !== seq + 1) return refused('a line is missing');
    if (fields.prev !== hash) return refused('a line does not follow the one before');
    if (fields.chain !== `host/${host}`) return refused('a line is of another chain');
    [seq, hash] = [fields.seq, hashRecord(line)];
  }
  if (seq < head.seq)
    return new CaError(
      'head-gap',
      `the lines lead to ${seq}, not to ${head.seq}: send those that are missing`,
      {
        denial,
      },
    );
  return seq === head.seq && hash === head.hash ? undefined : refused('the lines lead to another head');
}

async function recordAlarm(
  ca: Ca,
  tx: Tx,
  body: ReportRequest,
  before: HostReportRow | undefined,
): Promise<void> {
  const nowMs = ca.now().getTime();
  const lastMs = before?.head_refused_at ?? undefined;
  if (lastMs !== undefined && Math.abs(nowMs - lastMs) < REFUSALS_APART_MS) return;
  await ca.records.append(tx, {
    kind: 'host-head-refused',
    host: body.host,
    facts: {
      code: 'head-refused',
      last: `${before?.head_seq}:${before?.head_hash}`,
      reported: `${body.head.seq}:${body.head.hash}`,
    },
  });
  await tx
    .updateTable('host_reports')
    .set({ head_refused_at: nowMs })
    .where('host', '=', body.host)
    .execute();
}

async function keep(
  ca: Ca,
  tx: Tx,
  body: ReportRequest,
  { key, before }: { readonly key: PublicKey; readonly before: HostReportRow | undefined },
): Promise<ReportAnswer> {
  const { versions, trust, contract, head } = body;
  const now = ca.now();
  const isContradicted = await checkWitness(ca, tx, body);
  const contractText =
    contract?.allowlist ??
    (contract !== undefined && before?.contract_sha256 === contract.sha256 ? before.contract : null);
  const row = {
    seen_at: now.getTime(),
    clock_off_seconds: Math.round((Date.parse(body.clock) - now.getTime()) / 1000),
    content: JSON.stringify({
      versions,
      trust,
      certificate: body.certificate,
      is_behind: await isBehind(ca, tx, trust.status),
    } satisfies Partial<ReportContent>),
    trust_root: trust.root,
    contract_sha256: contract?.sha256 ?? null,
    contract: contractText,
    head_seq: head.seq,
    head_hash: head.hash,
    head_refused_at: isContradicted ? now.getTime() : (before?.head_refused_at ?? null),
  };
  if (isOther(before, body)) {
    await ca.records.append(tx, {
      kind: 'host-report',
      host: body.host,
      facts: {
        ...versions,
        trust_root: trust.root,
        contract: row.contract_sha256,
        head: `${head.seq}:${head.hash}`,
      },
    });
  }
  if (before?.head_seq !== head.seq || before.head_hash !== head.hash) await bumpCounter(tx, HEADS_COUNTER);
  await tx
    .insertInto('host_reports')
    .values({ host: body.host, ...row })
    .onConflict((conflict) => conflict.column('host').doUpdateSet(row))
    .execute();
  return {
    head,
    contract_known: contract === undefined || contractText !== null,
    clock_off_seconds: row.clock_off_seconds,
    renew: await shouldRenew(tx, key, body),
  };
}

/** Whether the host's certificate, the shown one or else the newest, is of another key than the one that signs. */
async function shouldRenew(tx: Tx, key: PublicKey, { certificate }: ReportRequest): Promise<boolean> {
  const signs = await readSigning(tx, 'host');
  if (signs === undefined || signs.revoked_at !== null) return false;
  const own = await tx
    .selectFrom('certificates')
    .select('authority')
    .where('public_key', '=', fingerprint(key))
    .where('kind', '=', 'host')
    .$if(certificate !== undefined, (query) =>
      query.where('serial', '=', storedSerial(BigInt(certificate ?? 0))),
    )
    .orderBy('serial', 'desc')
    .limit(1)
    .executeTakeFirst();
  return own !== undefined && own.authority !== signs.fingerprint;
}

/** Whether a report says what a record should: not each minute's, but other versions, another root, another contract. */
function isOther(before: HostReportRow | undefined, { versions, trust, contract }: ReportRequest): boolean {
  if (before === undefined || before.trust_root !== trust.root) return true;
  const known = JSON.parse(before.content) as Pick<ReportRequest, 'versions'>;
  return (
    before.contract_sha256 !== (contract?.sha256 ?? null) ||
    known.versions.beacon !== versions.beacon ||
    known.versions.sshd !== versions.sshd
  );
}

/** Whether a status was in force for longer than hosts take, and this is not it. */
async function isBehind(ca: Ca, tx: Tx, version: number): Promise<boolean> {
  const current = await readStatusState(tx);
  if (current === undefined || version >= current.version) return false;
  return ca.now().getTime() - current.issued_at > STATUS_LATE_MS;
}

function headOf(row: HostReportRow): Head {
  return { seq: row.head_seq, hash: row.head_hash };
}
