import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { generateKey } from '../src/key.ts';
import {
  decodePublicKey,
  fingerprint,
  formatPublicKeyLine,
  keyObject,
  keyParts,
  parsePublicKeyLine,
  publicKeyFromKeyObject,
  rsaBits,
} from '../src/public-key.ts';
import { formatMessageSignature, verifyMessage } from '../src/sshsig.ts';
import { Writer } from '../src/wire.ts';
import { codeOf } from './raw-certificate.ts';
import { KEYS, sshKeygen, vectorKey, vectorText, withFolder } from './vectors.ts';

const decodeCode = (writer: Writer): Promise<string | undefined> =>
  codeOf(() => decodePublicKey(writer.toBuffer()));

describe('public keys', () => {
  test.each(KEYS)('reads %s as ssh-keygen prints it', (name) => {
    const line = vectorText(`key_${name}.pub`);
    const { key, comment } = parsePublicKeyLine(line);
    const listed = sshKeygen(['-l', '-f', join(import.meta.dirname, 'vectors', `key_${name}.pub`)]).stdout;
    expect(listed.split(' ')[1]).toBe(fingerprint(key));
    expect(comment).toBe(name);
    expect(`${formatPublicKeyLine(key, comment)}\n`).toBe(line);
    expect(rsaBits(key)).toBe(name.includes('rsa') ? Number(/\d+/.exec(name)?.[0]) : undefined);
    expect(keyObject(key)).toBe(keyObject(key));
    if (!name.startsWith('sk_')) expect(publicKeyFromKeyObject(keyObject(key)).blob).toEqual(key.blob);
  });

  test('reads the application of a hardware key', () => {
    expect(keyParts(vectorKey('sk_ed25519'))).toMatchObject({ application: 'ssh:', family: 'ed25519' });
    expect(keyParts(vectorKey('sk_ecdsa256'))).toMatchObject({ application: 'ssh:', curve: 'nistp256' });
  });

  test('keeps Ed25519 keys whose first byte is 0x80 or more as they are', () => {
    const isHigh = (key: { blob: Buffer }): boolean => (key.blob[19] ?? 0) >= 0x80;
    const key = Array.from({ length: 64 }, () => generateKey('ssh-ed25519').publicKey).find(isHigh);
    if (key === undefined) throw new Error('sixty-four keys with a low first byte');
    expect(parsePublicKeyLine(formatPublicKeyLine(key)).key.blob).toEqual(key.blob);
  });

  test('refuses every key that is cut or has a byte too many', async () => {
    for (const name of KEYS) {
      const { blob } = vectorKey(name);
      for (let length = 0; length < blob.length; length += 1) {
        expect(await codeOf(() => decodePublicKey(blob.subarray(0, length)))).toMatch(/^(wire|key)-/);
      }
      expect(await codeOf(() => decodePublicKey(Buffer.concat([blob, Buffer.alloc(1)])))).toBe(
        'wire-trailing',
      );
    }
  });

  test('refuses points that are not on the curve, for every changed bit of a point', async () => {
    for (const name of ['ecdsa256', 'ecdsa384', 'ecdsa521', 'sk_ecdsa256']) {
      const parts = keyParts(vectorKey(name));
      if (parts.family !== 'ecdsa') throw new Error('not an ECDSA key');
      for (let bit = 0; bit < parts.point.length * 8; bit += 1) {
        const point = Buffer.from(parts.point);
        point[bit >> 3] = (point[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const writer = new Writer().string(`ecdsa-sha2-${parts.curve}`).string(parts.curve).string(point);
        expect(await decodeCode(writer)).toBe('key-malformed');
      }
    }
  });

  test('refuses a compressed point, the point at infinity and another curve than the type names', async () => {
    const parts = keyParts(vectorKey('ecdsa256'));
    if (parts.family !== 'ecdsa') throw new Error('not an ECDSA key');
    const compressed = Buffer.concat([
      Buffer.from([2 + ((parts.point.at(-1) ?? 0) & 1)]),
      parts.point.subarray(1, 33),
    ]);
    const start = (): Writer => new Writer().string('ecdsa-sha2-nistp256');
    expect(await decodeCode(start().string('nistp256').string(compressed))).toBe('key-malformed');
    expect(
      await decodeCode(
        start()
          .string('nistp256')
          .string(Buffer.from([0])),
      ),
    ).toBe('key-malformed');
    expect(await decodeCode(start().string('nistp384').string(parts.point))).toBe('key-malformed');
  });

  test('refuses Ed25519 keys of small order, for which anybody can sign', async () => {
    const identity = Buffer.from('01'.padEnd(64, '0'), 'hex');
    const forged = new Writer().string('ssh-ed25519').string(Buffer.concat([identity, Buffer.alloc(32)]));
    const blob = new Writer()
      .raw(Buffer.from('SSHSIG'))
      .uint32(1)
      .string(new Writer().string('ssh-ed25519').string(identity).toBuffer())
      .string('file')
      .string('')
      .string('sha512')
      .string(forged.toBuffer())
      .toBuffer();
    await withFolder((directory) => {
      const file = join(directory, 'forged.sig');
      writeFileSync(file, formatMessageSignature(blob));
      const control = sshKeygen(['-Y', 'check-novalidate', '-n', 'file', '-s', file], 'nobody signed this');
      expect(control.stdout).toMatch(/^Good "file" signature/);
    });
    expect(
      await codeOf(() =>
        verifyMessage({ signature: blob, namespace: 'file', message: Buffer.from('nobody signed this') }),
      ),
    ).toBe('key-malformed');
    for (const y of [
      '0100000000000000000000000000000000000000000000000000000000000000',
      '0000000000000000000000000000000000000000000000000000000000000000',
      '0000000000000000000000000000000000000000000000000000000000000080',
      'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
      'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
    ]) {
      expect(await decodeCode(new Writer().string('ssh-ed25519').string(Buffer.from(y, 'hex')))).toBe(
        'key-malformed',
      );
    }
  });

  test('refuses RSA numbers that are even, too small, too large, padded or without an exponent', async () => {
    const rsa = (exponent: Buffer, modulus: Buffer): Writer =>
      new Writer().string('ssh-rsa').mpint(exponent).mpint(modulus);
    const e = Buffer.from([1, 0, 1]);
    const n = (bytes: number): Buffer => Buffer.alloc(bytes, 0xff);
    expect(await decodeCode(rsa(e, n(256)))).toBeUndefined();
    expect(await decodeCode(rsa(e, n(127)))).toBe('key-too-small');
    expect(await decodeCode(rsa(e, n(2049)))).toBe('wire-too-long');
    expect(await decodeCode(rsa(Buffer.from([1]), n(256)))).toBe('key-malformed');
    expect(await decodeCode(rsa(Buffer.from([2]), n(256)))).toBe('key-malformed');
    expect(await decodeCode(rsa(Buffer.alloc(0), n(256)))).toBe('key-malformed');
    expect(await decodeCode(rsa(n(9), n(256)))).toBe('wire-too-long');
    expect(await decodeCode(rsa(e, Buffer.concat([n(255), Buffer.from([0xfe])])))).toBe('key-malformed');
    const padded = new Writer()
      .string('ssh-rsa')
      .mpint(e)
      .string(Buffer.concat([Buffer.alloc(2), n(256)]));
    expect(await decodeCode(padded)).toBe('wire-malformed');
  });

  test('refuses types that it does not know, certificates among them', async () => {
    expect(await decodeCode(new Writer().string('ssh-dss'))).toBe('key-type-unsupported');
    expect(await decodeCode(new Writer().string('ssh-ed25519-cert-v01@openssh.com'))).toBe(
      'key-type-unsupported',
    );
  });
});
