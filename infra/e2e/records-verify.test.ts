/**
 * A store of records that was changed behind the CA's back, and `beacon records verify` as people type it: over the API,
 * where this machine remembers a head, and on the store itself with an anchor. Each way of cheating is named with the
 * first record that does not hold.
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { formatRecord, hashRecord, parseRecord } from '@beacon/protocol/record';
import { createRecords, migrate, openDatabase, type RecordTables, recordMigrations } from '@beacon/server';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { logIn } from '../demo/login.ts';
import { type Outcome, Stage } from '../demo/stage.ts';

type Row = Record<string, SQLInputValue>;

interface Head {
  readonly seq: number;
  readonly hash: string;
}

let stage: Stage;
let file: string;
/** What this machine remembers, and a receipt of a later record that only its receiver has. */
let remembered: Head;
let receipt: Head;
let whole: readonly Row[];

beforeAll(async () => {
  stage = await Stage.open();
  file = join(stage.folder, 'ca', 'data', 'ca.db');
  await addHost(stage);
  for (let i = 0; i < 6; i += 1) await decide();
  remembered = (await verify('--json')).json().head;
  cpSync(anchors(), join(stage.folder, 'anchors'), { recursive: true });
  for (let i = 0; i < 3; i += 1) await decide();
  receipt = await decide();
  whole = rows();
  expect(receipt.seq).toBe(whole.length);
}, 120_000);
afterAll(() => stage?.close());
afterEach(() => {
  cpSync(join(stage.folder, 'anchors'), anchors(), { recursive: true });
  write((store) => {
    store.exec('delete from records');
    for (const row of whole) insert(store, row);
  });
});

/** Where ada's machine remembers heads. */
function anchors(): string {
  return join(stage.folder, 'home', 'ada', '.local', 'state', 'beacon', 'anchors');
}

/** A login, and a host to ask about. */
async function addHost(at: Stage): Promise<void> {
  await logIn(at, 'ada');
  const key = join(at.folder, 'host_key');
  await at.run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  const added = await at.beacon('ada', [
    ...['ca', 'host', 'add', 'web-01', '--address', '192.0.2.7', '--login', 'deploy'],
    ...['--host-key', `${key}.pub`],
  ]);
  expect(added).toMatchObject({ status: 0 });
}

/** One more record, and its receipt. */
async function decide(): Promise<Head> {
  const { stdout } = await stage.beacon('ada', ['policy', 'explain', '--host', 'web-01', '--json']);
  return (JSON.parse(stdout) as { record: Head }).record;
}

function write(change: (store: DatabaseSync) => void): void {
  const store = new DatabaseSync(file, { timeout: 5_000 });
  try {
    store.exec('begin immediate');
    change(store);
    store.exec('commit');
  } finally {
    store.close();
  }
}

function rows(): readonly Row[] {
  const store = new DatabaseSync(file, { readOnly: true });
  try {
    return store.prepare('select * from records order by seq').all() as Row[];
  } finally {
    store.close();
  }
}

function insert(store: DatabaseSync, row: Row): void {
  const names = Object.keys(row).map((name) => `"${name}"`);
  store
    .prepare(`insert into records (${names.join()}) values (${names.map(() => '?').join()})`)
    .run(...Object.values(row));
}

/** The records that another CA wrote. */
async function foreignRows(count: number): Promise<readonly Row[]> {
  const store = openDatabase<RecordTables>({ file: ':memory:' });
  await migrate(store, recordMigrations);
  const records = createRecords({ chain: 'ca', now: () => new Date() });
  for (let i = 0; i < count; i += 1)
    await store.transaction().execute((tx) => records.append(tx, { kind: 'decision' }));
  const found = await store.selectFrom('records').selectAll().execute();
  await store.destroy();
  return found.map((row) => ({ ...row }));
}

interface Verdict extends Outcome {
  json(): { head: Head };
}

/** Over the API, as ada. */
async function verify(...options: string[]): Promise<Verdict> {
  const outcome = await stage.beacon('ada', ['records', 'verify', ...options]);
  return { ...outcome, json: () => JSON.parse(outcome.stdout) };
}

/** On the store itself, with an anchor. */
function verifyStore(anchor: Head): Promise<Outcome> {
  return stage.beacon('operator', ['records', 'verify', '--store', file, '--anchor', text(anchor)]);
}

const text = ({ seq, hash }: Head) => `${seq}:${hash}`;
const names = (seq: number, why: string) => new RegExp(`record ${seq}: .*${why}`);

/** Both forms of the command name this record. */
async function expectNamed(seq: number, why: string, anchor: Head = remembered): Promise<void> {
  const overApi = await verify('--anchor', text(anchor));
  expect(overApi).toMatchObject({ status: 70, stdout: '', stderr: expect.stringMatching(names(seq, why)) });
  const onStore = await verifyStore(anchor);
  expect(onStore).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(new RegExp(`^BAD: record ${seq}: `)),
  });
}

describe('records verify names the first bad record of', () => {
  it('nothing in an honest store, with every anchor', async () => {
    const { status, stderr } = await verify('--anchor', text(receipt), '--anchor', text(remembered));
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(await verifyStore(receipt)).toMatchObject({ status: 0 });
    expect(await verify('--anchor', '3:x')).toMatchObject({ status: 64 });
  });

  it('L1, L5: a store with a changed line', async () => {
    write((store) =>
      store.exec(`update records set line = replace(line, 'github:101', 'github:102') where seq = 4`),
    );
    await expectNamed(4, 'does not give it out');
  });

  it('L1: a store with a changed line and its hash', async () => {
    write((store) => {
      const { line } = store.prepare('select line from records where seq = 4').get() as { line: string };
      const changed = line.replace('github:101', 'github:102');
      store
        .prepare(`update records set line = ?, hash = ?, person = 'github:102' where seq = 4`)
        .run(changed, hashRecord(changed));
    });
    await expectNamed(5, 'does not follow from the record before');
  });

  it('L1: a store whose tail was cut', async () => {
    const last = remembered.seq - 2;
    write((store) => store.prepare('delete from records where seq > ?').run(last));
    await expectNamed(last + 1, 'records are gone');
  });

  it('L3: a store that was put back to an older state, behind what this machine remembers', async () => {
    const last = remembered.seq + 1;
    write((store) => store.prepare('delete from records where seq > ?').run(last));
    expect(await verifyStore(remembered)).toMatchObject({ status: 0 });
    await expectNamed(last + 1, 'records are gone', receipt);
  });

  it('L2: a store whose chain was written anew from the first record on', async () => {
    write((store) => {
      let previous = '0'.repeat(64);
      store.exec('delete from records');
      for (const row of whole) {
        const { prev: _, ...fields } = parseRecord(String(row['line']));
        const line = formatRecord(
          { ...fields, time: new Date(fields.time.getTime() + (fields.seq === 3 ? 1 : 0)) },
          previous,
        );
        previous = hashRecord(line);
        insert(store, { ...row, time: parseRecord(line).time.getTime(), line, hash: previous });
      }
    });
    await expectNamed(remembered.seq, '(not the one|differs)');
  });

  it('L4: a store that was put back and went on: two records of one number', async () => {
    write((store) => store.prepare('delete from records where seq > ?').run(remembered.seq - 2));
    for (let i = 0; i < 4; i += 1) await decide();
    await expectNamed(remembered.seq, 'not the one that what this machine remembers names');
  });

  it('another CA’s records in the place of this one’s', async () => {
    const theirs = await foreignRows(whole.length);
    write((store) => {
      store.exec('delete from records');
      for (const row of theirs) insert(store, row);
    });
    await expectNamed(remembered.seq, '(not the one|differs)');
  });

  it('L5: one bit that turned over on the disk, and the rest verifies', async () => {
    const at = join(stage.folder, 'flipped.db');
    const store = new DatabaseSync(file, { readOnly: true });
    store.exec(`vacuum into '${at}'`);
    store.close();
    writeFileSync(at, flip(readFileSync(at), whole[6]));
    const { stdout } = await stage.beacon('operator', ['records', 'verify', '--store', at, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, firstBad: 7, bad: 1 });
  });
});

/** The file with one bit of a record's line turned over, also where a page still holds what was once written there. */
function flip(bytes: Buffer, row: Row | undefined): Buffer {
  const line = String(row?.['line']);
  expect(bytes.indexOf(line)).toBeGreaterThan(0);
  for (let at = bytes.indexOf(line); at >= 0; at = bytes.indexOf(line, at + 1))
    bytes[at + 40] = (bytes[at + 40] ?? 0) ^ 1;
  return bytes;
}
