/**
 * What the last `beacon host sync` came to, for `beacon host check`: when it was, and what did not work. It lasts until the
 * machine is started again; it is no record.
 */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ClientError } from '@beacon/client';
import { ProtocolError } from '@beacon/protocol/error';
import { isTime } from '@beacon/protocol/record';
import { parseStrictJsonBytes } from '@beacon/protocol/strict-json';
import { ValueReader } from '@beacon/protocol/value-reader';
import { readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import { RUN_FOLDER } from './lock.ts';
import type { Machine } from './machine.ts';

/** A part of a sync that did not work. */
export interface Trouble {
  readonly part: 'trust' | 'certificate' | 'report' | 'sessions';
  readonly code: string;
  readonly message: string;
}

export interface LastSync {
  readonly at: Date;
  readonly troubles: readonly Trouble[];
}

const FILE = join(RUN_FOLDER, 'sync.json');
const LONGEST = 4_096;

/** What an error means for a part; one that is not ours is thrown on. */
export function troubleOf(part: Trouble['part'], error: unknown): Trouble {
  if (!(error instanceof HostError) && !(error instanceof ClientError)) throw error;
  return { part, code: error.code, message: error.message.replace(/\p{Cc}/gu, ' ').slice(0, LONGEST) };
}

export function writeLastSync(machine: Machine, { at, troubles }: LastSync): void {
  const path = machine.at(FILE);
  mkdirSync(machine.at(RUN_FOLDER), { recursive: true, mode: 0o755 });
  writeFileSync(`${path}.new`, `${JSON.stringify({ v: 1, at: at.toISOString(), troubles })}\n`, {
    mode: 0o600,
  });
  renameSync(`${path}.new`, path);
}

/** Undefined where none has ended since the machine was started, or what it left cannot be read. */
export function readLastSync(machine: Machine): LastSync | undefined {
  const bytes = readIfThere(machine.at(FILE));
  if (bytes === undefined) return undefined;
  try {
    const top = new ValueReader('trust-status-malformed', 'last sync', parseStrictJsonBytes(bytes));
    const read = top.members(['v', 'at', 'troubles']);
    const at = read.at.text(24);
    if (!isTime(at)) throw read.at.refusal('it must be UTC with milliseconds');
    const troubles = read.troubles.list(8).map((each) => {
      const { part, code, message } = each.members(['part', 'code', 'message']);
      return {
        part: part.text(20) as Trouble['part'],
        code: code.text(100),
        message: message.text(LONGEST),
      };
    });
    return { at: new Date(at), troubles };
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

export function forgetLastSync(machine: Machine): void {
  rmSync(machine.at(FILE), { force: true });
}
