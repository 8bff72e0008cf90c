import { expect, test } from '@jest/globals';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWSHeaderParameters } from 'jose';
import { proofKey } from '../src/proof-key.ts';

async function header(): Promise<JWSHeaderParameters & { jwk: Awaited<ReturnType<typeof exportJWK>> }> {
  const { publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  return { alg: 'EdDSA', jwk: await exportJWK(publicKey) };
}

test('gives one key for one text, and another for another', async () => {
  const [one, other] = [await header(), await header()];
  const key = await proofKey(one).key();
  expect(await proofKey(structuredClone(one)).key()).toBe(key);
  expect(await proofKey(other).key()).not.toBe(key);
  expect(await proofKey(one).thumbprint()).toBe(await calculateJwkThumbprint(one.jwk, 'sha256'));
  expect(await proofKey(other).thumbprint()).toBe(await calculateJwkThumbprint(other.jwk, 'sha256'));
});

test('the algorithm belongs to the text: a key is not taken for another one', async () => {
  const { jwk, alg } = await header();
  await proofKey({ alg: alg ?? '', jwk }).key();
  await expect(proofKey({ alg: 'ES256', jwk }).key()).rejects.toThrow();
});

test('refuses a private key each time, also after its public half was taken', async () => {
  const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  const { d, ...jwk } = await exportJWK(privateKey);
  await proofKey({ alg: 'EdDSA', jwk }).key();
  const secret = { alg: 'EdDSA', jwk: { ...jwk, d: d ?? '' } };
  await expect(proofKey(secret).key()).rejects.toMatchObject({ code: 'ERR_JWS_INVALID' });
  await expect(proofKey(secret).key()).rejects.toMatchObject({ code: 'ERR_JWS_INVALID' });
});

test('keeps no more than a thousand: the oldest are imported anew', async () => {
  const first = await header();
  const key = await proofKey(first).key();
  for (let number = 0; number < 1_001; number++)
    proofKey({ alg: 'EdDSA', jwk: { kty: 'OKP', x: `${number}` } });
  expect(await proofKey(first).key()).not.toBe(key);
});
