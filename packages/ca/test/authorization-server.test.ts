import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader, type JWK, SignJWT } from 'jose';
import { createAuthorizationServer } from '../src/authorization-server.ts';
import { Browser, Lab, makeKeys, makeProof, makeService } from './authorization-lab.ts';

const portal = await makeService('portal', ['login', 'exchange'], ['https://portal.example/callback']);
let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({ services: [portal.service] });
});
afterAll(() => lab.close());

test('a login by the device grant gives an opaque token for the CA and a JWT for a broker, across restarts', async () => {
  const keys = await makeKeys();
  const tokens = await lab.login(keys, 'alice', ['urn:beacon:ca', 'urn:beacon:broker:portal']);
  expect(tokens.answer).toMatchObject({ token_type: 'DPoP', expires_in: 600 });
  expect(tokens.access).not.toContain('.');
  await lab.restart();
  expect(await lab.whoami(keys, tokens.access)).toMatchObject({
    status: 200,
    answer: { person: 'github:583231', loginName: 'alice', service: 'beacon-cli' },
  });
  const second = await lab.refresh(keys, tokens.refresh, { resource: 'urn:beacon:broker:portal' });
  expect(second).toMatchObject({ status: 200, answer: { token_type: 'DPoP', expires_in: 300 } });
  const jwt = String(second.answer['access_token']);
  expect(decodeProtectedHeader(jwt)).toMatchObject({ alg: 'EdDSA', typ: 'at+jwt', kid: 'tokens-1' });
  expect(decodeJwt(jwt)).toMatchObject({
    iss: lab.url,
    sub: 'github:583231',
    aud: 'urn:beacon:broker:portal',
    client_id: 'beacon-cli',
    cnf: { jkt: keys.thumbprint },
    sid: expect.stringMatching(/^[0-7][0-9a-z]{25}$/),
  });
  await lab.restart();
  const service = await makeKeys();
  const exchanged = await lab.token(service, {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: jwt,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    ...(await portal.assertion(lab.url)),
  });
  expect(exchanged).toMatchObject({ status: 200, answer: { token_type: 'DPoP' } });
  await lab.restart();
  expect(await lab.whoami(service, String(exchanged.answer['access_token']))).toMatchObject({
    status: 200,
    answer: { person: 'github:583231', service: 'portal' },
  });
  expect(lab.warnings).toEqual([]);
});

test('a pending device code, a sign-in and an interaction live through a restart', async () => {
  const keys = await makeKeys();
  const { deviceCode, userCode } = await lab.beginDevice();
  await lab.restart();
  const browser = new Browser();
  await lab.travel(browser, `${lab.url}/device`, 'alice');
  await lab.restart();
  expect((await lab.approveDevice(browser, userCode, 'alice')).text).toContain('Your terminal is signed in');
  await lab.restart();
  expect((await lab.pollDevice(keys, deviceCode)).status).toBe(200);
});

test('the metadata names what there is, under the public URL, whatever Host says', async () => {
  const answer = await new Browser().request(`${lab.url}/.well-known/oauth-authorization-server`, {
    headers: { host: 'evil.example', 'x-forwarded-host': 'evil.example' },
  });
  const metadata = JSON.parse(answer.text) as Record<string, unknown>;
  expect(metadata).toMatchObject({
    issuer: lab.url,
    authorization_endpoint: `${lab.url}/oauth/authorize`,
    token_endpoint: `${lab.url}/oauth/token`,
    device_authorization_endpoint: `${lab.url}/oauth/device`,
    revocation_endpoint: `${lab.url}/oauth/revoke`,
    jwks_uri: `${lab.url}/.well-known/jwks.json`,
    protected_resources: ['urn:beacon:ca', 'urn:beacon:broker:portal'],
    response_types_supported: ['code'],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['private_key_jwt', 'none'],
    token_endpoint_auth_signing_alg_values_supported: ['EdDSA', 'ES256'],
    dpop_signing_alg_values_supported: ['EdDSA', 'ES256'],
  });
  expect(new Set(metadata['grant_types_supported'] as string[])).toEqual(
    new Set([
      'authorization_code',
      'refresh_token',
      'urn:ietf:params:oauth:grant-type:device_code',
      'urn:ietf:params:oauth:grant-type:token-exchange',
    ]),
  );
  for (const absent of [
    'userinfo',
    'registration',
    'introspection',
    'end_session',
    'pushed_authorization_request',
  ]) {
    expect(metadata).not.toHaveProperty(`${absent}_endpoint`);
  }
  expect(answer.text).not.toContain('evil.example');
});

test('the key set shows public keys only', async () => {
  const { text } = await new Browser().request(`${lab.url}/.well-known/jwks.json`);
  const { keys } = JSON.parse(text) as { keys: JWK[] };
  expect(keys).toHaveLength(1);
  expect(keys[0]).toMatchObject({ kid: 'tokens-1', kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA' });
  expect(keys[0]).not.toHaveProperty('d');
});

test.each([
  ['GET', '/me'],
  ['GET', '/session/end'],
  ['POST', '/session/end/confirm'],
  ['POST', '/reg'],
  ['POST', '/request'],
  ['POST', '/token/introspection'],
  ['GET', '/.well-known/openid-configuration'],
  ['POST', '/oauth/authorize'],
  ['GET', '/oauth/token'],
  ['GET', '/interaction/../device'],
])('what the library could answer and we do not offer is not there: %s %s', async (method, path) => {
  const answer = await new Browser().request(
    `${lab.url}${path}`,
    method === 'POST' ? { form: { a: 'b' } } : {},
  );
  expect([302, 404]).toContain(answer.status);
  if (answer.status === 302) expect(answer.location).toContain(lab.standin.url);
});

test('T1, T2: the token endpoint takes a proof for itself alone, signed by the key in it, fresh and once', async () => {
  const keys = await makeKeys();
  const url = `${lab.url}/oauth/token`;
  const { deviceCode } = await lab.beginDevice();
  const form = {
    grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
    client_id: 'beacon-cli',
    device_code: deviceCode,
  };
  const send = async (dpop: string) => (await lab.post('/oauth/token', form, { dpop })).answer['error'];
  const seconds = Math.floor(Date.now() / 1000);
  const wrong = [
    await makeProof(keys, 'GET', url),
    await makeProof(keys, 'POST', `${lab.url}/oauth/revoke`),
    await makeProof(keys, 'POST', 'https://evil.example/oauth/token'),
    await makeProof(keys, 'POST', url, { iat: seconds - 600 }),
    await makeProof(keys, 'POST', url, { iat: seconds + 600 }),
    await makeProof(keys, 'POST', url, { iat: undefined }),
    await makeProof(keys, 'POST', url, { jti: undefined }),
    await makeProof(keys, 'POST', url, {}, { typ: 'JWT' }),
    await makeProof(keys, 'POST', url, {}, { jwk: (await makeKeys()).jwk }),
    await new SignJWT({ htm: 'POST', htu: url, jti: 'j'.repeat(20), iat: seconds })
      .setProtectedHeader({ alg: 'HS256', typ: 'dpop+jwt', jwk: keys.jwk } as never)
      .sign(new TextEncoder().encode(String(keys.jwk.x))),
    'a.b.c',
  ];
  for (const proof of wrong) expect(await send(proof)).toBe('invalid_dpop_proof');
  expect(await send(await makeProof(keys, 'POST', url))).toBe('authorization_pending');
});

test('refuses at its start a public URL with a path, a signing key without its private part, and a service that makes no sense', async () => {
  const none = {} as never;
  const options = {
    issuer: lab.url,
    signingJwk: lab.signingJwk,
    sealer: none,
    store: none,
    commit: none,
    records: none,
    services: [],
    github: {
      urls: {
        authorize: `${lab.standin.url}/a`,
        token: `${lab.standin.url}/t`,
        profile: `${lab.standin.url}/u`,
      },
    } as never,
    githubClientId: 'x',
    now: () => new Date(),
    sessionMaxHours: 8,
    isDisabled: async () => false,
    onServiceProven: async () => undefined,
    log: none,
  };
  await expect(createAuthorizationServer({ ...options, issuer: `${lab.url}/ca` })).rejects.toThrow(
    'must have no path',
  );
  const { d: _d, ...publicJwk } = lab.signingJwk;
  await expect(createAuthorizationServer({ ...options, signingJwk: publicJwk })).rejects.toThrow('keys[0].d');
  const service = { ...portal.service, redirect_uris: ['no address'] };
  await expect(createAuthorizationServer({ ...options, services: [service] })).rejects.toThrow(
    'invalid_redirect_uri',
  );
});
