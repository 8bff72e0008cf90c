/** A CA whose PostgreSQL fails beneath it: its disk full, the server stopped and started, connections cut in the midst of commits. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Cluster, startCluster } from '../../server/test/postgres.ts';
import { type LoggedIn, type Reply, refusal, SmallCa } from './small-ca.ts';

interface Issued {
  readonly serial: string;
  readonly record: { readonly seq: number; readonly hash: string };
}

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ durable: true });
}, 120_000);
afterAll(() => cluster.stop());

async function startCa(url: string): Promise<{ ca: SmallCa; lin: LoggedIn }> {
  const ca = await SmallCa.start({ place: { url }, trustedProxies: ['127.0.0.1'], quiet: true });
  return { ca, lin: await ca.login('lin') };
}

/** What was acknowledged stands in one chain, no serial twice. */
async function expectWhole(ca: SmallCa, issued: readonly Issued[]): Promise<void> {
  expect(await ca.verifyChain(issued.map(({ record }) => record))).toMatchObject({ ok: true });
  const serials = new Set((await ca.serials()).map(String));
  expect(issued.filter(({ serial }) => !serials.has(serial))).toEqual([]);
  expect(new Set(issued.map(({ serial }) => serial)).size).toBe(issued.length);
}

const issuedOf = (replies: readonly Reply[]) =>
  replies.filter(({ status }) => status === 201).map(({ body }) => body as unknown as Issued);

describe('a PostgreSQL that fails', () => {
  test('Q3: stopped and started again, 503 in between, and nothing that was acknowledged is gone', async () => {
    const { ca, lin } = await startCa(await cluster.createDatabase());
    try {
      const before = issuedOf(await Promise.all(Array.from({ length: 10 }, () => ca.sign(lin))));
      expect(before).toHaveLength(10);
      await cluster.crash();
      try {
        const refused = await Promise.all(Array.from({ length: 5 }, () => ca.sign(lin)));
        expect(refused.map(refusal)).toEqual(Array(5).fill({ status: 503, code: 'storage' }));
        expect((await ca.send('GET', '/readyz')).status).toBe(503);
        const device = await ca.send('POST', '/oauth/device', 'client_id=beacon-cli&resource=urn:beacon:ca', {
          'content-type': 'application/x-www-form-urlencoded',
        });
        expect([device.status, device.body['error']]).toEqual([503, 'temporarily_unavailable']);
      } finally {
        await cluster.start();
      }
      const after = issuedOf([await until(() => ca.sign(lin))]);
      expect((await until(() => ca.send('GET', '/readyz'))).status).toBe(200);
      await expectWhole(ca, [...before, ...after]);
    } finally {
      await ca.close();
    }
  }, 300_000);

  test('Q3: connections that are cut in the midst of commits lose nothing that was acknowledged', async () => {
    const url = await cluster.createDatabase();
    const { ca, lin } = await startCa(url);
    try {
      const replies: Reply[] = [];
      let going = true;
      const load = Array.from({ length: 8 }, async () => {
        while (going) replies.push(await ca.sign(lin));
      });
      for (let cuts = 0; cuts < 25; cuts += 1) {
        await sleep(20);
        await cluster.query(
          url,
          'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
        );
      }
      going = false;
      await Promise.all(load);
      const others = replies.filter(({ status }) => status !== 201 && status !== 503);
      expect(others.map(refusal)).toEqual([]);
      const last = await until(() => ca.sign(lin));
      await expectWhole(ca, issuedOf([...replies, last]));
    } finally {
      await ca.close();
    }
  }, 300_000);

  const small = mountSmall();
  (small === undefined ? test.skip : test)(
    'A13, L8: on a full disk (53100) nothing is signed and 503 is answered, until there is room again',
    async () => {
      const folder = small ?? '';
      const place = join(folder, 'space');
      const [uid, gid] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, 'postgres'])));
      mkdirSync(place);
      chownSync(place, uid ?? 0, gid ?? 0);
      const url = await cluster.createDatabase();
      await cluster.query(url, `create tablespace small location '${place}'`);
      const name = /@\/([a-z0-9_]+)\?/.exec(url)?.[1] ?? '';
      const smallUrl = url.replace(`/${name}?`, '/store_small?');
      await cluster.query(url, 'create database store_small tablespace small');
      const { ca, lin } = await startCa(smallUrl);
      try {
        const filler = join(folder, 'filler');
        try {
          writeFileSync(filler, Buffer.alloc(64 * 1024 * 1024));
        } catch {
          // Full now: as much was written as there was room for.
        }
        expect(statSync(filler).size).toBeGreaterThan(0);
        // What is left in pages that the tables have already is used up first.
        const issued: Issued[] = [];
        let refused: Reply | undefined;
        for (let i = 0; i < 500 && refused === undefined; i += 1) {
          const reply = await ca.sign(lin);
          if (reply.status === 201) issued.push(...issuedOf([reply]));
          else refused = reply;
        }
        expect(refused === undefined ? undefined : refusal(refused)).toEqual({
          status: 503,
          code: 'storage',
        });
        const serials = await ca.serials();
        for (let i = 0; i < 3; i += 1) expect((await ca.sign(lin)).status).toBe(503);
        expect(await ca.serials()).toEqual(serials);
        rmSync(filler);
        issued.push(...issuedOf([await until(() => ca.sign(lin))]));
        await expectWhole(ca, issued);
      } finally {
        await ca.close();
        await cluster.query(url, 'drop database store_small');
        await cluster.query(url, 'drop tablespace small');
        execFileSync('umount', [folder]);
        rmSync(folder, { recursive: true });
      }
    },
    120_000,
  );
});

/** Asks until it is served; at most half a minute. */
async function until(ask: () => Promise<Reply>): Promise<Reply> {
  for (let i = 0; ; i += 1) {
    const reply = await ask();
    if (reply.status < 300 || i === 60) return reply;
    await sleep(500);
  }
}

/** A small file system of its own, which only root can mount; undefined where it cannot. */
function mountSmall(): string | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'beacon-small-space-'));
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m,mode=755', 'tmpfs', folder]);
  if (status === 0) return folder;
  rmSync(folder, { recursive: true });
  return undefined;
}
