/**
 * What `beacon host sync` remembers from one minute to the next about the CA: what it was told last, and when a certificate
 * was asked for. A convenience: what cannot be read is forgotten, and everything is told again.
 */
import { existsSync } from 'node:fs';
import type { ChainHead } from '@beacon/protocol/checkpoint';
import { ProtocolError } from '@beacon/protocol/error';
import { isTime } from '@beacon/protocol/record';
import { parseStrictJsonBytes } from '@beacon/protocol/strict-json';
import { ValueReader } from '@beacon/protocol/value-reader';
import { placeFile, readIfThere } from './durable-file.ts';
import { JOURNAL_FOLDER } from './journal-entry.ts';
import type { Machine } from './machine.ts';

/** The report that the CA took last, or refused for its head. */
export interface Reported {
  readonly at: Date;
  readonly root: number;
  readonly beacon: string;
  /** The SHA-256 of the allowlist; undefined where there was none to tell of. */
  readonly contract: string | undefined;
  readonly head: ChainHead;
  /** The CA holds another head, which this host's records do not extend. */
  readonly isHeadRefused: boolean;
}

export interface SyncState {
  readonly reported?: Reported;
  /** When a host certificate was asked for last. */
  readonly renewalAt?: Date;
  /** A host certificate lies there that sshd was not told of. */
  readonly reloadDue?: boolean;
}

const STATE = `${JOURNAL_FOLDER}/sync-state.json`;

export function readSyncState(machine: Machine): SyncState {
  const bytes = readIfThere(machine.at(STATE));
  if (bytes === undefined) return {};
  try {
    const top = new ValueReader('trust-status-malformed', 'sync state', parseStrictJsonBytes(bytes));
    const read = top.members(['v'], ['reported', 'renewal_at', 'reload_due']);
    return {
      ...(read.reported === undefined ? {} : { reported: readReported(read.reported) }),
      ...(read.renewal_at === undefined ? {} : { renewalAt: readTime(read.renewal_at) }),
      ...(read.reload_due === undefined ? {} : { reloadDue: read.reload_due.boolean() }),
    };
  } catch (error) {
    if (error instanceof ProtocolError) return {};
    throw error;
  }
}

export function writeSyncState(machine: Machine, { reported, renewalAt, reloadDue }: SyncState): void {
  const text = JSON.stringify({
    v: 1,
    ...(reported === undefined ? {} : { reported: spell(reported) }),
    ...(renewalAt === undefined ? {} : { renewal_at: renewalAt.toISOString() }),
    ...(reloadDue === true ? { reload_due: true } : {}),
  });
  // It went with a host that was taken back.
  if (!existsSync(machine.at(JOURNAL_FOLDER))) return;
  placeFile(machine.at(STATE), Buffer.from(`${text}\n`), 0o600, { uid: 0, gid: 0 });
}

function spell({ at, root, beacon, contract, head, isHeadRefused }: Reported): object {
  return {
    at: at.toISOString(),
    root,
    beacon,
    ...(contract === undefined ? {} : { contract }),
    seq: head.seq,
    hash: head.hash,
    head_refused: isHeadRefused,
  };
}

function readReported(reader: ValueReader): Reported {
  const read = reader.members(['at', 'root', 'beacon', 'seq', 'hash', 'head_refused'], ['contract']);
  return {
    at: readTime(read.at),
    root: read.root.integer(0, Number.MAX_SAFE_INTEGER),
    beacon: read.beacon.text(100),
    contract: read.contract?.text(64),
    head: { seq: read.seq.integer(0, Number.MAX_SAFE_INTEGER), hash: read.hash.text(64) },
    isHeadRefused: read.head_refused.boolean(),
  };
}

function readTime(reader: ValueReader): Date {
  const text = reader.text(24);
  if (!isTime(text)) throw reader.refusal('it must be UTC with milliseconds');
  return new Date(text);
}
