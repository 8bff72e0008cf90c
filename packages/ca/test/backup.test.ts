/** A drill: a CA is backed up while it serves, goes on, is lost, and is restored. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openDatabase } from '@beacon/server';
import { decodeKrl } from '@beacon/ssh/krl';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { cluster } from '../../server/test/postgres.ts';
import type { BackupReport, BackupTables } from '../src/backup.ts';
import { RESTORE_MARGIN, restoreCa } from '../src/restore.ts';
import { type MadeCa, makeCheapCa } from './made-ca.ts';
import { runMain } from './run-main.ts';
import { type LoggedIn, refusal, SmallCa } from './small-ca.ts';
import { judgeByKrl } from './ssh-keygen.ts';

let ca: SmallCa;
let made: MadeCa;
let folder: string;
let lin: LoggedIn;
let taken: BackupReport;
const revoked: string[] = [];
const serials: bigint[] = [];
const at = (name: string) => join(folder, name);
const now = () => new Date();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'beacon-backup-'));
  ca = await SmallCa.start({ trustedProxies: ['127.0.0.1'] });
  made = await makeCheapCa();
  made.edit('ca.yaml', 'store: data/ca.db', `store: ${ca.storeFile}`);
  lin = await ca.login('lin');
});
afterAll(async () => {
  await ca.close();
  made.remove();
  rmSync(folder, { recursive: true, force: true });
});

const issue = async () => {
  const { status, body } = await ca.sign(lin);
  expect(status).toBe(201);
  serials.push(BigInt(body['serial']));
  return String(body['serial']);
};
const revoke = async () => {
  const value = await issue();
  const body = { v: 1, by: 'serial', value, reason: 'drill' };
  expect((await ca.ask(lin, 'POST', '/v1/revocations', body)).status).toBe(200);
  return ca.issued.at(-1) ?? '';
};
const krl = async () => Buffer.from(await (await fetch(`${ca.url}/v1/krl`)).arrayBuffer());
const backup = (...argv: string[]) =>
  runMain(['ca', 'backup', '--config', made.configuration, '--json', ...argv]);

describe('a backup', () => {
  test('is of one moment while the CA signs, names its head, and holds what belongs to it but no secret', async () => {
    revoked.push(await revoke());
    let busy = true;
    const load = (async () => {
      while (busy) await Promise.all(Array.from({ length: 4 }, issue));
    })();
    const outcome = await backup('--out', at('backup'));
    busy = false;
    await load;
    expect([outcome.status, outcome.stderr]).toEqual([0, '']);
    taken = JSON.parse(outcome.stdout) as BackupReport;
    expect(taken.files).toEqual(['ca.yaml', 'inventory.yaml', 'services.yaml', 'policy/policy.cedar']);
    const records = await ca.records();
    expect(records[taken.head.seq - 1]?.hash).toBe(taken.head.hash);
    expect(records.length).toBeGreaterThan(taken.head.seq);
    expect(statSync(at('backup')).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['backup']);
    const bytes = readFileSync(at('backup'));
    for (const name of ['passphrase', 'sealing', 'github_client_secret', 'token_signing.jwk', 'user_ca']) {
      const secret = readFileSync(made.at(`keys/${name}`), 'latin1').trim();
      expect(bytes.includes(name === 'token_signing.jwk' ? String(JSON.parse(secret).d) : secret)).toBe(
        false,
      );
    }
    expect(await runMain(['records', 'verify', '--store', at('backup')])).toMatchObject({ status: 0 });
  });

  test('writes over nothing', async () => {
    const before = readFileSync(at('backup'));
    expect(await backup('--out', at('backup'))).toMatchObject({ status: 99 });
    expect(readFileSync(at('backup')).equals(before)).toBe(true);
    expect(readdirSync(folder)).toEqual(['backup']);
  });
});

describe('a restore', () => {
  test('writes over no store, takes no other file for a backup, and no backup of another chain', async () => {
    const restoring = { from: at('backup'), configurationFile: made.configuration, anchors: [] };
    await expect(restoreCa(restoring, now)).rejects.toMatchObject({ code: 'init-refused' });
    const elsewhere = { ...restoring, configurationFile: at('elsewhere/ca.yaml') };
    await expect(restoreCa({ ...elsewhere, from: ca.storeFile }, now)).rejects.toMatchObject({
      code: 'store',
    });
    await expect(restoreCa({ ...elsewhere, from: at('missing') }, now)).rejects.toMatchObject({
      code: 'store',
    });
    const anchors = [{ seq: taken.head.seq, hash: '0'.repeat(64) }];
    await expect(restoreCa({ ...elsewhere, anchors }, now)).rejects.toMatchObject({ code: 'row-unverified' });
    const cut = readFileSync(at('backup')).subarray(0, -4096 * 3);
    writeFileSync(at('cut'), cut, { mode: 0o600 });
    await expect(restoreCa({ ...elsewhere, from: at('cut') }, now)).rejects.toThrow();
    expect(existsSync(at('elsewhere'))).toBe(false);
  });

  test('uses no serial twice, lowers no version of the revocation list, ends sessions and says so in the chain', async () => {
    for (let i = 0; i < 5; i += 1) await issue();
    const late = await revoke();
    const published = await krl();
    const lost = await ca.lastRecord();
    await ca.down();
    for (const name of readdirSync(ca.folder)) rmSync(join(ca.folder, name), { recursive: true });

    const anchor = `${lost.seq}:${lost.hash}`;
    const argv = ['ca', 'restore', '--from', at('backup'), '--config', made.configuration];
    const outcome = await runMain([...argv, '--anchor', anchor, '--json']);
    expect([outcome.status, outcome.stderr]).toEqual([0, '']);
    expect(JSON.parse(outcome.stdout)).toMatchObject({ written: [], head: taken.head });
    expect(statSync(ca.storeFile).mode & 0o777).toBe(0o600);

    await ca.up();
    const restored = await ca.lastRecord();
    expect(restored).toMatchObject({
      kind: 'restored',
      facts: { backup_head: `${taken.head.seq}:${taken.head.hash}`, newest_anchor: anchor },
    });
    expect(
      BigInt(String(restored.facts?.['serial_to'])) - BigInt(String(restored.facts?.['serial_from'])),
    ).toBe(RESTORE_MARGIN);
    expect(refusal(await ca.sign(lin))).toEqual({ status: 401, code: 'token-invalid' });
    lin = await ca.login('lin');
    const used = new Set(serials);
    for (let i = 0; i < 3; i += 1) {
      const serial = BigInt(await issue());
      expect(used.has(serial)).toBe(false);
      expect(serial > RESTORE_MARGIN).toBe(true);
    }
    const after = await krl();
    expect(decodeKrl(after).version > decodeKrl(published).version).toBe(true);
    // What was taken back before the backup stays so; what was taken back after it has to be taken back again.
    expect(judgeByKrl(after, [...revoked, late])).toEqual([true, false]);
    // What others held up to the backup still stands; L3, L4: what they held of the lost part shows that it is lost.
    expect(await ca.verifyChain([taken.head])).toMatchObject({ ok: true });
    expect(await ca.verifyChain([{ seq: lost.seq, hash: lost.hash }])).toMatchObject({ ok: false });
  });

  test('brings configuration, inventory, services and policy back where they are gone, and keeps what is there', async () => {
    const place = join(folder, 'fresh');
    const configurationFile = join(place, 'ca.yaml');
    const text = readFileSync(made.configuration, 'utf8').replace(ca.storeFile, 'data/ca.db');
    const first = restoreCa({ from: at('backup'), configurationFile, anchors: [] }, now);
    // The backed-up ca.yaml names the store of the CA that runs.
    await expect(first).rejects.toMatchObject({ code: 'init-refused' });
    for (const name of ['inventory.yaml', 'services.yaml', 'policy/policy.cedar'])
      expect(readFileSync(join(place, name), 'utf8')).toBe(readFileSync(made.at(name), 'utf8'));
    writeFileSync(configurationFile, text);
    chmodSync(at('backup'), 0o644);
    const report = await restoreCa({ from: at('backup'), configurationFile, anchors: [] }, now);
    expect(statSync(report.store).mode & 0o777).toBe(0o600);
    expect(report.store).toBe(join(place, 'data', 'ca.db'));
    expect(report.written).toEqual([]);
    expect(report.kept).toHaveLength(4);
    expect(readFileSync(configurationFile, 'utf8')).toBe(text);
    expect(readdirSync(join(place, 'data')).filter((name) => name.includes('.new-'))).toEqual([]);
  });
});

describe('a backup that somebody has changed', () => {
  test.each(['../outside.cedar', '/tmp/beacon-planted/cron'])(
    'is refused for the file %s, before anything is written',
    async (name) => {
      const from = at(`changed-${name.length}`);
      copyFileSync(at('backup'), from);
      const store = openDatabase<BackupTables>({ file: from });
      await store.updateTable('backup_files').set({ name }).where('position', '=', 3).execute();
      await store.destroy();
      const configurationFile = at('planted/ca.yaml');
      await expect(restoreCa({ from, configurationFile, anchors: [] }, now)).rejects.toMatchObject({
        code: 'init-refused',
      });
      expect(existsSync(resolve(at('planted'), name))).toBe(false);
      expect(existsSync(at('planted'))).toBe(false);
    },
  );
});

describe('a store that something else put back', () => {
  test('is made fit to go on: a PostgreSQL database after pg_restore', async () => {
    const databases = await cluster();
    const place = { url: await databases.createDatabase() };
    const own = await SmallCa.start({ place });
    const other = await makeCheapCa();
    try {
      const url = other.at('keys/postgres_url');
      writeFileSync(url, place.url, { mode: 0o600 });
      other.edit('ca.yaml', 'store: data/ca.db', 'store: { postgres_url_file: keys/postgres_url }');
      const argv = ['ca', 'restore', '--in-place', '--config', other.configuration];
      const person = await own.login('lin');
      expect((await own.sign(person)).status).toBe(201);
      const backedUp = await own.lastRecord();
      databases.dump(place.url, at('ca.dump'));
      const { body } = await own.sign(person);
      const lost = await own.lastRecord();
      await own.down();
      databases.putBack(place.url, at('ca.dump'));

      const outcome = await runMain([...argv, '--anchor', `${lost.seq}:${lost.hash}`, '--json']);
      expect([outcome.status, outcome.stderr]).toEqual([0, '']);
      expect(JSON.parse(outcome.stdout)).toMatchObject({ head: { seq: backedUp.seq, hash: backedUp.hash } });
      await own.up();
      expect(await own.lastRecord()).toMatchObject({
        kind: 'restored',
        seq: lost.seq,
        facts: { newest_anchor: `${lost.seq}:${lost.hash}` },
      });
      expect(refusal(await own.sign(person))).toEqual({ status: 401, code: 'token-invalid' });
      const { body: next } = await own.sign(await own.login('lin'));
      expect(BigInt(next['serial']) - BigInt(body['serial'])).toBe(RESTORE_MARGIN);
      expect(await own.verifyChain([{ seq: backedUp.seq, hash: backedUp.hash }])).toMatchObject({ ok: true });
    } finally {
      other.remove();
      await own.close();
    }
  });

  test('is refused while a CA has the file open, where there is none, and where nothing was put back', async () => {
    const other = await makeCheapCa();
    const argv = ['ca', 'restore', '--in-place', '--config', other.configuration];
    expect((await runMain(argv)).stderr).toContain('put it back first');
    other.edit('ca.yaml', 'store: data/ca.db', `store: ${ca.storeFile}`);
    const busy = await runMain(argv);
    expect([busy.status, busy.stderr]).toEqual([99, expect.stringContaining('another process')]);
    expect((await runMain([...argv, '--from', at('backup')])).stderr).toContain('name the backup by --from');
    other.edit('ca.yaml', ca.storeFile, '{ postgres_url_file: keys/postgres_url }');
    writeFileSync(other.at('keys/postgres_url'), await (await cluster()).createDatabase(), { mode: 0o600 });
    expect((await runMain(argv)).stderr).toContain('put the old one back');
    other.remove();
  });
});
