import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { EmbeddedJWK, jwtVerify } from 'jose';
import {
  createProof,
  exportProofKey,
  generateProofKey,
  importProofKey,
  type StoredProofKey,
} from '../src/index.ts';

const now = new Date('2026-11-22T10:00:00.500Z');

describe('a proof', () => {
  it('says method, address without query, time, token and body, and is signed by its own key', async () => {
    const key = generateProofKey();
    const proof = await createProof(key, {
      method: 'POST',
      url: 'https://ca.example/v1/x?after=1#part',
      now,
      accessToken: 'token',
      body: Buffer.from('{"v":1}'),
      keyProof: 'abc',
      nonce: 'once',
    });
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: ['EdDSA'],
      currentDate: now,
    });
    const digest = (text: string) => createHash('sha256').update(text).digest('base64url');
    expect(payload).toEqual({
      jti: expect.stringMatching(/^[\x21-\x7e]{16,128}$/),
      htm: 'POST',
      htu: 'https://ca.example/v1/x',
      iat: 1795341600,
      ath: digest('token'),
      body: digest('{"v":1}'),
      key_proof: 'abc',
      nonce: 'once',
    });
    expect(Object.keys(protectedHeader).sort()).toEqual(['alg', 'jwk', 'typ']);
    expect(protectedHeader.jwk).toEqual(key.publicJwk);
    expect(JSON.stringify(protectedHeader)).not.toContain(exportProofKey(key).d);
  });

  it('leaves out what there is none of, and is never the same twice', async () => {
    const key = generateProofKey();
    const content = { method: 'GET', url: 'https://ca.example/v1/hosts', now };
    const [one, two] = [await createProof(key, content), await createProof(key, content)];
    expect(one).not.toBe(two);
    const payload = JSON.parse(Buffer.from(one.split('.')[1] ?? '', 'base64url').toString());
    expect(Object.keys(payload).sort()).toEqual(['htm', 'htu', 'iat', 'jti']);
  });

  it('keeps its key over export and import', () => {
    const key = generateProofKey();
    expect(importProofKey(exportProofKey(key)).publicJwk).toEqual(key.publicJwk);
  });

  it.each([
    ['another curve', { crv: 'X25519' }],
    ['no private half', { d: undefined }],
    ['a short private half', { d: 'AAAA' }],
    ['halves of two keys', { x: exportProofKey(generateProofKey()).x }],
  ])('refuses a stored key with %s', (_name, change) => {
    const stored = { ...exportProofKey(generateProofKey()), ...change } as StoredProofKey;
    expect(() => importProofKey(stored)).toThrow(expect.objectContaining({ code: 'session-missing' }));
  });
});
