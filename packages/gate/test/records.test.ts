import { spawnSync } from 'node:child_process';
import { appendFileSync, readdirSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FIRST_PREVIOUS, hashRecord, parseRecord } from '@beacon/protocol/record';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Records } from '../src/records.ts';
import { codeOf } from './refusal.ts';
import { SmallHost } from './small-host.ts';

let host: SmallHost;
let records: Records;
beforeEach(async () => {
  host = await SmallHost.open();
  ({ records } = host.gate());
});
afterEach(() => host.close());

describe('the record chain', () => {
  it('L1: links each line to the one before, from the first', () => {
    for (const kind of ['one', 'two', 'three']) records.append({ kind });
    let prev = FIRST_PREVIOUS;
    for (const [index, line] of host.chain().entries()) {
      const record = parseRecord(line);
      expect(record).toMatchObject({ seq: index + 1, prev, chain: 'host/build-01' });
      prev = hashRecord(line);
    }
    expect(records.last().head).toEqual({ seq: 3, hash: prev });
  });

  it('L9: takes off what was never whole, and says so in the next record', () => {
    records.append({ kind: 'one' });
    appendFileSync(host.places.records, '{"v":1,"chain":"host/bu');
    expect(records.append({ kind: 'two' }).seq).toBe(2);
    expect(host.chain().map((line) => parseRecord(line).facts)).toEqual([undefined, { torn_bytes: 23 }]);
  });

  it('L5: is not continued where its last line is no record', () => {
    records.append({ kind: 'one' });
    const text = readFileSync(host.places.records, 'utf8');
    writeFileSync(host.places.records, text.replace('"v":1', '"v":9'));
    expect(codeOf(() => records.append({ kind: 'two' }))).toBe('records-damaged');
    expect(codeOf(() => records.last())).toBe('records-damaged');
    truncateSync(host.places.records, 0);
    expect(records.append({ kind: 'anew' }).seq).toBe(1);
  });

  it('goes on in a new file when one is full, and is read and checked as one chain', () => {
    const { records: file, lock } = host.places;
    const small = new Records({ file, lock, chain: 'host/build-01', now: host.now, fullBytes: 300 });
    for (const kind of ['one', 'two', 'three', 'four', 'five', 'six']) small.append({ kind });
    const files = readdirSync(dirname(file)).sort();
    expect(files.length).toBeGreaterThan(2);
    expect(files.at(-1)).toBe('gate.ndjson');
    expect(files[0]).toMatch(/^gate-0{15}[1-9][.]ndjson$/);
    let prev = FIRST_PREVIOUS;
    const lines = [...small.select(() => true)].map(({ line }) => line);
    for (const [index, line] of lines.entries()) {
      expect(parseRecord(line)).toMatchObject({ seq: index + 1, prev });
      prev = hashRecord(line);
    }
    expect(lines).toHaveLength(6);
    expect(small.last().head).toEqual({ seq: 6, hash: prev });
    // As after a power cut between the two: the old one is put aside, the new one is not there yet.
    renameSync(file, join(dirname(file), 'gate-0000000000000006.ndjson'));
    expect(small.last().head).toEqual({ seq: 6, hash: prev });
    expect(small.append({ kind: 'seven' }).seq).toBe(7);
  });

  it('L10: never lets its time go back, and says what the clock said', () => {
    records.append({ kind: 'one' });
    host.clock -= 3_600_000;
    records.append({ kind: 'two' });
    const [first, second] = host.chain().map((line) => parseRecord(line));
    expect(second?.time).toEqual(first?.time);
    expect(second?.facts).toEqual({ clock: host.now().toISOString() });
  });

  it('reads back lines longer than a page, and chooses among many', () => {
    for (let count = 0; count < 40; count++) {
      records.append({ kind: count % 2 === 0 ? 'even' : 'odd', facts: { filler: 'x'.repeat(9_000) } });
    }
    records.append({ kind: 'long', facts: { filler: 'y'.repeat(200_000) } });
    expect(records.append({ kind: 'last' }).seq).toBe(42);
    expect([...records.select(({ kind }) => kind === 'odd')].map(({ record }) => record.seq)).toHaveLength(
      20,
    );
  });

  it('G18: stays whole under many writers', () => {
    const script = `
      import { Records } from '${new URL('../src/records.ts', import.meta.url).pathname}';
      const records = new Records(${JSON.stringify({ file: host.places.records, lock: host.places.lock, chain: 'host/build-01' }).slice(0, -1)}, now: () => new Date() });
      for (let count = 0; count < 10; count++) records.append({ kind: 'written' });`;
    const runs = Array.from(
      { length: 4 },
      () => `"${process.execPath}" --conditions=@beacon/source --input-type=module -e "$1" &`,
    );
    const { status, stderr } = spawnSync('/bin/sh', ['-c', `${runs.join('\n')}\nwait`, 'sh', script], {
      encoding: 'utf8',
    });
    expect([status, stderr.replace(/^.*Warning.*$/gm, '').trim()]).toEqual([0, '']);
    const lines = host.chain().map((line) => parseRecord(line));
    expect(lines.map(({ seq }) => seq)).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
    expect(lines.slice(1).map(({ prev }) => prev)).toEqual(
      host
        .chain()
        .slice(0, -1)
        .map((line) => hashRecord(line)),
    );
  });
});
