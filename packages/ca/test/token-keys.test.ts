/** The key that signs tokens and checkpoints is replaced while people work: T7 of the list of attacks. */
import { discoverCa, exchangeToken, fetchJwks, verifyCheckpoint } from '@beacon/client';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader, importJWK, type JWK, SignJWT } from 'jose';
import type { CaKeys } from '../src/keys.ts';
import type { OtherTokenKey, PublicTokenKey } from '../src/token-keys.ts';
import { makeKeys, SmallCa } from './small-ca.ts';

const MINUTE = 60_000;
let ca: SmallCa;
let old: CaKeys['tokenSigning'];
let fresh: CaKeys['tokenSigning'];
beforeAll(async () => {
  ca = await SmallCa.start();
  old = ca.keys.tokenSigning;
  fresh = { ...(await makeKeys()).tokenSigning, kid: 'tokens-2' };
});
afterAll(() => ca.close());

function publicHalf({ x = '', kid }: CaKeys['tokenSigning']): PublicTokenKey {
  return { kty: 'OKP', crv: 'Ed25519', x, kid };
}

function keysWith(tokenSigning: CaKeys['tokenSigning'], ...otherTokens: OtherTokenKey[]) {
  return { keys: { ...ca.keys, tokenSigning, otherTokens } };
}

/** A person's token for the portal, signed by the key of this moment. */
async function subjectToken(): Promise<string> {
  return (await ca.login('lin', ['urn:beacon:broker:portal', 'urn:beacon:ca'])).accessToken;
}

async function exchange(subject: string): Promise<'allowed' | 'refused'> {
  const outside = { fetch, now: ca.clock.now, timeoutMs: 30_000 };
  try {
    await exchangeToken({
      metadata: await discoverCa(ca.url),
      service: { clientId: 'portal', privateKey: ca.portal.key.privateKey, keyId: 'portal-1' },
      proofKey: ca.portal.key,
      subjectToken: subject,
      outside,
    });
    return 'allowed';
  } catch (error) {
    if ((error as { code?: string }).code === 'oauth-refused') return 'refused';
    throw error;
  }
}

/** As `exchange`, over and over while the CA is between two starts. */
async function exchangeUntilAnswered(subject: string): Promise<'allowed' | 'refused'> {
  for (let left = 4_000; ; left -= 1) {
    try {
      return await exchange(subject);
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** The claims of `token` at another time of issue, signed by `key` under `kid`. */
async function forge(token: string, key: JWK, kid: string | undefined, issuedAt: Date): Promise<string> {
  const iat = Math.floor(issuedAt.getTime() / 1000);
  return new SignJWT({ ...decodeJwt(token), iat, exp: iat + 300, jti: `forged-${Math.random()}` })
    .setProtectedHeader({
      ...(decodeProtectedHeader(token) as { alg: string }),
      ...(kid === undefined ? { kid: undefined } : { kid }),
    } as never)
    .sign(await importJWK(key, 'EdDSA'));
}

async function jwks(): Promise<Buffer> {
  return fetchJwks(`${ca.url}/.well-known/jwks.json`);
}

const checkpoint = async () => String((await ca.send('GET', '/v1/checkpoint')).body['checkpoint']);

describe('a new key for tokens', () => {
  test('T7: is shown beforehand, takes over under load without one token refused, and the former one ends with its tokens', async () => {
    const before = await Promise.all([subjectToken(), subjectToken(), subjectToken()]);
    const [first = ''] = before;
    const oldCheckpoint = await checkpoint();

    await ca.restart(keysWith(old, { jwk: publicHalf(fresh) }));
    const shown = JSON.parse((await jwks()).toString()) as { keys: JWK[] };
    expect(shown.keys.map(({ kid }) => kid)).toEqual([old.kid, fresh.kid]);
    for (const key of shown.keys) expect(key).not.toHaveProperty('d');
    expect(decodeProtectedHeader(await subjectToken()).kid).toBe(old.kid);
    // A replica that has taken the next step already signs with the new key: this one believes it.
    expect(await exchange(await forge(first, fresh, fresh.kid, ca.clock.now()))).toBe('allowed');

    const busy = Array.from({ length: 12 }, (_, at) => exchangeUntilAnswered(before[at % 3] ?? ''));
    const until = ca.clock.now();
    await ca.restart(keysWith(fresh, { jwk: publicHalf(old), until }));
    expect(await Promise.all(busy)).toEqual(Array(12).fill('allowed'));
    for (const token of before) expect(await exchange(token)).toBe('allowed');
    const after = await subjectToken();
    expect(decodeProtectedHeader(after).kid).toBe(fresh.kid);
    expect(await exchange(after)).toBe('allowed');

    // Whoever has stolen the former key signs nothing new with it.
    expect(await exchange(await forge(first, old, old.kid, new Date(until.getTime() + 5_000)))).toBe(
      'refused',
    );
    expect(await exchange(await forge(first, old, fresh.kid, until))).toBe('refused');
    expect(await exchange(await forge(first, old, 'unknown', until))).toBe('refused');
    expect(await exchange(await forge(after, fresh, undefined, ca.clock.now()))).toBe('refused');

    expect(await verifyCheckpoint(oldCheckpoint, await jwks())).toMatchObject({ chain: 'ca' });
    expect(decodeProtectedHeader(await checkpoint()).kid).toBe(fresh.kid);
    expect(await verifyCheckpoint(await checkpoint(), await jwks())).toMatchObject({ chain: 'ca' });

    ca.clock.offsetMs += 6 * MINUTE;
    const late = await forge(first, old, old.kid, until);
    for (const token of [...before, late]) expect(await exchange(token)).toBe('refused');
    ca.clock.offsetMs -= 6 * MINUTE;

    await ca.restart(keysWith(fresh));
    await expect(verifyCheckpoint(oldCheckpoint, await jwks())).rejects.toMatchObject({
      code: 'answer-untrusted',
    });
    expect(await exchange(await forge(first, old, old.kid, ca.clock.now()))).toBe('refused');
    expect(await exchange(await subjectToken())).toBe('allowed');
  });
});
