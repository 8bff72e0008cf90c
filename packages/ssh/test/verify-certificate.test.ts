import { describe, expect, test } from '@jest/globals';
import { type Certificate, decodeCertificate } from '../src/certificate.ts';
import { generateKey } from '../src/key.ts';
import type { Signer } from '../src/signature.ts';
import { type VerifyCertificateOptions, verifyCertificate } from '../src/verify-certificate.ts';
import { authority, codeOf, inner, type RawFields, rawCertificate, rawOptions } from './raw-certificate.ts';

const BEGIN = 1_767_225_600;
const END = 1_767_229_200;

const usual: VerifyCertificateOptions = {
  now: new Date((BEGIN + 60) * 1000),
  kind: 'user',
  principal: 'deploy@build-01',
  authorities: [authority.publicKey],
};

/** The code with which the raw certificate with `changes` is refused under the usual options with `options`. */
async function verdict(
  changes: Partial<RawFields>,
  options: Partial<VerifyCertificateOptions> = {},
): Promise<string | undefined> {
  const certificate = decodeCertificate(await rawCertificate(changes));
  return codeOf(() => verifyCertificate(certificate, { ...usual, ...options }));
}

describe('verifyCertificate', () => {
  test('accepts a certificate of ours for its principal while it is valid', async () => {
    expect(await verdict({})).toBeUndefined();
    expect(
      await verdict({ kind: 2, principals: ['build-01'] }, { kind: 'host', principal: 'build-01' }),
    ).toBeUndefined();
  });

  test('refuses a value that was not decoded, a changed copy included', async () => {
    const certificate = decodeCertificate(await rawCertificate());
    const copy: Certificate = { ...certificate, principals: ['root@build-01'] };
    const options = { ...usual, principal: 'root@build-01' };
    expect(await codeOf(() => verifyCertificate(copy, options))).toBe('certificate-not-decoded');
    expect(await codeOf(() => verifyCertificate({ ...certificate }, usual))).toBe('certificate-not-decoded');
  });

  test('C4: refuses a host certificate where a user certificate is asked for, and the reverse', async () => {
    expect(await verdict({ kind: 2 })).toBe('certificate-wrong-kind');
    expect(await verdict({}, { kind: 'host' })).toBe('certificate-wrong-kind');
  });

  test('refuses a CA that is not trusted, and every CA when none is', async () => {
    const other = generateKey('ssh-ed25519').publicKey;
    expect(await verdict({}, { authorities: [other] })).toBe('certificate-unknown-authority');
    expect(await verdict({}, { authorities: [] })).toBe('certificate-unknown-authority');
    expect(await verdict({}, { authorities: [other, authority.publicKey] })).toBeUndefined();
  });

  test.each<[string, Partial<RawFields>]>([
    ['no principals', { principals: [] }],
    ['two principals', { principals: ['deploy@build-01', 'deploy@build-02'] }],
    ['serial 0', { serial: 0n }],
    ['an empty key id', { keyId: '' }],
    ['a reserved field that is not empty', { reserved: Buffer.alloc(1) }],
    ['an unknown critical option', { criticalOptions: rawOptions(['colour@example.com', '']) }],
    ['an unknown extension', { extensions: rawOptions(['colour@example.com', '']) }],
    ['C1: a force-command among the extensions', { extensions: rawOptions(['force-command', inner('id')]) }],
    [
      'C1: a source-address among the extensions',
      { extensions: rawOptions(['source-address', inner('::/0')]) },
    ],
    ['C2: a permit-pty among the critical options', { criticalOptions: rawOptions(['permit-pty', '']) }],
    ['C9: no end', { validBefore: 2n ** 64n - 1n }],
    ['C9: an end before its beginning', { validAfter: BigInt(END), validBefore: BigInt(BEGIN) }],
  ])('refuses a certificate with a defect (%s)', async (_, changes) => {
    expect(await verdict(changes)).toBe('certificate-defect');
  });

  test('refuses a revoked certificate, and passes on what a broken list throws', async () => {
    const serials: bigint[] = [];
    const isRevoked = ({ serial }: Certificate): boolean => {
      serials.push(serial);
      return true;
    };
    expect(await verdict({ serial: 8n }, { isRevoked })).toBe('certificate-revoked');
    expect(serials).toEqual([8n]);
    const broken = (): boolean => {
      throw new Error('no list');
    };
    await expect(verdict({}, { isRevoked: broken })).rejects.toThrow('no list');
  });

  test.each([
    ['one second before', BEGIN * 1000 - 1000, 'certificate-not-yet-valid'],
    ['one millisecond before', BEGIN * 1000 - 1, 'certificate-not-yet-valid'],
    ['at the first second', BEGIN * 1000, undefined],
    ['in the last millisecond', END * 1000 - 1, undefined],
    ['at the end', END * 1000, 'certificate-expired'],
    ['one second after the end', END * 1000 + 1000, 'certificate-expired'],
    ['before 1970', -1, 'certificate-not-yet-valid'],
    ['at no time', Number.NaN, 'certificate-not-yet-valid'],
  ])('C9: has no leeway: %s', async (_, ms, code) => {
    expect(await verdict({}, { now: new Date(ms) })).toBe(code);
  });

  test('C7: refuses a grant, or any other part, cut from one certificate and pasted into another of the same CA', async () => {
    const grant = (host: string) => ({
      extensions: rawOptions(['grant@beacon', inner(`{"v":1,"host":"${host}"}`)]),
    });
    const signatures: Buffer[] = [];
    const keeping: Signer = {
      publicKey: authority.publicKey,
      sign: async (data) => {
        const signature = await authority.sign(data);
        signatures.push(signature);
        return signature;
      },
    };
    const one: Partial<RawFields> = { ...grant('build-01') };
    const two: Partial<RawFields> = {
      nonce: Buffer.alloc(32, 8),
      publicKey: generateKey('ssh-ed25519').publicKey,
      serial: 8n,
      keyId: 'beacon/0123456789abcdefghjkmnpqrt/github:42',
      principals: ['deploy@build-02'],
      validAfter: BigInt(BEGIN + 30),
      validBefore: BigInt(END + 3600),
      criticalOptions: rawOptions(['source-address', inner('192.0.2.0/24')]),
      ...grant('build-02'),
    };
    for (const whole of [one, two]) decodeCertificate(await rawCertificate(whole, keeping));
    const pasting = (signature: Buffer | undefined): Signer => ({
      publicKey: authority.publicKey,
      sign: () => signature ?? Buffer.alloc(0),
    });
    const pasted = (changes: Partial<RawFields>, signature: Buffer | undefined) =>
      codeOf(async () => decodeCertificate(await rawCertificate(changes, pasting(signature))));
    expect(await pasted(one, signatures[0])).toBeUndefined();
    expect(await pasted(two, signatures[1])).toBeUndefined();
    for (const part of Object.keys(two) as (keyof RawFields)[])
      expect([part, await pasted({ ...one, [part]: two[part] }, signatures[0])]).toEqual([
        part,
        'signature-wrong',
      ]);
    expect(await pasted(one, signatures[1])).toBe('signature-wrong');
  });

  test.each([
    'deploy@build-02',
    'root@build-01',
    'DEPLOY@build-01',
    'deploy@build-01 ',
    'deploy@build-0',
    '*',
    '',
  ])('refuses the principal %j', async (principal) => {
    expect(await verdict({}, { principal })).toBe('certificate-wrong-principal');
  });

  test('compares source-address where the caller knows the peer', async () => {
    const criticalOptions = rawOptions(['source-address', inner('192.0.2.0/24')]);
    expect(await verdict({ criticalOptions }, { sourceAddress: '192.0.2.9' })).toBeUndefined();
    expect(await verdict({ criticalOptions }, { sourceAddress: '198.51.100.9' })).toBe(
      'certificate-source-address',
    );
    expect(await verdict({ criticalOptions }, { sourceAddress: '' })).toBe('certificate-source-address');
    expect(await verdict({ criticalOptions })).toBeUndefined();
  });
});
