import { createHash } from 'node:crypto';
import { fetchJwks, verifyCheckpoint } from '@beacon/client';
import { type ChainHead, digestHeads } from '@beacon/protocol/checkpoint';
import { FIRST_PREVIOUS, hashRecord } from '@beacon/protocol/record';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { askToken, Machine } from './machine.ts';
import { refusal } from './small-ca.ts';
import { publish, startTrustLab, type TrustLab } from './trust-lab.ts';

let lab: TrustLab;
let machine: Machine;
let count = 0;
beforeAll(async () => {
  lab = await startTrustLab({ trustedProxies: ['127.0.0.1'] });
  await publish(lab);
});
afterAll(() => lab.ca.close());
beforeEach(async () => {
  count += 1;
  machine = new Machine(lab.ca, `told-${count}`);
  const token = (await askToken(lab, machine.id)).body['token'] as string;
  expect((await machine.enrol(token)).status).toBe(201);
});

const shown = async () => {
  const { hosts } = (await lab.ca.ask(lab.ada, 'GET', '/v1/host-reports')).body;
  return (hosts as { id: string; report: object }[]).find(({ id }) => id === machine.id)?.report;
};
const kinds = async () =>
  (await lab.ca.records()).filter(({ host }) => host === machine.id).map(({ kind }) => kind);

test('a report says what the host is, and is recorded when that changes, not each time', async () => {
  machine.work(3);
  lab.ca.clock.frozenAt = lab.ca.clock.now();
  const first = await machine.report();
  lab.ca.clock.frozenAt = undefined;
  expect([first.status, first.body]).toEqual([
    200,
    { head: machine.head, contract_known: true, clock_off_seconds: 0, renew: false },
  ]);
  expect((await machine.report()).status).toBe(200);
  expect((await machine.report({ trust: { root: 2, status: 9 } })).status).toBe(200);
  expect((await kinds()).filter((kind) => kind === 'host-report')).toHaveLength(2);
  expect(await shown()).toMatchObject({
    versions: { beacon: '0.1.0', sshd: 'OpenSSH_9.2p1' },
    trust: { root: 2, status: 9 },
    head: machine.head,
    head_refused: null,
  });
});

test('Q8: a clock that is wrong is told to the host and shown', async () => {
  const now = lab.ca.clock.now();
  lab.ca.clock.frozenAt = now;
  const reply = await machine.report({ clock: new Date(now.getTime() - 600_000).toISOString() });
  lab.ca.clock.frozenAt = undefined;
  expect(reply.body['clock_off_seconds']).toBe(-600);
  expect(await shown()).toMatchObject({ clock_off_seconds: reply.body['clock_off_seconds'] });
});

test('a contract is sent once, and again when it is another', async () => {
  const allowlist = '{"version":1,"commands":{}}\n';
  const sha256 = createHash('sha256').update(allowlist).digest('hex');
  expect((await machine.report({ contract: { sha256 } })).body['contract_known']).toBe(false);
  expect((await machine.report({ contract: { sha256, allowlist } })).body['contract_known']).toBe(true);
  expect((await machine.report({ contract: { sha256 } })).body['contract_known']).toBe(true);
  const other = 'a'.repeat(64);
  expect((await machine.report({ contract: { sha256: other } })).body['contract_known']).toBe(false);
  expect(refusal(await machine.report({ contract: { sha256: other, allowlist } }))).toEqual({
    status: 400,
    code: 'request-malformed',
  });
});

test('a head goes on from the last by the lines between, and lines that are missing are asked for', async () => {
  machine.work(2);
  await machine.report();
  const [one, two, three] = machine.work(3);
  const gap = await machine.report({ records: [] });
  expect(refusal(gap)).toEqual({ status: 409, code: 'head-gap' });
  expect(gap.body['denial']).toEqual({ seq: 2, hash: hashRecord(machine.lines[1] ?? '') });
  expect(refusal(await machine.report({ records: [two, three] }))).toEqual({ status: 409, code: 'head-gap' });
  const upTo = { seq: 4, hash: hashRecord(two ?? '') };
  expect((await machine.report({ records: [one, two], head: upTo })).status).toBe(200);
  expect((await machine.report({ records: [three] })).status).toBe(200);
  expect(await shown()).toMatchObject({ head: machine.head, head_refused: null });
});

test('L2: L3: a head that does not extend the last is refused, recorded once, and shown', async () => {
  machine.work(4);
  await machine.report();
  const past = machine.head;
  const good = machine.work(2);
  const hash = 'b'.repeat(64);
  const rewritten = new Machine(lab.ca, machine.id, machine.key);
  rewritten.work(6, `host/${machine.id}`);
  const otherChain = new Machine(lab.ca, machine.id, machine.key);
  otherChain.lines.push(...machine.lines.slice(0, 4));
  const foreign = otherChain.work(2, 'host/another');
  const refused: object[] = [
    { head: { seq: 3, hash: hashRecord(machine.lines[2] ?? '') } },
    { head: { seq: 0, hash: FIRST_PREVIOUS } },
    { head: { seq: 4, hash } },
    { head: { seq: 6, hash }, records: good },
    { head: rewritten.head, records: rewritten.lines.slice(4) },
    { head: otherChain.head, records: foreign },
    { records: [good[0], good[0]] },
    { records: [good[0], '{}'] },
    { records: [good[0], `${good[1]} `] },
  ];
  for (const change of refused)
    expect([change, refusal(await machine.report(change))]).toEqual([
      change,
      { status: 409, code: 'head-refused' },
    ]);
  expect((await kinds()).filter((kind) => kind === 'host-head-refused')).toHaveLength(1);
  expect(
    lab.ca.logs.filter((line) => line.includes('record head') && line.includes(machine.id)),
  ).toHaveLength(refused.length);
  expect(await shown()).toMatchObject({ head: past, head_refused: expect.stringContaining('T') });
  expect((await machine.report({ records: good })).status).toBe(200);
});

test('a report is of this host, of now, and taken once', async () => {
  const nonce = Buffer.alloc(32, count).toString('base64url');
  expect((await machine.report({ nonce })).status).toBe(200);
  expect(refusal(await machine.report({ nonce }))).toEqual({ status: 401, code: 'host-request-replayed' });
  const at = new Date(lab.ca.clock.now().getTime() + 301_000).toISOString();
  const stale = await machine.report({ at });
  expect(refusal(stale)).toEqual({ status: 401, code: 'host-request-stale' });
  expect(stale.body['denial']).toEqual({ now: expect.stringMatching(/Z$/) });
  expect(refusal(await machine.report({ host: 'web-01' }))).toEqual({
    status: 401,
    code: 'host-signature-invalid',
  });
  expect(refusal(await machine.report({}, { namespace: 'host-renewal@beacon' }))).toEqual({
    status: 401,
    code: 'host-signature-invalid',
  });
});

test('L2: the signed checkpoint commits to the heads of all hosts, and to nothing that tells of them', async () => {
  const jwks = await fetchJwks(`${lab.ca.url}/.well-known/jwks.json`);
  const read = async () =>
    verifyCheckpoint((await lab.ca.send('GET', '/v1/checkpoint')).body['checkpoint'], jwks);
  const listed = async () => {
    const { hosts } = (await lab.ca.ask(lab.ada, 'GET', '/v1/host-reports')).body;
    const reported = (hosts as { id: string; report: { head: ChainHead } | null }[]).flatMap(
      ({ id, report }) => (report === null ? [] : [{ host: id, head: report.head }]),
    );
    return digestHeads(reported);
  };
  machine.work(2);
  await machine.report();
  const first = await read();
  expect(first.heads).toEqual({ hosts: { seq: expect.any(Number), hash: await listed() } });
  await machine.report();
  expect((await read()).heads).toEqual(first.heads);
  const records = machine.work(1);
  await machine.report({ records });
  const second = await read();
  expect(second.heads['hosts']?.seq).toBe((first.heads['hosts']?.seq ?? 0) + 1);
  expect(second.heads['hosts']?.hash).toBe(await listed());
  const token = (await askToken(lab, machine.id, { replace: true })).body['token'] as string;
  await new Machine(lab.ca, machine.id).enrol(token);
  expect((await read()).heads['hosts']?.hash).toBe(await listed());
});

test('after it is enrolled again its records begin anew', async () => {
  machine.work(5);
  await machine.report();
  const token = (await askToken(lab, machine.id, { replace: true })).body['token'] as string;
  const fresh = new Machine(lab.ca, machine.id);
  expect((await fresh.enrol(token)).status).toBe(201);
  expect((await fresh.report()).status).toBe(200);
  expect((await fresh.report({ records: fresh.work(2) })).status).toBe(200);
});
