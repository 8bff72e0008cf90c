/** Reports to the real CA made small: when one is due, what it takes to lead to a head, and what a CA refuses. */
import { appendFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { HOST_RECORDS } from '@beacon/protocol/record-files';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { askToken, Machine as ChainOfMachine } from '../../ca/test/machine.ts';
import { publish, startTrustLab, type TrustLab } from '../../ca/test/trust-lab.ts';
import { openMachine } from '../src/index.ts';
import { isReportDue, lookForReport, reportHost } from '../src/report.ts';
import type { Reported } from '../src/sync-state.ts';
import type { VerifiedTrust } from '../src/trust-documents.ts';

const trust = { root: { version: 1 }, status: { version: 3 } } as VerifiedTrust;
let lab: TrustLab;
let folder: string;
let chain: ChainOfMachine;
let number = 0;
beforeAll(async () => {
  lab = await startTrustLab();
  await publish(lab);
}, 120_000);
afterAll(() => lab.ca.close());
beforeEach(async () => {
  folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-report-'));
  mkdirSync(dirname(join(folder, HOST_RECORDS)), { recursive: true });
  mkdirSync(join(folder, 'etc/beacon'), { recursive: true });
  const id = `build-${++number}`;
  chain = new ChainOfMachine(lab.ca, id);
  const { body } = await askToken(lab, id);
  expect((await chain.enrol(body['token'])).status).toBe(201);
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** The folder with an sshd that says its version. */
const machine = () => ({
  ...openMachine(folder),
  run: () => ({ status: 0, stdout: '', stderr: 'OpenSSH_9.2p1 Debian-2+deb12u3, OpenSSL 3.0.11' }),
});
const work = (count: number): void => {
  for (const line of chain.work(count)) appendFileSync(join(folder, HOST_RECORDS), `${line}\n`);
};
const outside = { fetch, now: () => lab.ca.clock.now(), timeoutMs: 10_000 };
const report = (last?: Reported) => {
  const asker = { outside, ca: lab.ca.url, host: chain.id, key: chain.key };
  return reportHost(machine(), asker, lookForReport(machine(), trust), last);
};
const atCa = async () => {
  const { body } = await lab.ca.ask(lab.ada, 'GET', '/v1/host-reports');
  return body['hosts'].find((one: { id: string }) => one.id === chain.id)?.report;
};

test('tells versions, trust, contract and head; the first head alone, later ones with the lines that lead there', async () => {
  work(3);
  writeFileSync(join(folder, 'etc/beacon/allowlist.json'), '{"version":1,"commands":{}}\n');
  const first = await report();
  expect(await atCa()).toMatchObject({
    versions: { sshd: 'OpenSSH_9.2p1 Debian-2+deb12u3' },
    trust: { root: 1, status: 3 },
    contract: first.reported.contract,
    head: chain.head,
  });
  expect(first).toMatchObject({ taken: { contractKnown: true }, reported: { isHeadRefused: false } });
  work(2);
  const next = await report(first.reported);
  expect(next.reported.head).toEqual(chain.head);
  expect((await atCa()).head).toEqual(chain.head);
});

test('a host that has much to tell tells it in several requests', async () => {
  const { reported } = await report();
  work(1_203);
  expect((await report(reported)).reported.head).toEqual(chain.head);
});

test('who has forgotten what it told, or a CA that was restored, is helped by the CA’s own word', async () => {
  work(2);
  const old = await report();
  work(2);
  await report(old.reported);
  work(2);
  // Forgotten: the head alone, and then from where the CA is.
  expect((await report()).reported.head).toEqual(chain.head);
  work(1);
  // Behind: the lines begin before the CA's head.
  expect((await report(old.reported)).reported.head).toEqual(chain.head);
  await lab.ca.running.ca.store.deleteFrom('host_reports').where('host', '=', chain.id).execute();
  expect((await report(old.reported)).reported.head).toEqual(chain.head);
});

test('L3: records that were cut are refused, and the CA records it', async () => {
  work(4);
  const { reported } = await report();
  const kept = chain.lines.slice(0, 3).map((line) => `${line}\n`);
  writeFileSync(join(folder, HOST_RECORDS), kept.join(''));
  expect(await report(reported)).toMatchObject({ reported: { isHeadRefused: true }, taken: undefined });
  const kinds = (await lab.ca.records()).filter(({ host }) => host === chain.id).map(({ kind }) => kind);
  expect(kinds).toContain('host-head-refused');
});

test('is due when something has changed, and once an hour; a newer status alone is no reason', () => {
  const at = (seconds: number) => new Date(seconds * 1_000);
  const head = { seq: 1, hash: 'x' };
  const tellable = { root: 1, status: 1, beacon: '1', contract: undefined, head };
  const last = { at: at(0), root: 1, beacon: '1', contract: undefined, head, isHeadRefused: false };
  expect(isReportDue(tellable, undefined, at(0))).toBe(true);
  expect(isReportDue(tellable, last, at(3_000))).toBe(false);
  expect(isReportDue({ ...tellable, status: 9 }, last, at(3_000))).toBe(false);
  expect(isReportDue(tellable, last, at(3_300))).toBe(true);
  for (const change of [
    { root: 2 },
    { beacon: '2' },
    { contract: { sha256: 'y', allowlist: '' } },
    { head: { seq: 2, hash: 'y' } },
  ]) {
    expect(isReportDue({ ...tellable, ...change }, last, at(1))).toBe(true);
    expect(isReportDue({ ...tellable, ...change }, { ...last, isHeadRefused: true }, at(1))).toBe(false);
  }
});
