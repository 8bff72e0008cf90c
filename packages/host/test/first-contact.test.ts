import { fingerprint, formatPublicKeyLine } from '@beacon/ssh/public-key';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newSigner } from '../../ca/test/small-ca.ts';
import { publish, startTrustLab, type TrustLab } from '../../ca/test/trust-lab.ts';
import { meetCa } from '../src/first-contact.ts';

let lab: TrustLab;
const asked: string[] = [];
const outside = () => ({
  fetch: ((url, init) => {
    asked.push(`${init?.method} ${new URL(String(url)).pathname}`);
    return fetch(url, init);
  }) as typeof fetch,
  now: lab.ca.clock.now,
  timeoutMs: 10_000,
});
beforeAll(async () => {
  lab = await startTrustLab();
  await publish(lab);
});
afterAll(() => lab.ca.close());

test('pins the key that the token names, and brings the documents', async () => {
  const contact = await meetCa(outside(), lab.ca.url, fingerprint(lab.root.publicKey));
  expect(contact.rootKey).toBe(formatPublicKeyLine(lab.root.publicKey));
  expect(JSON.parse(contact.files['status.json'].toString())).toMatchObject({ kind: 'trust-status' });
});

test('E4: refuses a root that another key has signed, and has asked for documents alone', async () => {
  asked.length = 0;
  const other = fingerprint(newSigner().publicKey);
  await expect(meetCa(outside(), lab.ca.url, other)).rejects.toMatchObject({ code: 'root-key-differs' });
  expect(asked.filter((one) => !one.startsWith('GET '))).toEqual([]);
});

test('E4: refuses a root whose signature is none', async () => {
  const broken: typeof fetch = async (url, init) => {
    const answer = await fetch(url, init);
    const text = await answer.text();
    return new Response(text.replace('BEGIN SSH', 'BEGIN PGP'), { status: answer.status });
  };
  const pinned = fingerprint(lab.root.publicKey);
  await expect(meetCa({ ...outside(), fetch: broken }, lab.ca.url, pinned)).rejects.toMatchObject({
    code: 'root-key-differs',
  });
});
