import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import {
  type CryptoKey,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  importJWK,
  SignJWT,
} from 'jose';
import { type Keys, Lab, makeKeys, makeProof, makeService } from './authorization-lab.ts';

const ACCESS = 'urn:ietf:params:oauth:token-type:access_token';
const portal = await makeService('portal', ['exchange']);
const other = await makeService('other', ['exchange']);
const plain = await makeService('plain', ['run-certificates']);
const person = await makeKeys();
const service = await makeKeys();
let lab: Lab;
let subject: string;
let opaque: string;

beforeAll(async () => {
  lab = await Lab.start({ services: [portal.service, other.service, plain.service] });
  ({ subject, opaque } = await newSubject());
});
afterAll(async () => {
  jest.useRealTimers();
  await lab.close();
});

async function newSubject(keys: Keys = person) {
  const tokens = await lab.login(keys, 'alice', ['urn:beacon:ca', 'urn:beacon:broker:portal']);
  const { answer } = await lab.refresh(keys, tokens.refresh, { resource: 'urn:beacon:broker:portal' });
  return {
    subject: String(answer['access_token']),
    opaque: tokens.access,
    refresh: String(answer['refresh_token']),
  };
}

async function exchange(token: string, change: Record<string, string> = {}, by = portal, keys = service) {
  return lab.token(keys, {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: token,
    subject_token_type: ACCESS,
    ...(await by.assertion(lab.url)),
    ...change,
  });
}

/** The subject token with claims or header changed, signed by the CA's own key unless another is given. */
async function forge(
  claims: Record<string, unknown>,
  header: Record<string, unknown> = {},
  key?: CryptoKey | Uint8Array,
) {
  const all = Object.fromEntries(
    Object.entries({ ...decodeJwt(subject), ...claims }).filter(([, value]) => value !== undefined),
  );
  const signing = key ?? (await importJWK(lab.signingJwk, 'EdDSA'));
  return new SignJWT(all)
    .setProtectedHeader({ ...(decodeProtectedHeader(subject) as { alg: string }), ...header } as never)
    .sign(signing as CryptoKey);
}

test("a person's token for a service becomes a token for the CA that is bound to the service and names both", async () => {
  const { status, answer } = await exchange(subject, {
    audience: 'urn:beacon:ca',
    requested_token_type: ACCESS,
  });
  expect(status).toBe(200);
  expect(answer).toMatchObject({ token_type: 'DPoP', issued_token_type: ACCESS, expires_in: 600 });
  expect(answer).not.toHaveProperty('refresh_token');
  const token = String(answer['access_token']);
  expect(await lab.whoami(service, token)).toMatchObject({
    status: 200,
    answer: { person: 'github:583231', service: 'portal' },
  });
  expect(await lab.whoami(person, token)).toMatchObject({ status: 401, answer: { error: 'proof-invalid' } });
});

test('takes a token whose claims are as they should be, so that the refusals below are for what was changed', async () => {
  expect((await exchange(await forge({}))).status).toBe(200);
});

const second = () => Math.floor(Date.now() / 1000);
test.each<[string, () => Promise<string>]>([
  ['for another audience', () => forge({ aud: 'urn:beacon:broker:other' })],
  ['for the CA', () => forge({ aud: 'urn:beacon:ca' })],
  ['for two audiences', () => forge({ aud: ['urn:beacon:broker:portal', 'urn:beacon:broker:other'] })],
  ['of another issuer', () => forge({ iss: 'https://other.example' })],
  ['of another type', () => forge({}, { typ: 'JWT' })],
  ['without type', () => forge({}, { typ: undefined })],
  ['without end', () => forge({ exp: undefined })],
  ['that ends now', () => forge({ exp: second() })],
  ['that begins later', () => forge({ nbf: second() + 30 })],
  ['issued in the future', () => forge({ iat: second() + 120 })],
  ['issued too long ago', () => forge({ iat: second() - 3600 })],
  ['without time of issue', () => forge({ iat: undefined })],
  ['without session', () => forge({ sid: undefined })],
  ['with a session that never was', () => forge({ sid: '00000000000000000000000000' })],
  ['without person', () => forge({ sub: undefined })],
  ["with another person's name", () => forge({ sub: 'github:42' })],
  ['without client', () => forge({ client_id: undefined })],
  ['bound to no key', () => forge({ cnf: undefined })],
  [
    'signed by another key',
    async () => forge({}, {}, (await generateKeyPair('EdDSA')).privateKey as CryptoKey),
  ],
  [
    'signed with a shared secret, our public key',
    async () => forge({}, { alg: 'HS256' }, new TextEncoder().encode(String(lab.signingJwk.x))),
  ],
  [
    'without signature',
    async () => {
      const [, payload = ''] = subject.split('.');
      return `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.${payload}.`;
    },
  ],
  [
    'with a changed payload',
    async () => {
      const [head = '', , signature = ''] = subject.split('.');
      return `${head}.${Buffer.from(JSON.stringify({ ...decodeJwt(subject), sub: 'github:42' })).toString('base64url')}.${signature}`;
    },
  ],
  ['that is the opaque one', async () => opaque],
  ['that is too long', async () => `${subject}${'A'.repeat(5000)}`],
  ['signed under a kid that is not known', () => forge({}, { kid: 'another' })],
  ['signed under no kid', () => forge({}, { kid: undefined })],
  [
    'that brings its own key',
    async () => {
      const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true });
      return forge({}, { jwk: await exportJWK(publicKey) }, privateKey as CryptoKey);
    },
  ],
  [
    'that says where its key is',
    async () => {
      const places = { jku: `${lab.standin.url}/jwks.json`, x5u: `${lab.standin.url}/key.pem` };
      return forge({}, places, (await generateKeyPair('EdDSA')).privateKey as CryptoKey);
    },
  ],
])('T1, T2: refuses a subject token %s', async (_title, make) => {
  expect(await exchange(await make())).toMatchObject({ status: 400, answer: { error: 'invalid_request' } });
});

test('T2: refuses a token that was made for another service, and a service that may not exchange', async () => {
  expect(await exchange(subject, {}, other)).toMatchObject({
    status: 400,
    answer: { error: 'invalid_request' },
  });
  const refused = await exchange(subject, {}, plain);
  expect(refused.status).toBe(400);
  expect(refused.answer).not.toHaveProperty('access_token');
});

test.each<[string, Record<string, string>, string]>([
  ['another target', { audience: 'urn:beacon:broker:portal' }, 'invalid_target'],
  ['another resource', { resource: 'https://elsewhere.example/' }, 'invalid_target'],
  ['an actor token', { actor_token: 'x', actor_token_type: ACCESS }, 'invalid_request'],
  [
    'a refresh token',
    { requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' },
    'invalid_request',
  ],
  [
    'another kind of subject token',
    { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' },
    'invalid_request',
  ],
  ['no subject token', { subject_token: '' }, 'invalid_request'],
  ['another scope', { scope: 'openid' }, 'invalid_scope'],
])('refuses %s', async (_title, change, error) => {
  expect(await exchange(subject, change)).toMatchObject({ status: 400, answer: { error } });
});

test('refuses a service without a proof, and a proof that was used', async () => {
  const form = {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: subject,
    subject_token_type: ACCESS,
  };
  const bare = await lab.post('/oauth/token', { ...form, ...(await portal.assertion(lab.url)) });
  expect(bare).toMatchObject({ status: 400, answer: { error: 'invalid_dpop_proof' } });
  const dpop = await makeProof(service, 'POST', `${lab.url}/oauth/token`);
  const first = await lab.post('/oauth/token', { ...form, ...(await portal.assertion(lab.url)) }, { dpop });
  expect(first.status).toBe(200);
  const again = await lab.post('/oauth/token', { ...form, ...(await portal.assertion(lab.url)) }, { dpop });
  expect(again.status).toBe(400);
});

test('refuses after the session has ended, and ends what was exchanged before', async () => {
  const keys = await makeKeys();
  const made = await newSubject(keys);
  const before = await exchange(made.subject);
  const token = String(before.answer['access_token']);
  expect((await lab.whoami(service, token)).status).toBe(200);
  const sid = String(decodeJwt(made.subject)['sid']);
  await lab.commit.write((tx) => lab.authorization.sessions.end(tx, sid, 'person:github:583231'));
  expect(await exchange(made.subject)).toMatchObject({ status: 400, answer: { error: 'invalid_request' } });
  expect(await lab.whoami(service, token)).toMatchObject({ status: 401, answer: { error: 'session-ended' } });
});

test('refuses for a disabled person', async () => {
  lab.disabled.add('github:583231');
  expect((await exchange(subject)).status).toBe(400);
  lab.disabled.clear();
  expect((await exchange(subject)).status).toBe(200);
});
