/**
 * `beacon records verify`: reads the CA's whole chain over the API, recomputes it, and holds it against its witnesses: the
 * CA's signed checkpoint, the head that this machine kept from the last time, and anchors that were named (every answer
 * of the CA that tells of a record is one). With it go the heads of the hosts' records. A CA that cut, changed or forked
 * its records can fool neither the hashes nor whoever remembers.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import {
  type CaApi,
  ClientError,
  discoverCa,
  fetchJwks,
  type RecordPage,
  verifyCheckpoint,
} from '@beacon/client';
import { FIRST_PREVIOUS, hashRecord, parseRecord, type RecordFields } from '@beacon/protocol/record';
import { type Json, parseStrictJson } from '@beacon/protocol/strict-json';
import { type Context, openCa } from './context.ts';
import { CliError, usageError } from './error.ts';
import { compareHeads, type HostHeads, readHostHeads } from './host-heads.ts';
import { ensurePrivateDirectory, readPrivateFile, writePrivateFile } from './private-file.ts';

interface Head {
  readonly seq: number;
  readonly hash: string;
}

/** What the chain is held against: a name for people, and the record that must stand there. */
type Witnesses = readonly (readonly [name: string, head: Head])[];

const PAGE = 500;

export interface VerifyOptions {
  /** `SEQ:HASH` each. */
  readonly anchor: readonly string[];
  readonly json: boolean;
}

export async function verifyRecords(context: Context, options: VerifyOptions): Promise<number> {
  const anchors = options.anchor.map(parseAnchor);
  const { terminal, place } = context;
  const { api, credentials } = await openCa(context);
  const metadata = await discoverCa(credentials.issuer);
  // Taken first: what it names must then be among the records that are read.
  const { checkpoint, heads } = await readHostHeads(api, async () =>
    verifyCheckpoint(await api.checkpoint(), await fetchJwks(metadata.jwksUri)),
  );
  const name = createHash('sha256').update(credentials.issuer).digest('hex').slice(0, 16);
  const anchorFile = join(place.stateDirectory, 'anchors', `${name}.json`);
  const anchor = await readAnchor(anchorFile);
  const witnesses: Witnesses = [
    ['the signed checkpoint', checkpoint],
    ...(anchor === undefined ? [] : [['what this machine remembers', anchor] as const]),
    ...anchors.map((one) => [`the anchor ${one.seq}:${one.hash}`, one] as const),
  ];
  const { head, enrolled } = await recompute(api, witnesses);
  const since = anchor?.seq ?? 0;
  const renewed = new Set([...enrolled].flatMap(([host, seq]) => (seq > since ? [host] : [])));
  if (anchor !== undefined && heads !== undefined) compareHeads(anchor.heads, heads, renewed);
  const kept = Object.fromEntries(heads ?? anchor?.heads ?? []);
  await ensurePrivateDirectory(place.stateDirectory);
  await ensurePrivateDirectory(join(place.stateDirectory, 'anchors'));
  await writePrivateFile(
    anchorFile,
    `${JSON.stringify({ v: 2, seq: head.seq, hash: head.hash, heads: kept })}\n`,
  );
  if (options.json) {
    terminal.json({
      ok: true,
      count: head.seq,
      head,
      checkpoint: { seq: checkpoint.seq, hash: checkpoint.hash, time: checkpoint.time },
      anchor: anchor === undefined ? null : { seq: anchor.seq, hash: anchor.hash },
      hosts: heads === undefined ? null : heads.size,
    });
    return 0;
  }
  terminal.out(`ok: ${head.seq} records, head ${head.hash}`);
  terminal.out(`the CA's signed checkpoint stands at record ${checkpoint.seq}, of ${checkpoint.time}`);
  terminal.out(
    anchor === undefined
      ? 'no anchor was kept before; from now on this head is'
      : `the anchor kept before, record ${anchor.seq}, still stands where it stood`,
  );
  terminal.out(
    heads === undefined
      ? "the heads of hosts' records were not looked at: that takes the right ca.hosts"
      : `the heads of ${heads.size} hosts' records are those of the checkpoint, and none went back`,
  );
  return 0;
}

/**
 * The head that all records lead to, and for each host the record of its last enrolment. Throws CliError `records-broken`
 * naming the first record that does not hold.
 */
async function recompute(
  api: CaApi,
  witnesses: Witnesses,
): Promise<{ head: Head; enrolled: ReadonlyMap<string, number> }> {
  const enrolled = new Map<string, number>();
  let head: Head = { seq: 0, hash: FIRST_PREVIOUS };
  compare(witnesses, head);
  for (;;) {
    const { records } = await readPage(api, head.seq, PAGE);
    if (records.length === 0) break;
    for (const line of records) {
      const record = follow(head, line);
      head = { seq: record.seq, hash: hashRecord(line) };
      if (record.kind === 'host-enrolled' && record.host !== undefined) enrolled.set(record.host, record.seq);
      compare(witnesses, head);
    }
  }
  for (const [name, witness] of witnesses) {
    if (witness.seq > head.seq) {
      throw broken(
        head.seq + 1,
        `records are gone: ${name} knows of ${witness.seq}, and there are ${head.seq}`,
      );
    }
  }
  return { head, enrolled };
}

/**
 * A page, and a smaller one when the CA fails over it: it gives out no record that is not what its hash says, and the
 * records before that one are wanted. Throws CliError `records-broken` when it fails over the very next one.
 */
async function readPage(api: CaApi, after: number, limit: number): Promise<RecordPage> {
  try {
    return await api.records({ after: String(after), limit: String(limit) });
  } catch (error) {
    if (!(error instanceof ClientError && error.kind === 'internal' && error.problem !== undefined))
      throw error;
    if (limit > 1) return readPage(api, after, Math.ceil(limit / 8));
    throw broken(
      after + 1,
      `the CA does not give it out; its log says why under ${error.problem.id}, and so does \`beacon records verify --store\` on its machine`,
    );
  }
}

function follow(head: Head, line: string): RecordFields {
  const seq = head.seq + 1;
  let record: ReturnType<typeof parseRecord>;
  try {
    record = parseRecord(line);
  } catch (error) {
    throw broken(seq, error instanceof Error ? error.message : 'it cannot be read');
  }
  if (record.chain !== 'ca') throw broken(seq, 'it belongs to another chain');
  if (record.seq !== seq) throw broken(seq, `it is numbered ${record.seq}`);
  if (record.prev !== head.hash) throw broken(seq, 'it does not follow from the record before it');
  return record;
}

function compare(witnesses: Witnesses, head: Head): void {
  for (const [name, witness] of witnesses) {
    if (witness.seq === head.seq && witness.hash !== head.hash)
      throw broken(head.seq, `it is not the one that ${name} names`);
  }
}

function broken(seq: number, why: string): CliError {
  return new CliError(
    'records-broken',
    'internal',
    `the CA's records do not verify: record ${seq}: ${why}. Keep this output, trust no certificate of this CA until it is explained`,
  );
}

/** Throws an Error for what is none. */
function headOf(value: { readonly [name: string]: unknown }): Head {
  const { seq, hash, ...unknown } = value;
  const isHead = typeof seq === 'number' && seq >= 0 && typeof hash === 'string';
  if (!isHead || !/^[0-9a-f]{64}$/.test(hash) || Object.keys(unknown).length > 0) throw new Error('no head');
  return { seq, hash };
}

function readHeads(heads: Json): [string, Head][] {
  if (heads === null || typeof heads !== 'object' || Array.isArray(heads)) throw new Error('no heads');
  return Object.entries(heads).map(([host, head]) => {
    if (head === null || typeof head !== 'object' || Array.isArray(head)) throw new Error('no head');
    return [host, headOf(head)];
  });
}

function parseAnchor(text: string): Head {
  const [, seq, hash] = /^([0-9]{1,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (seq === undefined || hash === undefined)
    throw usageError('--anchor takes SEQ:HASH, from an answer of the CA, a checkpoint or a backup');
  return { seq: Number(seq), hash };
}

interface Anchor extends Head {
  readonly heads: HostHeads;
}

async function readAnchor(file: string): Promise<Anchor | undefined> {
  const text = await readPrivateFile(file);
  if (text === undefined) return undefined;
  try {
    const value = parseStrictJson(text);
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
      const { v, seq, hash, heads, ...unknown } = value;
      const isForm = (v === 1 && heads === undefined) || v === 2;
      if (isForm && Object.keys(unknown).length === 0)
        return { ...headOf({ seq, hash }), heads: new Map(readHeads(heads ?? {})) };
    }
  } catch {
    // Said below.
  }
  throw new CliError(
    'file-malformed',
    'invalid',
    `${file} is damaged: find out why, then remove it to begin anew`,
  );
}
