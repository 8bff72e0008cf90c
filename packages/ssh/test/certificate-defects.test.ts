import { describe, expect, test } from '@jest/globals';
import { decodeCertificate } from '../src/certificate.ts';
import { certificateDefects, type DefectCode } from '../src/certificate-defects.ts';
import { generateKey } from '../src/key.ts';
import { createSigner } from '../src/signature.ts';
import { inner, type RawFields, rawCertificate, rawOptions } from './raw-certificate.ts';
import { ACCEPTED, vectorBlob } from './vectors.ts';

/** Those of the vectors that have a defect; all others must have none. */
const DEFECTS: Readonly<Record<string, DefectCode>> = {
  no_principals: 'no-principals',
  two_principals: 'several-principals',
  principals_256: 'several-principals',
  wildcard_principal: 'principal-form',
  serial_zero: 'serial-zero',
  key_id_empty: 'key-id-empty',
  key_id_foreign: 'key-id-form',
  key_id_64k: 'key-id-form',
  forever: 'forever',
  small_rsa: 'small-rsa',
  small_rsa_authority: 'small-rsa-authority',
  sha1_signature: 'sha1-signature',
  unknown_critical: 'foreign-critical-option',
  permit_pty_critical: 'foreign-critical-option',
  unknown_extension: 'foreign-extension',
  force_command_extension: 'foreign-extension',
};

const defectsOf = async (changes: Partial<RawFields>): Promise<readonly DefectCode[]> =>
  certificateDefects(decodeCertificate(await rawCertificate(changes))).map(({ code }) => code);

describe('certificateDefects', () => {
  test.each(ACCEPTED)('C5: finds in %s what is wrong with it and nothing else', (name) => {
    const found = certificateDefects(decodeCertificate(vectorBlob(name))).map(({ code }) => code);
    const expected = DEFECTS[name];
    expect(found).toEqual(expected === undefined ? [] : [expected]);
  });

  test.each<[string, DefectCode, Partial<RawFields>]>([
    ['C5: a reserved field that is not empty', 'reserved-not-empty', { reserved: Buffer.alloc(1) }],
    ['C9: an end that is the beginning', 'validity-empty', { validAfter: 5n, validBefore: 5n }],
    ['C9: an end before the beginning', 'validity-empty', { validAfter: 6n, validBefore: 5n }],
    ['C9: an end that never comes', 'forever', { validBefore: 2n ** 64n - 1n }],
    ['a nonce of fifteen bytes', 'nonce-short', { nonce: Buffer.alloc(15) }],
    ['options for a host', 'host-options', { kind: 2, extensions: rawOptions(['permit-pty', '']) }],
    ['an empty principal', 'principal-form', { principals: [''] }],
    ['a principal with a comma', 'principal-form', { principals: ['root,deploy'] }],
    ['a principal that begins with a dash', 'principal-form', { principals: ['-oProxyCommand'] }],
    [
      'a source-address that sshd refuses',
      'source-address-form',
      { criticalOptions: rawOptions(['source-address', inner('any')]) },
    ],
  ])('%s', async (_, code, changes) => {
    expect(await defectsOf(changes)).toEqual([code]);
  });

  test('finds a key that certifies itself', async () => {
    const { privateKey, publicKey } = generateKey('ssh-ed25519');
    const blob = await rawCertificate({ publicKey }, createSigner(privateKey));
    expect(certificateDefects(decodeCertificate(blob)).map(({ code }) => code)).toEqual(['own-authority']);
  });

  test('I12: quotes the certificate without control characters', async () => {
    const blob = await rawCertificate({ keyId: '\u001b]52;c;\u009b\u202e', principals: ['a\u001b[2J'] });
    const reasons = certificateDefects(decodeCertificate(blob)).map(({ reason }) => reason);
    expect(reasons).toHaveLength(2);
    for (const reason of reasons) expect(reason).toMatch(/^[\u0020-\u007e]+$/);
  });
});
