/** Who asks the broker by token: what is believed of it, and what is not. Against a real CA and its tokens. */
import { createHash } from 'node:crypto';
import { generateProofKey } from '@beacon/client';
import { createId } from '@beacon/protocol/id';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader, importJWK, SignJWT } from 'jose';
import type { LoggedIn } from '../../ca/test/small-ca.ts';
import { HttpLab } from './http-lab.ts';

describe('who asks the broker', () => {
  let lab: HttpLab;
  let lin: LoggedIn;
  let kim: LoggedIn;

  beforeAll(async () => {
    lab = await HttpLab.start();
    [lin, kim] = [await lab.login('lin'), await lab.login('kim')];
  });
  afterAll(() => lab.close());

  const PATH = '/v1/runs';
  const ask = (who: LoggedIn) => lab.ask(who, 'GET', PATH);

  /** The token as it is, signed by the CA's own key, with other claims or another header. */
  async function forged(
    claims: Record<string, unknown>,
    header: Record<string, unknown> = {},
    from: LoggedIn = lin,
  ): Promise<LoggedIn> {
    const all = { ...decodeJwt(from.accessToken), ...claims };
    const kept = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
    const key = await importJWK(lab.ca.keys.tokenSigning, 'EdDSA');
    const head = { ...decodeProtectedHeader(from.accessToken), ...header } as never;
    return { ...from, accessToken: await new SignJWT(kept).setProtectedHeader(head).sign(key) };
  }

  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

  it('lets in who has a token for this broker and a proof by its key', async () => {
    const { status, body } = await lab.ask(lin, 'GET', '/v1/caller');
    expect([status, body]).toEqual([200, { person: 'github:102', service: 'portal', client: 'beacon-cli' }]);
    // The control of all that follows: made anew by the same key, the same claims are taken.
    expect((await ask(await forged({}))).status).toBe(200);
  });

  it('T1: takes no token without a signature, with a public key for a secret, or with a key of its own', async () => {
    const [, payload = ''] = lin.accessToken.split('.');
    const jwk = generateProofKey();
    const keys = (await (await fetch(`${lab.ca.url}/.well-known/jwks.json`)).json()) as {
      keys: { x: string; kid: string }[];
    };
    const secret = new TextEncoder().encode(JSON.stringify(keys.keys[0]));
    const kid = keys.keys[0]?.kid ?? '';
    const claims = decodeJwt(lin.accessToken);
    const tokens = [
      `${part({ alg: 'none', typ: 'at+jwt' })}.${payload}.`,
      `${part({ alg: 'none', typ: 'at+jwt' })}.${payload}.AA`,
      await new SignJWT(claims).setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', kid }).sign(secret),
      await new SignJWT(claims).setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', kid }).sign(jwk.privateKey),
      await new SignJWT(claims)
        .setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', jwk: jwk.publicJwk })
        .sign(jwk.privateKey),
      (await forged({}, { kid: 'another' })).accessToken,
      (await forged({}, { jku: 'http://127.0.0.1:1/keys' })).accessToken,
      (await forged({}, { x5u: 'http://127.0.0.1:1/keys' })).accessToken,
      (await forged({}, { jwk: jwk.publicJwk })).accessToken,
      lin.accessToken.slice(0, -2),
    ];
    for (const accessToken of tokens) {
      const refused = await ask({ ...lin, accessToken });
      expect([accessToken.slice(0, 60), refused.status, refused.body['code']]).toEqual([
        accessToken.slice(0, 60),
        401,
        'token-invalid',
      ]);
      expect(refused.headers.get('www-authenticate')).toMatch(/^DPoP error="invalid_token"/);
    }
  });

  it('T2: takes no token with a claim that is missing or wrong', async () => {
    const now = Math.floor(Date.now() / 1000);
    const wrong: [string, Record<string, unknown>, Record<string, unknown>?][] = [
      ...['exp', 'iat', 'jti', 'sub', 'sid', 'client_id', 'cnf', 'aud', 'iss'].map(
        (name): [string, Record<string, unknown>] => [`without ${name}`, { [name]: undefined }],
      ),
      ['for another broker', { aud: 'urn:beacon:broker:other' }],
      ['for the CA', { aud: 'urn:beacon:ca' }],
      ['for two audiences', { aud: ['urn:beacon:broker:portal', 'urn:beacon:ca'] }],
      ['of another issuer', { iss: 'http://127.0.0.1:1' }],
      ['that ends now', { exp: now }],
      ['that is over', { exp: now - 1 }],
      ['not before later', { nbf: now + 60 }],
      ['made later', { iat: now + 600 }],
      ['made long ago', { iat: now - 301, exp: now + 60 }],
      ['whose person is none', { sub: 'lin' }],
      ['whose session is none', { sid: '../x' }],
      ['bound to nothing', { cnf: {} }],
      ['of another type', {}, { typ: 'JWT' }],
      ['of a checkpoint', {}, { typ: 'beacon-checkpoint+jwt' }],
    ];
    for (const [what, claims, header] of wrong) {
      const refused = await ask(await forged(claims, header));
      expect([what, refused.status, refused.body['code']]).toEqual([what, 401, 'token-invalid']);
    }
  });

  it('takes no other kind of token, nor a token in another scheme', async () => {
    const atCa = await lab.ca.login('lin');
    expect((await ask(atCa)).body['code']).toBe('token-invalid');
    expect((await ask({ ...lin, accessToken: lin.refreshToken })).body['code']).toBe('token-invalid');
    const bearer = await lab.ask(lin, 'GET', PATH, undefined, {
      headers: { authorization: `Bearer ${lin.accessToken}` },
    });
    expect([bearer.status, bearer.body['code']]).toEqual([401, 'token-invalid']);
    const none = await lab.send('GET', PATH);
    expect([none.status, none.body['code'], none.headers.get('www-authenticate')]).toEqual([
      401,
      'not-logged-in',
      'DPoP algs="EdDSA ES256"',
    ]);
  });

  it.each([
    ['of another method', { method: 'POST' }],
    ['of another path', { path: '/v1/hosts' }],
    ['for another token', { token: 'another' }],
    ['by another key', { key: generateProofKey() }],
    ['over a body that is not there', { body: 'x' }],
    ['that is none', { text: 'x.y.z' }],
  ])('refuses a proof %s', async (_, proof) => {
    const refused = await lab.ask(lin, 'GET', PATH, undefined, { proof });
    expect([refused.status, refused.body['code']]).toEqual([401, 'proof-invalid']);
    expect(refused.headers.get('www-authenticate')).toMatch(/^DPoP error="invalid_dpop_proof"/);
  });

  it('refuses a body that another body was proven for, and a proof that was used', async () => {
    const body = { v: 1, host: 'web-01', command: 'runner.install', params: {} };
    const other = await lab.ask(lin, 'POST', PATH, body, {
      proof: { body: '{}' },
      headers: { 'idempotency-key': 'k' },
    });
    expect([other.status, other.body['code']]).toEqual([401, 'proof-invalid']);
    const made = {
      iat: Math.floor(Date.now() / 1000),
      jti: createId(Date.now()),
      htm: 'GET',
      htu: lab.url + PATH,
    };
    const ath = createHash('sha256').update(lin.accessToken).digest('base64url');
    const text = await new SignJWT({ ...made, ath })
      .setProtectedHeader({ alg: 'EdDSA', typ: 'dpop+jwt', jwk: lin.proofKey.publicJwk })
      .sign(lin.proofKey.privateKey);
    const again = () => lab.ask(lin, 'GET', PATH, undefined, { proof: { text } });
    expect((await again()).status).toBe(200);
    expect((await again()).body['code']).toBe('proof-invalid');
    // Not even after a restart, for the store remembers.
    await lab.down();
    await lab.up();
    expect((await again()).body['code']).toBe('proof-invalid');
  });

  it("R10: a token asks for its own person alone, whoever's proof comes with it", async () => {
    const stolen = { ...kim, accessToken: lin.accessToken };
    expect((await ask(stolen)).body['code']).toBe('proof-invalid');
    const { body } = await lab.run(lin, 'own', { person: 'github:105' });
    expect(body['code']).toBe('body-malformed');
    // What a CA never signs: a person with another's session. Nothing is exchanged for it.
    const crossed = await forged({ sub: 'github:105', jti: createId(Date.now()) });
    expect((await ask(crossed)).body['code']).toBe('session-ended');
  });

  it('W5: who has logged out at the CA is let in no more, within a minute', async () => {
    const sam = await lab.login('sam');
    expect((await ask(sam)).status).toBe(200);
    const { commit, sessions } = lab.ca.running.ca;
    await commit.write((tx) => sessions.end(tx, String(decodeJwt(sam.accessToken)['sid']), 'person'));
    lab.ca.clock.offsetMs += 61_000;
    const refused = await ask(sam);
    lab.ca.clock.offsetMs = 0;
    expect([refused.status, refused.body['code']]).toEqual([401, 'session-ended']);
  });

  it('goes on showing runs for a while when the CA is silent, and begins nothing', async () => {
    expect((await ask(kim)).status).toBe(200);
    await lab.ca.down();
    expect((await ask(kim)).status).toBe(200);
    lab.ca.clock.offsetMs += 61_000;
    expect((await ask(kim)).status).toBe(200);
    const begun = await lab.run(kim, 'without-ca');
    expect([begun.status, begun.body['code']]).toEqual([503, 'ca-unavailable']);
    lab.ca.clock.offsetMs = 0;
    await lab.ca.up();
  });

  it('T8: no token, proof or key stands in the log or the store', async () => {
    const kept = `${lab.logs.join('\n')}\n${lab.storedBytes().toString('latin1')}`;
    for (const secret of [lin.accessToken, lin.refreshToken, kim.accessToken, ...lab.ca.canaries]) {
      expect(kept.includes(secret)).toBe(false);
    }
  });
});
