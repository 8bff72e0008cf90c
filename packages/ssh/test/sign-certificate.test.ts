import { sign } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeCertificate, formatCertificateLine } from '../src/certificate.ts';
import { certificateDefects } from '../src/certificate-defects.ts';
import { SshError } from '../src/error.ts';
import { type GeneratedKeyType, generateKey } from '../src/key.ts';
import type { CriticalOptions, Extensions } from '../src/options.ts';
import { optionText } from '../src/options.ts';
import { decodePublicKey } from '../src/public-key.ts';
import {
  createHostCa,
  createUserCa,
  signHostCertificate,
  signUserCertificate,
  type UserCa,
  type UserCertificateFields,
} from '../src/sign-certificate.ts';
import { createSigner } from '../src/signature.ts';
import { Writer } from '../src/wire.ts';
import { codeOf, hardwareSigner } from './raw-certificate.ts';
import { listCertificate, vectorKey } from './vectors.ts';

const AUTHORITIES: readonly GeneratedKeyType[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'ssh-rsa',
];
const SUBJECTS = ['ed25519', 'ecdsa256', 'ecdsa384', 'ecdsa521', 'rsa3072', 'sk_ed25519', 'sk_ecdsa256'];

const keys = new Map(AUTHORITIES.map((type) => [type, createSigner(generateKey(type).privateKey)]));
const signer = keys.get('ssh-ed25519') ?? createSigner(generateKey('ssh-ed25519').privateKey);
const userCa = createUserCa(signer);
const nonce = Buffer.alloc(32, 5);

const usual: UserCertificateFields = {
  publicKey: vectorKey('ed25519'),
  serial: 12n,
  keyId: 'beacon/0123456789abcdefghjkmnpqrs/github:583231',
  principals: ['deploy@build-01'],
  validAfter: 1_767_225_600n,
  validBefore: 1_767_229_200n,
};

const signWith = (changes: object, ca: UserCa = userCa, bytes = nonce): Promise<Buffer> =>
  signUserCertificate({ ...usual, ...changes }, ca, bytes);

describe('signing', () => {
  const pairs = SUBJECTS.flatMap((subject) => AUTHORITIES.map((type) => [subject, type] as const));

  test.each(pairs)(
    'makes a user certificate for %s under a CA of type %s that ssh-keygen -L reads field by field',
    async (subject, type) => {
      const ca = keys.get(type);
      if (ca === undefined) throw new Error('no such CA');
      const publicKey = vectorKey(subject);
      const extensions: Extensions = { 'permit-pty': true, 'grant@beacon': '{"v":1}' };
      const blob = await signWith(
        { publicKey, extensions, criticalOptions: { 'source-address': '192.0.2.0/24' } },
        createUserCa(ca),
      );
      const listed = await listCertificate(formatCertificateLine(blob));
      const algorithm = type === 'ssh-rsa' ? 'rsa-sha2-512' : type;
      expect(listed).toContain(
        `Type: ${publicKey.type.replace('@openssh.com', '')}-cert-v01@openssh.com user certificate\n`,
      );
      expect(listed).toContain(`(using ${algorithm})\n`);
      expect(listed.slice(listed.indexOf('        Key ID'))).toBe(
        [
          '        Key ID: "beacon/0123456789abcdefghjkmnpqrs/github:583231"',
          '        Serial: 12',
          '        Valid: from 2026-01-01T00:00:00 to 2026-01-01T01:00:00',
          '        Principals: ',
          '                deploy@build-01',
          '        Critical Options: ',
          '                source-address 192.0.2.0/24',
          '        Extensions: ',
          '                grant@beacon UNKNOWN OPTION: 000000077b2276223a317d (len 11)',
          '                permit-pty',
          '',
        ].join('\n'),
      );
      const certificate = decodeCertificate(blob);
      expect(certificate.publicKey.blob).toEqual(publicKey.blob);
      expect(certificate.ca.blob).toEqual(ca.publicKey.blob);
      expect(certificateDefects(certificate)).toEqual([]);
    },
  );

  test('makes a host certificate of kind 2 without options', async () => {
    const fields = { ...usual, keyId: 'beacon/host/build-01', principals: ['build-01'] };
    const certificate = decodeCertificate(await signHostCertificate(fields, createHostCa(signer), nonce));
    expect(certificate).toMatchObject({
      kind: 'host',
      principals: ['build-01'],
      extensions: [],
      criticalOptions: [],
    });
    expect(certificateDefects(certificate)).toEqual([]);
  });

  test('accepts a hardware CA key and a signer that answers later', async () => {
    const hardware = hardwareSigner('ed25519');
    const later = { publicKey: hardware.publicKey, sign: async (data: Buffer) => hardware.sign(data) };
    const certificate = decodeCertificate(await signWith({}, createUserCa(later)));
    expect(certificate.signatureAlgorithm).toBe('sk-ssh-ed25519@openssh.com');
  });

  test('A15: the user CA makes kind 1 and the host CA kind 2; the other way does not compile and does not run', async () => {
    // @ts-expect-error a host CA is no user CA
    expect(await codeOf(() => signUserCertificate(usual, createHostCa(signer), nonce))).toBe('sign-key');
    // @ts-expect-error a user CA is no host CA
    expect(await codeOf(() => signHostCertificate(usual, userCa, nonce))).toBe('sign-key');
    // @ts-expect-error a bare signer certifies nothing
    expect(await codeOf(() => signUserCertificate(usual, signer, nonce))).toBe('sign-key');
  });

  test('reads back whatever it signs, without a defect', async () => {
    const name = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,60}$/);
    await fc.assert(
      fc.asyncProperty(
        fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
        fc.stringMatching(/^[A-Za-z0-9:/._-]{1,255}$/),
        name,
        fc.bigInt({ min: 0n, max: 2n ** 63n }),
        fc.bigInt({ min: 1n, max: 2n ** 62n }),
        fc.string({ minLength: 1 }).filter((text) => !text.includes('\0')),
        async (serial, keyId, principal, validAfter, lifetime, grant) => {
          const fields = {
            serial,
            keyId,
            principals: [principal],
            validAfter,
            validBefore: validAfter + lifetime,
          };
          const certificate = decodeCertificate(
            await signWith({ ...fields, extensions: { 'grant@beacon': grant } }),
          );
          expect(certificate).toMatchObject({ ...fields, kind: 'user', nonce });
          expect(optionText(certificate.extensions, 'grant@beacon')).toBe(grant);
          expect(certificateDefects(certificate)).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });

  test.each<[string, string, object]>([
    ['no principals', 'sign-principals', { principals: [] }],
    ['two principals', 'sign-principals', { principals: ['a', 'b'] }],
    ['an empty principal', 'sign-principals', { principals: [''] }],
    ['A2: a principal with a comma', 'sign-principals', { principals: ['root,deploy'] }],
    ['A2: a principal with a NUL', 'sign-principals', { principals: ['deploy\0'] }],
    ['A2: a principal with a newline', 'sign-principals', { principals: ['deploy\n'] }],
    ['A2: a principal with a space', 'sign-principals', { principals: ['deploy build'] }],
    ['A2: a principal that is a pattern', 'sign-principals', { principals: ['*'] }],
    ['A2: a principal outside ASCII', 'sign-principals', { principals: ['rööt'] }],
    ['A2: a principal of 300 characters', 'sign-principals', { principals: ['a'.repeat(300)] }],
    ['serial 0', 'sign-serial', { serial: 0n }],
    ['a negative serial', 'sign-serial', { serial: -1n }],
    ['serial 2^64', 'sign-serial', { serial: 2n ** 64n }],
    ['C9: an end at the beginning', 'sign-validity', { validBefore: usual.validAfter }],
    ['C9: an end before the beginning', 'sign-validity', { validBefore: usual.validAfter - 1n }],
    ['C9: an end that never comes', 'sign-validity', { validBefore: 2n ** 64n - 1n }],
    ['A4: an end past 2^64', 'sign-validity', { validBefore: 2n ** 64n + 1n }],
    ['A4: a beginning before 1970', 'sign-validity', { validAfter: -1n }],
    ['an empty key id', 'sign-key-id', { keyId: '' }],
    ['A16: a key id with a quotation mark', 'sign-key-id', { keyId: 'beacon/"' }],
    ['A16: a key id with a percent sign', 'sign-key-id', { keyId: 'beacon/%u' }],
    ['a key id with a newline at its end', 'sign-key-id', { keyId: 'beacon\n' }],
    ['a key id of 256 characters', 'sign-key-id', { keyId: 'k'.repeat(256) }],
    ['an RSA key of 2048 bits', 'sign-key', { publicKey: vectorKey('rsa2048') }],
    ["the CA's own key", 'sign-key', { publicKey: signer.publicKey }],
    ['C1: force-command as an extension', 'option-wrong-kind', { extensions: { 'force-command': 'id' } }],
    ['C1: source-address as an extension', 'option-wrong-kind', { extensions: { 'source-address': '::/0' } }],
    ['C2: permit-pty as a critical option', 'option-wrong-kind', { criticalOptions: { 'permit-pty': true } }],
    ['C2: a flag with data', 'option-malformed', { extensions: { 'permit-pty': 'yes' } }],
    ['an extension that nobody knows', 'option-unknown', { extensions: { colour: true } }],
    [
      'C6: a grant of more than 8 KiB',
      'option-too-long',
      { extensions: { 'grant@beacon': 'x'.repeat(8193) } },
    ],
  ])('refuses %s', async (_, code, changes) => {
    expect(await codeOf(() => signWith(changes))).toBe(code);
  });

  test('refuses options for a host, a nonce of another length and a small CA key', async () => {
    const extensions: Extensions = { 'permit-pty': true };
    const criticalOptions: CriticalOptions = { 'force-command': 'id' };
    const hostCa = createHostCa(signer);
    const withOptions: UserCertificateFields = { ...usual, extensions, criticalOptions };
    expect(await codeOf(() => signHostCertificate(withOptions, hostCa, nonce))).toBe('sign-options');
    expect(await codeOf(() => signWith({}, userCa, Buffer.alloc(16)))).toBe('sign-nonce');
    const small = { publicKey: vectorKey('ca_rsa2048'), sign: (data: Buffer) => data };
    expect(await codeOf(() => signWith({}, createUserCa(small)))).toBe('sign-key');
  });

  test('refuses a signer that signs with SHA-1 or as another key, and lets its own failure through', async () => {
    const { privateKey, publicKey } = generateKey('ssh-rsa');
    const sha1 = {
      publicKey,
      sign: (data: Buffer) =>
        new Writer()
          .string('ssh-rsa')
          .string(sign('sha1', data, privateKey))
          .toBuffer(),
    };
    expect(await codeOf(() => signWith({}, createUserCa(sha1)))).toBe('signature-sha1');
    const mixed = { publicKey, sign: (data: Buffer) => signer.sign(data) };
    expect(await codeOf(() => signWith({}, createUserCa(mixed)))).toBe('signature-algorithm');
    const failing = { publicKey, sign: () => Promise.reject(new SshError('agent-refused', 'no')) };
    expect(await codeOf(() => signWith({}, createUserCa(failing)))).toBe('agent-refused');
  });

  test('certifies Ed25519 keys whose first byte is 0x80 or more as they are', async () => {
    for (let first = 0x80; first < 0x100; first += 0x11) {
      const point = Buffer.alloc(32, 3);
      point[0] = first;
      const publicKey = decodePublicKey(new Writer().string('ssh-ed25519').string(point).toBuffer());
      expect(decodeCertificate(await signWith({ publicKey })).publicKey.blob).toEqual(publicKey.blob);
    }
  });
});
