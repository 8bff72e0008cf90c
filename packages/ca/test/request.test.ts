import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKey } from '@beacon/ssh/key';
import { fingerprint, formatPublicKeyLine } from '@beacon/ssh/public-key';
import { createSigner } from '@beacon/ssh/signature';
import { signMessage } from '@beacon/ssh/sshsig';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Caller } from '../src/access-token.ts';
import { CaError } from '../src/error.ts';
import { proveKey, readCommands, readSubjectKey } from '../src/request.ts';

const signer = createSigner(generateKey('ssh-ed25519').privateKey);
const body = Buffer.from('{"v":1}');

function callerWith(keyProof: string | undefined): Caller {
  const proof = {
    thumbprint: 't',
    jti: 'j'.repeat(16),
    expiresAt: new Date(),
    ...(keyProof === undefined ? {} : { keyProof }),
  };
  return {
    person: 'github:1',
    loginName: 'x',
    sessionId: 's',
    sessionEndsAt: new Date(),
    memberships: undefined,
    service: 'beacon-cli',
    proof,
  };
}

async function proofCodeOf(work: () => Promise<void>): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (error instanceof CaError) return error.code;
    throw error;
  }
  return 'none';
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof CaError) return error.code;
    throw error;
  }
  return 'none';
}

describe('the proof of possession', () => {
  test('holds for keys of every kind, and for a signature that ssh-keygen made', async () => {
    for (const type of [
      'ssh-ed25519',
      'ssh-rsa',
      'ecdsa-sha2-nistp256',
      'ecdsa-sha2-nistp384',
      'ecdsa-sha2-nistp521',
    ] as const) {
      const one = createSigner(generateKey(type).privateKey);
      const keyProof = (await signMessage(one, 'certificate@beacon', body)).toString('base64url');
      expect(await proofCodeOf(() => proveKey(callerWith(keyProof), one.publicKey, body))).toBe('none');
      expect(await proofCodeOf(() => proveKey(callerWith(keyProof), signer.publicKey, body))).toBe(
        'key-proof-invalid',
      );
    }
    const folder = mkdtempSync(join(tmpdir(), 'beacon-key-proof-'));
    try {
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'key')]);
      writeFileSync(join(folder, 'body'), body);
      execFileSync(
        'ssh-keygen',
        ['-q', '-Y', 'sign', '-n', 'certificate@beacon', '-f', join(folder, 'key'), join(folder, 'body')],
        { stdio: 'ignore' },
      );
      const armoured = readFileSync(join(folder, 'body.sig'), 'utf8');
      const blob = Buffer.from(armoured.split('\n').slice(1, -2).join(''), 'base64');
      const key = readSubjectKey(readFileSync(join(folder, 'key.pub'), 'utf8').trim());
      expect(await proofCodeOf(() => proveKey(callerWith(blob.toString('base64url')), key, body))).toBe(
        'none',
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('A8: holds for no other body, no flipped bit, no shorter text', async () => {
    const blob = await signMessage(signer, 'certificate@beacon', body);
    const isRefused = async (bytes: Buffer, of = body) =>
      (await proofCodeOf(() => proveKey(callerWith(bytes.toString('base64url')), signer.publicKey, of))) ===
      'key-proof-invalid';
    expect(await isRefused(blob, Buffer.from('{"v":2}'))).toBe(true);
    for (let bit = 0; bit < blob.length * 8; bit += 1) {
      const changed = Buffer.from(blob);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect([bit, await isRefused(changed)]).toEqual([bit, true]);
    }
    for (let length = 0; length < blob.length; length += 1)
      expect(await isRefused(blob.subarray(0, length))).toBe(true);
    expect(await isRefused(Buffer.concat([blob, Buffer.from([0])]))).toBe(true);
    expect(await proofCodeOf(() => proveKey(callerWith(undefined), signer.publicKey, body))).toBe(
      'key-proof-missing',
    );
  });

  test('whatever is sent as one is refused by its code, and never otherwise', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.base64String(),
          fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
        ),
        async (text) => {
          expect(await proofCodeOf(() => proveKey(callerWith(text), signer.publicKey, body))).toBe(
            'key-proof-invalid',
          );
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('the key to be certified', () => {
  test('is one line of a kind that is certified; RSA from 3,072 bits on', () => {
    expect(fingerprint(readSubjectKey(formatPublicKeyLine(signer.publicKey, 'a comment')))).toBe(
      fingerprint(signer.publicKey),
    );
    const folder = mkdtempSync(join(tmpdir(), 'beacon-keys-'));
    try {
      for (const [bits, code] of [
        ['2048', 'public-key-refused'],
        ['3071', 'public-key-refused'],
        ['3072', 'none'],
      ] as const) {
        const file = join(folder, bits);
        execFileSync('ssh-keygen', ['-q', '-t', 'rsa', '-b', bits, '-N', '', '-f', file]);
        const line = readFileSync(`${file}.pub`, 'utf8').trim();
        expect([bits, codeOf(() => readSubjectKey(line))]).toEqual([bits, code]);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('whatever else stands there is refused by its code, and never otherwise', () => {
    const line = formatPublicKeyLine(signer.publicKey);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.nat(line.length - 1).map((at) => `${line.slice(0, at)}!${line.slice(at + 1)}`),
          fc.nat(line.length - 1).map((at) => line.slice(0, at)),
        ),
        (text) => {
          expect(codeOf(() => readSubjectKey(text))).toBe('public-key-malformed');
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('commands', () => {
  const salt = Buffer.alloc(32).toString('base64url');
  const one = { command: 'a.b', params: '{}', salt, commitments: {} };

  test('name their secret parameters and show none; their digests stand in order', () => {
    const commitments = {
      token: Buffer.alloc(32, 1).toString('base64url'),
      key: Buffer.alloc(32, 2).toString('base64url'),
    };
    const { asked, granted } = readCommands([
      { ...one, params: '{"name":"r1"}', commitments },
      { ...one, command: 'c' },
    ]);
    expect(asked[0]).toEqual({ command: 'a.b', params: { name: 'r1' }, secrets: ['token', 'key'] });
    expect(granted.map(({ command }) => command)).toEqual(['a.b', 'c']);
    const swapped = { key: commitments.key, token: commitments.token };
    expect(readCommands([{ ...one, params: '{"name":"r1"}', commitments: swapped }]).granted[0]).toEqual(
      granted[0],
    );
  });

  test('L11: any other salt, text, name or commitment is another digest', () => {
    const base = { ...one, params: '{"name":"r1"}', commitments: { token: salt } };
    const digests = [
      base,
      { ...base, command: 'a.c' },
      { ...base, params: '{"name": "r1"}' },
      { ...base, salt: Buffer.alloc(32, 1).toString('base64url') },
      { ...base, commitments: { token: Buffer.alloc(32, 1).toString('base64url') } },
      { ...base, commitments: { tokem: salt } },
      { ...base, commitments: {} },
    ].map((request) => readCommands([request]).granted[0]?.digest);
    expect(new Set(digests).size).toBe(digests.length);
  });

  test.each([
    '',
    '[]',
    'null',
    '{"a":1}',
    '{"a":null}',
    '{"a":"x","a":"y"}',
    '{"a":"\\ud800"}',
    '{"a":{}}',
    '{} ',
    ' {}x',
  ])('refuse the params %j or carry them as the exact text', (params) => {
    const code = codeOf(() => readCommands([{ ...one, params }]));
    expect(params.trim() === '{}' ? ['none', 'arguments-malformed'] : ['arguments-malformed']).toContain(
      code,
    );
  });

  test('refuse the same command twice', () => {
    expect(codeOf(() => readCommands([one, { ...one, params: '{"x":"1"}' }]))).toBe('arguments-malformed');
  });
});
