/** A DPoP proof at the broker, member by member: what is missing, old, of another request, or more than a proof. */
import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { verifyAccessProof } from '../src/access-proof.ts';

const NOW = new Date('2030-01-01T00:00:00Z');
const SECONDS = NOW.getTime() / 1000;
const TARGET = 'https://broker.example.org/v1/runs';
const TOKEN = 'a.b.c';
const BODY = Buffer.from('{"v":1}');
const digest = (value: string | Buffer) => createHash('sha256').update(value).digest('base64url');
const claims = {
  htm: 'POST',
  htu: TARGET,
  iat: SECONDS,
  jti: 'j'.repeat(16),
  ath: digest(TOKEN),
  body: digest(BODY),
};

describe('a proof', () => {
  let pair: Awaited<ReturnType<typeof generateKeyPair>>;
  let jwk: JWK;

  beforeAll(async () => {
    pair = await generateKeyPair('EdDSA', { extractable: true });
    jwk = await exportJWK(pair.publicKey);
  });

  async function made(other: object = {}, header: object = {}): Promise<string> {
    const all = Object.entries({ ...claims, ...other }).filter(([, value]) => value !== undefined);
    return new SignJWT(Object.fromEntries(all))
      .setProtectedHeader({ alg: 'EdDSA', typ: 'dpop+jwt', jwk, ...header })
      .sign(pair.privateKey);
  }

  const verify = (proof: string | undefined, rawBody = BODY) =>
    verifyAccessProof(proof, { method: 'POST', url: TARGET, accessToken: TOKEN, rawBody, now: NOW });

  it.each([
    ['as it is made', {}],
    ['a minute old', { iat: SECONDS - 60 }],
    ['of a clock that is a minute ahead', { iat: SECONDS + 60 }],
    ['whose address has a query, as RFC 9449 passes over', { htu: `${TARGET}?after=1#x` }],
    ['whose address names the usual port', { htu: TARGET.replace('.org', '.org:443') }],
  ])('holds %s', async (_, other) => {
    await expect(verify(await made(other))).resolves.toMatchObject({ jti: claims.jti });
  });

  it.each<[string, object, object]>([
    ['that is too old', { iat: SECONDS - 61 }, {}],
    ['that is of later', { iat: SECONDS + 61 }, {}],
    ['without its time', { iat: undefined }, {}],
    ['whose time is no whole second', { iat: SECONDS + 0.5 }, {}],
    ['without a number of its own', { jti: undefined }, {}],
    ['whose number is short', { jti: 'j'.repeat(15) }, {}],
    ['whose number is long', { jti: 'j'.repeat(129) }, {}],
    ['without the hash of the token', { ath: undefined }, {}],
    ['without the hash of the body', { body: undefined }, {}],
    ['of another host', { htu: 'https://broker.example.com/v1/runs' }, {}],
    ['of another scheme', { htu: 'http://broker.example.org/v1/runs' }, {}],
    ['of a path below', { htu: `${TARGET}/x` }, {}],
    ['of no address', { htu: 'runs' }, {}],
    ['of a method in small letters', { htm: 'post' }, {}],
    ['of another type', {}, { typ: 'JWT' }],
    ['whose header names a key besides', {}, { kid: 'x' }],
    ['whose header points to keys', {}, { jku: 'https://evil.example' }],
  ])('is refused %s', async (_, other, header) => {
    await expect(verify(await made(other, header))).rejects.toMatchObject({ code: 'proof-invalid' });
  });

  it('is refused with a private key in it, for a body where there is none, and as one of two', async () => {
    const whole = await exportJWK(pair.privateKey);
    const open = await made({}, { jwk: whole });
    const one = await made({ body: undefined });
    for (const proof of [open, await made({}, { jwk: { ...jwk, oth: [] } }), `${one},${one}`, '', undefined])
      await expect(verify(proof)).rejects.toMatchObject({ code: 'proof-invalid' });
    await expect(verify(await made(), Buffer.alloc(0))).rejects.toMatchObject({ code: 'proof-invalid' });
    await expect(verify(one, Buffer.alloc(0))).resolves.toMatchObject({ jti: claims.jti });
  });

  it('T1: is refused when it is signed by a shared secret, or by RSA', async () => {
    const secret = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256', typ: 'dpop+jwt', jwk: { kty: 'oct', k: 'AAAA' } })
      .sign(new Uint8Array(32));
    const rsa = await generateKeyPair('RS256');
    const foreign = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', typ: 'dpop+jwt', jwk: await exportJWK(rsa.publicKey) })
      .sign(rsa.privateKey);
    for (const proof of [secret, foreign])
      await expect(verify(proof)).rejects.toMatchObject({ code: 'proof-invalid' });
  });
});
