import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { formatPrivateKey, type GeneratedKeyType, generateKey, openPrivateKey } from '../src/key.ts';
import { formatPublicKeyLine, publicKeyFromKeyObject } from '../src/public-key.ts';
import { verifySignature } from '../src/signature.ts';
import { codeOf } from './raw-certificate.ts';
import { sshKeygen, vectorText, withFolder } from './vectors.ts';

const TYPES: readonly (readonly [GeneratedKeyType, readonly string[]])[] = [
  ['ssh-ed25519', ['-t', 'ed25519']],
  ['ecdsa-sha2-nistp256', ['-t', 'ecdsa', '-b', '256']],
  ['ecdsa-sha2-nistp384', ['-t', 'ecdsa', '-b', '384']],
  ['ecdsa-sha2-nistp521', ['-t', 'ecdsa', '-b', '521']],
  ['ssh-rsa', ['-t', 'rsa', '-b', '3072']],
];
const PASSPHRASE = 'correct horse "ä" battery';

/** The text of a key file made by ssh-keygen, and the line of its public half. */
async function keyFile(options: readonly string[], passphrase = ''): Promise<{ text: string; line: string }> {
  return withFolder((directory) => {
    const file = join(directory, 'key');
    expect(sshKeygen(['-q', ...options, '-N', passphrase, '-C', 'a comment', '-f', file]).status).toBe(0);
    return { text: readFileSync(file, 'utf8'), line: readFileSync(`${file}.pub`, 'utf8') };
  });
}

/** The public line that ssh-keygen derives from a private key file's text. */
async function derive(text: string, passphrase = ''): Promise<string> {
  return withFolder((directory) => {
    const file = join(directory, 'key');
    writeFileSync(file, text, { mode: 0o600 });
    return sshKeygen(['-y', '-P', passphrase, '-f', file]).stdout;
  });
}

describe('private key files', () => {
  test.each(TYPES)(
    'opens a %s file of ssh-keygen, plain and protected, to a key that signs',
    async (type, options) => {
      for (const passphrase of [undefined, PASSPHRASE]) {
        const { text, line } = await keyFile(options, passphrase);
        const { signer, publicKey, comment } = await openPrivateKey(text, passphrase);
        expect(publicKey.type).toBe(type);
        expect(`${formatPublicKeyLine(publicKey, comment)}\n`).toBe(line);
        verifySignature(publicKey, Buffer.from('data'), await signer.sign(Buffer.from('data')));
      }
    },
  );

  test.each(TYPES)('writes a %s file that ssh-keygen opens, plain and protected', async (type) => {
    const { privateKey, publicKey } = generateKey(type);
    const line = `${formatPublicKeyLine(publicKey, 'a comment')}\n`;
    expect(await derive(await formatPrivateKey(privateKey, { comment: 'a comment' }))).toBe(line);
    const text = await formatPrivateKey(privateKey, { comment: 'a comment', passphrase: PASSPHRASE });
    expect(await derive(text, PASSPHRASE)).toBe(line);
    expect(await derive(text, 'another')).toBe('');
    expect((await openPrivateKey(text, PASSPHRASE)).publicKey.blob).toEqual(publicKey.blob);
    const file = Buffer.from(text.split('\n').slice(1, -2).join(''), 'base64').toString('latin1');
    expect(file).toContain('aes256-ctr');
    expect(file).toContain('bcrypt');
  });

  test('keeps Ed25519 seeds and keys as they are, whatever bytes they begin with', async () => {
    for (const start of ['00', '0000', '0080', '007f', '80', 'ff', '01']) {
      const seed = Buffer.concat([Buffer.from(start, 'hex'), randomBytes(32)]).subarray(0, 32);
      const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
      const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
      const text = await formatPrivateKey(privateKey);
      expect((await openPrivateKey(text)).privateKey.equals(privateKey)).toBe(true);
      expect(await derive(text)).toBe(`${formatPublicKeyLine(publicKeyFromKeyObject(privateKey))}\n`);
    }
    for (let count = 0; count < 16; count += 1) {
      const { privateKey } = generateKey('ssh-ed25519');
      const opened = await openPrivateKey(await formatPrivateKey(privateKey));
      if (!opened.privateKey.equals(privateKey)) throw new Error('a key was changed');
    }
  });

  test('keeps ECDSA keys whose numbers begin with a zero byte as they are', async () => {
    const isShort = (text: string | undefined): boolean => Buffer.from(text ?? '', 'base64url')[0] === 0;
    for (const number of ['d', 'x', 'y'] as const) {
      let found = 0;
      for (let count = 0; count < 20_000 && found < 2; count += 1) {
        const { privateKey } = generateKey('ecdsa-sha2-nistp256');
        if (!isShort(privateKey.export({ format: 'jwk' })[number])) continue;
        found += 1;
        const text = await formatPrivateKey(privateKey);
        expect((await openPrivateKey(text)).privateKey.equals(privateKey)).toBe(true);
        expect(await derive(text)).not.toBe('');
      }
      expect(found).toBe(2);
    }
  });

  test('tells a missing from a wrong passphrase, and repeats neither it nor the text', async () => {
    const { text } = await keyFile(['-t', 'ed25519'], PASSPHRASE);
    expect(await codeOf(() => openPrivateKey(text))).toBe('private-key-passphrase-missing');
    expect(await codeOf(() => openPrivateKey(text, ''))).toBe('private-key-passphrase-missing');
    const refusal: unknown = await openPrivateKey(text, 'canary-passphrase').catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'private-key-passphrase-wrong' });
    expect(refusal).not.toHaveProperty('cause');
    expect(String((refusal as Error).stack)).not.toContain('canary');
  });

  test('refuses files of another format, cipher or number of rounds', async () => {
    const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
    expect(await codeOf(() => openPrivateKey(String(pem)))).toBe('private-key-unsupported');
    expect(await codeOf(() => openPrivateKey(vectorText('key_ed25519.pub')))).toBe('private-key-unsupported');
    const gcm = await keyFile(['-t', 'ed25519', '-Z', 'aes256-gcm@openssh.com'], 'secret');
    expect(await codeOf(() => openPrivateKey(gcm.text, 'secret'))).toBe('private-key-unsupported');
    const slow = await keyFile(['-t', 'ed25519', '-a', '2'], 'secret');
    const bytes = Buffer.from(slow.text.split('\n').slice(1, -2).join(''), 'base64');
    bytes.writeUInt32BE(0x7fff_ffff, bytes.indexOf('bcrypt') + 6 + 4 + 4 + 16);
    const hostile = `-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`;
    expect(await codeOf(() => openPrivateKey(hostile, 'secret'))).toBe('private-key-unsupported');
  });

  test('refuses every cut and every changed byte of a plain file, or opens the same key', async () => {
    const { text, line } = await keyFile(['-t', 'ed25519']);
    const bytes = Buffer.from(text.split('\n').slice(1, -2).join(''), 'base64');
    const armour = (body: Buffer): string =>
      `-----BEGIN OPENSSH PRIVATE KEY-----\n${body.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`;
    for (let at = 0; at < bytes.length; at += 1) {
      expect(await codeOf(() => openPrivateKey(armour(bytes.subarray(0, at))))).toMatch(
        /^(private-key|wire)-/,
      );
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at & 7));
      // The comment, the padding and the copy of the public half inside are not bound to the key by anything.
      const code = await codeOf(async () => {
        const { publicKey } = await openPrivateKey(armour(changed));
        expect(line).toContain(formatPublicKeyLine(publicKey));
      });
      expect(code ?? 'private-key-').toMatch(/^(private-key|wire|key)-/);
    }
  });

  test('writes no file with an empty passphrase or a comment of two lines', async () => {
    const { privateKey } = generateKey('ssh-ed25519');
    expect(await codeOf(() => formatPrivateKey(privateKey, { passphrase: '' }))).toBe(
      'private-key-passphrase-missing',
    );
    expect(await codeOf(() => formatPrivateKey(privateKey, { comment: 'a\nb' }))).toBe(
      'private-key-malformed',
    );
  });
});
