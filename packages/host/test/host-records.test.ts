/** The end of a record chain is read as the gate writes it: over pages, over files that were put aside, past half a line. */
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { FIRST_PREVIOUS, formatRecord, hashRecord } from '@beacon/protocol/record';
import { formerRecordFile, HOST_RECORDS } from '@beacon/protocol/record-files';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { readRecordHead, readRecordsAfter } from '../src/host-records.ts';
import { openMachine } from '../src/index.ts';

const ALL = { lines: 1_000, bytes: 10_000_000 };
let folder: string;
let file: string;
let lines: string[];
beforeEach(() => {
  folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-records-'));
  file = join(folder, HOST_RECORDS);
  mkdirSync(dirname(file), { recursive: true });
  lines = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const add = (count: number, padding = 0): void => {
  for (let i = 0; i < count; i++) {
    const last = lines.at(-1);
    const fields = { chain: 'host/a', seq: lines.length + 1, time: new Date(0), kind: 'test' };
    const line = formatRecord(
      { ...fields, facts: { padding: 'ü'.repeat(padding) } },
      last === undefined ? FIRST_PREVIOUS : hashRecord(last),
    );
    lines.push(line);
    appendFileSync(file, `${line}\n`);
  }
};
const head = () => readRecordHead(openMachine(folder));
const after = (seq: number, portion = ALL) => readRecordsAfter(openMachine(folder), seq, portion);

test('without records the head is number 0', () => {
  expect(head()).toEqual({ seq: 0, hash: FIRST_PREVIOUS });
  rmSync(dirname(file), { recursive: true });
  expect(head()).toEqual({ seq: 0, hash: FIRST_PREVIOUS });
  expect(after(0)).toEqual([]);
});

test.each([0, 100, 33_000, 70_000])('lines with %i characters more are found over pages', (padding) => {
  add(7, padding);
  expect(head()).toEqual({ seq: 7, hash: hashRecord(lines[6] ?? '') });
  for (let seq = 0; seq <= 8; seq++) expect(after(seq)).toEqual(lines.slice(seq));
});

test('lines go on in the files that were put aside, whatever lies beside them', () => {
  add(3);
  renameSync(file, formerRecordFile(file, 3));
  add(2);
  renameSync(file, formerRecordFile(file, 5));
  writeFileSync(join(dirname(file), 'gate-x.ndjson'), 'no record\n');
  expect(head().seq).toBe(5);
  expect(after(1)).toEqual(lines.slice(1));
  add(2);
  expect(head().seq).toBe(7);
  expect(after(2)).toEqual(lines.slice(2));
});

test('half a line at the end is no line yet', () => {
  add(2);
  appendFileSync(file, '{"v":1,"chain"');
  expect(head().seq).toBe(2);
  expect(after(1)).toEqual(lines.slice(1));
});

test('no more is taken than was asked for, the oldest first', () => {
  add(5);
  expect(after(1, { lines: 2, bytes: 10_000_000 })).toEqual(lines.slice(1, 3));
  const two = lines.slice(1, 3).reduce((sum, line) => sum + JSON.stringify(line).length, 0);
  expect(after(1, { lines: 9, bytes: two })).toEqual(lines.slice(1, 3));
  expect(after(1, { lines: 9, bytes: two - 1 })).toEqual(lines.slice(1, 2));
});

test('L1: a line that is no record is said', () => {
  add(1);
  appendFileSync(file, 'no record\n');
  expect(head).toThrow(expect.objectContaining({ code: 'state-damaged' }));
});
