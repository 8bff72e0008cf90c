import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  type Certificate,
  decodeCertificate,
  FOREVER,
  formatCertificateLine,
  parseCertificateLine,
} from '../src/certificate.ts';
import { generateKey } from '../src/key.ts';
import type { CertificateOption } from '../src/options.ts';
import { fingerprint, type PublicKey } from '../src/public-key.ts';
import { createSigner } from '../src/signature.ts';
import {
  authority,
  codeOf,
  hardwareSigner,
  inner,
  rawCertificate,
  rawOptions,
  subject,
} from './raw-certificate.ts';
import { ACCEPTED, listCertificate, REFUSED, vectorBlob, vectorText } from './vectors.ts';

/** The whole of what `ssh-keygen -L` prints, rendered from our fields. */
function render(certificate: Certificate): string {
  const { kind, type, publicKey, ca, validAfter, validBefore } = certificate;
  const time = (seconds: bigint): string => new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  const list = (items: readonly string[]): string =>
    items.length === 0 ? ' (none)\n' : ` \n${items.map((item) => `                ${item}\n`).join('')}`;
  const name = (key: PublicKey): string => {
    const family = /ed25519|ecdsa|rsa/.exec(key.type)?.[0] ?? '';
    return `${family.toUpperCase()}${key.type.startsWith('sk-') ? '-SK' : ''}`;
  };
  const option = (value: CertificateOption): string => {
    if (value.form === 'flag') return value.name;
    if (value.form === 'unknown' && value.data.length === 0) return `${value.name} UNKNOWN FLAG OPTION`;
    const isShown = value.form === 'text' && value.name !== 'grant@beacon';
    if (isShown) return `${value.name} ${value.text}`;
    const data = value.form === 'text' ? inner(value.text) : value.data;
    return `${value.name} UNKNOWN OPTION: ${data.toString('hex')} (len ${data.length})`;
  };
  const valid =
    validBefore === FOREVER && validAfter === 0n
      ? 'forever'
      : `from ${time(validAfter)} to ${time(validBefore)}`;
  return [
    `        Type: ${type} ${kind} certificate\n`,
    `        Public key: ${name(publicKey)}-CERT ${fingerprint(publicKey)}\n`,
    `        Signing CA: ${name(ca)} ${fingerprint(ca)} (using ${certificate.signatureAlgorithm})\n`,
    `        Key ID: "${certificate.keyId}"\n`,
    `        Serial: ${certificate.serial}\n`,
    `        Valid: ${valid}\n`,
    `        Principals:${list(certificate.principals)}`,
    `        Critical Options:${list(certificate.criticalOptions.map(option))}`,
    `        Extensions:${list(certificate.extensions.map(option))}`,
  ].join('');
}

const decodeRaw = async (...parameters: Parameters<typeof rawCertificate>): Promise<Certificate> =>
  decodeCertificate(await rawCertificate(...parameters));

describe('decoding what ssh-keygen made', () => {
  test.each(ACCEPTED)('reads %s field by field as ssh-keygen -L does', async (name) => {
    const line = vectorText(`${name}.pub`).trimEnd();
    const certificate = parseCertificateLine(line);
    expect(render(certificate)).toBe(await listCertificate(line));
    expect(certificate.blob).toEqual(vectorBlob(name));
    const comment = line.split(' ').slice(2).join(' ');
    expect(formatCertificateLine(certificate.blob, comment)).toBe(line);
  });

  test.each(REFUSED)('C2: refuses %s', async (name) => {
    expect(await codeOf(() => decodeCertificate(vectorBlob(name)))).toMatch(
      /^(option-malformed|wire-truncated)$/,
    );
  });
});

describe('decoding', () => {
  test('C4: refuses bytes after the signature', async () => {
    expect(await codeOf(() => decodeRaw({ tail: Buffer.alloc(1) }))).toBe('wire-trailing');
  });

  test('C4: refuses junk between the CA key and the signature, even when it is signed', async () => {
    expect(await codeOf(() => decodeRaw({ junk: Buffer.alloc(4) }))).toMatch(/^wire-/);
    const { blob } = authority.publicKey;
    expect(await codeOf(() => decodeRaw({ caBlob: Buffer.concat([blob, Buffer.alloc(3)]) }))).toBe(
      'wire-trailing',
    );
  });

  test('C4: refuses a certificate that another key signed and that names our CA', async () => {
    const foreign = createSigner(generateKey('ssh-ed25519').privateKey);
    const changes = { caBlob: authority.publicKey.blob };
    expect(await codeOf(() => decodeRaw(changes, foreign))).toBe('signature-wrong');
    const ecdsa = createSigner(generateKey('ecdsa-sha2-nistp256').privateKey);
    expect(await codeOf(() => decodeRaw(changes, ecdsa))).toBe('signature-algorithm');
  });

  test('C4: refuses a certificate as CA key', async () => {
    const caBlob = await rawCertificate();
    expect(await codeOf(() => decodeRaw({ caBlob }))).toBe('certificate-ca-is-certificate');
  });

  test.each([0, 3, 0xffff_ffff])('C4: refuses a certificate of kind %j', async (kind) => {
    expect(await codeOf(() => decodeRaw({ kind }))).toBe('certificate-kind');
  });

  test('C4: reads 256 principals and refuses 257', async () => {
    const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `name-${index}`);
    expect((await decodeRaw({ principals: names(256) })).principals).toHaveLength(256);
    expect(await codeOf(() => decodeRaw({ principals: names(257) }))).toBe('certificate-principals');
  });

  test('C3: refuses doubled and unsorted options', async () => {
    const doubled = rawOptions(['permit-pty', ''], ['permit-pty', '']);
    expect(await codeOf(() => decodeRaw({ extensions: doubled }))).toBe('option-duplicate');
    const unsorted = rawOptions(['source-address', inner('::/0')], ['force-command', inner('id')]);
    expect(await codeOf(() => decodeRaw({ criticalOptions: unsorted }))).toBe('options-unsorted');
  });

  test('C5: reads a reserved field that is not empty, a key id of 64 KB or of nothing, and a serial of 2^64-1', async () => {
    expect((await decodeRaw({ reserved: Buffer.from([1, 2]) })).reserved).toEqual(Buffer.from([1, 2]));
    expect((await decodeRaw({ keyId: 'k'.repeat(65_536) })).keyId).toHaveLength(65_536);
    expect((await decodeRaw({ keyId: '' })).keyId).toBe('');
    expect((await decodeRaw({ serial: 2n ** 64n - 1n })).serial).toBe(2n ** 64n - 1n);
  });

  test('C5: refuses a key id or a principal with a NUL or without UTF-8', async () => {
    expect(await codeOf(() => decodeRaw({ keyId: 'key\0' }))).toBe('wire-malformed');
    expect(await codeOf(() => decodeRaw({ keyId: Buffer.from([0xc3]) }))).toBe('wire-malformed');
    expect(await codeOf(() => decodeRaw({ principals: ['root\0'] }))).toBe('wire-malformed');
  });

  test('refuses certificates of types that it does not know', async () => {
    for (const type of [
      'ssh-dss-cert-v01@openssh.com',
      'ssh-ed25519-cert-v00@openssh.com',
      'ssh-ed25519',
      'rsa-sha2-512-cert-v01@openssh.com',
    ]) {
      expect(await codeOf(() => decodeRaw({ type }))).toBe('certificate-type-unsupported');
    }
    expect(await codeOf(() => decodeRaw({ type: 'ssh-rsa-cert-v01@openssh.com' }))).toMatch(/^(wire|key)-/);
  });

  test('refuses more bytes than sshd would receive', async () => {
    const reserved = Buffer.alloc(256 * 1024);
    expect(await codeOf(() => decodeRaw({ reserved }))).toBe('wire-too-long');
  });

  test.each(['ed25519', 'ecdsa'] as const)(
    'C11: reads a certificate signed by a hardware CA only when somebody touched it (%s)',
    async (family) => {
      const certificate = await decodeRaw({}, hardwareSigner(family));
      expect(certificate.signatureAlgorithm).toBe(certificate.ca.type);
      expect(render(certificate)).toBe(await listCertificate(formatCertificateLine(certificate.blob)));
      expect(await codeOf(() => decodeRaw({}, hardwareSigner(family, { flags: 0 })))).toBe(
        'signature-no-presence',
      );
    },
  );

  test('refuses a line whose type is not that of the certificate', async () => {
    const base64 = (await rawCertificate()).toString('base64');
    expect(await codeOf(() => parseCertificateLine(`ssh-rsa-cert-v01@openssh.com ${base64}`))).toBe(
      'key-line-malformed',
    );
  });

  test('owns its bytes: what the caller does to the buffer afterwards changes nothing', async () => {
    const blob = await rawCertificate();
    const certificate = decodeCertificate(blob);
    blob.fill(0);
    expect(certificate.publicKey.blob).toEqual(subject.blob);
    expect(parseCertificateLine(formatCertificateLine(certificate.blob)).serial).toBe(7n);
  });

  test('reads any well-formed field back as it was signed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          nonce: fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
          serial: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
          keyId: fc
            .string({ unit: 'grapheme' })
            .filter((text) => !text.includes('\0') && text.isWellFormed()),
          principals: fc.array(
            fc.string().filter((text) => !text.includes('\0')),
            { maxLength: 5 },
          ),
          validAfter: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
          validBefore: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
          reserved: fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
        }),
        async (fields) => {
          expect(await decodeRaw(fields)).toMatchObject({
            ...fields,
            kind: 'user',
            ca: authority.publicKey,
            publicKey: subject,
          });
        },
      ),
    );
  });
});

/** The two facts of sshpk's certificate code that must not be true of ours. */
describe('the CA signature', () => {
  test('refuses a certificate whose principal was edited', async () => {
    const blob = await rawCertificate({ principals: ['alice'] });
    expect(decodeCertificate(blob).principals).toEqual(['alice']);
    const at = blob.indexOf('alice');
    blob.write('root!', at);
    expect(await codeOf(() => decodeCertificate(blob))).toBe('signature-wrong');
  });

  test('refuses a certificate made from nothing but the public key of the CA', async () => {
    const thief = createSigner(generateKey('ssh-ed25519').privateKey);
    const forged = await rawCertificate({ caBlob: authority.publicKey.blob, principals: ['root'] }, thief);
    expect(await codeOf(() => decodeCertificate(forged))).toBe('signature-wrong');
  });
});
