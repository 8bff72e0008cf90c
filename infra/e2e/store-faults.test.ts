/**
 * A real `beacon ca serve` on a SQLite store that fails beneath it. While it does, whatever writes is answered with 503
 * and nothing is signed; what was acknowledged before stays, and it serves again when the fault has gone.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { openDatabase, verifyRecords } from '@beacon/server';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../packages/ca/src/ca.ts';
import { addHost, type Caller, logIn, prepareCertificate, send } from '../crash/caller.ts';
import { Victim } from '../crash/victim.ts';

interface Issued {
  readonly serial: string;
  readonly record: { readonly seq: number; readonly hash: string };
}

const hasCompiler = spawnSync('cc', ['--version']).status === 0;
const issued: Issued[] = [];
let victim: Victim;
let lin: Caller;
let file: string;
let control: string;
let environment: Record<string, string> = {};

beforeAll(async () => {
  victim = await Victim.make();
  file = join(victim.folder, 'ca', 'data', 'ca.db');
  control = join(victim.folder, 'fault');
  if (hasCompiler) {
    const shim = join(victim.folder, 'failing-disk.so');
    const source = join(import.meta.dirname, 'failing-disk.c');
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', shim, source, '-ldl']);
    environment = { LD_PRELOAD: shim, STORE_FAULT: control };
  }
  victim.spawn(environment);
  await victim.ready();
  await addHost(victim.url, 'web-01', await logIn(victim.url, 'ada'));
  lin = await logIn(victim.url, 'lin');
}, 120_000);
afterAll(() => victim?.close());

async function ask(): Promise<{ status: number; code: unknown }> {
  const reply = await send(victim.url, (await prepareCertificate(victim.url, lin, 'web-01')).request);
  if (reply?.status === 201) issued.push(reply.body as unknown as Issued);
  return { status: reply?.status ?? 0, code: reply?.body['code'] };
}

async function readiness(): Promise<number> {
  const answer = await fetch(`${victim.url}/readyz`);
  await answer.arrayBuffer();
  return answer.status;
}

/** Everything that was acknowledged stands, and no serial stands twice. */
async function expectWhole(): Promise<void> {
  const store = openDatabase<Tables>({ file, readOnly: true });
  try {
    const anchors = issued.map(({ record }) => record);
    expect(await verifyRecords(store, { chain: 'ca', anchors })).toMatchObject({ ok: true });
    const rows = await store.selectFrom('certificates').select(['serial', 'record_hash']).execute();
    const hashes = new Map(rows.map((row) => [BigInt(row.serial).toString(), row.record_hash]));
    expect(issued.filter(({ serial, record }) => hashes.get(serial) !== record.hash)).toEqual([]);
    expect(new Set(issued.map(({ serial }) => serial)).size).toBe(issued.length);
  } finally {
    await store.destroy();
  }
}

/** The fault comes and goes while the CA runs. */
async function expectRefusedDuring(begin: () => void, end: () => void): Promise<void> {
  for (let i = 0; i < 3; i += 1) expect(await ask()).toMatchObject({ status: 201 });
  begin();
  try {
    for (let i = 0; i < 3; i += 1) expect(await ask()).toEqual({ status: 503, code: 'storage' });
    expect(await readiness()).toBe(503);
    const device = await fetch(`${victim.url}/oauth/device`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: 'beacon-cli', resource: 'urn:beacon:ca' }),
    });
    expect([device.status, await device.json()]).toEqual([
      503,
      { error: 'temporarily_unavailable', error_description: expect.any(String) },
    ]);
    // Nobody is sent to GitHub who could not come back.
    expect((await fetch(`${victim.url}/device`, { redirect: 'manual' })).status).toBe(503);
  } finally {
    end();
  }
  expect(await ask()).toMatchObject({ status: 201 });
  expect(await readiness()).toBe(200);
  await expectWhole();
}

describe('Q3, L8, A13: while the store fails nothing is signed, and afterwards it serves', () => {
  test('another process holds the lock for writing', async () => {
    const other = new DatabaseSync(file);
    await expectRefusedDuring(
      () => other.exec('begin immediate'),
      () => other.exec('rollback'),
    );
    other.close();
  });

  test('the file may not grow (EFBIG)', async () => {
    const limit = (size: string) =>
      execFileSync('prlimit', ['--pid', String(victim.pid), `--fsize=${size}:unlimited`]);
    await expectRefusedDuring(
      () => limit('4096'),
      () => limit('unlimited'),
    );
  });

  (hasCompiler ? test : test.skip).each(['write', 'sync'])('%s fails with EIO', async (what) => {
    await expectRefusedDuring(
      () => writeFileSync(control, what),
      () => rmSync(control),
    );
    // What the failed attempt left in the log must not come back as something else.
    await victim.kill();
    victim.spawn(environment);
    await victim.ready();
    expect(await ask()).toMatchObject({ status: 201 });
    await expectWhole();
  });

  test('somebody reads for long, so that the log cannot be folded back', async () => {
    const reader = new DatabaseSync(file, { readOnly: true });
    reader.exec('begin');
    reader.prepare('select count(*) from records').get();
    for (let i = 0; i < 30; i += 1) {
      const statuses = await Promise.all(Array.from({ length: 8 }, () => ask()));
      expect(statuses.filter(({ status }) => status !== 201)).toEqual([]);
    }
    // More than what is folded back by itself (1,000 pages) when nobody reads.
    expect(statSync(`${file}-wal`).size).toBeGreaterThan(1_000 * 4_096);
    reader.exec('rollback');
    reader.close();
    expect(await ask()).toMatchObject({ status: 201 });
    await expectWhole();
  }, 120_000);
});

describe('Q3: a store that cannot be used is refused at the start, in words', () => {
  const kept = () => `${file}.kept`;

  /** Stops the CA, damages its store, sees it refuse, puts the store back, and sees it serve. */
  async function expectRefusedAtStart(damage: () => void, words: RegExp): Promise<void> {
    await victim.stop();
    expect(existsSync(`${file}-wal`)).toBe(false);
    copyFileSync(file, kept());
    damage();
    victim.spawn(environment);
    await expect(victim.ready()).rejects.toThrow(words);
    rmSync(file, { recursive: true, force: true });
    for (const beside of [`${file}-wal`, `${file}-shm`]) rmSync(beside, { force: true });
    renameSync(kept(), file);
    victim.spawn(environment);
    await victim.ready();
    expect(await ask()).toMatchObject({ status: 201 });
    await expectWhole();
  }

  const overwrite = (page: number) => {
    const descriptor = openSync(file, 'r+');
    writeSync(descriptor, Buffer.alloc(4_096, 0xa5), 0, 4_096, (page - 1) * 4_096);
    closeSync(descriptor);
  };

  test('its first page is overwritten', async () => {
    await expectRefusedAtStart(() => overwrite(1), /not a store, or it is damaged/);
  });

  test('the first page of its records is overwritten', async () => {
    const store = new DatabaseSync(file, { readOnly: true });
    const { rootpage } = store.prepare("select rootpage from sqlite_master where name = 'records'").get() as {
      rootpage: number;
    };
    store.close();
    await expectRefusedAtStart(() => overwrite(rootpage), /ca\.db: the store failed \(SQLITE_CORRUPT\)/);
  });

  test('a folder lies in its place', async () => {
    await expectRefusedAtStart(() => {
      rmSync(file);
      mkdirSync(file);
    }, /this is a folder, and a file was expected/);
  });
});
