import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type GeneratedKeyType, generateKey } from '../src/key.ts';
import { createSigner, type Signer } from '../src/signature.ts';
import {
  formatMessageSignature,
  parseMessageSignature,
  signMessage,
  verifyMessage,
  verifyMessageAside,
} from '../src/sshsig.ts';
import { Writer } from '../src/wire.ts';
import { codeOf, hardwareSigner, rawCertificate } from './raw-certificate.ts';
import { sshKeygen, vectorKey, vectorText, withFolder } from './vectors.ts';

const namespace = 'certificate@beacon';
const message = Buffer.from('the message\n');
const TYPES: readonly GeneratedKeyType[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'ssh-rsa',
];
const signers: readonly (readonly [string, Signer])[] = [
  ...TYPES.map((type) => [type, createSigner(generateKey(type).privateKey)] as const),
  ['sk-ssh-ed25519@openssh.com', hardwareSigner('ed25519')],
  ['sk-ecdsa-sha2-nistp256@openssh.com', hardwareSigner('ecdsa')],
];
const ed25519 = createSigner(generateKey('ssh-ed25519').privateKey);

describe('message signatures', () => {
  test.each(['ed25519', 'ecdsa256', 'ecdsa384', 'ecdsa521', 'rsa3072'])(
    'reads what ssh-keygen -Y sign made with %s',
    (name) => {
      const signature = vectorText(`message_${name}.sig`);
      expect(verifyMessage({ signature, namespace, message }).blob).toEqual(vectorKey(name).blob);
      expect(formatMessageSignature(parseMessageSignature(signature))).toBe(signature);
    },
  );

  test('reads a message that was hashed with sha256', () => {
    const signature = vectorText('message_sha256.sig');
    expect(verifyMessage({ signature, namespace: 'file', message }).blob).toEqual(vectorKey('ed25519').blob);
  });

  test.each(signers)('makes with %s what ssh-keygen -Y check-novalidate accepts', async (_, signer) => {
    const blob = await signMessage(signer, namespace, message);
    expect(verifyMessage({ signature: blob, namespace, message }).blob).toEqual(signer.publicKey.blob);
    await withFolder((directory) => {
      const file = join(directory, 'message.sig');
      writeFileSync(file, formatMessageSignature(blob));
      const check = (input: Buffer, name = namespace): number | null =>
        sshKeygen(['-Y', 'check-novalidate', '-n', name, '-s', file], input).status;
      expect(check(message)).toBe(0);
      expect(check(Buffer.from('another message\n'))).not.toBe(0);
      expect(check(message, 'file')).not.toBe(0);
    });
  });

  test('verifies any message that was signed, for its namespace alone', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const signature = formatMessageSignature(await signMessage(ed25519, namespace, Buffer.from(bytes)));
        expect(verifyMessage({ signature, namespace, message: Buffer.from(bytes) }).type).toBe('ssh-ed25519');
        expect(
          await codeOf(() => verifyMessage({ signature, namespace: 'file', message: Buffer.from(bytes) })),
        ).toBe('sshsig-namespace');
      }),
      { numRuns: 50 },
    );
  });

  test('refuses every flipped bit and every cut', async () => {
    const signature = await signMessage(ed25519, namespace, message);
    const codes = new Set<string | undefined>();
    for (let bit = 0; bit < signature.length * 8; bit += 1) {
      const changed = Buffer.from(signature);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      codes.add(await codeOf(() => verifyMessage({ signature: changed, namespace, message })));
    }
    for (let length = 0; length < signature.length; length += 1) {
      codes.add(
        await codeOf(() => verifyMessage({ signature: signature.subarray(0, length), namespace, message })),
      );
    }
    codes.add(
      await codeOf(() =>
        verifyMessage({ signature: Buffer.concat([signature, Buffer.alloc(1)]), namespace, message }),
      ),
    );
    for (const code of codes) expect(code).toMatch(/^(sshsig|signature|key|wire)-/);
  });

  test.each(signers)('answers in another thread as in this one, with %s', async (_, signer) => {
    const signature = await signMessage(signer, namespace, message);
    const key = await verifyMessageAside({ signature, namespace, message });
    expect(key.blob).toEqual(signer.publicKey.blob);
    const refused = [
      { signature, namespace, message: Buffer.from('another message\n') },
      { signature, namespace: 'file', message },
      ...Array.from({ length: signature.length }, (__, at) => {
        const changed = Buffer.from(signature);
        changed[at] = (changed[at] ?? 0) ^ 0x01;
        return { signature: changed, namespace, message };
      }),
    ];
    for (const asked of refused) {
      const code = await codeOf(() => verifyMessage(asked));
      expect(code).toMatch(/^(sshsig|signature|key|wire)-/);
      expect(await codeOf(() => verifyMessageAside(asked))).toBe(code);
    }
  });

  test('C11: refuses a hardware signature that nobody touched the key for', async () => {
    const signature = await signMessage(hardwareSigner('ed25519', { flags: 0 }), namespace, message);
    expect(await codeOf(() => verifyMessage({ signature, namespace, message }))).toBe(
      'signature-no-presence',
    );
  });

  interface Parts {
    readonly version: number;
    readonly key: Buffer;
    readonly reserved: string;
    readonly hash: string;
  }
  test.each<[string, string, (parts: Parts) => Promise<Parts> | Parts]>([
    ['another version', 'sshsig-malformed', (parts) => ({ ...parts, version: 2 })],
    [
      'a certificate as key',
      'key-type-unsupported',
      async (parts) => ({ ...parts, key: await rawCertificate() }),
    ],
    ['a reserved field that is not empty', 'sshsig-malformed', (parts) => ({ ...parts, reserved: 'x' })],
    ['a hash that it does not know', 'sshsig-hash', (parts) => ({ ...parts, hash: 'sha1' })],
    ['another hash than was signed', 'signature-wrong', (parts) => ({ ...parts, hash: 'sha256' })],
  ])('refuses %s', async (_, code, change) => {
    const parts = await change({ version: 1, key: ed25519.publicKey.blob, reserved: '', hash: 'sha512' });
    const signature = new Writer()
      .raw(Buffer.from('SSHSIG'))
      .uint32(parts.version)
      .string(parts.key)
      .string(namespace)
      .string(parts.reserved)
      .string(parts.hash)
      .string(await ed25519.sign(message))
      .toBuffer();
    expect(await codeOf(() => verifyMessage({ signature, namespace, message }))).toBe(code);
  });

  test.each([
    ['without an end', (text: string) => text.replace(/-----END.*\n/, '')],
    ['with a blank line', (text: string) => text.replace('\n', '\n\n')],
    ['with a header', (text: string) => text.replace('\n', '\nComment: x\n')],
    ['with carriage returns', (text: string) => text.replaceAll('\n', '\r\n')],
    ['with text behind it', (text: string) => `${text}more\n`],
    [
      'with nothing in it',
      (text: string) =>
        text
          .split('\n')
          .filter((line) => line.startsWith('-'))
          .join('\n'),
    ],
  ])('refuses armour %s', async (_, change) => {
    const text = change(vectorText('message_ed25519.sig'));
    expect(await codeOf(() => parseMessageSignature(text))).toBe('sshsig-malformed');
  });

  test('makes and accepts no signature without a namespace', async () => {
    expect(await codeOf(() => signMessage(ed25519, '', message))).toBe('sshsig-namespace');
    const signature = await signMessage(ed25519, namespace, message);
    expect(await codeOf(() => verifyMessage({ signature, namespace: '', message }))).toBe('sshsig-namespace');
  });
});
