import { createHash, generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { jwtVerify } from 'jose';
import {
  type CaMetadata,
  clientAssertion,
  discoverCa,
  exchangeToken,
  finishAuthorization,
  generateProofKey,
  startAuthorization,
} from '../src/index.ts';
import { type SmallCa, startSmallCa } from './small-ca.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const service = { clientId: 'portal', privateKey, keyId: 'one' };
const redirectUri = 'https://portal.example/callback';
const resource = 'urn:beacon:ca';

describe('login in the browser', () => {
  let ca: SmallCa;
  let metadata: CaMetadata;

  beforeAll(async () => {
    ca = await startSmallCa();
    metadata = await discoverCa(ca.url);
  });
  afterAll(() => ca.close());

  const start = () =>
    startAuthorization({ metadata, clientId: 'portal', redirectUri, resources: [resource] });
  const finish = (query: Record<string, string>, started = start()) =>
    finishAuthorization({
      metadata,
      service,
      redirectUri,
      query: new URLSearchParams({ state: started.state, ...query }),
      started,
      proofKey: generateProofKey(),
      resource,
    });

  it('sends the browser with state and PKCE', () => {
    const started = start();
    const query = new URL(started.url).searchParams;
    expect(query.get('state')).toBe(started.state);
    expect(query.get('code_challenge_method')).toBe('S256');
    expect(query.get('code_challenge')).toBe(
      createHash('sha256').update(started.codeVerifier).digest('base64url'),
    );
    expect(started.url).not.toContain(started.codeVerifier);
  });

  it('redeems the code for tokens', async () => {
    expect(await finish({ code: 'good', iss: ca.url })).toMatchObject({ refreshToken: expect.any(String) });
  });

  it('redeems nothing for another state or another issuer (O1)', async () => {
    const before = ca.requests.length;
    for (const query of [
      { state: 'other', code: 'good' },
      { state: '', code: 'good' },
      { code: 'good', iss: 'https://evil.example' },
    ]) {
      await expect(finish(query)).rejects.toMatchObject({ code: 'state-mismatch' });
    }
    expect(ca.requests.length).toBe(before);
  });

  it('says that the login was declined', async () => {
    await expect(finish({ error: 'access_denied' })).rejects.toMatchObject({
      code: 'login-declined',
      kind: 'denied',
    });
  });

  it('says that a code is used up', async () => {
    await expect(finish({ code: 'used' })).rejects.toMatchObject({ code: 'session-ended' });
  });

  it('proves the service for a minute, for this CA', async () => {
    const now = new Date('2026-11-22T10:00:00Z');
    const { client_assertion: assertion } = await clientAssertion(service, ca.url, now);
    const { payload } = await jwtVerify(assertion, publicKey, {
      currentDate: now,
      audience: ca.url,
      issuer: 'portal',
    });
    expect(payload).toMatchObject({ sub: 'portal', jti: expect.any(String) });
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(60);
  });

  it('carries the refusal of a token exchange', async () => {
    const exchanged = exchangeToken({ metadata, service, proofKey: generateProofKey(), subjectToken: 'jwt' });
    await expect(exchanged).rejects.toMatchObject({
      code: 'oauth-refused',
      problem: { code: 'unsupported_grant_type' },
    });
  });
});
