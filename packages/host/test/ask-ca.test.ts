import { parseHostToken } from '@beacon/protocol/host-token';
import { parseCertificateLine } from '@beacon/ssh/certificate';
import { isSameKey } from '@beacon/ssh/public-key';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { askToken } from '../../ca/test/machine.ts';
import { newSigner, type SmallCa } from '../../ca/test/small-ca.ts';
import { publish, startTrustLab, type TrustLab } from '../../ca/test/trust-lab.ts';
import { type Asker, askSelfTest, enrol, renew, sendReport } from '../src/ask-ca.ts';

let lab: TrustLab;
let ca: SmallCa;
beforeAll(async () => {
  lab = await startTrustLab();
  ca = lab.ca;
  await publish(lab);
});
afterAll(() => ca.close());

const asker = (host: string): Asker => ({
  outside: { fetch, now: ca.clock.now, timeoutMs: 10_000 },
  ca: ca.url,
  host,
  key: newSigner(),
});
const secretFor = async (host: string) => parseHostToken((await askToken(lab, host)).body['token']).secret;
const refusal = (code: string) =>
  expect.objectContaining({ code: 'ca-refused', message: expect.stringContaining(code) });

test('a host enrols, renews, tests itself and reports by its own key', async () => {
  const host = asker('build-01');
  const enrolled = parseCertificateLine(await enrol(host, await secretFor('build-01')));
  expect(enrolled).toMatchObject({ kind: 'host', principals: ['build-01'] });
  expect(isSameKey(enrolled.publicKey, host.key.publicKey)).toBe(true);
  expect(parseCertificateLine(await renew(host)).serial).toBeGreaterThan(enrolled.serial);
  const fresh = newSigner();
  const tested = parseCertificateLine(await askSelfTest(host, 'beacon', fresh));
  expect(tested).toMatchObject({ kind: 'user', principals: ['beacon@build-01'] });
  expect(isSameKey(tested.publicKey, fresh.publicKey)).toBe(true);
  const head = { seq: 0, hash: '0'.repeat(64) };
  const report = {
    clock: ca.clock.now().toISOString(),
    versions: { beacon: '0.1.0', sshd: 'OpenSSH_9.2p1' },
    trust: { root: 1, status: 1 },
    head,
    records: [],
  };
  expect(await sendReport(host, report)).toMatchObject({ head, contractKnown: true });
});

test('a machine whose clock is wrong takes the time of the CA', async () => {
  const host = asker('late-01');
  await enrol(host, await secretFor('late-01'));
  const outside = { ...host.outside, now: () => new Date(0) };
  expect(parseCertificateLine(await renew({ ...host, outside })).principals).toEqual(['late-01']);
});

test("E1, E3, E7: a refusal has the CA's code, and what to do", async () => {
  const host = asker('used-01');
  const secret = await secretFor('used-01');
  await enrol(host, secret);
  await expect(enrol(asker('used-01'), secret)).rejects.toEqual(refusal('host-token-refused'));
  await expect(renew(asker('used-01'))).rejects.toEqual(refusal('--replace'));
  const copied = { ...asker('copy-01'), key: host.key };
  await expect(enrol(copied, await secretFor('copy-01'))).rejects.toEqual(refusal('ssh-keygen -A'));
});

test.each([
  ['no JSON', 200, 'hello'],
  ['no certificate', 201, '{"serial":"1"}'],
  ['a certificate that is no text', 201, '{"certificate":1}'],
  ['no problem document', 502, 'bad gateway'],
])('refuses an answer with %s', async (_what, status, body) => {
  const given: typeof fetch = () => Promise.resolve(new Response(body, { status }));
  const host = asker('other-01');
  await expect(renew({ ...host, outside: { ...host.outside, fetch: given } })).rejects.toMatchObject({
    code: 'answer-malformed',
  });
});

test.each([
  ['a number below 0', { seq: -1, hash: '0'.repeat(64) }],
  ['a number that is no integer', { seq: 1e300, hash: '0'.repeat(64) }],
  ['a hash that is none', { seq: 1, hash: 'x'.repeat(10_000) }],
])('refuses an answer to a report whose head has %s', async (_what, head) => {
  const body = JSON.stringify({ head, contract_known: true, clock_off_seconds: 0, renew: false });
  const given: typeof fetch = () => Promise.resolve(new Response(body, { status: 200 }));
  const host = asker('other-02');
  const report = {
    clock: ca.clock.now().toISOString(),
    versions: { beacon: '0.1.0', sshd: 'OpenSSH_9.2p1' },
    trust: { root: 1, status: 1 },
    head: { seq: 0, hash: '0'.repeat(64) },
    records: [],
  };
  const asked = sendReport({ ...host, outside: { ...host.outside, fetch: given } }, report);
  await expect(asked).rejects.toMatchObject({ code: 'answer-malformed' });
});
