import { formatCertificateLine, parseCertificateLine } from '@beacon/ssh/certificate';
import { generateKey } from '@beacon/ssh/key';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import { createHostCa, signHostCertificate } from '@beacon/ssh/sign-certificate';
import { createSigner } from '@beacon/ssh/signature';
import { expect, test } from '@jest/globals';
import { lineOf, type PublishOptions, ThrowAwayCa } from '../../../infra/lab/throw-away-ca.ts';
import { type CertificateUse, isRenewalDue, verifyHostCertificate } from '../src/host-certificate.ts';
import type { TrustFiles } from '../src/trust-documents.ts';
import { verifyTrust } from '../src/trust-documents.ts';

const NOW = new Date('2026-11-22T12:00:00.000Z');
const SECONDS = BigInt(NOW.getTime() / 1_000);
const names = { host: 'build-01', login: 'beacon' };
const [key, authority] = [generateKey('ssh-ed25519'), generateKey('ssh-ed25519')];
const fields = {
  publicKey: key.publicKey,
  serial: 7n,
  keyId: 'beacon/host/build-01',
  principals: ['build-01'],
  validAfter: SECONDS - 60n,
  validBefore: SECONDS + 2_592_000n,
};

async function sign(change: Partial<typeof fields> = {}, by = authority): Promise<string> {
  const ca = createHostCa(createSigner(by.privateKey));
  return formatCertificateLine(await signHostCertificate({ ...fields, ...change }, ca, Buffer.alloc(32, 1)));
}

async function use(publish: PublishOptions = {}): Promise<CertificateUse> {
  const ca = new ThrowAwayCa(names, () => NOW);
  const files = (await ca.publish({
    ...publish,
    root: { hostCa: [lineOf(authority)] },
  })) as unknown as TrustFiles;
  const bytes = Object.fromEntries(Object.entries(files).map(([name, one]) => [name, Buffer.from(one)]));
  const trust = verifyTrust(bytes as unknown as TrustFiles, {
    ...names,
    rootKey: formatPublicKeyLine(ca.rootKey.publicKey),
  });
  return { host: 'build-01', key: key.publicKey, trust, now: NOW };
}

test("takes a certificate of a host CA of the root, for this host's key and id alone", async () => {
  expect(verifyHostCertificate(await sign(), await use())).toMatchObject({ serial: 7n });
});

test.each([
  ['E7: another key', async () => sign({ publicKey: generateKey('ssh-ed25519').publicKey })],
  ['E7: another host', async () => sign({ principals: ['build-02'] })],
  ['another CA', async () => sign({}, generateKey('ssh-ed25519'))],
  ['E7: one that is over', async () => sign({ validBefore: SECONDS })],
  ['one that is not valid yet', async () => sign({ validAfter: SECONDS + 1n })],
  ['what is no certificate', async () => lineOf(key)],
  ['more than a line', async () => `${await sign()}\n${await sign()}`],
])('refuses %s', async (_what, make) => {
  const line = await make();
  const wanted = await use();
  expect(() => verifyHostCertificate(line, wanted)).toThrow(
    expect.objectContaining({ code: 'certificate-refused' }),
  );
});

test('is renewed at two thirds of its life', async () => {
  const certificate = parseCertificateLine(await sign({ validAfter: SECONDS, validBefore: SECONDS + 30n }));
  const at = (seconds: number) => isRenewalDue(certificate, new Date(NOW.getTime() + seconds * 1_000));
  expect([at(0), at(19), at(20), at(40)]).toEqual([false, false, true, true]);
});
