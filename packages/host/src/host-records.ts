/**
 * The end of the host's own record chain, as the gate has written it: its head, and the lines after a given one, to report
 * them. Read from behind, for the files are long and what is wanted is new. Whole lines alone count. Nothing is verified:
 * who has the head that was reported before can tell whether the chain was cut or rewritten.
 */
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { ChainHead } from '@beacon/protocol/checkpoint';
import { ProtocolError } from '@beacon/protocol/error';
import { FIRST_PREVIOUS, hashRecord, parseRecord } from '@beacon/protocol/record';
import { findFormerRecordFiles, HOST_RECORDS } from '@beacon/protocol/record-files';
import { isCode } from './durable-file.ts';
import { HostError } from './error.ts';
import type { Machine } from './machine.ts';

/** How much of the chain is taken at once. */
export interface Portion {
  readonly lines: number;
  readonly bytes: number;
}

const PAGE_BYTES = 65_536;
const NEWLINE = 0x0a;

/** Seq 0 and 64 zeros while there are no records. Throws HostError `state-damaged`. */
export function readRecordHead(machine: Machine): ChainHead {
  for (const line of backwards(machine)) return headOf(line);
  return { seq: 0, hash: FIRST_PREVIOUS };
}

/** The first lines after record `seq`, in their order. Throws HostError `state-damaged`. */
export function readRecordsAfter(machine: Machine, seq: number, portion: Portion): string[] {
  const found: string[] = [];
  for (const line of backwards(machine)) {
    if (parse(line).seq <= seq) break;
    found.push(line);
    // The oldest are wanted: a CA that asks for all there ever were does not fill the memory.
    if (found.length > portion.lines) found.shift();
  }
  found.reverse();
  let bytes = 0;
  const end = found.findIndex((line, at) => {
    bytes += JSON.stringify(line).length;
    return at >= portion.lines || bytes > portion.bytes;
  });
  return end < 0 ? found : found.slice(0, end);
}

export function headOf(line: string): ChainHead {
  return { seq: parse(line).seq, hash: hashRecord(line) };
}

function parse(line: string): { readonly seq: number } {
  try {
    return parseRecord(line);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new HostError(
      'state-damaged',
      `a line of ${HOST_RECORDS} is no record: keep the file, and look into it`,
      { cause: error },
    );
  }
}

/** The lines of all files, the newest first. */
function* backwards(machine: Machine): Generator<string> {
  const path = machine.at(HOST_RECORDS);
  const folder = dirname(path);
  const former = findFormerRecordFiles(basename(path), namesIn(folder)).reverse();
  for (const name of [basename(path), ...former.map((one) => one.name)]) {
    yield* linesBackwards(join(folder, name));
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isCode(error, 'ENOENT')) return [];
    throw error;
  }
}

function* linesBackwards(path: string): Generator<string> {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return;
    throw error;
  }
  try {
    let at = fstatSync(file).size;
    // What stands behind the last newline is no line yet, so the first piece is dropped.
    let rest: Buffer | undefined;
    while (at > 0) {
      const length = Math.min(PAGE_BYTES, at);
      at -= length;
      const page = Buffer.alloc(length);
      readSync(file, page, 0, length, at);
      let end = page.length;
      for (let newline = page.lastIndexOf(NEWLINE); newline >= 0; ) {
        const piece = page.subarray(newline + 1, end);
        if (rest !== undefined) yield Buffer.concat([piece, rest]).toString('utf8');
        rest = Buffer.alloc(0);
        end = newline;
        newline = newline === 0 ? -1 : page.lastIndexOf(NEWLINE, newline - 1);
      }
      if (rest !== undefined) rest = Buffer.concat([page.subarray(0, end), rest]);
    }
    if (rest !== undefined && rest.length > 0) yield rest.toString('utf8');
  } finally {
    closeSync(file);
  }
}
