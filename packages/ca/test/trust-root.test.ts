import { parseTrustRoot, TRUST_ROOT_NAMESPACE } from '@beacon/protocol/trust';
import { fingerprint } from '@beacon/ssh/public-key';
import { verifyMessage } from '@beacon/ssh/sshsig';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newSigner, refusal, SmallCa } from './small-ca.ts';
import { draw, handOver, lineOf, publish, signText, startTrustLab, type TrustLab } from './trust-lab.ts';

const DAY_MS = 86_400_000;

describe('a trust root', () => {
  let lab: TrustLab;
  beforeAll(async () => {
    lab = await startTrustLab();
  });
  afterAll(() => lab.ca.close());

  const refusedWith = async (status: number, code: string, ...asked: Parameters<typeof publish>) => {
    const before = (await lab.ca.send('GET', '/v1/trust/root')).text;
    const reply = await publish(...asked);
    expect(refusal(reply)).toEqual({ status, code });
    expect((await lab.ca.lastRecord()).kind).toBe('refused');
    expect(JSON.parse((await lab.ca.send('GET', '/v1/trust/root')).text).document).toBe(
      JSON.parse(before).document,
    );
  };

  test('is not there before it is published, and neither is a status', async () => {
    for (const path of ['/v1/trust/root', '/v1/trust/roots/1', '/v1/trust/status'])
      expect(refusal(await lab.ca.send('GET', path))).toEqual({ status: 404, code: 'trust-unpublished' });
    expect((await lab.ca.send('GET', '/v1/krl')).status).toBe(200);
  });

  test('is published as its exact text, recorded with the keys that it names, and answered by its tag', async () => {
    const document = draw(lab);
    const reply = await publish(lab, document);
    expect([reply.status, reply.body['version']]).toEqual([201, 1]);
    const record = await lab.ca.lastRecord();
    expect(record).toMatchObject({
      kind: 'trust-root-published',
      person: 'github:101',
      facts: { version: 1, root_key: fingerprint(lab.root.publicKey) },
    });
    expect(reply.body['record']).toEqual({ seq: record.seq, hash: record.hash });
    const shown = await lab.ca.send('GET', '/v1/trust/root');
    expect(shown.body['document']).toBe(document);
    const message = Buffer.from(shown.body['document']);
    const signer = verifyMessage({
      signature: shown.body['signature'],
      namespace: TRUST_ROOT_NAMESPACE,
      message,
    });
    expect(fingerprint(signer)).toBe(fingerprint(lab.root.publicKey));
    const etag = shown.headers.get('etag') ?? '';
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`]) {
      const again = await lab.ca.send('GET', '/v1/trust/root', undefined, { 'if-none-match': known });
      expect([again.status, again.text, again.headers.get('etag')]).toEqual([304, '', etag]);
    }
    expect((await lab.ca.send('GET', '/v1/trust/roots/1')).body['document']).toBe(document);
  });

  test('B8: is refused unless its version is the next', async () => {
    for (const version of [1, 3, Number.MAX_SAFE_INTEGER])
      await refusedWith(409, 'trust-root-version', lab, draw(lab, { version }));
  });

  test('B12: is refused when one byte of it, or of its signature, is another, or the signature has another purpose', async () => {
    const document = draw(lab, { version: 2 });
    const signature = await signText(lab.root, document);
    await refusedWith(400, 'trust-root-refused', lab, document.replace('"beacon"', '"reacon"'), {
      signature,
    });
    await refusedWith(400, 'trust-root-refused', lab, `${document}\n`, { signature });
    const other = await signText(lab.root, document, 'trust-status@beacon');
    await refusedWith(400, 'trust-root-refused', lab, document, { signature: other });
    await refusedWith(400, 'trust-root-refused', lab, document, {
      signature: await signText(newSigner(), document),
    });
    const respelled = `${JSON.stringify(JSON.parse(document), undefined, 1)}\n`;
    await refusedWith(400, 'trust-root-refused', lab, respelled);
  });

  test('is refused when it has expired, lives longer than a year, is from the future, or names no login', async () => {
    const now = lab.ca.clock.now().getTime();
    const at = (days: number) => new Date(now + days * DAY_MS);
    for (const change of [
      { issued: at(-10), expires: at(-1) },
      { issued: at(0), expires: at(367) },
      { issued: at(1), expires: at(100) },
      { logins: [] },
    ])
      await refusedWith(400, 'trust-root-refused', lab, draw(lab, { version: 2, ...change }));
  });

  test('is refused when hosts could not go on with this CA: its keys are missing', async () => {
    const other = lineOf(newSigner().publicKey);
    for (const change of [{ userCa: [other] }, { hostCa: [] }, { statusKey: other }])
      await refusedWith(400, 'trust-root-refused', lab, draw(lab, { version: 2, ...change }));
  });

  test('is published by who has ca.rotate alone', async () => {
    const lin = await lab.ca.login('lin');
    await refusedWith(403, 'policy-denied', lab, draw(lab, { version: 2 }), { who: lin });
  });

  test('B6: with a word of handover is refused while the key is the same', async () => {
    const document = draw(lab, { version: 2 });
    const handover = await handOver(lab.root, lab.root.publicKey, document);
    await refusedWith(400, 'trust-root-handover', lab, document, { handover });
  });

  test('B8: of a new key needs the word of the key before, over this document and this key', async () => {
    const next = newSigner();
    await lab.ca.restart({ keys: { ...lab.ca.keys, trust: { root: next.publicKey, status: lab.status } } });
    const document = draw(lab, { version: 2 });
    const after = { ...lab, root: next };
    // By the old key alone, by the new one alone.
    await refusedWith(400, 'trust-root-refused', after, document, {
      signature: await signText(lab.root, document),
    });
    await refusedWith(400, 'trust-root-handover', after, document);
    for (const handover of [
      await signText(lab.root, document),
      await handOver(next, next.publicKey, document),
      await handOver(lab.root, newSigner().publicKey, document),
      await handOver(lab.root, next.publicKey, draw(lab, { version: 2, logins: ['other'] })),
    ])
      await refusedWith(400, 'trust-root-handover', after, document, { handover });
    const handover = await handOver(lab.root, next.publicKey, document);
    expect((await publish(after, document, { handover })).status).toBe(201);
    const shown = (await lab.ca.send('GET', '/v1/trust/roots/2')).body;
    expect(shown).toMatchObject({ document, handover });
    expect(parseTrustRoot(Buffer.from(shown['document'])).version).toBe(2);
  });
});

test('a CA without keys for trust documents says so', async () => {
  const ca = await SmallCa.start({ hosts: false, quiet: true });
  const ada = await ca.login('ada');
  expect(refusal(await ca.send('GET', '/v1/trust/root'))).toEqual({ status: 404, code: 'trust-unpublished' });
  const signature = await signText(newSigner(), 'x');
  const reply = await ca.ask(ada, 'POST', '/v1/trust/root', { v: 1, document: '{}', signature });
  expect(refusal(reply)).toEqual({ status: 404, code: 'trust-unpublished' });
  await ca.close();
});
