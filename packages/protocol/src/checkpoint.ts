/**
 * What the CA signs about its own record chain and about the heads reported to it (DESIGN.md section 8): the payload of
 * a compact JWS with `typ` {@link CHECKPOINT_TYPE}. A caller that keeps a checkpoint can prove later that the chain was
 * cut, forked or rewritten. Signing and verifying are done where the keys are known.
 */
import { createHash } from 'node:crypto';
import { ProtocolError } from './error.ts';
import { isTime } from './record.ts';
import { parseStrictJson } from './strict-json.ts';

export const CHECKPOINT_TYPE = 'beacon-checkpoint+jwt';

export interface ChainHead {
  readonly seq: number;
  /** Lower-case hex; 64 zeros while the chain is empty. */
  readonly hash: string;
}

export interface Checkpoint extends ChainHead {
  readonly chain: string;
  /** UTC with milliseconds. */
  readonly time: string;
  /** Of the chains of hosts, all in one under {@link HOST_HEADS}; of services under {@link SERVICE_HEADS}. */
  readonly heads: Readonly<Record<string, ChainHead>>;
}

/** The name under which a checkpoint names the heads of all hosts: how often one has changed, and {@link digestHeads}. */
export const HOST_HEADS = 'hosts';

/** One digest for the heads that hosts reported, lower-case hex; the order in which they are given does not matter. */
export function digestHeads(heads: readonly { readonly host: string; readonly head: ChainHead }[]): string {
  return digestLines(
    'beacon-host-heads-1\0',
    heads.map(({ host, head }) => `${host} ${head.seq} ${head.hash}\n`),
  );
}

/** The same for services that keep records of their own. */
export const SERVICE_HEADS = 'services';

/** One digest for the heads that services reported, lower-case hex; the order does not matter. */
export function digestServiceHeads(
  heads: readonly { readonly service: string; readonly head: ChainHead }[],
): string {
  return digestLines(
    'beacon-service-heads-1\0',
    heads.map(({ service, head }) => `${service} ${head.seq} ${head.hash}\n`),
  );
}

function digestLines(tag: string, lines: readonly string[]): string {
  return createHash('sha256')
    .update(tag)
    .update(lines.toSorted((a, b) => (a < b ? -1 : 1)).join(''))
    .digest('hex');
}

/** The payload's exact text. */
export function formatCheckpoint(checkpoint: Checkpoint): string {
  const { chain, seq, hash, time, heads } = checkpoint;
  return JSON.stringify({ v: 1, chain, seq, hash, time, heads });
}

/** Reads a payload; throws ProtocolError `checkpoint-malformed` or `json-…`. */
export function parseCheckpoint(text: string): Checkpoint {
  const value = parseStrictJson(text);
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw malformed();
  const { v, chain, seq, hash, time, heads, ...unknown } = value;
  if (v !== 1 || Object.keys(unknown).length > 0 || typeof chain !== 'string' || chain === '')
    throw malformed();
  if (typeof time !== 'string' || !isTime(time)) throw malformed();
  if (heads === null || typeof heads !== 'object' || Array.isArray(heads)) throw malformed();
  const others: Record<string, ChainHead> = {};
  for (const [name, head] of Object.entries(heads)) {
    if (head === null || typeof head !== 'object' || Array.isArray(head) || Object.keys(head).length !== 2)
      throw malformed();
    others[name] = chainHead(head['seq'], head['hash']);
  }
  return { chain, ...chainHead(seq, hash), time, heads: others };
}

function chainHead(seq: unknown, hash: unknown): ChainHead {
  if (typeof seq !== 'number' || seq < 0 || typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash))
    throw malformed();
  return { seq, hash };
}

function malformed(): ProtocolError {
  return new ProtocolError('checkpoint-malformed', 'not a checkpoint of version 1');
}
