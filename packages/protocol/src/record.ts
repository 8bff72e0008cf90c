/**
 * One line of an append-only, hash-chained audit log (DESIGN.md section 8). The line is kept and hashed as its exact
 * bytes; `prev` is the hash of the line before it, in lower-case hex, 64 zeros in the first. Pure functions: storing,
 * grouping and verifying a whole chain is the work of who keeps it.
 */
import { createHash } from 'node:crypto';
import { ProtocolError } from './error.ts';
import { type Json, parseStrictJson } from './strict-json.ts';

const TAG = Buffer.from('beacon-record-1\0');
const HASH = /^[0-9a-f]{64}$/;
const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z$/;
const KIND = /^[a-z][a-z0-9-]{0,63}$/;

/** The `prev` of a chain's first record. */
export const FIRST_PREVIOUS = '0'.repeat(64);

export interface RecordFields {
  /** Whose chain this is: `ca`, `broker`, or a host id behind `host/`. */
  readonly chain: string;
  /** Counts from 1 without a gap. */
  readonly seq: number;
  readonly time: Date;
  readonly kind: string;
  readonly person?: string;
  readonly service?: string;
  readonly host?: string;
  readonly grant?: string;
  /** What else this kind of record says. Names and addresses only as salted digests. */
  readonly facts?: { readonly [key: string]: Json };
}

/**
 * The record's line, without a newline. `prev` is the hash of the line before. Fields that {@link parseRecord} would
 * refuse are refused here, for a line that is in the chain can never be taken back.
 */
export function formatRecord(fields: RecordFields, prev: string): string {
  if (Number.isNaN(fields.time.getTime())) throw malformed('time is no time');
  const line = JSON.stringify({
    v: 1,
    chain: fields.chain,
    seq: fields.seq,
    time: fields.time.toISOString(),
    kind: fields.kind,
    person: fields.person,
    service: fields.service,
    host: fields.host,
    grant: fields.grant,
    facts: fields.facts,
    prev,
  });
  parseRecord(line);
  return line;
}

/** The hash of a line (without its newline), lower-case hex. */
export function hashRecord(line: string | Uint8Array): string {
  return createHash('sha256').update(TAG).update(line).digest('hex');
}

/**
 * Reads a line. Unknown versions and keys are refused, so that a reader never passes over what it does not understand.
 * Throws ProtocolError `record-malformed` or `json-…`.
 */
export function parseRecord(line: string): RecordFields & { readonly prev: string } {
  const value = parseStrictJson(line);
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw malformed('it is not an object');
  const { v, chain, seq, time, kind, person, service, host, grant, facts, prev, ...unknown } = value;
  if (v !== 1) throw malformed('its version is not 1');
  const [extra] = Object.keys(unknown);
  if (extra !== undefined) throw malformed(`the key ${JSON.stringify(extra.slice(0, 40))} is unknown`);
  if (typeof chain !== 'string' || chain === '') throw malformed('chain is missing');
  if (typeof seq !== 'number' || seq < 1) throw malformed('seq is not a positive integer');
  if (typeof time !== 'string' || !isTime(time)) throw malformed('time is not UTC with milliseconds');
  if (typeof kind !== 'string' || !KIND.test(kind)) throw malformed('kind is not a word');
  if (typeof prev !== 'string' || !HASH.test(prev)) throw malformed('prev is not a hash');
  if (facts !== undefined && (facts === null || typeof facts !== 'object' || Array.isArray(facts)))
    throw malformed('facts is not an object');
  return {
    chain,
    seq,
    time: new Date(time),
    kind,
    ...optional('person', person),
    ...optional('service', service),
    ...optional('host', host),
    ...optional('grant', grant),
    ...(facts === undefined ? {} : { facts }),
    prev,
  };
}

/** Whether `text` is a time in UTC with milliseconds that exists; Date.parse alone makes 1 March of 30 February. */
export function isTime(text: string): boolean {
  const ms = TIME.test(text) ? Date.parse(text) : Number.NaN;
  return !Number.isNaN(ms) && new Date(ms).toISOString() === text;
}

function optional(name: string, value: Json | undefined): { [key: string]: string } {
  if (value === undefined) return {};
  if (typeof value !== 'string') throw malformed(`${name} is not a text`);
  return { [name]: value };
}

function malformed(what: string): ProtocolError {
  return new ProtocolError('record-malformed', `not a record: ${what}`);
}
