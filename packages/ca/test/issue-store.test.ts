import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createProof } from '@beacon/client';
import { hashRecord } from '@beacon/protocol/record';
import { openDatabase } from '@beacon/server';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import { createUserCa, type UserCa } from '@beacon/ssh/sign-certificate';
import { signMessage } from '@beacon/ssh/sshsig';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { engines } from '../../server/test/postgres.ts';
import type { Tables } from '../src/ca.ts';
import { type LoggedIn, makeKeys, newSigner, refusal, SmallCa } from './small-ca.ts';

/** The user CA, watched: what runs before each of its signatures. */
async function watchedKeys(watch: () => Promise<void>) {
  const keys = await makeKeys();
  const userCa: UserCa = createUserCa({
    publicKey: keys.userCa.publicKey,
    sign: async (data) => {
      await watch();
      return keys.userCa.sign(data);
    },
  });
  return { ...keys, userCa };
}

describe.each(engines)('many at once on $engine', ({ place }) => {
  let ca: SmallCa;
  const persons: LoggedIn[] = [];
  beforeAll(async () => {
    ca = await SmallCa.start({ place: await place(), trustedProxies: ['127.0.0.1'], quiet: true });
    for (const name of ['lin', 'kim', 'sam', 'ada'] as const) persons.push(await ca.login(name));
  });
  afterAll(() => ca.close());

  test('A10, K6: a thousand concurrent requests get a thousand serials in an unbroken row that begins above 0', async () => {
    const [first] = await ca.serials();
    expect(first).toBe(1n);
    const last = (await ca.serials()).at(-1) ?? 0n;
    const signers = persons.map(() => newSigner());
    const replies = await Promise.all(
      Array.from({ length: 1000 }, (_, index) => {
        const [who, signer] = [persons[index % 4], signers[index % 4]];
        if (who === undefined || signer === undefined) throw new Error('nobody asks');
        return ca.sign(who, {}, { signer });
      }),
    );
    expect(replies.filter(({ status }) => status !== 201)).toEqual([]);
    const serials = replies.map(({ body }) => BigInt(body['serial'])).sort((a, b) => (a < b ? -1 : 1));
    expect(serials).toEqual(serials.map((_, index) => last + BigInt(index) + 1n));
    const recorded = (await ca.records()).filter(({ kind }) => kind === 'certificate');
    expect(recorded.map(({ facts }) => BigInt(String(facts?.['serial'])))).toEqual(serials);
    expect(new Set(replies.map(({ body }) => body['grant'])).size).toBe(1000);
    const receipts = replies.map(({ body }) => body['record'] as { seq: number; hash: string });
    expect(await ca.verifyChain(receipts)).toMatchObject({ ok: true });
  }, 120_000);

  test('A9: of fifty requests with one proof exactly one is served, and every refusal is recorded', async () => {
    const who = await ca.login('lin');
    const signer = newSigner();
    const { ca: parts } = ca.running;
    const before = await ca.serials();
    const refusedBefore = (await ca.records()).filter(({ kind }) => kind === 'refused').length;
    const raw = JSON.stringify({
      v: 1,
      host: 'web-01',
      login: 'deploy',
      public_key: formatPublicKeyLine(signer.publicKey),
      lifetime_seconds: 60,
    });
    const keyProof = (await signMessage(signer, 'certificate@beacon', Buffer.from(raw))).toString(
      'base64url',
    );
    const proof = await ca.proof(who, 'POST', '/v1/certificates', raw, keyProof);
    const replies = await Promise.all(
      Array.from({ length: 50 }, () => ca.ask(who, 'POST', '/v1/certificates', undefined, { raw, proof })),
    );
    const codes = replies.map(({ status, body }) => `${status} ${body['code'] ?? ''}`).sort();
    expect(codes).toEqual(['201 ', ...Array.from({ length: 49 }, () => '401 proof-replayed')]);
    expect(await ca.serials()).toHaveLength(before.length + 1);
    const refused = (await parts.records.list(parts.store, { limit: 1000, kind: 'refused' })).slice(
      refusedBefore,
    );
    expect(refused.map(({ fields }) => fields.facts?.['code'])).toEqual(Array(49).fill('proof-replayed'));
  });
});

describe('the order of record and signature', () => {
  test('when the key signs, the record and the row are on disk already, as another process sees', async () => {
    const seen: unknown[] = [];
    let file = '';
    const keys = await watchedKeys(async () => {
      const store = openDatabase<Tables>({ file, readOnly: true });
      const record = await store
        .selectFrom('records')
        .selectAll()
        .orderBy('seq', 'desc')
        .limit(1)
        .executeTakeFirst();
      const row = await store
        .selectFrom('certificates')
        .selectAll()
        .orderBy('serial', 'desc')
        .limit(1)
        .executeTakeFirst();
      await store.destroy();
      seen.push([record?.kind, record?.hash, row?.serial.replace(/^0+/, '')]);
    });
    const ca = await SmallCa.start({ keys });
    try {
      file = ca.storeFile;
      const { body } = await ca.sign(await ca.login('lin'));
      expect(seen).toEqual([['certificate', body['record'].hash, body['serial']]]);
      const record = await ca.lastRecord();
      expect(body['record']).toEqual({ seq: record.seq, hash: hashRecord(record.line) });
      expect(record).toMatchObject({
        kind: 'certificate',
        person: 'github:102',
        service: 'beacon-cli',
        host: 'web-01',
        grant: body['grant'],
        facts: { serial: body['serial'], login: 'deploy', policies: ['web-team-logs-in'] },
      });
      // P4: which policy decided stands in the record.
      expect(record.facts?.['policy_version']).toBe(ca.running.ca.policy.version);
    } finally {
      await ca.close();
    }
  });
});

/** A small file system of its own, which only root can mount; undefined where it cannot. */
function mountSmall(): string | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'beacon-full-'));
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', folder]);
  if (status === 0) return folder;
  rmSync(folder, { recursive: true });
  return undefined;
}

const mounted = mountSmall();
(mounted === undefined ? describe.skip : describe)('a store that cannot be written', () => {
  const folder = mounted ?? '';
  let ca: SmallCa;
  let signatures = 0;
  const remount = (options: string) => execFileSync('mount', ['-o', `remount,${options}`, folder]);
  beforeAll(async () => {
    mkdirSync(join(folder, 'ca'));
    const keys = await watchedKeys(async () => {
      signatures += 1;
    });
    ca = await SmallCa.start({ folder: join(folder, 'ca'), keys });
  });
  afterAll(async () => {
    await ca.close();
    execFileSync('umount', [folder]);
    rmSync(folder, { recursive: true });
  });

  /** The ways in that are OAuth's. */
  async function expectUnavailable(who: LoggedIn): Promise<void> {
    const form = (path: string, values: Record<string, string>, headers: Record<string, string> = {}) =>
      ca.send('POST', path, new URLSearchParams(values).toString(), {
        'content-type': 'application/x-www-form-urlencoded',
        ...headers,
      });
    const proof = await createProof(who.proofKey, {
      method: 'POST',
      url: `${ca.url}/oauth/token`,
      now: ca.clock.now(),
    });
    const client = { client_id: 'beacon-cli', resource: 'urn:beacon:ca' };
    const refresh = { ...client, grant_type: 'refresh_token', refresh_token: who.refreshToken };
    for (const { status, body } of [
      await form('/oauth/device', client),
      await form('/oauth/token', refresh, { dpop: proof }),
      await form('/oauth/revoke', { ...client, token: who.refreshToken }),
    ])
      expect({ status, error: body['error'] }).toEqual({ status: 503, error: 'temporarily_unavailable' });
  }

  test('A13, L8: on a full disk nothing is signed and 503 is answered, until there is room again', async () => {
    const lin = await ca.login('lin');
    const [signed, serials] = [signatures, await ca.serials()];
    const filler = join(folder, 'filler');
    try {
      writeFileSync(filler, Buffer.alloc(64 * 1024 * 1024));
    } catch {
      // Full now: as much was written as there was room for.
    }
    for (let i = 0; i < 5; i += 1)
      expect(refusal(await ca.sign(lin))).toEqual({ status: 503, code: 'storage' });
    expect([signatures, await ca.serials()]).toEqual([signed, serials]);
    expect((await ca.sign(lin)).text).not.toMatch(/SQLITE|tmpfs|\/tmp/);
    await expectUnavailable(lin);
    expect((await ca.send('GET', '/readyz')).status).toBe(503);
    expect((await ca.send('GET', '/healthz')).status).toBe(200);
    rmSync(filler);
    expect((await ca.sign(lin)).status).toBe(201);
    expect((await ca.send('GET', '/readyz')).status).toBe(200);
    await ca.login('kim');
    expect(await ca.verifyChain()).toMatchObject({ ok: true });
  });

  test('A13: in a read-only store nothing is signed and 503 is answered', async () => {
    const lin = await ca.login('lin');
    const [signed, serials] = [signatures, await ca.serials()];
    await ca.down();
    remount('ro');
    try {
      await expect(ca.up()).rejects.toMatchObject({ code: 'storage' });
    } finally {
      remount('rw');
    }
    await ca.up();
    await sql`pragma query_only = on`.execute(ca.running.ca.store);
    expect(refusal(await ca.sign(lin))).toEqual({ status: 503, code: 'storage' });
    expect(
      refusal(
        await ca.ask(lin, 'POST', '/v1/decisions', {
          v: 1,
          host: 'web-01',
          login: 'deploy',
          lifetime_seconds: 60,
        }),
      ),
    ).toEqual({ status: 503, code: 'storage' });
    expect(refusal(await ca.ask(lin, 'GET', '/v1/hosts'))).toEqual({ status: 503, code: 'storage' });
    expect([signatures, await ca.serials()]).toEqual([signed, serials]);
  });
});
