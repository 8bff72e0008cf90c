import { createSecretKey, sign } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type GeneratedKeyType, generateKey } from '../src/key.ts';
import { createSigner, verifySignature } from '../src/signature.ts';
import { Writer } from '../src/wire.ts';
import { codeOf, hardwareSigner } from './raw-certificate.ts';

const TYPES: readonly GeneratedKeyType[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'ssh-rsa',
];
const signers = TYPES.map((type) => ({ type, ...generateKey(type) })).map(({ type, privateKey }) => ({
  type,
  privateKey,
  signer: createSigner(privateKey),
}));
const data = Buffer.from('what is signed');

describe('signatures', () => {
  test.each(signers)('verifies what a key of type $type signed, and nothing else', async ({ signer }) => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        const signature = await signer.sign(Buffer.from(bytes));
        verifySignature(signer.publicKey, Buffer.from(bytes), signature);
        const other = Buffer.from([...bytes, 0]);
        expect(await codeOf(() => verifySignature(signer.publicKey, other, signature))).toBe(
          'signature-wrong',
        );
      }),
      { numRuns: 25 },
    );
  });

  test.each(signers)(
    'refuses flipped bits and every cut of a signature of type $type',
    async ({ type, signer }) => {
      const signature = await signer.sign(data);
      // The slow ones change one bit of each byte, Ed25519 all of them.
      const step = type === 'ssh-ed25519' ? 1 : 9;
      const codes = new Set<string | undefined>();
      for (let bit = 0; bit < signature.length * 8; bit += step) {
        const changed = Buffer.from(signature);
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        codes.add(await codeOf(() => verifySignature(signer.publicKey, data, changed)));
      }
      for (let length = 0; length < signature.length; length += 1) {
        codes.add(await codeOf(() => verifySignature(signer.publicKey, data, signature.subarray(0, length))));
      }
      for (const code of codes) expect(code).toMatch(/^(signature|wire)-/);
      const longer = Buffer.concat([signature, Buffer.alloc(1)]);
      expect(await codeOf(() => verifySignature(signer.publicKey, data, longer))).toBe('wire-trailing');
    },
  );

  test('signs with RSA as rsa-sha2-512 and verifies rsa-sha2-256', async () => {
    const { privateKey, publicKey } = generateKey('ssh-rsa');
    expect(verifySignature(publicKey, data, await createSigner(privateKey).sign(data))).toBe('rsa-sha2-512');
    const sha256 = new Writer()
      .string('rsa-sha2-256')
      .string(sign('sha256', data, privateKey))
      .toBuffer();
    expect(verifySignature(publicKey, data, sha256)).toBe('rsa-sha2-256');
  });

  test('refuses SHA-1 by its own code unless the caller names it', async () => {
    const { privateKey, publicKey } = generateKey('ssh-rsa');
    const sha1 = new Writer()
      .string('ssh-rsa')
      .string(sign('sha1', data, privateKey))
      .toBuffer();
    expect(await codeOf(() => verifySignature(publicKey, data, sha1))).toBe('signature-sha1');
    expect(verifySignature(publicKey, data, sha1, { allowSha1: true })).toBe('ssh-rsa');
  });

  test('refuses an algorithm that is not that of the key', async () => {
    const [ed25519, p256, p384] = signers;
    if (ed25519 === undefined || p256 === undefined || p384 === undefined) throw new Error('no signers');
    for (const other of [p256, p384]) {
      const signature = await other.signer.sign(data);
      expect(await codeOf(() => verifySignature(ed25519.signer.publicKey, data, signature))).toBe(
        'signature-algorithm',
      );
    }
    expect(
      await codeOf(async () => verifySignature(p256.signer.publicKey, data, await p384.signer.sign(data))),
    ).toBe('signature-algorithm');
  });

  test('refuses an RSA signature that is shorter than the modulus', async () => {
    const { publicKey } = generateKey('ssh-rsa');
    const short = new Writer().string('rsa-sha2-512').string(Buffer.alloc(383, 1)).toBuffer();
    expect(await codeOf(() => verifySignature(publicKey, data, short))).toBe('signature-malformed');
  });

  test.each(['ed25519', 'ecdsa'] as const)(
    'verifies a hardware signature over application, flags and counter (%s)',
    async (family) => {
      const signer = hardwareSigner(family);
      const signature = await signer.sign(data);
      expect(verifySignature(signer.publicKey, data, signature)).toBe(signer.publicKey.type);
      for (const at of [signature.length - 1, signature.length - 5]) {
        const changed = Buffer.from(signature);
        changed[at] = (changed[at] ?? 0) ^ 4;
        expect(await codeOf(() => verifySignature(signer.publicKey, data, changed))).toBe('signature-wrong');
      }
      const elsewhere = { ...signer.publicKey, blob: Buffer.from(signer.publicKey.blob) };
      elsewhere.blob.write('ssi:', elsewhere.blob.length - 4);
      expect(await codeOf(() => verifySignature(elsewhere, data, signature))).toBe('signature-wrong');
    },
  );

  test.each(['ed25519', 'ecdsa'] as const)(
    'C11: refuses a hardware signature that nobody touched the key for (%s)',
    async (family) => {
      const signer = hardwareSigner(family, { flags: 0 });
      expect(await codeOf(async () => verifySignature(signer.publicKey, data, await signer.sign(data)))).toBe(
        'signature-no-presence',
      );
      const verified = hardwareSigner(family, { flags: 4 });
      expect(
        await codeOf(async () => verifySignature(verified.publicKey, data, await verified.sign(data))),
      ).toBe('signature-no-presence');
    },
  );

  test('makes no signer from a public or a secret key', async () => {
    const { privateKey } = generateKey('ssh-ed25519');
    expect(await codeOf(() => createSigner(createSecretKey(Buffer.alloc(32))))).toBe('key-type-unsupported');
    expect(await codeOf(() => createSigner(privateKey))).toBeUndefined();
  });
});
