/**
 * The host's own record chain (DESIGN.md section 8), one line a record, appended and flushed under the lock that all gates
 * share. A file that has grown is put beside the chain's file under the number of its last record, and the chain goes on
 * in a new one: what is older may be moved elsewhere, the newest of them has to stay. What was written before a power cut and never acknowledged may be half a line: it is taken off,
 * and the next record says so. A chain whose last line is no record is not continued.
 *
 * Time never runs backwards in the chain: where the machine's clock is behind the last record, that record's time is
 * kept and the clock's own stands in the facts. So the last line's time is the latest, which is what makes a gate refuse
 * to run commands under a clock that went back.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { ChainHead } from '@beacon/protocol/checkpoint';
import {
  FIRST_PREVIOUS,
  formatRecord,
  hashRecord,
  parseRecord,
  type RecordFields,
} from '@beacon/protocol/record';
import { findFormerRecordFiles, formerRecordFile } from '@beacon/protocol/record-files';
import { isCode, makeFolder, renameDurably } from './durable-file.ts';
import { GateError } from './error.ts';
import { withLock } from './lock.ts';

/** What a caller says; the chain adds its name, the number, the time and the link. */
export type RecordEntry = Omit<RecordFields, 'chain' | 'seq' | 'time'>;

export interface RecordsOptions {
  readonly file: string;
  readonly lock: string;
  /** The chain's name, `host/<host id>`. */
  readonly chain: string;
  readonly now: () => Date;
  /** Is shown each line when it is on the disk. */
  readonly observe?: (line: string) => void;
  /** From how many bytes on a new file is begun. */
  readonly fullBytes?: number;
}

interface Tail {
  readonly head: ChainHead;
  readonly time: Date | undefined;
  /** How many bytes of the file are whole lines, and how many come after them. */
  readonly whole: number;
  readonly torn: number;
}

const FULL_BYTES = 67_108_864;
const PAGE_BYTES = 65_536;
const NEWLINE = 0x0a;

export class Records {
  readonly #options: RecordsOptions;

  constructor(options: RecordsOptions) {
    makeFolder(dirname(options.file));
    this.#options = options;
  }

  /** The record is on the disk when this returns. Throws GateError `state-unavailable` or `records-damaged`. */
  append(entry: RecordEntry): ChainHead {
    const { lock, observe } = this.#options;
    const { line, head } = withLock(lock, () => this.#appendLocked(entry));
    observe?.(line);
    return head;
  }

  /** The newest record's number and hash, and its time, which is the latest of the chain. */
  last(): { readonly head: ChainHead; readonly time: Date | undefined } {
    return this.#open('a+', (file) => this.#tail(file));
  }

  /** The lines for which `wanted` holds, oldest first; a line that is no record is passed over. */
  *select(wanted: (record: RecordFields) => boolean): Generator<{ line: string; record: RecordFields }> {
    for (const line of this.#lines()) {
      let record: RecordFields;
      try {
        record = parseRecord(line);
      } catch {
        continue;
      }
      if (wanted(record)) yield { line, record };
    }
  }

  #appendLocked(entry: RecordEntry): { line: string; head: ChainHead } {
    this.#setAside();
    return this.#open('a+', (file) => {
      const tail = this.#tail(file);
      if (tail.torn > 0) ftruncateSync(file, tail.whole);
      const clock = this.#options.now();
      const isBehind = tail.time !== undefined && clock < tail.time;
      const facts = {
        ...entry.facts,
        ...(tail.torn > 0 ? { torn_bytes: tail.torn } : {}),
        ...(isBehind ? { clock: clock.toISOString() } : {}),
      };
      const seq = tail.head.seq + 1;
      const line = formatRecord(
        {
          ...entry,
          chain: this.#options.chain,
          seq,
          time: isBehind && tail.time !== undefined ? tail.time : clock,
          ...(Object.keys(facts).length === 0 ? {} : { facts }),
        },
        tail.head.hash,
      );
      const bytes = Buffer.from(`${line}\n`);
      if (writeSync(file, bytes) !== bytes.length) {
        throw new GateError('state-unavailable', 'the disk took half a record: make room');
      }
      fsyncSync(file);
      return { line, head: { seq, hash: hashRecord(line) } };
    });
  }

  /** The tail of the file, or where it has no whole line that of the newest which was put beside it. */
  #tail(file: number): Tail {
    const tail = readTail(file);
    const [newest] = tail.head.seq === 0 ? this.#former().slice(-1) : [];
    if (newest === undefined) return tail;
    const { head, time } = this.#open('r', readTail, newest);
    return { ...tail, head, time };
  }

  #setAside(): void {
    const { file: path, fullBytes = FULL_BYTES } = this.#options;
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size < fullBytes) return;
    const { head, torn } = this.#open('r', readTail);
    // Half a line is taken off by the next record, which says so.
    if (torn > 0) return;
    renameDurably(path, formerRecordFile(path, head.seq));
  }

  /** The files that were put aside, oldest first. */
  #former(): string[] {
    const { file } = this.#options;
    return findFormerRecordFiles(basename(file), readdirSync(dirname(file))).map(({ name }) =>
      join(dirname(file), name),
    );
  }

  #open<Result>(flags: string, work: (file: number) => Result, path = this.#options.file): Result {
    let file: number | undefined;
    try {
      file = openSync(path, flags, 0o600);
      return work(file);
    } catch (error) {
      if (error instanceof GateError) throw error;
      throw new GateError('state-unavailable', `${path} cannot be written: look at the disk`, {
        cause: error,
      });
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }

  *#lines(): Generator<string> {
    for (const path of [...this.#former(), this.#options.file]) yield* linesOf(path);
  }
}

function* linesOf(path: string): Generator<string> {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return;
    throw error;
  }
  try {
    const page = Buffer.alloc(PAGE_BYTES);
    let rest = Buffer.alloc(0);
    for (;;) {
      const count = readSync(file, page, 0, page.length, null);
      if (count === 0) return;
      const bytes = Buffer.concat([rest, page.subarray(0, count)]);
      let from = 0;
      for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
        yield bytes.toString('utf8', from, end);
        from = end + 1;
      }
      rest = Buffer.from(bytes.subarray(from));
    }
  } finally {
    closeSync(file);
  }
}

function readTail(file: number): Tail {
  const { size } = fstatSync(file);
  for (let length = Math.min(size, PAGE_BYTES); ; length = Math.min(size, length * 4)) {
    const bytes = Buffer.alloc(length);
    readSync(file, bytes, 0, length, size - length);
    const end = bytes.lastIndexOf(NEWLINE);
    const begin = end <= 0 ? -1 : bytes.lastIndexOf(NEWLINE, end - 1);
    if (end >= 0 && (begin >= 0 || length === size)) {
      return { ...readLine(bytes.toString('utf8', begin + 1, end)), ...parts(size, size - length + end + 1) };
    }
    if (length === size)
      return { head: { seq: 0, hash: FIRST_PREVIOUS }, time: undefined, ...parts(size, 0) };
  }
}

function readLine(line: string): { head: ChainHead; time: Date } {
  try {
    const { seq, time } = parseRecord(line);
    return { head: { seq, hash: hashRecord(line) }, time };
  } catch (error) {
    throw new GateError(
      'records-damaged',
      'the last line of the record chain is no record: keep the file and look into it',
      { cause: error },
    );
  }
}

function parts(size: number, whole: number): { whole: number; torn: number } {
  return { whole, torn: size - whole };
}
